package pubgrub

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// drawWorld draws a registry of up to most packages with up to versions each,
// and a query. It has cycles, packages that depend on themselves, optional
// dependencies, excluded versions, packages without versions and odd orders.
func drawWorld(t *rapid.T, most, versions int) (*world, []Dep) {
	w := &world{}
	n := rapid.IntRange(1, most).Draw(t, "packages")
	dep := rapid.Custom(func(t *rapid.T) Dep {
		lo := rapid.Int32Range(0, int32(versions)-1).Draw(t, "lo")
		hi := rapid.Int32Range(lo, int32(versions)).Draw(t, "hi")
		r := w.interval(span{lo, hi})
		p := rapid.Int32Range(0, int32(n)-1).Draw(t, "pkg")
		return Dep{p, r, rapid.IntRange(0, 5).Draw(t, "optional") == 0}
	})
	for range n {
		k := rapid.IntRange(0, versions).Draw(t, "versions")
		pk := Package{N: int32(k)}
		if rapid.Bool().Draw(t, "ordered") {
			all := make([]int32, k)
			for i := range all {
				all[i] = int32(i)
			}
			pk.Order = rapid.Permutation(all).Draw(t, "order")
		}
		pk.First = rapid.IntRange(0, 9).Draw(t, "first") == 0
		if k > 0 && rapid.IntRange(0, 4).Draw(t, "exclude") == 0 {
			pk.Excluded = []Exclusion{{[]uint64{rapid.Uint64Range(0, 1<<k-1).Draw(t, "excluded")}, 7}, {[]uint64{1}, 8}}
		}
		w.packages = append(w.packages, pk)
		ds := make([][]Dep, k)
		for v := range ds {
			ds[v] = rapid.SliceOfN(dep, 0, 4).Draw(t, "deps")
		}
		w.deps = append(w.deps, ds)
	}
	return w, rapid.SliceOfN(dep, 1, 3).Draw(t, "roots")
}

// interval returns the number of a range.
func (w *world) interval(s span) int32 {
	for i, r := range w.ranges {
		if r[0] == s {
			return int32(i)
		}
	}
	w.ranges = append(w.ranges, []span{s})
	return int32(len(w.ranges) - 1)
}

func (w *world) allows(d Dep, v int32) bool { return member(w.Allowed(d.Pkg, d.Range), v) }

// usable reports whether a version may be chosen as such.
func (w *world) usable(p, v int32) bool {
	for _, e := range w.packages[p].Excluded {
		if member(e.Versions, v) {
			return false
		}
	}
	return true
}

const (
	absent = -1
	open   = -2
)

// plain is a search without any wit: it takes the first package that is needed
// and has no version yet, and tries all its versions.
type plain struct {
	w      *world
	chosen []int32 // version of each package, or open
	needed []int
	limits []Dep // of all that is chosen
	steps  int
}

func (b *plain) fits(p, v int32) bool {
	if !b.w.usable(p, v) {
		return false
	}
	for _, d := range b.limits {
		if d.Pkg == p && !b.w.allows(d, v) {
			return false
		}
	}
	return true
}

// demand adds dependencies, and reports whether what is chosen meets them.
func (b *plain) demand(ds []Dep, by int) bool {
	ok := true
	for _, d := range ds {
		b.limits = append(b.limits, d)
		if !d.Optional {
			b.needed[d.Pkg] += by
		}
		if v := b.chosen[d.Pkg]; v >= 0 && !b.w.allows(d, v) {
			ok = false
		}
	}
	return ok
}

func (b *plain) solve() bool {
	if b.steps++; b.steps > 200_000 {
		panic("the plain search takes too long")
	}
	p := int32(slices.IndexFunc(b.chosen, func(v int32) bool { return v == open }))
	for ; p >= 0 && int(p) < len(b.chosen); p++ {
		if b.chosen[p] == open && b.needed[p] > 0 {
			break
		}
	}
	if p < 0 || int(p) == len(b.chosen) {
		return true
	}
	for v := range b.w.packages[p].N {
		if !b.fits(p, v) {
			continue
		}
		mark := len(b.limits)
		b.chosen[p] = v
		if b.demand(b.w.deps[p][v], 1) && b.solve() {
			return true
		}
		b.limits = b.limits[:mark]
		for _, d := range b.w.deps[p][v] {
			if !d.Optional {
				b.needed[d.Pkg]--
			}
		}
		b.chosen[p] = open
	}
	return false
}

// solvable says whether there is a solution; ok is false if that takes too long.
func (w *world) solvable(roots []Dep) (yes, ok bool) {
	defer func() {
		if recover() != nil {
			yes, ok = false, false
		}
	}()
	b := &plain{w: w, chosen: make([]int32, len(w.packages)), needed: make([]int, len(w.packages))}
	for i := range b.chosen {
		b.chosen[i] = open
	}
	return b.demand(roots, 1) && b.solve(), true
}

// TestSolveAgreesWithPlainSearch compares existence with a search that has no
// wit. Every solution is verified, and so is every proof, whose roots must be
// enough for there to be no solution.
func TestSolveAgreesWithPlainSearch(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 20, 6)
		want, ok := w.solvable(roots)
		if !ok {
			return
		}
		s := New(w)
		cs, err := s.Solve(t.Context(), Query{Roots: roots})
		if want {
			if err == nil {
				err = Verify(t.Context(), w, roots, cs)
			}
			if err != nil {
				rt.Fatalf("Solve = %v, %v; there is a solution", cs, err)
			}
			return
		}
		if !errors.Is(err, ErrUnsatisfiable) {
			rt.Fatalf("Solve = %v, %v; there is no solution", cs, err)
		}
		proof := s.Proof()
		if err := proof.Verify(t.Context(), w, roots); err != nil {
			rt.Fatal(err)
		}
		var core []Dep
		for _, i := range proof.Roots() {
			core = append(core, roots[i])
		}
		if _, err := s.Solve(t.Context(), Query{Roots: core}); !errors.Is(err, ErrUnsatisfiable) {
			rt.Fatalf("Solve of the proof's roots %v: %v", core, err)
		}
	})
}

// TestLearnedIsImplied holds everything learned on the way to an answer against
// all assignments that are solutions.
func TestLearnedIsImplied(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 5, 3)
		s := New(w)
		if _, err := s.Solve(t.Context(), Query{Roots: roots}); err != nil && !errors.Is(err, ErrUnsatisfiable) {
			rt.Fatal(err)
		}
		w.solutions(roots, func(chosen []int32) {
			for id := range s.incompats {
				c := &s.incompats[id]
				if !slices.ContainsFunc(s.termsOf(c), func(u term) bool { return !w.holds(u, chosen) }) {
					rt.Fatalf("incompatibility %d (kind %d) rules out the solution %v", id, c.kind, chosen)
				}
			}
		})
	})
}

// holds reports whether a term is true of an assignment.
func (w *world) holds(t term, chosen []int32) bool {
	v := chosen[t.p]
	if v == absent {
		v = w.packages[t.p].N
	}
	return t.set.has(v)
}

// solutions calls f with all assignments, least or not, that are solutions.
func (w *world) solutions(roots []Dep, f func([]int32)) {
	chosen := make([]int32, len(w.packages))
	var try func(p int)
	try = func(p int) {
		if p == len(chosen) {
			if w.solves(roots, chosen) {
				f(chosen)
			}
			return
		}
		for v := int32(absent); v < w.packages[p].N; v++ {
			chosen[p] = v
			try(p + 1)
		}
	}
	try(0)
}

func (w *world) solves(roots []Dep, chosen []int32) bool {
	met := func(ds []Dep) bool {
		for _, d := range ds {
			if v := chosen[d.Pkg]; v == absent && !d.Optional || v != absent && !w.allows(d, v) {
				return false
			}
		}
		return true
	}
	if !met(roots) {
		return false
	}
	for p, v := range chosen {
		if v != absent && (!w.usable(int32(p), v) || !met(w.deps[p][v])) {
			return false
		}
	}
	return true
}

// TestSolveIsDeterministic permutes everything that has no meaning: the order of
// roots, of dependencies and of ranges, what was asked before, the numbers of
// packages as long as their order stays, and packages nobody needs.
func TestSolveIsDeterministic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 12, 6)
		want, wantErr := New(w).Solve(t.Context(), Query{Roots: roots})
		to := make([]int32, len(w.packages))
		for p := range to {
			to[p] = int32(2*p + 1)
		}
		o, shuffled := w.shuffle(rt, roots, to)
		for i := range want {
			want[i].Pkg = 2*want[i].Pkg + 1
		}
		s := New(o)
		for range 3 {
			got, err := s.Solve(t.Context(), Query{Roots: shuffled})
			if !errors.Is(err, wantErr) || !slices.Equal(got, want) {
				rt.Fatalf("Solve = %v, %v; in another order %v, %v", got, err, want, wantErr)
			}
			p := rapid.Int32Range(0, int32(len(o.packages))-1).Draw(rt, "other")
			if _, err := s.Solve(t.Context(), Query{Roots: []Dep{{Pkg: p, Range: 0}}}); err != nil && !errors.Is(err, ErrUnsatisfiable) {
				rt.Fatal(err)
			}
		}
	})
}

// TestCompareReplacesNumbers gives all packages random numbers and an order that
// follows the old ones: not even the work done is another.
func TestCompareReplacesNumbers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 12, 6)
		plain := New(w)
		want, wantErr := plain.Solve(t.Context(), Query{Roots: roots})
		old := make([]int32, len(w.packages))
		for p := range old {
			old[p] = int32(p)
		}
		old = rapid.Permutation(old).Draw(rt, "numbers")
		to := make([]int32, len(old))
		for p, was := range old {
			to[was] = int32(p)
		}
		o, shuffled := w.shuffle(rt, roots, to)
		compare := func(a, b int32) int { return cmp.Compare(old[a], old[b]) }
		for i := range want {
			want[i].Pkg = to[want[i].Pkg]
		}
		sortChoices(want)
		s := New(o)
		for range 2 {
			got, err := s.Solve(t.Context(), Query{Roots: shuffled, Compare: compare})
			if !errors.Is(err, wantErr) || !slices.Equal(got, want) {
				rt.Fatalf("Solve = %v, %v; with other numbers %v, %v", got, err, want, wantErr)
			}
			if s.Stats() != plain.Stats() {
				rt.Fatalf("took %+v, with other numbers %+v", s.Stats(), plain.Stats())
			}
			if _, err := s.Solve(t.Context(), Query{Roots: shuffled}); !errors.Is(err, wantErr) {
				rt.Fatalf("Solve without Compare: %v, want %v", err, wantErr)
			}
		}
	})
}

// shuffle returns the same registry in another order. Package p becomes to[p];
// numbers between are packages that nobody needs.
func (w *world) shuffle(t *rapid.T, roots []Dep, to []int32) (*world, []Dep) {
	o := &world{ranges: make([][]span, len(w.ranges))}
	for range slices.Max(to) + 1 {
		o.packages, o.deps = append(o.packages, Package{N: 2}), append(o.deps, make([][]Dep, 2))
	}
	at := make([]int32, len(w.ranges))
	for i := range at {
		at[i] = int32(i)
	}
	if len(at) > 0 {
		at = rapid.Permutation(at).Draw(t, "ranges")
	}
	for i, r := range w.ranges {
		o.ranges[at[i]] = r
	}
	list := func(ds []Dep) []Dep {
		if len(ds) == 0 {
			return nil
		}
		out := rapid.Permutation(ds).Draw(t, "deps")
		for i, d := range out {
			out[i] = Dep{to[d.Pkg], at[d.Range], d.Optional}
		}
		return out
	}
	for p, pk := range w.packages {
		ds := make([][]Dep, len(w.deps[p]))
		for v := range ds {
			ds[v] = list(w.deps[p][v])
		}
		o.packages[to[p]], o.deps[to[p]] = pk, ds
	}
	return o, list(roots)
}

// TestWideDomains spreads the versions of a small registry over several words of
// a set and excludes those in between: the answer stays the same.
func TestWideDomains(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 8, 4)
		stride := rapid.SampledFrom([]int32{16, 21, 32, 63, 64, 65}).Draw(rt, "stride")
		want, wantErr := New(w).Solve(t.Context(), Query{Roots: roots})
		for i := range want {
			want[i].Version *= stride
		}
		o := w.spread(stride)
		s := New(o)
		got, err := s.Solve(t.Context(), Query{Roots: roots})
		if !errors.Is(err, wantErr) || !slices.Equal(got, want) {
			rt.Fatalf("Solve = %v, %v; want %v, %v", got, err, want, wantErr)
		}
		if err != nil {
			if err := s.Proof().Verify(t.Context(), o, roots); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// spread makes version v of every package version v*stride.
func (w *world) spread(stride int32) *world {
	o := &world{}
	for _, r := range w.ranges {
		o.ranges = append(o.ranges, []span{{r[0].lo * stride, r[0].hi * stride}})
	}
	for p, pk := range w.packages {
		wide := Package{N: pk.N * stride, First: pk.First}
		ds := make([][]Dep, wide.N)
		not := make([]uint64, wordsFor(wide.N))
		for v := range wide.N {
			if v%stride != 0 || !w.usable(int32(p), v/stride) {
				add(not, v)
			} else {
				ds[v] = w.deps[p][v/stride]
			}
		}
		wide.Excluded = []Exclusion{{not, 1}}
		for i := range wide.N {
			if v := i / stride; pk.Order != nil {
				wide.Order = append(wide.Order, pk.Order[v]*stride+i%stride)
			}
		}
		o.packages, o.deps = append(o.packages, wide), append(o.deps, ds)
	}
	return o
}

// TestFewerDependenciesKeepASolution removes one dependency from a registry that
// has a solution.
func TestFewerDependenciesKeepASolution(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 12, 6)
		if _, err := New(w).Solve(t.Context(), Query{Roots: roots}); err != nil {
			return
		}
		p := rapid.IntRange(0, len(w.deps)-1).Draw(rt, "package")
		if len(w.deps[p]) == 0 {
			return
		}
		v := rapid.IntRange(0, len(w.deps[p])-1).Draw(rt, "version")
		if n := len(w.deps[p][v]); n > 0 {
			i := rapid.IntRange(0, n-1).Draw(rt, "dependency")
			w.deps[p][v] = slices.Delete(w.deps[p][v], i, i+1)
		}
		if _, err := New(w).Solve(t.Context(), Query{Roots: roots}); err != nil {
			rt.Fatalf("Solve: %v; with one dependency more there is a solution", err)
		}
	})
}

// TestStrangersChangeNothing adds packages that nobody reaches and that need
// those that somebody does.
func TestStrangersChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 12, 6)
		plain := New(w)
		want, wantErr := plain.Solve(t.Context(), Query{Roots: roots})
		n := int32(len(w.packages))
		for range rapid.IntRange(1, 5).Draw(rt, "strangers") {
			d := Dep{Pkg: rapid.Int32Range(0, n-1).Draw(rt, "pkg"), Range: 0}
			w.packages = append(w.packages, Package{N: 2, First: true})
			w.deps = append(w.deps, [][]Dep{{d}, {d}})
		}
		s := New(w)
		got, err := s.Solve(t.Context(), Query{Roots: roots})
		if !errors.Is(err, wantErr) || !slices.Equal(got, want) || s.Stats() != plain.Stats() {
			rt.Fatalf("%v, %v, %+v; without strangers %v, %v, %+v", got, err, s.Stats(), want, wantErr, plain.Stats())
		}
	})
}

// TestManyConflicts solves dense registries, a few of which have no
// solution, so that packages with conflicts come before single candidates.
func TestManyConflicts(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	most, solved := 0, 0
	for i := range 400 {
		const n, k = 40, 4
		w := &world{ranges: [][]span{{{0, 3}}, {{1, 4}}, {{0, 1}, {2, 4}}, {{0, 2}, {3, 4}}, {{0, 9}}}}
		for p := range int32(n) {
			ds := make([][]Dep, k)
			for v := range ds {
				for range 2 + r.IntN(4) {
					if q := r.Int32N(n); q != p {
						ds[v] = append(ds[v], Dep{Pkg: q, Range: r.Int32N(5), Optional: r.IntN(3) == 0})
					}
				}
			}
			w.packages, w.deps = append(w.packages, Package{N: k - r.Int32N(2)*r.Int32N(k)}), append(w.deps, ds)
		}
		roots := []Dep{{Pkg: 0, Range: 4}, {Pkg: 1, Range: 4}}
		s := New(w)
		cs, err := s.Solve(t.Context(), Query{Roots: roots})
		most = max(most, s.Stats().Conflicts)
		if i%10 == 0 {
			checked, err2 := New(w).searchChecked(t.Context(), roots)
			if !errors.Is(err2, err) || !slices.Equal(checked, cs) {
				t.Fatalf("%v, %v; want %v, %v", checked, err2, cs, err)
			}
		}
		if err != nil {
			mustFail(t, s, w, roots, err)
			continue
		}
		solved++
		if err := Verify(t.Context(), w, roots, cs); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 400 have a solution, at most %d conflicts", solved, most)
}
