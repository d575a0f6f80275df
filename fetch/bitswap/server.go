package bitswap

import (
	"container/heap"
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/semaphore"
)

// sureWants is how many pending wants a peer may have, however many others have.
const sureWants = 64

// server keeps what peers want. Each peer that wants something has a goroutine that sends; they take turns at looking
// blocks up and share the bytes that may be in flight.
type server struct {
	x       *Exchange
	sending *semaphore.Weighted // bytes
	turn    *semaphore.Weighted // first come, first served
	slow    *semaphore.Weighted // bytes, to peers that were let go before

	mu      sync.Mutex // guards what follows, and all of every ledger
	ledgers map[peer.ID]*ledger
	wants   int // pending, of all
	past    PeerStats
	waiting int         // for bytes
	watch   *time.Timer // runs while any is
}

// ledger is what one peer wants, and got.
type ledger struct {
	peer   peer.ID
	wants  map[cid.Cid]*want
	queue  wantQueue
	seq    uint64
	wake   chan struct{}
	stop   context.CancelFunc // of the goroutine that sends; nil: there is none
	out    *outlet            // while a message is being sent
	marked int64              // of out's chunks, when cut looked last
	slow   bool               // it was let go
	stats  PeerStats
}

// want is one thing that a peer wants.
type want struct {
	cid      cid.Cid
	priority int32
	seq      uint64
	have     bool
	dontHave bool
	at       int // in the queue; -1 if not
}

func newServer(x *Exchange) *server {
	return &server{
		x: x, ledgers: map[peer.ID]*ledger{}, sending: semaphore.NewWeighted(x.o.Limits.Sending),
		turn: semaphore.NewWeighted(int64(runtime.GOMAXPROCS(0))), slow: semaphore.NewWeighted(slowPart(x.o.Limits.Sending)),
	}
}

// take does what the wantlist of a message says, and returns how many of its wants were too many.
func (s *server) take(p peer.ID, m *message) (dropped int) {
	if s.x.o.Blocks == nil || len(m.entries) == 0 && !m.full {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ledger(p)
	if l == nil {
		return len(m.entries)
	}
	if m.full {
		s.clear(l)
	}
	for i := range m.entries {
		e := &m.entries[i]
		if len(e.cid) > maxCID {
			continue
		}
		c, err := cid.Cast(e.cid)
		if err != nil {
			continue
		}
		if e.cancel {
			s.cancel(l, c)
		} else if !s.add(l, c, e) {
			dropped++
		}
	}
	if len(l.queue) > 0 {
		s.stir(l)
	}
	return dropped
}

// stir makes sure that somebody serves a ledger.
func (s *server) stir(l *ledger) {
	if l.stop != nil {
		select {
		case l.wake <- struct{}{}:
		default:
		}
		return
	}
	ctx, stop := context.WithCancel(s.x.ctx)
	if !s.x.start(func() { defer stop(); s.serve(ctx, l) }) {
		stop()
		return
	}
	l.stop = stop
}

// ledger returns the peer's, or nil if there are too many.
func (s *server) ledger(p peer.ID) *ledger {
	l := s.ledgers[p]
	if l != nil {
		return l
	}
	if len(s.ledgers) >= s.x.o.Limits.Peers {
		for id, old := range s.ledgers { // any that wants nothing
			if old.stop == nil && len(old.queue) == 0 {
				s.past.add(old.stats)
				delete(s.ledgers, id)
				break
			}
		}
		if len(s.ledgers) >= s.x.o.Limits.Peers {
			return nil
		}
	}
	l = &ledger{peer: p, wants: map[cid.Cid]*want{}, wake: make(chan struct{}, 1)}
	s.ledgers[p] = l
	return l
}

// add queues a want, unless there are too many.
func (s *server) add(l *ledger, c cid.Cid, e *entry) bool {
	if w := l.wants[c]; w != nil {
		w.have = w.have && e.have // a want-block replaces a want-have
		w.dontHave = w.dontHave || e.dontHave
		w.priority = e.priority
		heap.Fix(&l.queue, w.at)
		return true
	}
	if len(l.wants) >= s.x.o.Limits.PeerWants || s.wants >= s.x.o.Limits.Wants && len(l.wants) >= sureWants {
		return false
	}
	l.seq++
	s.push(l, &want{cid: c, priority: e.priority, seq: l.seq, have: e.have, dontHave: e.dontHave})
	return true
}

func (s *server) push(l *ledger, w *want) {
	l.wants[w.cid] = w
	heap.Push(&l.queue, w)
	s.wants++
}

func (s *server) cancel(l *ledger, c cid.Cid) {
	if w := l.wants[c]; w != nil {
		heap.Remove(&l.queue, w.at)
		delete(l.wants, c)
		s.wants--
	}
}

func (s *server) clear(l *ledger) {
	s.wants -= len(l.wants)
	clear(l.wants)
	l.queue = nil
}

// next takes the first want from the queue, or nil.
func (s *server) next(l *ledger) *want {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(l.queue) == 0 {
		return nil
	}
	w, _ := heap.Pop(&l.queue).(*want)
	delete(l.wants, w.cid)
	s.wants--
	return w
}

// putBack returns a want to the queue, to its old place.
func (s *server) putBack(l *ledger, w *want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.wants[w.cid] == nil && l.stop != nil {
		s.push(l, w)
	}
}

// forget drops a peer that is gone.
func (s *server) forget(p peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.ledgers[p]; l != nil {
		s.clear(l)
		if l.stop != nil {
			l.stop()
			l.stop = nil
		}
		s.past.add(l.stats)
		delete(s.ledgers, p)
	}
}

// wantQueue orders wants: the highest priority first, among equals the oldest.
type wantQueue []*want

func (q wantQueue) Len() int { return len(q) }

func (q wantQueue) Less(i, j int) bool {
	if q[i].priority != q[j].priority {
		return q[i].priority > q[j].priority
	}
	return q[i].seq < q[j].seq
}

func (q wantQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

func (q *wantQueue) Push(v any) {
	w, _ := v.(*want)
	w.at = len(*q)
	*q = append(*q, w)
}

func (q *wantQueue) Pop() any {
	old := *q
	w := old[len(old)-1]
	w.at = -1
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return w
}
