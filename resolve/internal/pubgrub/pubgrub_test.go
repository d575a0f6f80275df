package pubgrub

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// chain is a registry in which package i needs package i+1, and the last one
// needs what the end says.
func chain(n int32, end []Dep) *world {
	w := &world{ranges: [][]span{{{0, 1 << 20}}, {}}}
	for p := range n {
		ds := []Dep{{Pkg: p + 1}}
		if p == n-1 {
			ds = end
		}
		w.packages = append(w.packages, Package{N: 2})
		w.deps = append(w.deps, [][]Dep{ds, ds})
	}
	return w
}

// TestALongChain solves a chain of 100,000 packages, with one candidate each or
// two, and proves that one whose end is missing has no solution.
func TestALongChain(t *testing.T) {
	t.Parallel()
	n := int32(100_000)
	if slow {
		n /= 5
	}
	roots := []Dep{{Pkg: 0}}
	for _, versions := range []int32{1, 2} {
		w := chain(n, nil)
		for p := range w.packages {
			w.packages[p].N = versions
			w.deps[p] = w.deps[p][:versions]
		}
		s := New(w)
		cs, err := s.Solve(t.Context(), Query{Roots: roots})
		if err != nil || len(cs) != int(n) {
			t.Fatalf("Solve: %d packages, %v; want %d", len(cs), err, n)
		}
		if err := Verify(t.Context(), w, roots, cs); err != nil {
			t.Fatal(err)
		}
		for v := range w.deps[n-1] {
			w.deps[n-1][v] = []Dep{{Pkg: 0, Range: 1}}
		}
		s = New(w)
		_, err = s.Solve(t.Context(), Query{Roots: roots})
		mustFail(t, s, w, roots, err)
		t.Logf("%d nodes to prove it, %+v", len(s.Proof().Nodes), s.Stats())
	}
}

// pigeons is a registry without a solution that takes time to see: n packages
// need a hole each, there are n-1 holes, and no hole takes two.
func pigeons(n int32) (*world, []Dep) {
	w := &world{ranges: [][]span{{{0, n}}}}
	var roots []Dep
	hole := func(p, h int32) int32 { return n + h*n + p }
	for p := range n {
		roots = append(roots, Dep{Pkg: p})
		var ds [][]Dep
		for h := range n - 1 {
			ds = append(ds, []Dep{{Pkg: hole(p, h)}})
		}
		w.packages = append(w.packages, Package{N: n - 1})
		w.deps = append(w.deps, ds)
	}
	none := int32(len(w.ranges))
	w.ranges = append(w.ranges, nil)
	for h := range n - 1 {
		for p := range n {
			var ds []Dep
			for q := range n {
				if q != p {
					ds = append(ds, Dep{Pkg: hole(q, h), Range: none, Optional: true})
				}
			}
			w.packages = append(w.packages, Package{N: 1})
			w.deps = append(w.deps, [][]Dep{ds})
		}
	}
	return w, roots
}

// TestBudgetIsCountedInConflicts gives a query one conflict less than it needs.
func TestBudgetIsCountedInConflicts(t *testing.T) {
	t.Parallel()
	w, roots := pigeons(6)
	s := New(w)
	_, err := s.Solve(t.Context(), Query{Roots: roots})
	mustFail(t, s, w, roots, err)
	n := s.Stats().Conflicts
	if _, err := s.Solve(t.Context(), Query{Roots: roots, Budget: n}); !errors.Is(err, ErrUnsatisfiable) {
		t.Errorf("Solve with a budget of %d: %v, want %v", n, err, ErrUnsatisfiable)
	}
	_, err = s.Solve(t.Context(), Query{Roots: roots, Budget: n - 1})
	if e, ok := errors.AsType[*BudgetError](err); !ok || e.Conflicts != n-1 || e.Package < 0 {
		t.Errorf("Solve with a budget of %d: %v, want a *BudgetError", n-1, err)
	}
	if s.Proof() != nil {
		t.Error("there is a proof of a query that was given up")
	}
}

// TestOptionalConstrainsOnlyWhatIsPresent pins the rule for optional
// dependencies, for one met before and one met after its package is chosen.
func TestOptionalConstrainsOnlyWhatIsPresent(t *testing.T) {
	t.Parallel()
	w := &world{
		packages: []Package{{N: 1}, {N: 3}, {N: 1}},
		ranges:   [][]span{{{0, 9}}, {{0, 2}}},
		deps: [][][]Dep{
			{{{Pkg: 1, Range: 1, Optional: true}}},
			make([][]Dep, 3),
			{{{Pkg: 1}}},
		},
	}
	for _, c := range []struct {
		roots []Dep
		want  string
	}{
		{[]Dep{{Pkg: 0}}, "0:0"},
		{[]Dep{{Pkg: 0}, {Pkg: 1}}, "0:0 1:1"},
		{[]Dep{{Pkg: 2}}, "1:2 2:0"},
		{[]Dep{{Pkg: 0}, {Pkg: 2}}, "0:0 1:1 2:0"},
		{[]Dep{{Pkg: 0, Optional: true}}, ""},
		{nil, ""},
	} {
		cs, err := New(w).Solve(t.Context(), Query{Roots: c.roots})
		if got := show(cs); err != nil || got != c.want {
			t.Errorf("Solve(%v) = %q, %v; want %q", c.roots, got, err, c.want)
		}
	}
}

// TestFirstGetsItsBestVersion has two packages that cannot both have their best
// version.
func TestFirstGetsItsBestVersion(t *testing.T) {
	t.Parallel()
	w := &world{
		packages: []Package{{N: 2}, {N: 2}},
		ranges:   [][]span{{{0, 9}}, {{0, 1}}},
		deps:     [][][]Dep{{nil, {{Pkg: 1, Range: 1}}}, {nil, nil}},
	}
	for _, c := range []struct {
		first []bool
		want  string
	}{
		{[]bool{false, false}, "0:1 1:0"},
		{[]bool{false, true}, "0:0 1:1"},
		{[]bool{true, true}, "0:1 1:0"},
	} {
		for p := range w.packages {
			w.packages[p].First = c.first[p]
		}
		cs, err := New(w).Solve(t.Context(), Query{Roots: []Dep{{Pkg: 0}, {Pkg: 1}}})
		if got := show(cs); err != nil || got != c.want {
			t.Errorf("with First %v: %q, %v; want %q", c.first, got, err, c.want)
		}
	}
	s := New(w)
	if _, err := s.Solve(t.Context(), Query{Roots: []Dep{{Pkg: 0}, {Pkg: 1}}}); err != nil {
		t.Fatal(err)
	}
	first, other := s.vars[1], s.vars[0]
	other.first, other.conflicts = false, 1<<40
	if first.priority() >= other.priority() {
		t.Error("conflicts count more than First")
	}
}

// TestCompareBreaksTies has two packages that are discovered together and cannot
// both have their best version.
func TestCompareBreaksTies(t *testing.T) {
	t.Parallel()
	w := &world{
		packages: []Package{{N: 1}, {N: 2}, {N: 2}},
		ranges:   [][]span{{{0, 9}}, {{0, 1}}},
		deps:     [][][]Dep{{{{Pkg: 1}, {Pkg: 2}}}, {nil, {{Pkg: 2, Range: 1}}}, {nil, nil}},
	}
	down := func(a, b int32) int { return cmp.Compare(b, a) }
	equal := func(_, _ int32) int { return 0 }
	s := New(w)
	for _, roots := range [][]Dep{{{Pkg: 0}}, {{Pkg: 1}, {Pkg: 2}, {Pkg: 0}}} {
		for _, c := range []struct {
			name    string
			compare func(a, b int32) int
			want    string
		}{
			{"nil", nil, "0:0 1:1 2:0"},
			{"down", down, "0:0 1:0 2:1"},
			{"equal", equal, "0:0 1:1 2:0"},
		} {
			cs, err := s.Solve(t.Context(), Query{Roots: roots, Compare: c.compare})
			if got := show(cs); err != nil || got != c.want {
				t.Errorf("Solve(%v) by %s = %q, %v; want %q", roots, c.name, got, err, c.want)
			}
		}
	}
}

// TestProofNamesFacts shows the three kinds of facts with what they carry.
func TestProofNamesFacts(t *testing.T) {
	t.Parallel()
	w := &world{
		packages: []Package{{N: 2}, {N: 1, Excluded: []Exclusion{{[]uint64{1}, 42}}}},
		ranges:   [][]span{{{0, 9}}},
		deps:     [][][]Dep{{{{Pkg: 1}}, {{Pkg: 1}}}, {nil}},
	}
	roots := []Dep{{Pkg: 0}}
	s := New(w)
	_, err := s.Solve(t.Context(), Query{Roots: roots})
	mustFail(t, s, w, roots, err)
	var kinds []Kind
	for _, n := range s.Proof().Nodes {
		kinds = append(kinds, n.Kind)
		if n.Kind == External && (n.Reason != 42 || n.Pkg != 1) {
			t.Errorf("exclusion of package %d for reason %d, want 1 and 42", n.Pkg, n.Reason)
		}
		if n.Kind == Dependency && n.Terms[0].Count() != 2 {
			t.Errorf("dependency of %d versions, want both in one", n.Terms[0].Count())
		}
	}
	if want := []Kind{Root, External, Dependency, Derived, Derived}; !slices.Equal(kinds, want) {
		t.Errorf("kinds %v, want %v", kinds, want)
	}
}

// TestVerifyRefuses lists wrong solutions.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	w := &world{
		packages: []Package{{N: 2}, {N: 2, Excluded: []Exclusion{{[]uint64{2}, 0}}}, {N: 1}},
		ranges:   [][]span{{{0, 9}}, {{1, 9}}},
		deps:     [][][]Dep{{nil, {{Pkg: 1}}}, {nil, nil}, {nil}},
	}
	roots := []Dep{{Pkg: 0, Range: 1}}
	for _, c := range []struct {
		choices []Choice
		want    string
	}{
		{[]Choice{{0, 1}, {1, 0}}, ""},
		{nil, "needs package 0"},
		{[]Choice{{0, 1}}, "needs package 1"},
		{[]Choice{{0, 0}}, "does not allow version 0"},
		{[]Choice{{0, 2}}, "has no version 2"},
		{[]Choice{{0, 1}, {1, 1}}, "excluded"},
		{[]Choice{{0, 1}, {1, 0}, {2, 0}}, "nothing needs package 2"},
		{[]Choice{{1, 0}, {0, 1}}, "comes after"},
		{[]Choice{{0, 1}, {0, 1}, {1, 0}}, "comes after"},
	} {
		err := Verify(t.Context(), w, roots, c.choices)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("Verify(%v) = %v, want %q", c.choices, err, c.want)
		}
	}
}

// TestProofVerifyRefuses flips each bit of each term of a proof: facts that say
// more than is true are refused, and so is a step that does not follow.
func TestProofVerifyRefuses(t *testing.T) {
	t.Parallel()
	w, roots := pigeons(3)
	s := New(w)
	_, err := s.Solve(t.Context(), Query{Roots: roots})
	mustFail(t, s, w, roots, err)
	flips, refused := 0, 0
	p := s.Proof()
	for i, n := range p.Nodes {
		for _, u := range n.Terms {
			for v := range u.N + 1 {
				u.set[v>>6] ^= 1 << (v & 63)
				flips++
				if p.Verify(t.Context(), w, roots) != nil {
					refused++
				} else if n.Kind != Dependency && n.Kind != Derived {
					t.Errorf("node %d: a root or exclusion that says something else is accepted", i)
				}
				u.set[v>>6] ^= 1 << (v & 63)
			}
		}
	}
	if refused*2 < flips {
		t.Errorf("%d of %d flips refused", refused, flips)
	}
	p.Nodes = p.Nodes[:len(p.Nodes)-1]
	if p.Verify(t.Context(), w, roots) == nil {
		t.Error("a proof without its end is accepted")
	}
}

// failing is a registry whose n-th question fails.
type failing struct {
	*world
	left int
}

var errAsked = errors.New("asked")

func (f *failing) ask() error {
	if f.left--; f.left == 0 {
		return errAsked
	}
	return nil
}

func (f *failing) Prefetch(context.Context, []int32) error { return f.ask() }

func (f *failing) Package(ctx context.Context, p int32) (Package, error) {
	if err := f.ask(); err != nil {
		return Package{}, err
	}
	return f.world.Package(ctx, p)
}

func (f *failing) Deps(ctx context.Context, p, v int32) ([]Dep, error) {
	if err := f.ask(); err != nil {
		return nil, err
	}
	return f.world.Deps(ctx, p, v)
}

// TestRegistryErrorsEndTheQuery fails the first question, the second, and so on.
// After the failure the same solver answers as if nothing had happened.
func TestRegistryErrorsEndTheQuery(t *testing.T) {
	t.Parallel()
	w := chain(5, nil)
	want, err := New(w).Solve(t.Context(), Query{Roots: []Dep{{Pkg: 0}}})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		f := &failing{w, n}
		s := New(f)
		_, err := s.Solve(t.Context(), Query{Roots: []Dep{{Pkg: 0}}})
		if err == nil {
			if n < 15 {
				t.Errorf("only %d questions", n-1)
			}
			return
		}
		if !errors.Is(err, errAsked) {
			t.Fatalf("question %d: %v", n, err)
		}
		if got, err := s.Solve(t.Context(), Query{Roots: []Dep{{Pkg: 0}}}); err != nil || !slices.Equal(got, want) {
			t.Fatalf("after question %d failed: %v, %v; want %v", n, got, err, want)
		}
	}
}

// TestSolveStopsWithItsContext cancels before the start.
func TestSolveStopsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(chain(3, nil)).Solve(ctx, Query{Roots: []Dep{{Pkg: 0}}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Solve: %v, want %v", err, context.Canceled)
	}
}

// impatient is a context that ends when it is looked at for the n-th time.
type impatient struct {
	context.Context
	left int
}

func (c *impatient) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestSolveLooksAtItsContext ends the context at the first look, the second, and
// so on. There is one look for a bounded amount of work, be it many packages, many
// dependencies of one, or many conflicts, and afterwards the solver still answers.
func TestSolveLooksAtItsContext(t *testing.T) {
	t.Parallel()
	size := int32(40_000)
	if slow {
		size /= 4
	}
	wide := chain(1, nil)
	for p := range size {
		wide.deps[0][1] = append(wide.deps[0][1], Dep{Pkg: p + 1})
		wide.packages, wide.deps = append(wide.packages, Package{N: 1}), append(wide.deps, make([][]Dep, 1))
	}
	hard, many := pigeons(6)
	for _, c := range []struct {
		name  string
		w     *world
		roots []Dep
		looks int32 // at least
	}{
		{"wide", wide, []Dep{{Pkg: 0}}, 4 * size / patience},
		{"long", chain(size, nil), []Dep{{Pkg: 0}}, 4 * size / patience},
		{"long without an end", chain(size, []Dep{{Pkg: 0, Range: 1}}), []Dep{{Pkg: 0}}, 8 * size / patience},
		{"hard", hard, many, 10_000 / patience},
	} {
		s := New(c.w)
		want, wantErr := s.Solve(t.Context(), Query{Roots: c.roots})
		n := int32(0)
		for ; ; n++ {
			_, err := s.Solve(&impatient{t.Context(), int(n)}, Query{Roots: c.roots})
			if errors.Is(err, wantErr) {
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: Solve: %v at look %d, want %v", c.name, err, n, context.Canceled)
			}
		}
		if n < c.looks {
			t.Errorf("%s: %d looks at the context, want %d", c.name, n, c.looks)
		}
		got, err := s.Solve(t.Context(), Query{Roots: c.roots})
		if !errors.Is(err, wantErr) || !slices.Equal(got, want) {
			t.Errorf("%s: %d choices, %v after the context had ended; want %d, %v", c.name, len(got), err, len(want), wantErr)
		}
		t.Logf("%s: %d looks", c.name, n)
	}
}

// generated is a registry of n packages with k versions each. Every version has
// about five dependencies. The ranges of a hidden solution hold that solution;
// those of all other versions begin a little below their own number, except that
// one in odds, if that is not 0, is a trap: three versions anywhere.
func generated(n, k, odds int32) *world {
	r := rand.New(rand.NewPCG(1, 2))
	w := &world{}
	for lo := range k {
		for _, size := range []int32{16, 30, k} {
			w.ranges = append(w.ranges, []span{{lo, lo + size}})
		}
	}
	for lo := range k {
		w.ranges = append(w.ranges, []span{{lo, lo + 3}})
	}
	hidden := make([]int32, n)
	for p := range hidden {
		hidden[p] = k - 1 - r.Int32N(5)
	}
	for p := range n {
		targets := []int32{(p + 1) % n}
		for range 4 {
			targets = append(targets, r.Int32N(n))
		}
		slices.Sort(targets)
		targets = slices.Compact(targets)
		ds := make([][]Dep, k)
		for v := range ds {
			for _, d := range targets {
				at := int32(v)
				if at == hidden[p] {
					at = hidden[d]
				}
				rg := 3*max(0, at-10-r.Int32N(3)) + r.Int32N(3)
				if odds > 0 && int32(v) != hidden[p] && r.Int32N(odds) == 0 {
					rg = 3*k + r.Int32N(k)
				}
				ds[v] = append(ds[v], Dep{Pkg: d, Range: rg})
			}
		}
		w.packages, w.deps = append(w.packages, Package{N: k}), append(w.deps, ds)
	}
	return w
}
