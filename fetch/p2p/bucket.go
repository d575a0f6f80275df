package p2p

import (
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// bucket shares a number of bytes per second among peers: they take turns, however many streams each has. The streams of
// one peer take its turns in the order in which they asked.
type bucket struct {
	rate int64 // bytes per second
	now  func() time.Time

	mu    sync.Mutex // guards all below
	free  time.Time  // when everything that was let through is sent, at that rate
	turn  *line      // of the peer for which somebody waits for the rate; nil: nobody does
	queue []*line    // of the peers that wait for their turn, the next one first
}

// line is who waits for the turns of one peer, in order. Each is told by closing its channel.
type line struct {
	peer peer.ID
	wait []chan struct{}
}

// burst is how far ahead of the rate an idle bucket lets the first bytes through.
const burst = 100 * time.Millisecond

// newBucket returns nil, which is no limit, if rate is not positive.
func newBucket(rate int64, now func() time.Time) *bucket {
	if rate <= 0 {
		return nil
	}
	return &bucket{rate: rate, now: now}
}

// wait waits until n bytes may be sent to a peer, or reports false once done or gone is closed: then nothing is taken, or
// one who asks much and leaves would make all others wait. waited is for how long.
func (b *bucket) wait(to peer.ID, n int, done, gone <-chan struct{}) (waited time.Duration, ok bool) {
	began := b.now()
	if mine := b.enter(to); mine != nil {
		select {
		case <-mine:
		case <-done:
			b.leave(to, mine)
			return b.now().Sub(began), false
		case <-gone:
			b.leave(to, mine)
			return b.now().Sub(began), false
		}
	}
	defer b.pass()
	timer := time.NewTimer(max(b.take(n), 0))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	case <-gone:
	}
	select {
	case <-done:
	case <-gone:
	default:
		return b.now().Sub(began), true
	}
	b.give(n)
	return b.now().Sub(began), false
}

// enter gives the turn to who asks, or returns what is closed when it is his.
func (b *bucket) enter(to peer.ID) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.turn == nil {
		b.turn = &line{peer: to}
		return nil
	}
	l := b.line(to)
	if l == nil {
		l = &line{peer: to}
		b.queue = append(b.queue, l)
	}
	mine := make(chan struct{})
	l.wait = append(l.wait, mine)
	return mine
}

// line is that of a peer, or nil.
func (b *bucket) line(of peer.ID) *line {
	if b.turn.peer == of {
		return b.turn
	}
	if i := slices.IndexFunc(b.queue, func(l *line) bool { return l.peer == of }); i >= 0 {
		return b.queue[i]
	}
	return nil
}

// leave ends a wait for a turn, which may be ours since.
func (b *bucket) leave(to peer.ID, mine chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.line(to)
	if l != nil && slices.Contains(l.wait, mine) {
		l.wait = slices.DeleteFunc(l.wait, func(c chan struct{}) bool { return c == mine })
		if l != b.turn && len(l.wait) == 0 {
			b.queue = slices.DeleteFunc(b.queue, func(q *line) bool { return q == l })
		}
		return
	}
	b.next()
}

// pass ends a turn.
func (b *bucket) pass() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next()
}

// next gives the turn to the next peer. Who had it queues again behind all others if it has more to send.
func (b *bucket) next() {
	if len(b.turn.wait) > 0 {
		b.queue = append(b.queue, b.turn)
	}
	if len(b.queue) == 0 {
		b.turn = nil
		return
	}
	b.turn = b.queue[0]
	b.queue = slices.Delete(b.queue, 0, 1)
	close(b.turn.wait[0])
	b.turn.wait = slices.Delete(b.turn.wait, 0, 1)
}

// take lets n bytes through, after the time it returns.
func (b *bucket) take(n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if idle := now.Add(-burst); b.free.Before(idle) {
		b.free = idle
	}
	b.free = b.free.Add(b.cost(n))
	return b.free.Sub(now)
}

// give returns what was taken for n bytes that are not sent.
func (b *bucket) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = b.free.Add(-b.cost(n))
}

// cost is how long n bytes take at the rate.
func (b *bucket) cost(n int) time.Duration {
	return time.Duration(float64(n) / float64(b.rate) * float64(time.Second))
}
