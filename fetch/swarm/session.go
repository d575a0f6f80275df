package swarm

import (
	"context"
	"io"
	"time"

	"github.com/ipfs/go-cid"
)

const (
	// defaultMemory is how many bytes of packs a session holds in memory.
	defaultMemory = 64 << 20
	// defaultPatience is longer than [HTTP] is patient with a silent server, its further tries counted: a source's own
	// rule comes first.
	defaultPatience = 150 * time.Second
	// unknownSize is what a root counts whose size nobody told.
	unknownSize = 64 << 10
)

// Session fetches packs from several sources at once.
//
// All sources start together, each with a share of the roots. Who has brought its share gets the next, in proportion to
// how fast it is, so that a fast source brings much and a slow one little. When no root is left that nobody was asked
// for, a source that is free asks for what others have not begun, from the far end of their shares, and at last for
// what is under way elsewhere: whoever brings it first wins, the other request ends. So there is no timeout that
// anything waits for: what a stalled source holds is what the others do next. A source that lied or that cannot be
// asked loses its share at once.
//
// A registry pays for what it sends. So while peers together are as fast as it is, it is only asked for what a peer
// does not have. A source that is alone is asked once, for everything.
type Session struct {
	Sources []Source
	// Put verifies and keeps one pack. It is called concurrently, for packs over 1 MiB even twice at once for the same
	// want; it reads the pack to its end before it keeps anything. A [*tree.HashError] or [*tree.Error] is the fault of
	// the source, any other error is ours and ends the session. It succeeds once for each want, and may return more that
	// is wanted now.
	Put func(ctx context.Context, a *Arrival) (more []Want, err error)

	Sizes  map[cid.Cid]int64 // about how many bytes each root has: what shares are measured by; may be nil
	Memory int64             // bounds the packs read ahead into memory, in bytes; 0 means 64 MiB
	// Patience is how long all sources together may be silent before they are given up; 0 means 150 s. It is for
	// sources that have no such rule of their own.
	Patience time.Duration
}

// Arrival is a pack that arrives.
type Arrival struct {
	Want
	Source string
	Kind   Kind
	Size   int64 // -1 if unknown
	Pack   io.Reader
	Alone  bool // as far as is known no other source can have this root
}

// Tally is what one source did in a session.
type Tally struct {
	Source string
	Kind   Kind
	Packs  int   // that it brought first
	Bytes  int64 // of packs, as they came
	Wasted int64 // of Bytes, those that were of no use: wrong, cut off, or brought by another source before
	Lie    error // why it was dropped; nil for an honest one
	Err    error // why it could not be asked, or not to the end
}

// Get brings what is wanted. The tallies, in the order of the sources, name those that lied even where others made up for them.
// If something could not be had, the error is a [*MissingError]; if Put failed for a reason of its own, it is that.
func (s *Session) Get(ctx context.Context, wants []Want) ([]Tally, error) {
	r := newRace(s, wants)
	r.run(ctx)
	tallies := make([]Tally, len(r.runners))
	for i, u := range r.runners {
		tallies[i] = u.Tally
	}
	switch {
	case r.fatal != nil:
		return tallies, r.fatal
	case r.open == 0:
		return tallies, nil
	case ctx.Err() != nil:
		return tallies, ctx.Err()
	}
	failed := &MissingError{}
	for _, w := range r.wants {
		if !w.done {
			failed.Wants = append(failed.Wants, w.Want)
		}
	}
	for _, u := range r.runners {
		switch {
		case u.Lie != nil:
			failed.Errs = append(failed.Errs, u.Lie)
		case u.Err != nil:
			failed.Errs = append(failed.Errs, u.Err)
		default:
			failed.Asked = append(failed.Asked, u.Source)
		}
	}
	return tallies, failed
}
