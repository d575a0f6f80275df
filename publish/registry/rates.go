//go:build unix

package registry

import (
	"sync"
	"time"
)

// rates limits what one key or address may do in an hour: a bucket each, which
// is full at first and refills steadily. It is safe for concurrent use.
type rates struct {
	perHour float64 // ≤ 0 is unlimited

	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

// maxBuckets bounds the memory of rates: full buckets are forgotten first.
const maxBuckets = 100_000

func newRates(perHour int) *rates {
	return &rates{perHour: float64(perHour), buckets: map[string]bucket{}}
}

// take takes n from the bucket of who, and reports whether so many were left.
func (r *rates) take(who string, n int, now time.Time) bool {
	if r.perHour <= 0 || n == 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.buckets) >= maxBuckets {
		r.forget(now)
	}
	b := r.level(who, now)
	if b.left < float64(n) {
		return false
	}
	b.left -= float64(n)
	r.buckets[who] = b
	return true
}

func (r *rates) level(who string, now time.Time) bucket {
	b, ok := r.buckets[who]
	if !ok {
		return bucket{r.perHour, now}
	}
	if d := now.Sub(b.at); d > 0 {
		b.left = min(r.perHour, b.left+r.perHour*d.Hours())
		b.at = now
	}
	return b
}

func (r *rates) forget(now time.Time) {
	for who := range r.buckets {
		if r.level(who, now).left >= r.perHour {
			delete(r.buckets, who)
		}
	}
	if len(r.buckets) >= maxBuckets { // all in use: start over rather than grow
		clear(r.buckets)
	}
}
