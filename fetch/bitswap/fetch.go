package bitswap

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
)

const (
	// lookAhead is how many blocks in front of the one that is due are looked at.
	lookAhead = 8192
	// takeBlocks and takeBytes are about how much is written into a pack at a time.
	takeBlocks = 64
	takeBytes  = 1 << 20
)

// fetch brings the trees of some roots from some peers. All its state is guarded by client.mu.
type fetch struct {
	c       *client
	s       *Source
	ctx     context.Context //nolint:containedctx // of one call of Content, which ends it
	cancel  context.CancelFunc
	wg      sync.WaitGroup // of watch
	walks   []*walk
	cur     int // which walk is due
	lost    map[*walk]error
	remotes []*remote
	asks    map[cid.Cid]*ask
	held    int64 // bytes that are asked for or wait for their turn
	prio    int32
	ticks   int
	err     error // ends the fetch
	wake    chan struct{}
}

// ask is one block that is not here yet.
type ask struct {
	cid    cid.Cid
	claim  int
	blocks []waiter
	from   []*remote // who is asked
	no     []*remote // who does not have it
	tick   int       // when it was asked last
}

// waiter is a block of a walk.
type waiter struct {
	w *walk
	b *block
}

// await waits until the root of the walk that is due is here.
func (f *fetch) await(i int, w *walk) error {
	for {
		f.c.mu.Lock()
		f.cur = i
		f.pump()
		err := f.lost[w]
		ready := w.head == nil || w.head.b.state != open
		if err == nil && !ready {
			err = f.err
		}
		f.c.mu.Unlock()
		if err != nil || ready {
			return err
		}
		select {
		case <-f.wake:
		case <-f.ctx.Done():
			return f.ctx.Err()
		}
	}
}

// piece is a block that is due.
type piece struct {
	cid  cid.Cid
	data []byte
}

// next returns the next blocks of the pack of w, once there are any, and whether that was all.
func (f *fetch) next(w *walk) (out []piece, end bool, err error) {
	for {
		f.c.mu.Lock()
		size := 0
		for len(out) < takeBlocks && size < takeBytes && err == nil {
			var b *block
			var data []byte
			if b, data, err = w.next(); b == nil {
				break
			}
			out = append(out, piece{b.cid, data})
			size += len(data)
		}
		f.held -= int64(size)
		if err == nil {
			err = f.lost[w]
		}
		if end = w.head == nil; end {
			w.blocks = nil
		} else if err == nil && len(out) == 0 {
			err = f.err
		}
		f.pump()
		f.c.mu.Unlock()
		if err != nil || len(out) > 0 || end {
			return out, end, err
		}
		select {
		case <-f.wake:
		case <-f.ctx.Done():
			return nil, false, f.ctx.Err()
		}
	}
}

// skip gives a walk up that nobody reads any more.
func (f *fetch) skip(w *walk) {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.giveUp(w, errStopped)
}

// pump asks for what comes next, in the order of the packs, as far as windows and memory go.
func (f *fetch) pump() {
	if f.err != nil || f.hopeless() || !slices.ContainsFunc(f.remotes, (*remote).low) {
		return
	}
	near := int64(0)
	scanned := 0
	for i := f.cur; i < len(f.walks); i++ {
		w := f.walks[i]
		if f.lost[w] != nil {
			continue
		}
		for it := w.head; it != nil && f.lost[w] == nil; it = it.next {
			if scanned++; scanned > lookAhead {
				return
			}
			b := it.b
			switch b.state {
			case done:
				continue
			case here:
				near += int64(len(b.data))
				continue
			}
			near += int64(b.claim)
			a := f.asks[b.cid]
			if a == nil {
				due := i == f.cur && it == w.head
				if !due && !f.fits(int64(b.claim), near) {
					return
				}
				a = &ask{cid: b.cid, claim: b.claim}
			}
			if !f.place(a, waiter{w, b}) {
				return
			}
		}
	}
}

// fits says whether a block may be held too. What is due soon may take more, or what was asked for before its
// directories were known would be in its way.
func (f *fetch) fits(claim, near int64) bool {
	most := f.c.x.o.Limits.Buffer
	return f.held+claim <= most || near <= most/4 && f.held+claim <= 2*most
}

// place asks a peer for a block that is asked of nobody, or finds that nobody has it. It is false if all peers are busy.
func (f *fetch) place(a *ask, by waiter) bool {
	if !by.b.asked {
		if len(a.from) == 0 && f.asks[a.cid] == nil && f.pick(a) == nil && !f.nobody(a) {
			return false
		}
		by.b.asked = true
		a.blocks = append(a.blocks, by)
		if f.asks[a.cid] == nil {
			f.asks[a.cid] = a
			f.held += int64(a.claim)
		}
	}
	if len(a.from) > 0 {
		return true
	}
	if r := f.pick(a); r != nil {
		f.ask(r, a)
		return true
	}
	if f.nobody(a) {
		for _, w := range slices.Clone(a.blocks) {
			f.giveUp(w.w, errLost)
		}
		return true
	}
	return f.free()
}

// free says whether any peer can be asked for anything.
func (f *fetch) free() bool {
	return slices.ContainsFunc(f.remotes, (*remote).free)
}

// pick returns the peer that is best asked for a block: one that kept its promises, with the least to do.
func (f *fetch) pick(a *ask) *remote {
	var best *remote
	for _, r := range f.remotes {
		if !r.free() || slices.Contains(a.no, r) || slices.Contains(a.from, r) {
			continue
		}
		if best == nil || r.strikes < best.strikes || r.strikes == best.strikes && r.out < best.out {
			best = r
		}
	}
	return best
}

// nobody says whether all peers there are said that they do not have a block.
func (f *fetch) nobody(a *ask) bool {
	for _, r := range f.remotes {
		if r.state == dialling || r.state == alive && !slices.Contains(a.no, r) {
			return false
		}
	}
	return true
}

// hopeless ends the fetch if no peer is left.
func (f *fetch) hopeless() bool {
	var err error
	for _, r := range f.remotes {
		if r.state != dead {
			return false
		}
		if r.err != nil {
			err = errors.Join(err, r.err)
		}
	}
	if err == nil {
		err = errNoPeers
	}
	f.fail(err)
	return true
}

func (f *fetch) fail(err error) {
	if f.err == nil {
		f.err = err
	}
	f.signal()
}

func (f *fetch) signal() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// ask asks a peer for a block.
func (f *fetch) ask(r *remote, a *ask) {
	a.from = append(a.from, r)
	a.tick = f.ticks
	if f.prio--; f.prio <= 0 {
		f.prio = 1 << 30
	}
	r.out++
	r.asked[a.cid] = false
	r.send(entry{cid: a.cid.Bytes(), priority: f.prio, dontHave: true})
}

// unask takes a block back from a peer.
func (f *fetch) unask(r *remote, a *ask, cancel bool) {
	i := slices.Index(a.from, r)
	if i < 0 {
		return
	}
	a.from = slices.Delete(a.from, i, i+1)
	r.out--
	if cancel && r.state == alive {
		r.send(entry{cid: a.cid.Bytes(), cancel: true})
	}
}

// forget takes a block back from all.
func (f *fetch) forget(a *ask, but *remote) {
	for len(a.from) > 0 {
		f.unask(a.from[0], a, a.from[0] != but)
	}
	delete(f.asks, a.cid)
	f.held -= int64(a.claim)
}

// giveUp ends one walk.
func (f *fetch) giveUp(w *walk, err error) {
	if f.lost[w] != nil {
		return
	}
	f.lost[w] = err
	for _, b := range w.blocks {
		switch {
		case b.state == here:
			f.held -= int64(len(b.data))
			b.data = nil
		case b.state == open && b.asked:
			a := f.asks[b.cid]
			if a == nil { // it is arriving
				continue
			}
			a.blocks = slices.DeleteFunc(a.blocks, func(o waiter) bool { return o.w == w })
			if len(a.blocks) == 0 {
				f.forget(a, nil)
			}
		}
	}
	w.blocks, w.head = nil, nil
	f.signal()
}

// arrived hands a copy of a block to whom it is for. It is false if it is for nobody.
func (f *fetch) arrived(r *remote, p piece) bool {
	c := p.cid
	a := f.asks[c]
	if a == nil {
		return false
	}
	if _, ok := r.asked[c]; !ok {
		return false
	}
	r.asked[c] = true
	r.barren = 0
	if r.window < maxWindow {
		r.window++
	}
	f.forget(a, r)
	data := bytes.Clone(p.data)
	for _, to := range a.blocks {
		f.held += int64(len(data))
		if err := to.w.arrive(to.b, data); err != nil {
			f.giveUp(to.w, err)
		}
	}
	return true
}

// refused takes a DONT_HAVE.
func (f *fetch) refused(r *remote, c cid.Cid) {
	if a := f.asks[c]; a != nil && slices.Contains(a.from, r) {
		f.unask(r, a, false)
		a.no = append(a.no, r)
		r.barren = 0
		delete(r.asked, c)
	}
}
