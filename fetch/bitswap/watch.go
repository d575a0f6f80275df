package bitswap

import (
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// ticksPatience is how many ticks are one [Options.Patience].
	ticksPatience = 8
	// endgameWants is how many wants an idle peer gets that others were asked for before.
	endgameWants = 64
	// maxStrikes is how often a peer may fall silent.
	maxStrikes = 3
)

// watch looks after slow peers until the fetch ends.
func (f *fetch) watch() {
	tick := f.c.x.o.Patience / ticksPatience
	t := time.NewTicker(max(tick, time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-t.C:
			f.c.mu.Lock()
			f.tick(int(f.c.x.o.Stall / max(tick, 1)))
			f.c.mu.Unlock()
		}
	}
}

// tick moves work away from peers that are silent. stall is how many ticks one may be if there is no other.
func (f *fetch) tick(stall int) {
	f.ticks++
	for _, r := range f.remotes {
		if r.state != alive || r.out == 0 {
			r.quiet, r.barren = 0, 0
			continue
		}
		r.quiet++
		r.barren++
		if r.heard != r.heardAt {
			r.heardAt, r.quiet = r.heard, 0
		}
		others := slices.ContainsFunc(f.remotes, func(o *remote) bool { return o != r && o.state == alive && o.quiet < ticksPatience })
		switch {
		case r.quiet >= stall || r.barren >= 3*stall:
			f.drop(r, &SilentError{r.peer.ID})
		case others && (r.quiet >= ticksPatience || r.barren >= 4*ticksPatience):
			f.release(r)
		}
	}
	f.endgame()
	f.pump()
	f.signal()
}

// release takes all wants from a peer that is silent, so that others get them.
func (f *fetch) release(r *remote) {
	for _, a := range f.asks {
		f.unask(r, a, true)
	}
	r.quiet, r.barren = 0, 0
	r.window = max(r.window/2, 4)
	if r.strikes++; r.strikes == maxStrikes {
		f.drop(r, &SilentError{r.peer.ID})
	}
}

// endgame asks peers that have nothing to do for what others are slow with.
func (f *fetch) endgame() {
	for _, r := range f.remotes {
		if r.state != alive || r.out > 0 || r.strikes > 0 {
			continue
		}
		left := endgameWants
		for i := f.cur; i < len(f.walks) && left > 0; i++ {
			for it := f.walks[i].head; it != nil && left > 0; it = it.next {
				a := f.asks[it.b.cid]
				if it.b.state == open && a != nil && len(a.from) == 1 && a.tick < f.ticks-1 &&
					!slices.Contains(a.no, r) && !slices.Contains(a.from, r) {
					f.ask(r, a)
					left--
				}
			}
		}
	}
}

// drop lets a peer go.
func (f *fetch) drop(r *remote, err error) {
	if r.state == dead {
		return
	}
	for _, a := range f.asks {
		f.unask(r, a, false)
	}
	r.state, r.err = dead, err
	r.signal()
	f.signal()
}

// SilentError is a peer that did not answer.
type SilentError struct{ Peer peer.ID }

func (e *SilentError) Error() string { return "peer " + e.Peer.String() + " fell silent" }
