package swarm

import (
	"sync"
	"time"
)

const (
	// rationCopies is how often a pack or part is sent within rationTime to clients that may have it elsewhere.
	rationCopies = 2
	rationTime   = time.Minute
	// rationLeast is from how many bytes on a pack counts: sending less is cheaper for all than asking twice.
	rationLeast = 256 << 10
	// rationMost is how many wants are counted; what comes on top is not rationed.
	rationMost = 100_000
)

// ration counts what was sent of late to those who may have it elsewhere.
type ration struct {
	mu    sync.Mutex // guards what follows
	since time.Time
	sent  map[Want]int
}

// spent says whether enough copies of w were sent.
func (r *ration) spent(w Want, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sent == nil || now.Sub(r.since) >= rationTime {
		r.since, r.sent = now, map[Want]int{}
	}
	return r.sent[w] >= rationCopies
}

// count counts one copy of w, which has size bytes.
func (r *ration) count(w Want, size int64) {
	if w.Scope == Nodes || w.Scope == All && size < rationLeast {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if n, known := r.sent[w]; known || len(r.sent) < rationMost {
		r.sent[w] = n + 1
	}
}
