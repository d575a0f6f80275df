//go:build unix

package registry

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// TestFaults fails the n-th operation of disk and log, for every n, both ways:
// not done and reported so, and done but reported as failed. The registry goes
// on in the same process or is opened again; either way all that it ever
// acknowledged is there, and what it did not can be sent again.
func TestFaults(t *testing.T) {
	t.Parallel()
	const together = 8 // rounds wait for checkpoints more than they compute
	var wg sync.WaitGroup
	for _, done := range []bool{false, true} {
		for _, reopen := range []bool{false, true} {
			wg.Go(func() {
				var beyond atomic.Bool
				for n := 1; !beyond.Load(); n += together {
					var round sync.WaitGroup
					for k := n; k < n+together; k++ {
						round.Go(func() {
							t.Run(fmt.Sprintf("n=%d,done=%v,reopen=%v", k, done, reopen), func(t *testing.T) {
								hit := faultRound(t, k, done, reopen)
								if !hit {
									beyond.Store(true)
								}
								if !hit && k < 6 {
									t.Error("so few operations cannot be all")
								}
							})
						})
					}
					round.Wait()
					if t.Failed() {
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// faultRound adds an entry and a name while the n-th operation fails, and
// reports whether it was reached.
func faultRound(t *testing.T, n int, done, reopen bool) bool {
	t.Helper()
	f := &faults{}
	dir := newDir(t)
	s, err := Open(t.Context(), dir, Config{Now: newClock().now, hooks: f.hooks()})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	w := newWriter(seeded(1))
	submit(t, s, w.genesis(t, "a"))
	before := headOf(t, dir)
	entry, genesis := w.note(t, 300), newWriter(seeded(2)).genesis(t, "b")
	f.arm(n, done)
	_, err1 := s.Submit(t.Context(), sub(entry))
	_, err2 := s.Submit(t.Context(), sub(genesis))
	hit, ops := f.stop()
	if hit && err1 == nil && err2 == nil && ops[n-1] != "replace reg.signed" && ops[n-1] != "sync" {
		// The log asks for the signer's record again, and a journal that
		// could not begin anew goes on.
		t.Errorf("%s failed and nobody heard of it", ops[n-1])
	}
	if reopen {
		// Whatever the server still holds is lost, as in a crash, except
		// that its lock is given back.
		s.abandon(f)
		if s, err = Open(t.Context(), dir, Config{Now: newClock().now}); err != nil {
			t.Fatalf("%s: open again: %v", ops, err)
		}
	}
	if err1 == nil {
		if got := check(t, dir, "a")["a"].Size; got != 2 {
			t.Errorf("%s: acknowledged 2 entries, the head shows %d", ops, got)
		}
	}
	if err2 == nil {
		check(t, dir, "b")
	}
	if r := submit(t, s, entry); r.Size != 2 {
		t.Errorf("entry sent again: %+v, want size 2", r)
	}
	submit(t, s, genesis)
	if err := s.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
	headOf(t, dir).continues(t, s, before)
	if got := check(t, dir, "a", "b")["a"]; got.LogRoot() != w.state.LogRoot() {
		t.Errorf("%s: the log of a is not what was signed", ops)
	}
	return hit
}

// abandon stops the server as a crash does: nothing is finished.
func (s *Server) abandon(f *faults) {
	f.crash()
	_ = s.Close() // gives the lock back; the commit in hand fails
}
