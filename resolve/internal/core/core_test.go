package core_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pkg/resolve/internal/core"
	"pkg/resolve/internal/pubgrub"
)

// story explains why roots, each a line "name ranges", have no solution in a
// graph, and returns its facts as sorted lines and the number of derived nodes.
func story(t *testing.T, text string, roots ...string) (facts string, derived int, ex *core.Explanation) {
	t.Helper()
	g := parse(text)
	var ds []pubgrub.Dep
	for _, r := range roots {
		ds = append(ds, g.dep(r))
	}
	ex, err := core.Explain(t.Context(), g, pubgrub.Query{Roots: ds})
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Verify(t.Context(), g, ds, ex); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, n := range ex.Nodes {
		switch n.Kind {
		case pubgrub.Root:
			lines = append(lines, fmt.Sprintf("root %d: not %s", n.Root, g.terms(n.Terms)))
		case pubgrub.Dependency:
			lines = append(lines, fmt.Sprintf("%s on %s: not %s", g.names[n.Pkg], g.names[n.Target], g.terms(n.Terms)))
		case pubgrub.External, pubgrub.Derived:
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), ex.Derived(), ex
}

// module writes a package whose n versions all have the same dependencies; "%d"
// in one is the version.
func module(name string, n int, deps ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "P %s %d\n", name, n)
	for v := range n {
		fmt.Fprintf(&b, "V %d\n", v)
		for _, d := range deps {
			d = strings.ReplaceAll(d, "%d+1", fmt.Sprint(v+1))
			fmt.Fprintf(&b, "D %s\n", strings.ReplaceAll(d, "%d", fmt.Sprint(v)))
		}
	}
	return b.String()
}

// TestExplainInFewFacts has one case for each shape of conflict.
func TestExplainInFewFacts(t *testing.T) {
	t.Parallel()
	chain := func(n int) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(module(fmt.Sprintf("c%d", i), 20, fmt.Sprintf("c%d 0-20", i+1)))
		}
		return b.String()
	}
	for _, c := range []struct {
		name, graph string
		roots       []string
		want        string
		derived     int
	}{
		{
			"two roots that need different versions of a shared package",
			module("a", 40, "s 0-1") + module("b", 40, "s 1-2") + module("s", 2) + module("z", 3),
			[]string{"a 0-40", "b 0-40", "z 0-3"},
			"a on s: not a{all} s{1,absent}\nb on s: not b{all} s{0,absent}\nroot 0: not a{absent}\nroot 1: not b{absent}", 3,
		},
		{
			"versions that pin another package to themselves",
			module("rails", 300, "activesupport %d-%d+1", "rack 0-9") + module("activesupport", 300) + module("rack", 9),
			[]string{"rails 200-300", "activesupport 0-100"},
			"rails on activesupport: not activesupport{0-199,absent} rails{200-299}\n" +
				"root 0: not rails{0-199,absent}\nroot 1: not activesupport{100-299,absent}", 2,
		},
		{
			"a package without versions",
			module("a", 7, "none 0-9") + module("b", 7, "a 0-7") + "P none 0\n",
			[]string{"b 2-7"},
			"a on none: not a{all}\nb on a: not a{absent} b{all}\nroot 0: not b{0-1,absent}", 2,
		},
		{
			"a package that is not there",
			module("a", 7, "none "),
			[]string{"a 2-7"},
			"a on none: not a{all}\nroot 0: not a{0-1,absent}", 1,
		},
		{
			"a chain of ten packages",
			chain(10) + module("c10", 30, "z 0-1") + module("z", 2),
			[]string{"c0 0-20", "z 1-2"},
			"", 12,
		},
		{
			"a diamond",
			module("a", 30, "b %d-30", "c %d-30") + module("b", 30, "d 0-5") + module("c", 30, "d 5-9") + module("d", 9),
			[]string{"a 3-30"},
			"", 4,
		},
		{
			"an optional dependency that does not fit",
			module("a", 5, "?s 0-1") + module("b", 5, "s 1-2") + module("s", 2),
			[]string{"a 0-5", "b 0-5"},
			"a on s: not a{all} s{1}\nb on s: not b{all} s{0,absent}\nroot 0: not a{absent}\nroot 1: not b{absent}", 3,
		},
		{
			"versions that depend on others of their own package",
			module("a", 5, "a 5-6"),
			[]string{"a 1-5"},
			"a on a: not a{all}\nroot 0: not a{0,absent}", 1,
		},
		{
			"one root that allows nothing",
			module("a", 5) + module("b", 4),
			[]string{"b 0-4", "a "},
			"root 1: not ", 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, derived, _ := story(t, c.graph, c.roots...)
			if c.want != "" && got != c.want || derived != c.derived {
				t.Errorf("%d derived, want %d; facts\n%s\nwant\n%s", derived, c.derived, got, c.want)
			}
		})
	}
}

// TestExplainNamesExclusions keeps the reasons that the registry gives.
func TestExplainNamesExclusions(t *testing.T) {
	t.Parallel()
	g := parse(module("a", 3, "b 0-2") + module("b", 3))
	g.packages[g.id("b")].Excluded = []pubgrub.Exclusion{
		{Versions: []uint64{1}, Reason: 4}, {Versions: []uint64{2}, Reason: 5}, {Versions: []uint64{4}, Reason: 6},
	}
	roots := []pubgrub.Dep{g.dep("a 1-3")}
	ex, err := core.Explain(t.Context(), g, pubgrub.Query{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Verify(t.Context(), g, roots, ex); err != nil {
		t.Fatal(err)
	}
	var reasons []int32
	for _, n := range ex.Nodes {
		if n.Kind == pubgrub.External {
			reasons = append(reasons, n.Reason)
		}
	}
	slices.Sort(reasons)
	if want := []int32{4, 5}; !slices.Equal(reasons, want) {
		t.Errorf("reasons %v, want %v:\n%s", reasons, want, g.tell(ex))
	}
}

// TestExplainPrefersFewLines takes two roots that clash at once over one of them
// that cannot be had at all, for many reasons.
func TestExplainPrefersFewLines(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 20 {
		b.WriteString(module(fmt.Sprintf("c%02d", i), 3, fmt.Sprintf("c%02d 0-3", i+1)))
	}
	b.WriteString(module("c20", 3, "none ") + "P a 1\nV 0\nD c00 0-3\nD z 0-1\n" + module("z", 2))
	g := parse(b.String())
	roots := []pubgrub.Dep{g.dep("a 0-1"), g.dep("z 1-2")}
	ex, err := core.Explain(t.Context(), g, pubgrub.Query{Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	if err := core.Verify(t.Context(), g, roots, ex); err != nil {
		t.Fatal(err)
	}
	if want := []int{0}; !slices.Equal(ex.Core, want) || ex.Derived() > 2 {
		t.Errorf("core %v, want %v; %d derived, want 2:\n%s", ex.Core, want, ex.Derived(), g.tell(ex))
	}
}

// TestExplainEndsEarly returns what stops it.
func TestExplainEndsEarly(t *testing.T) {
	t.Parallel()
	g := parse(module("a", 40, "s 0-1") + module("b", 40, "s 1-2") + module("s", 2))
	q := pubgrub.Query{Roots: []pubgrub.Dep{g.dep("a 0-40"), g.dep("b 0-40")}}
	for n := 1; ; n++ {
		gone := errors.New("gone")
		r := &failing{graph: g, left: n, err: gone}
		ex, err := core.Explain(t.Context(), r, q)
		if err == nil {
			if err := core.Verify(t.Context(), g, q.Roots, ex); err != nil {
				t.Fatal(err)
			}
			if r.left > 0 {
				break
			}
		} else if !errors.Is(err, gone) {
			t.Fatalf("Explain: %v, want %v", err, gone)
		}
	}
	if _, err := core.Explain(t.Context(), g, pubgrub.Query{Roots: q.Roots[:1]}); !errors.Is(err, core.ErrSatisfiable) {
		t.Errorf("Explain: %v, want %v", err, core.ErrSatisfiable)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := core.Explain(ctx, g, q); !errors.Is(err, context.Canceled) {
		t.Errorf("Explain: %v, want %v", err, context.Canceled)
	}
}

// failing is a graph that answers so many questions.
type failing struct {
	*graph
	left int
	err  error
}

func (f *failing) Deps(ctx context.Context, p, v int32) ([]pubgrub.Dep, error) {
	if f.left--; f.left <= 0 {
		return nil, f.err
	}
	return f.graph.Deps(ctx, p, v)
}

// TestExplainAcrossAFarConflict has a thousand packages whose versions drift
// apart by at most three with each of ten steps, so that two roots do not meet.
func TestExplainAcrossAFarConflict(t *testing.T) {
	t.Parallel()
	const packages, versions = 1000, 60
	var b strings.Builder
	for p := range packages {
		fmt.Fprintf(&b, "P p%d\n", p)
		for v := range versions {
			fmt.Fprintf(&b, "V %d\n", v)
			for d := p + 1; d < min(p+5, packages); d++ {
				fmt.Fprintf(&b, "D p%d %d-%d\n", d, max(0, v-3), v+4)
			}
		}
	}
	facts, derived, _ := story(t, b.String(), "p0 50-60", "p40 0-5")
	if derived > 15 {
		t.Errorf("%d derived, want 11 or so; facts\n%s", derived, facts)
	}
}

// TestExplainAroundWords has packages whose sets just fill a word, or do not.
func TestExplainAroundWords(t *testing.T) {
	t.Parallel()
	for _, n := range []int{62, 63, 64, 65, 127, 128, 129} {
		text := module("a", n, "b %d-%d+1") + module("b", n)
		_, derived, _ := story(t, text, fmt.Sprintf("a %d-%d", n/2, n), fmt.Sprintf("b 0-%d", n/2))
		if derived != 2 {
			t.Errorf("%d versions: %d derived, want 2", n, derived)
		}
	}
}
