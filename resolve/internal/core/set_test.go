package core

import (
	"testing"

	"pgregory.net/rapid"
)

// TestSetRuns puts sets together from their intervals, at sizes around a word's.
func TestSetRuns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int32{0, 1, 5, 62, 63, 64, 65, 127, 128, 129}).Draw(t, "n")
		s := empty(n)
		for _, v := range rapid.SliceOf(rapid.Int32Range(0, n)).Draw(t, "members") {
			s.add(v)
		}
		whole, runs := empty(n), s.runs(n)
		for _, r := range runs {
			if r.none() || !r.disjoint(whole) {
				t.Fatalf("runs of %x are %x", s, runs)
			}
			whole = whole.or(r)
		}
		if s.has(n) {
			whole.add(n)
		}
		if !whole.within(s) || !s.within(whole) {
			t.Errorf("the runs of %x are %x together", s, whole)
		}
		if got, want := s.ragged(n), len(runs) > 2; got != want {
			t.Errorf("%x is ragged: %v, want %v", s, got, want)
		}
		if all := domain(n); all.size() != int(n)+1 || !s.within(all) || !all.minus(s).disjoint(s) {
			t.Errorf("%x is not within %x", s, all)
		}
	})
}
