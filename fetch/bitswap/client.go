package bitswap

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

const (
	// serverWants is what all fetches together ask one peer for.
	serverWants = 1000
	maxLiars    = 64
	maxLate     = 2 * serverWants
)

var (
	errNoPeers = errors.New("no peers")
	errGone    = errors.New("the peer is gone")
	errClosed  = errors.New("the exchange is closed")
)

// client hands what peers send to the fetches that want it.
type client struct {
	x *Exchange

	mu      sync.Mutex // guards what follows, and all of every fetch
	fetches map[*fetch]bool
	late    map[peer.ID]map[cid.Cid]bool // asked for by fetches that ended
	liars   map[peer.ID]error
}

// begin starts a fetch. End it.
func (c *client) begin(ctx context.Context, s *Source, wants []swarm.Want) (*fetch, error) {
	f := &fetch{
		c: c, s: s, asks: map[cid.Cid]*ask{}, lost: map[*walk]error{}, wake: make(chan struct{}, 1), prio: 1 << 30,
	}
	f.ctx, f.cancel = context.WithCancel(ctx)
	seen := map[swarm.Want]bool{}
	for _, x := range wants {
		if !seen[x] {
			seen[x] = true
			f.walks = append(f.walks, newWalk(x, s.limits))
		}
	}
	window := maxWindow
	if len(s.peers) > 1 {
		window = firstWindow
	}
	for _, p := range s.peers {
		f.remotes = append(f.remotes, &remote{peer: p, window: window, asked: map[cid.Cid]bool{}, wake: make(chan struct{}, 1)})
	}
	c.mu.Lock()
	c.fetches[f] = true
	c.share()
	c.mu.Unlock()
	for _, r := range f.remotes {
		if !c.x.start(func() { f.run(r) }) {
			f.end()
			return nil, errClosed
		}
	}
	f.wg.Go(f.watch)
	return f, nil
}

// end ends a fetch: what is asked for is cancelled, and what comes even so is not held against the peer.
func (f *fetch) end() {
	f.cancel()
	f.wg.Wait()
	c := f.c
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.fetches, f)
	c.share()
	for _, a := range f.asks {
		for _, r := range a.from {
			late := c.late[r.peer.ID]
			if late == nil {
				late = map[cid.Cid]bool{}
				c.late[r.peer.ID] = late
			}
			if len(late) < maxLate {
				late[a.cid] = true
			}
		}
		f.forget(a, nil)
	}
	for _, r := range f.remotes {
		r.state = dead
		r.signal()
	}
}

// share divides what a peer may be asked for among the fetches that ask it.
func (c *client) share() {
	n := map[peer.ID]int{}
	for f := range c.fetches {
		for _, r := range f.remotes {
			n[r.peer.ID]++
		}
	}
	for f := range c.fetches {
		for _, r := range f.remotes {
			r.most = min(maxWindow, max(1, serverWants/n[r.peer.ID]))
		}
	}
}

// asks says whether a fetch asks a peer.
func (c *client) asks(p peer.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range c.of(p) {
		return true
	}
	return false
}

// of yields the fetches that ask a peer.
func (c *client) of(p peer.ID) func(yield func(*fetch, *remote) bool) {
	return func(yield func(*fetch, *remote) bool) {
		for f := range c.fetches {
			for _, r := range f.remotes {
				if r.peer.ID == p && r.state == alive && !yield(f, r) {
					return
				}
			}
		}
	}
}

// heard counts bytes of a peer that we ask.
func (c *client) heard(p peer.ID, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.of(p) {
		r.heard += int64(n)
	}
}

// gone drops a peer that is disconnected.
func (c *client) gone(p peer.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.late, p)
	for f, r := range c.of(p) {
		f.drop(r, errGone)
		f.pump()
	}
}

// take takes the blocks and presences of a message.
func (c *client) take(p peer.ID, m *message) {
	got := make([]piece, len(m.blocks))
	for i, b := range m.blocks {
		id, ok := b.address()
		if !ok {
			id = cid.Undef
		}
		got[i] = piece{id, b.data}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range got {
		c.block(p, b)
	}
	for _, pr := range m.presences {
		if !pr.dontHave || len(pr.cid) > maxCID {
			continue
		}
		if id, err := cid.Cast(pr.cid); err == nil {
			for f, r := range c.of(p) {
				f.refused(r, id)
			}
		}
	}
	for f := range c.of(p) {
		f.pump()
		f.signal()
	}
}

// block hands one block to the fetches that asked the peer for it. One that nobody ever asked it for, while it owes us
// others, is a lie: bitswap has no other form for wrong bytes.
func (c *client) block(p peer.ID, b piece) {
	wanted, again, known := false, false, c.late[p][b.cid]
	for f, r := range c.of(p) {
		came, ok := r.asked[b.cid]
		known, again = known || ok, again || came
		wanted = f.arrived(r, b) || wanted
	}
	switch {
	case wanted:
		return
	case again:
		c.x.counts.duplicates.Add(1)
		return
	}
	c.x.counts.unrequested.Add(1)
	if known {
		return
	}
	for f, r := range c.of(p) {
		if r.out == 0 {
			continue
		}
		lie := &tree.HashError{Want: f.owed(r), Got: b.cid, Source: p.String()}
		if c.liars == nil {
			c.liars = map[peer.ID]error{}
		}
		if len(c.liars) < maxLiars {
			c.liars[p] = lie
		}
		f.drop(r, lie)
	}
}

// owed returns a block that a peer was asked for and has not sent: the one that is due first.
func (f *fetch) owed(r *remote) cid.Cid {
	for _, w := range f.walks[f.cur:] {
		for it := w.head; it != nil; it = it.next {
			if a := f.asks[it.b.cid]; a != nil && slices.Contains(a.from, r) {
				return a.cid
			}
		}
	}
	return cid.Undef
}
