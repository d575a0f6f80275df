package semver

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSetIsASet holds every operation against a map.
func TestSetIsASet(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "n")
		draw := func(label string) (Set, map[int]bool) {
			s, m := NewSet(n), make(map[int]bool)
			for _, i := range rapid.SliceOf(rapid.IntRange(0, n-1)).Draw(t, label) {
				s.Add(i)
				m[i] = true
			}
			return s, m
		}
		a, am := draw("a")
		b, bm := draw("b")
		same := func(op string, got Set, want func(i int) bool) {
			var members []int
			for i := range n {
				if want(i) {
					members = append(members, i)
				}
				if got.Has(i) != want(i) {
					t.Fatalf("%s: Has(%d) = %v", op, i, got.Has(i))
				}
			}
			if !slices.Equal(slices.Collect(got.All()), members) || got.Count() != len(members) || got.Empty() != (len(members) == 0) {
				t.Fatalf("%s: members %v, want %v", op, slices.Collect(got.All()), members)
			}
			low, high := -1, -1
			if len(members) > 0 {
				low, high = members[0], members[len(members)-1]
			}
			if got.Min() != low || got.Max() != high {
				t.Fatalf("%s: from %d to %d, want %d to %d", op, got.Min(), got.Max(), low, high)
			}
		}
		apply := func(op func(Set)) Set {
			s := a.Clone()
			op(s)
			return s
		}
		same("a", a, func(i int) bool { return am[i] })
		same("or", apply(func(s Set) { s.Or(b) }), func(i int) bool { return am[i] || bm[i] })
		same("and", apply(func(s Set) { s.And(b) }), func(i int) bool { return am[i] && bm[i] })
		same("and not", apply(func(s Set) { s.AndNot(b) }), func(i int) bool { return am[i] && !bm[i] })
		same("not", apply(func(s Set) { s.Not(n) }), func(i int) bool { return !am[i] })
		same("full", FullSet(n), func(int) bool { return true })
		from, to := rapid.IntRange(0, n).Draw(t, "from"), rapid.IntRange(0, n).Draw(t, "to")
		in := func(i int) bool { return from <= i && i < to }
		same("range", apply(func(s Set) { s.addRange(from, to) }), func(i int) bool { return am[i] || in(i) })
		same("from", apply(func(s Set) { s.addFrom(b, from, to) }), func(i int) bool { return am[i] || bm[i] && in(i) })
		if i := a.Min(); i >= 0 {
			same("remove", apply(func(s Set) { s.Remove(i) }), func(j int) bool { return am[j] && j != i })
		}
		both := a.Clone()
		both.And(b)
		if a.Intersects(b) == both.Empty() || a.SubsetOf(b) != both.Equal(a) {
			t.Fatalf("intersects %v, subset %v", a.Intersects(b), a.SubsetOf(b))
		}
		if a.Has(-1) || a.Has(n+64) {
			t.Fatal("has what it has no room for")
		}
	})
}
