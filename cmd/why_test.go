package cmd

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
)

// graphOf is the graph of packages p000000, p000001 and so on: the first roots of them are what pkg.toml names.
func graphOf(roots int, needs [][]int) *graph {
	p := &project{manifest: &manifest.Manifest{Dependencies: map[name.Name]manifest.Dependency{}}, lock: &lockfile.Lock{}, locked: true}
	named := func(i int) name.Name { return name.Name(fmt.Sprintf("p%06d", i)) }
	for i, edges := range needs {
		row := lockfile.Package{Name: named(i), Path: "x"}
		for _, to := range edges {
			row.Dependencies = append(row.Dependencies, string(named(to)))
		}
		p.lock.Packages = append(p.lock.Packages, row)
		if i < roots {
			p.manifest.Dependencies[row.Name] = manifest.Dependency{Path: "x"}
		}
	}
	return newGraph(p)
}

// chained is a chain of n packages.
func chained(n int) [][]int {
	needs := make([][]int, n)
	for i := range n - 1 {
		needs[i] = []int{i + 1}
	}
	return needs
}

// ladder has two packages a step, each of which needs both of the next: 2 to the power of steps chains.
func ladder(steps int) [][]int {
	needs := make([][]int, 2*steps+1)
	for i := range 2 * (steps - 1) {
		next := i/2*2 + 2
		needs[i] = []int{next, next + 1}
	}
	needs[2*steps-2], needs[2*steps-1] = []int{2 * steps}, []int{2 * steps}
	return needs
}

// whole is every chain there is, found the plain way.
func (g *graph) whole(to int) [][]int {
	var out [][]int
	var back func(chain []int)
	back = func(chain []int) {
		if _, ok := g.direct[chain[0]]; ok {
			out = append(out, chain)
		}
		for _, u := range g.users[chain[0]] {
			if !slices.Contains(chain, u) {
				back(slices.Concat([]int{u}, chain))
			}
		}
	}
	back([]int{to})
	return out
}

func TestChainsAreAllOrTheShortest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "packages")
		needs := make([][]int, n)
		for i := range needs {
			needs[i] = rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, 3, rapid.ID[int]).Draw(t, "needs") // with cycles
		}
		g := graphOf(rapid.IntRange(1, n).Draw(t, "roots"), needs)
		to, limit := rapid.IntRange(0, n-1).Draw(t, "to"), rapid.IntRange(1, 12).Draw(t, "limit")
		got, more := g.chains(to, limit)
		want := g.whole(to)
		if (more == someOthers) != (len(want) > limit) || more == maybeOthers || len(got) != min(len(want), limit) {
			t.Fatalf("%v: %d chains of %d, at most %d; more %v", needs, len(got), len(want), limit, more)
		}
		if !slices.IsSortedFunc(got, func(a, b []int) int { return len(a) - len(b) }) {
			t.Errorf("%v: %v: want the shortest first", needs, got)
		}
		last := func(c []int) int { return append([]int{-1}, c...)[len(c)-1] } // who needs it directly, or -1 for pkg.toml
		through, shown := map[int]int{}, map[int]bool{}
		for _, c := range want {
			if l, ok := through[last(c)]; !ok || len(c) < l {
				through[last(c)] = len(c)
			}
		}
		for i, c := range got {
			if !slices.ContainsFunc(want, func(w []int) bool { return slices.Equal(w, c) }) {
				t.Errorf("%v: %v is no chain to %d", needs, c, to)
			}
			if slices.ContainsFunc(got[:i], func(g []int) bool { return slices.Equal(g, c) }) {
				t.Errorf("%v: %v is there twice", needs, c)
			}
			if !shown[last(c)] && len(c) != through[last(c)] {
				t.Errorf("%v: %v comes before the shortest through %d", needs, c, last(c))
			}
			shown[last(c)] = true
		}
		if len(shown) != min(len(through), limit) {
			t.Errorf("%v: chains through %d of %d direct dependents, at most %d", needs, len(shown), len(through), limit)
		}
	})
}

func TestChainsOfHardGraphs(t *testing.T) {
	t.Parallel()
	const many = 100_000
	hub := make([][]int, many) // everything needs the last one, and pkg.toml half of them
	for i := range many - 1 {
		hub[i] = []int{many - 1}
	}
	knot := make([][]int, 200) // everything needs everything
	for i := range knot {
		for j := range knot {
			knot[i] = append(knot[i], j)
		}
	}
	ring := chained(many)
	ring[many-1] = []int{0}
	for _, c := range []struct {
		name       string
		g          *graph
		to         int
		want, size int // chains, and packages in the longest
	}{
		{"long", graphOf(1, chained(many)), many - 1, 1, many},
		{"ring", graphOf(1, ring), many / 2, 1, many/2 + 1},
		{"ladder", graphOf(2, ladder(50)), 100, mostChains, 51},
		{"high ladder", graphOf(2, ladder(many/2)), many, 2, many/2 + 1},
		{"hub", graphOf(many/2, hub), many - 1, mostChains, 2},
		{"knot", graphOf(1, knot), 199, mostChains, 3},
		{"unneeded", graphOf(1, make([][]int, 2)), 1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, _ := c.g.chains(c.to, mostChains)
			if len(got) != c.want || c.want > 0 && len(got[len(got)-1]) != c.size {
				t.Errorf("%d chains, want %d; the longest is not of %d", len(got), c.want, c.size)
			}
			for _, chain := range got {
				if s := c.g.sentence(chain); len(s) > 1000 {
					t.Errorf("a line of %d bytes: %.200s", len(s), s)
				}
			}
		})
	}
}

func TestWhySaysHowManyMore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		g    *graph
		to   int
		want string
	}{
		{graphOf(2, ladder(50)), 100, "\n  and more chains through the same packages: pkg tree --invert p000100\n"},
		{graphOf(11, append(slices.Repeat([][]int{{11}}, 11), nil)), 11, "\n  and 1 more package needs it: pkg tree --invert p000011\n"},
		{graphOf(10, append(slices.Repeat([][]int{{10}}, 10), nil)), 10, "p000009 needs p000010\n"},
		{graphOf(1, chained(1000)), 999, "p000998 needs p000999\n"},
		{graphOf(1, chained(100_000)), 99_999, "\n  and perhaps more chains through the same packages: pkg tree --invert p099999\n"},
		{graphOf(0, [][]int{{1}, {}}), 1, "\n  nothing that pkg.toml names needs it\n"},
	} {
		e, stdout, _ := testEnv(t)
		e.settle(line{})
		e.why(c.g, c.to)
		if got := stdout.String(); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s\nwant it to end in %q", got, c.want)
		}
	}
}
