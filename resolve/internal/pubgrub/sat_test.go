package pubgrub

import (
	"errors"
	"slices"
	"testing"

	"github.com/crillab/gophersat/solver"
	"pgregory.net/rapid"
)

// formula is a registry and a query in clauses: one variable for each version,
// at most one of which is true for each package.
type formula struct {
	w       *world
	first   []int // variable of version 0 of each package
	clauses [][]int
}

func (w *world) formula(roots []Dep) *formula {
	f := &formula{w: w}
	next := 1
	for _, pk := range w.packages {
		f.first = append(f.first, next)
		next += int(pk.N)
	}
	for p, pk := range w.packages {
		for v := range pk.N {
			x := f.version(int32(p), v)
			if !w.usable(int32(p), v) {
				f.clauses = append(f.clauses, []int{-x})
			}
			for u := range v {
				f.clauses = append(f.clauses, []int{-x, -f.version(int32(p), u)})
			}
			for _, d := range w.deps[p][v] {
				f.demand(d, -x)
			}
		}
	}
	for _, d := range roots {
		f.demand(d)
	}
	return f
}

func (f *formula) version(p, v int32) int { return f.first[p] + int(v) }

// demand states that d holds or one of the literals unless does.
func (f *formula) demand(d Dep, unless ...int) {
	either := slices.Clone(unless)
	for v := range f.w.packages[d.Pkg].N {
		if allowed := f.w.allows(d, v); !d.Optional && allowed {
			either = append(either, f.version(d.Pkg, v))
		} else if d.Optional && !allowed {
			f.clauses = append(f.clauses, append(slices.Clone(unless), -f.version(d.Pkg, v)))
		}
	}
	if !d.Optional {
		f.clauses = append(f.clauses, either)
	}
}

// term states that t is true.
func (f *formula) term(t term) {
	n := f.w.packages[t.p].N
	var either []int
	for v := range n {
		if absent := t.set.has(n); !absent && t.set.has(v) {
			either = append(either, f.version(t.p, v))
		} else if absent && !t.set.has(v) {
			f.clauses = append(f.clauses, []int{-f.version(t.p, v)})
		}
	}
	if !t.set.has(n) {
		f.clauses = append(f.clauses, either)
	}
}

func (f *formula) satisfiable() bool {
	pb := solver.ParseSlice(f.clauses)
	return pb.Status != solver.Unsat && solver.New(pb).Solve() == solver.Sat
}

// TestSolveAgreesWithSAT compares existence with a solver of another kind, which
// also checks that the roots a proof names have no solution by themselves.
func TestSolveAgreesWithSAT(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawWorld(rt, 20, 6)
		want := w.formula(roots).satisfiable()
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
		var core []Dep
		for _, i := range s.Proof().Roots() {
			core = append(core, roots[i])
		}
		if w.formula(core).satisfiable() {
			rt.Fatalf("the proof's roots %v of %v have a solution", core, roots)
		}
	})
}

// TestLearnedIsImpliedBySAT holds what was learned on the way to an answer
// against the facts: with all its terms true there is no solution.
func TestLearnedIsImpliedBySAT(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawDense(rt)
		s := New(w)
		if _, err := s.Solve(t.Context(), Query{Roots: roots}); err != nil && !errors.Is(err, ErrUnsatisfiable) {
			rt.Fatal(err)
		}
		f := w.formula(roots)
		facts := f.clauses
		for id := range s.incompats {
			c := &s.incompats[id]
			if c.kind != Derived {
				continue
			}
			f.clauses = facts[:len(facts):len(facts)]
			for _, u := range s.termsOf(c) {
				f.term(u)
			}
			if f.satisfiable() {
				rt.Fatalf("incompatibility %d (%v) does not follow from the registry", id, s.termsOf(c))
			}
		}
	})
}

// drawDense draws a registry of 20 packages with narrow ranges: a search meets
// many conflicts, and learns incompatibilities of many terms.
func drawDense(t *rapid.T) (*world, []Dep) {
	const n, k = 20, 4
	w := &world{ranges: [][]span{{{0, 3}}, {{1, 4}}, {{0, 1}, {2, 4}}, {{0, 2}, {3, 4}}, {{0, 9}}, {{1, 2}}}}
	dep := rapid.Custom(func(t *rapid.T) Dep {
		return Dep{
			Pkg:      rapid.Int32Range(0, n-1).Draw(t, "pkg"),
			Range:    rapid.Int32Range(0, 5).Draw(t, "range"),
			Optional: rapid.IntRange(0, 3).Draw(t, "optional") == 0,
		}
	})
	for range n {
		w.packages = append(w.packages, Package{N: k})
		ds := make([][]Dep, k)
		for v := range ds {
			ds[v] = rapid.SliceOfN(dep, 2, 5).Draw(t, "deps")
		}
		w.deps = append(w.deps, ds)
	}
	return w, []Dep{{Pkg: 0, Range: 4}, {Pkg: 1, Range: 4}}
}
