package tracker

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// maxBuckets bounds the memory of rates: full buckets are forgotten first.
const maxBuckets = 16_384

// bucket is how many announcements are left. It is full at first and refills steadily in an hour.
type bucket struct {
	left float64
	at   time.Time
}

func newBucket(perHour int, now time.Time) bucket { return bucket{float64(perHour), now} }

// level refills the bucket.
func (b *bucket) level(perHour int, now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.left = min(float64(perHour), b.left+float64(perHour)*d.Hours())
		b.at = now
	}
}

// take takes one, and reports whether one was left.
func (b *bucket) take(perHour int, now time.Time) bool {
	if perHour < 0 {
		return true
	}
	b.level(perHour, now)
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// rates are the buckets of networks. It is safe for concurrent use.
type rates struct {
	perHour int

	mu      sync.Mutex
	buckets map[netip.Prefix]bucket
}

func newRates(perHour int) *rates {
	return &rates{perHour: perHour, buckets: map[netip.Prefix]bucket{}}
}

func (r *rates) take(who netip.Prefix, now time.Time) bool {
	if r.perHour < 0 {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	b, ok := r.buckets[who]
	if !ok {
		if len(r.buckets) >= maxBuckets {
			r.forget(now)
		}
		b = newBucket(r.perHour, now)
	}
	ok = b.take(r.perHour, now)
	r.buckets[who] = b
	return ok
}

func (r *rates) forget(now time.Time) {
	for who, b := range r.buckets {
		if b.level(r.perHour, now); b.left >= float64(r.perHour) {
			delete(r.buckets, who)
		}
	}
	if len(r.buckets) >= maxBuckets { // all in use: start over rather than grow
		clear(r.buckets)
	}
}

// gate bounds the announcements that are read at a time, each of which holds memory, and the part of one network in
// them, so that one that sends slowly does not stop the others. It is safe for concurrent use.
type gate struct {
	limit int

	mu  sync.Mutex
	all int
	by  map[netip.Prefix]int
}

func (g *gate) enter(who netip.Prefix) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= g.limit || g.by[who] >= max(1, g.limit/4) {
		return false
	}
	g.all++
	g.by[who]++
	return true
}

func (g *gate) leave(who netip.Prefix) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.by[who]--; g.by[who] == 0 {
		delete(g.by, who)
	}
}

// RefusedError is an announcement or question that the tracker turned down.
type RefusedError struct {
	Status int           // of HTTP
	Reason string        // one line
	Help   string        // what to do about it; may be empty
	After  time.Duration // for 429 and 503: when to try again; 0 is unknown
}

func (e *RefusedError) Error() string {
	if e.Help != "" {
		return e.Reason + ": " + e.Help
	}
	return e.Reason
}

func refuse(status int, help, format string, a ...any) *RefusedError {
	return &RefusedError{Status: status, Reason: fmt.Sprintf(format, a...), Help: help}
}

func tooMany(what string, perHour int) *RefusedError {
	e := refuse(http.StatusTooManyRequests, "announce less often", "more than %d %s in an hour", perHour, what)
	e.After = max(time.Second, (time.Hour / time.Duration(max(1, perHour))).Round(time.Second))
	return e
}
