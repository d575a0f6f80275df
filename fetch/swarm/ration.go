package swarm

import (
	"sync"
	"time"
)

const (
	// rationCopies is how often a pack is sent within rationTime to clients that may have it elsewhere.
	rationCopies = 2
	rationTime   = time.Minute
	// rationLeast is from how many bytes on that counts: sending less is cheaper for all than asking twice.
	rationLeast = 256 << 10
	// rationMost is how many wants are counted; what comes on top is not rationed.
	rationMost = 100_000
)

// ration counts what was sent of late.
type ration struct {
	mu    sync.Mutex // guards what follows
	since time.Time
	sent  map[Want]int
}

// take counts one copy of w, and says whether it is to be sent.
func (r *ration) take(w Want, size int64, now time.Time, shared bool) bool {
	if w.Scope == All && size < rationLeast {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent == nil || now.Sub(r.since) >= rationTime {
		r.since, r.sent = now, map[Want]int{}
	}
	n, known := r.sent[w]
	if shared && n >= rationCopies {
		return false
	}
	if known || len(r.sent) < rationMost {
		r.sent[w] = n + 1
	}
	return true
}
