package core_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pkg/resolve/internal/core"
	"pkg/resolve/internal/pubgrub"
)

// drawGraph draws a registry with cycles, packages that depend on themselves,
// optional dependencies, excluded versions and packages without versions, and a
// query.
func drawGraph(t *rapid.T) (*graph, []pubgrub.Dep) {
	const most = 5
	g := newGraph()
	n := rapid.IntRange(1, 9).Draw(t, "packages")
	for i := range n {
		g.id(fmt.Sprint(i))
	}
	dep := rapid.Custom(func(t *rapid.T) pubgrub.Dep {
		lo := rapid.IntRange(0, most-1).Draw(t, "lo")
		hi := rapid.IntRange(lo, most).Draw(t, "hi")
		p := rapid.IntRange(0, n-1).Draw(t, "pkg")
		d := g.dep(fmt.Sprintf("%d %d-%d", p, lo, hi))
		d.Optional = rapid.IntRange(0, 5).Draw(t, "optional") == 0
		return d
	})
	for p := range n {
		k := rapid.IntRange(0, most).Draw(t, "versions")
		g.packages[p].N = int32(k)
		if k > 0 && rapid.IntRange(0, 4).Draw(t, "exclude") == 0 {
			g.packages[p].Excluded = []pubgrub.Exclusion{
				{Versions: []uint64{rapid.Uint64Range(0, 1<<k-1).Draw(t, "excluded")}, Reason: 7}, {Versions: []uint64{1}, Reason: 8},
			}
		}
		for range k {
			g.deps[p] = append(g.deps[p], rapid.SliceOfN(dep, 0, 4).Draw(t, "deps"))
		}
	}
	return g, rapid.SliceOfN(dep, 1, 5).Draw(t, "roots")
}

// solvable asks the solver, whose own tests compare it with a plain search.
func solvable(t *rapid.T, g *graph, roots []pubgrub.Dep) bool {
	t.Helper()
	_, err := pubgrub.New(g).Solve(t.Context(), pubgrub.Query{Roots: roots})
	if err != nil && !errors.Is(err, pubgrub.ErrUnsatisfiable) {
		t.Fatal(err)
	}
	return err == nil
}

// without returns roots but for the one at i.
func without(roots []pubgrub.Dep, i int) []pubgrub.Dep {
	return slices.Delete(slices.Clone(roots), i, i+1)
}

// TestExplainIsRight verifies explanations and that their roots cannot be fewer.
func TestExplainIsRight(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		g, roots := drawGraph(rt)
		want := solvable(rt, g, roots)
		ex, err := core.Explain(rt.Context(), g, pubgrub.Query{Roots: roots})
		if want {
			if !errors.Is(err, core.ErrSatisfiable) {
				rt.Fatalf("Explain: %v, but there is a solution", err)
			}
			return
		}
		if err != nil {
			rt.Fatal(err)
		}
		if err := core.Verify(rt.Context(), g, roots, ex); err != nil {
			rt.Fatal(err)
		}
		var few []pubgrub.Dep
		for _, i := range ex.Core {
			few = append(few, roots[i])
		}
		if solvable(rt, g, few) {
			rt.Fatalf("roots %v alone have a solution", ex.Core)
		}
		for i := range few {
			if !solvable(rt, g, without(few, i)) {
				rt.Fatalf("of roots %v, the one at %d is not needed", ex.Core, i)
			}
		}
	})
}

// TestFallbacksAreRight verifies what Explain returns if it finds nothing better.
func TestFallbacksAreRight(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		g, roots := drawGraph(rt)
		if solvable(rt, g, roots) {
			return
		}
		exs, err := core.Literally(rt.Context(), g, pubgrub.Query{Roots: roots})
		if err != nil {
			rt.Fatal(err)
		}
		for _, ex := range exs {
			if err := core.Verify(rt.Context(), g, roots, ex); err != nil {
				rt.Fatalf("%v:\n%s", err, g.tell(ex))
			}
		}
	})
}

// shuffled returns g and roots with packages, roots and dependencies in another
// order.
func shuffled(t *rapid.T, g *graph, roots []pubgrub.Dep) (*graph, []pubgrub.Dep) {
	names := rapid.Permutation(g.names).Draw(t, "names")
	out := newGraph()
	for _, name := range names {
		out.id(name)
	}
	out.ranges = g.ranges
	move := func(ds []pubgrub.Dep) []pubgrub.Dep {
		ds = slices.Clone(ds)
		for i := range ds {
			ds[i].Pkg = out.id(g.names[ds[i].Pkg])
		}
		if len(ds) == 0 {
			return nil
		}
		return rapid.Permutation(ds).Draw(t, "deps")
	}
	for p, name := range g.names {
		q := out.id(name)
		out.packages[q] = g.packages[p]
		for _, ds := range g.deps[p] {
			out.deps[q] = append(out.deps[q], move(ds))
		}
	}
	return out, move(roots)
}

// tell writes an explanation in names, so that it does not depend on numbers or
// on the order of roots.
func (g *graph) tell(ex *core.Explanation) string {
	var b strings.Builder
	for i, n := range ex.Nodes {
		fmt.Fprintf(&b, "%d kind %d: %s from %v\n", i, n.Kind, g.terms(n.Terms), n.Premises)
	}
	return b.String()
}

// TestExplainIsDeterministic promises the same explanation for any order of
// roots, of dependencies and of the numbers of packages.
func TestExplainIsDeterministic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		g, roots := drawGraph(rt)
		if solvable(rt, g, roots) {
			return
		}
		h, moved := shuffled(rt, g, roots)
		tell := func(g *graph, roots []pubgrub.Dep) string {
			byName := func(a, b int32) int { return cmp.Compare(g.names[a], g.names[b]) }
			ex, err := core.Explain(rt.Context(), g, pubgrub.Query{Roots: roots, Compare: byName})
			if err != nil {
				rt.Fatal(err)
			}
			return g.tell(ex)
		}
		a, b := tell(g, roots), tell(h, moved)
		if a != b {
			rt.Fatalf("one order:\n%sanother one:\n%s", a, b)
		}
	})
}

// TestVerifyRefuses changes explanations, none of which may be accepted if the
// change makes a node say more than before.
func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		g, roots := drawGraph(rt)
		if solvable(rt, g, roots) {
			return
		}
		ex, err := core.Explain(rt.Context(), g, pubgrub.Query{Roots: roots})
		if err != nil {
			rt.Fatal(err)
		}
		i := rapid.IntRange(0, len(ex.Nodes)-1).Draw(rt, "node")
		if n := &ex.Nodes[i]; n.Kind == pubgrub.Derived {
			n.Premises = n.Premises[:len(n.Premises)-1]
		} else if k := rapid.IntRange(0, len(n.Terms)).Draw(rt, "term"); k < len(n.Terms) {
			tm := n.Terms[k]
			if tm.Count() == int(tm.N) {
				return
			}
			n.Terms[k] = pubgrub.NewTerm(tm.Pkg, tm.N, everything(tm.N), tm.Absent())
			if n.Pkg != n.Target && (k == 0) == (n.Terms[0].Pkg == n.Pkg) && n.Kind == pubgrub.Dependency {
				return // more versions may have the dependency
			}
			if n.Kind == pubgrub.Dependency && n.Pkg == n.Target {
				return // more versions may rule themselves out
			}
		} else {
			n.Root, n.Reason = 99, 99
			n.Kind = pubgrub.Root
		}
		if err := core.Verify(rt.Context(), g, roots, ex); err == nil {
			rt.Fatalf("Verify accepts a change of node %d:\n%s", i, g.tell(ex))
		}
	})
}

func everything(n int32) []uint64 {
	out := make([]uint64, n/64+1)
	for i := range out {
		out[i] = ^uint64(0)
	}
	return out
}
