package p2p

import (
	"sync"
	"time"
)

// bucket shares a number of bytes per second among streams, first come, first served.
type bucket struct {
	rate int64 // bytes per second
	now  func() time.Time
	turn chan struct{} // holds one while somebody waits for the rate; who comes then queues for it, in order

	mu   sync.Mutex // guards free
	free time.Time  // when everything that was let through is sent, at that rate
}

// burst is how far ahead of the rate an idle bucket lets the first bytes through.
const burst = 100 * time.Millisecond

// newBucket returns nil, which is no limit, if rate is not positive.
func newBucket(rate int64, now func() time.Time) *bucket {
	if rate <= 0 {
		return nil
	}
	return &bucket{rate: rate, now: now, turn: make(chan struct{}, 1)}
}

// wait waits until n bytes may be sent, or reports false once done or gone is closed: then nothing is taken, or one who
// asks much and leaves would make all others wait. waited is for how long.
func (b *bucket) wait(n int, done, gone <-chan struct{}) (waited time.Duration, ok bool) {
	began := b.now()
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-done:
		return b.now().Sub(began), false
	case <-gone:
		return b.now().Sub(began), false
	}
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
