package p2p

import (
	"sync"
	"time"
)

// bucket shares a number of bytes per second among streams, first come, first served.
type bucket struct {
	rate int64 // bytes per second
	now  func() time.Time

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
	return &bucket{rate: rate, now: now}
}

// wait waits until n bytes may be sent, or reports false once done is closed. waited is for how long.
func (b *bucket) wait(n int, done <-chan struct{}) (waited time.Duration, ok bool) {
	d := b.take(n)
	if d <= 0 {
		select {
		case <-done:
			return 0, false
		default:
			return 0, true
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return d, false
	case <-timer.C:
		return d, true
	}
}

// take lets n bytes through, after the time it returns.
func (b *bucket) take(n int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if idle := now.Add(-burst); b.free.Before(idle) {
		b.free = idle
	}
	b.free = b.free.Add(time.Duration(float64(n) / float64(b.rate) * float64(time.Second)))
	return b.free.Sub(now)
}
