package author

import (
	"context"
	"fmt"
	"math/bits"

	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/tlog"

	"pkg/keys"
	"pkg/lockfile/block"
)

// Blocks gets blocks by CID. The data is not trusted: whoever uses it checks it. It is not changed afterwards by either
// side. A block that cannot be had is an error.
type Blocks interface {
	Get(ctx context.Context, c cid.Cid) ([]byte, error)
}

// Follow brings what is known of a log, s, to the size and root that the
// namespace records under the package id, reading the index and the pages that
// hold new entries, each once. It returns a new State and leaves s, which may be
// nil, as it is.
//
// Whatever contradicts s, the recorded size and root, a hash or a rule is a
// *keys.TrustError with evidence; a block that cannot be had is the error of
// blocks.
func Follow(ctx context.Context, s *State, blocks Blocks, id [32]byte, size uint64, log [32]byte, index cid.Cid) (*State, error) {
	if s == nil {
		s = &State{}
	}
	f := follower{blocks: blocks, subject: fmt.Sprintf("author log %x", id[:8])}
	if s.Name != "" {
		f.subject = fmt.Sprintf("author log of %q", s.Name)
	}
	switch {
	case s.Size > 0 && s.ID != id:
		return nil, f.distrust("this is another package", hex(s.ID), hex(id))
	case size < s.Size:
		return nil, f.distrust("the log was longer before", fmt.Sprintf("%d entries", s.Size), fmt.Sprintf("%d entries", size))
	case size == s.Size && s.LogRoot() != log:
		return nil, f.distrust("the log has another history", hex(s.LogRoot()), hex(log))
	case size == s.Size:
		return s.Clone(), nil
	}
	x, err := f.index(ctx, index, s, size)
	if err != nil {
		return nil, err
	}
	next := s.Clone()
	next.remember()
	for next.Size < size {
		if err := f.page(ctx, x, next, size); err != nil {
			return nil, err
		}
	}
	switch {
	case next.ID != id:
		return nil, f.distrust("this is another package", hex(id), hex(next.ID))
	case next.LogRoot() != log:
		return nil, f.distrust("the entries do not have the recorded root", hex(log), hex(next.LogRoot()))
	}
	next.versions = nil
	return next, nil
}

// follower is one run of Follow.
type follower struct {
	blocks   Blocks
	subject  string
	evidence []keys.Evidence // blocks with the right hash: the index, then the page at hand
	at       int             // index of the first At whose Size is past what is applied
}

// index gets the index and checks that it continues what is known.
func (f *follower) index(ctx context.Context, c cid.Cid, s *State, size uint64) (Index, error) {
	b, err := f.get(ctx, c)
	if err != nil {
		return Index{}, err
	}
	f.evidence = []keys.Evidence{{Name: "index " + c.String(), Data: b}}
	x, err := DecodeIndex(b)
	if err != nil {
		return Index{}, f.distrust("the index of the log is not well formed", "", err.Error())
	}
	if x.Size() != size {
		return Index{}, f.distrust("the index is of another size",
			fmt.Sprintf("%d entries", size), fmt.Sprintf("%d entries", x.Size()))
	}
	if s.Size == 0 {
		return x, nil
	}
	for f.at < len(x.At) && x.At[f.at].Size < s.Size {
		f.at++
	}
	if at := x.At[f.at]; at != (At{Size: s.Size, Commit: s.Last.Commit, T: s.Last.T}) {
		return Index{}, f.distrust("the index tells another history of when entries were recorded",
			fmt.Sprintf("%d entries by commit %d at %d", s.Size, s.Last.Commit, s.Last.T),
			fmt.Sprintf("%d entries by commit %d at %d", at.Size, at.Commit, at.T))
	}
	f.at++
	return x, nil
}

// page applies the new entries of the page that holds entry s.Size.
func (f *follower) page(ctx context.Context, x Index, s *State, size uint64) error {
	n := s.Size / PageSize
	first := n * PageSize
	b, err := f.get(ctx, x.Pages[n])
	if err != nil {
		return err
	}
	f.evidence = append(f.evidence[:1:1], keys.Evidence{Name: "page " + x.Pages[n].String(), Data: b})
	raws, err := DecodePage(b)
	if err != nil {
		return f.distrust("a page of the log is not well formed", "", err.Error())
	}
	if want := min(PageSize, size-first); uint64(len(raws)) != want {
		return f.distrust("a page of the log is of another size",
			fmt.Sprintf("%d entries", want), fmt.Sprintf("%d entries", len(raws)))
	}
	known := s.Size - first
	if err := f.prefix(s, raws[:known]); err != nil {
		return err
	}
	for _, raw := range raws[known:] {
		e, err := Decode(raw)
		if err != nil {
			return f.distrust(fmt.Sprintf("entry %d is not well formed", s.Size), "", err.Error())
		}
		if x.At[f.at].Size == s.Size {
			f.at++
		}
		at := x.At[f.at]
		if err := s.Apply(e, Recorded{Commit: at.Commit, T: at.T}); err != nil {
			return err
		}
	}
	return nil
}

// prefix checks that the entries at the start of a page are those known already. They lie in the smallest subtrees of the
// frontier, because a page is a complete subtree.
func (f *follower) prefix(s *State, raws [][]byte) error {
	var frontier []tlog.Hash
	var n uint64
	for _, raw := range raws {
		leaf, _, err := keys.SplitEnvelope(raw, MaxEntry)
		if err != nil {
			return f.distrust("a known entry is not well formed now", "", err.Error())
		}
		frontier = push(frontier, n, tlog.RecordHash(leaf))
		n++
	}
	known := s.Frontier[len(s.Frontier)-bits.OnesCount64(n):]
	if rootOf(frontier) != rootOf(known) {
		return f.distrust("the log has another history", hex(rootOf(known)), hex(rootOf(frontier)))
	}
	return nil
}

// get gets a block and checks its hash.
func (f *follower) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	b, err := f.blocks.Get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("%s: block %s: %w", f.subject, c, err)
	}
	if len(b) > block.MaxSize || !block.Matches(c, b) {
		return nil, &keys.TrustError{
			Subject: f.subject, What: "the bytes served are not the block asked for",
			Ours: c.String(), Theirs: fmt.Sprintf("%d other bytes", len(b)),
			Evidence: []keys.Evidence{{Name: "block " + c.String(), Data: b[:min(len(b), block.MaxSize)]}},
		}
	}
	return b, nil
}

func (f *follower) distrust(what, ours, theirs string) error {
	return &keys.TrustError{Subject: f.subject, What: what, Ours: ours, Theirs: theirs, Evidence: f.evidence}
}

// remember makes finding a version fast, for as long as many entries are applied.
func (s *State) remember() {
	s.versions = make(map[string]int, len(s.Releases))
	for i := range s.Releases {
		s.versions[s.Releases[i].Version.Core()] = i
	}
}

func hex(h [32]byte) string { return fmt.Sprintf("%x", h) }
