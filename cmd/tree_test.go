package cmd

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawn is what a tree prints.
func drawn(tb testing.TB, g *graph, depth int, l line) (stdout, stderr string) {
	tb.Helper()
	var out, note strings.Builder
	e := &Env{Stdout: &out, Stderr: &note}
	e.settle(l)
	e.tree(drawing{graph: g, edges: g.needs, from: g.roots, depth: depth, invert: -1})
	return out.String(), note.String()
}

func TestATreeDrawsEachPackageOutOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(rt, "packages")
		needs := make([][]int, n)
		for i := range needs {
			needs[i] = rapid.SliceOfNDistinct(rapid.IntRange(0, n-1), 0, 4, rapid.ID[int]).Draw(rt, "needs") // with cycles
		}
		g := graphOf(rapid.IntRange(1, n).Draw(rt, "roots"), needs)
		depth := rapid.IntRange(0, 5).Draw(rt, "depth") // 0 is none
		near := g.reach(g.roots, g.needs, -1)
		lines := 1 + len(g.roots) // each edge of a package drawn out is a line
		inside := 0
		for _, at := range near.order {
			if depth == 0 || near.level[at] < depth {
				lines += len(needs[at])
			}
			if depth == 0 || near.level[at] <= depth {
				inside++
			}
		}
		got, _ := drawn(t, g, depth, line{})
		if n := strings.Count(got, "\n"); n != lines {
			rt.Errorf("%v from %v: %d lines, want %d\n%s", needs, g.roots, n, lines, got)
		}
		open := map[string]bool{} // drawn without a mark
		for l := range strings.Lines(got) {
			if name, marked, _ := strings.Cut(strings.TrimSpace(strings.TrimLeft(l, "│├└─ ")), " "); !strings.HasSuffix(marked, "(*)") {
				if depth == 0 && open[name] {
					rt.Errorf("%v from %v: %s is drawn out twice\n%s", needs, g.roots, name, got)
				}
				open[name] = true
			}
		}
		if len(open) != 1+inside { // with pkg.toml
			rt.Errorf("%v from %v: %d packages drawn out, want %d\n%s", needs, g.roots, len(open)-1, inside, got)
		}
	})
}

func TestADeepTreeIsCut(t *testing.T) {
	t.Parallel()
	const many = 100_000
	g := graphOf(1, chained(many))
	got, note := drawn(t, g, 0, line{})
	if n := strings.Count(got, "\n"); n != 1+deepest || !strings.HasPrefix(note, "it is deeper than 100 levels:") {
		t.Errorf("%d lines, want %d and a note: %q", n, 1+deepest, note)
	}
	if got, note := drawn(t, g, 3, line{}); strings.Count(got, "\n") != 4 || note != "" {
		t.Errorf("--depth 3: %q, %q", got, note)
	}
	if got, note := drawn(t, graphOf(1, chained(deepest)), 0, line{}); strings.Count(got, "\n") != 1+deepest || note != "" {
		t.Errorf("as deep as is drawn: %q", note)
	}
	if got, _ := drawn(t, g, 0, line{flags: []flagged{{name: "json"}}}); strings.Count(got, "\n") != many {
		t.Errorf("%d objects, want %d", strings.Count(got, "\n"), many)
	}
	if got, _ := drawn(t, graphOf(2, ladder(90)), 0, line{}); strings.Count(got, "\n") != 1+2+4*89+2 {
		t.Errorf("%d lines for a ladder", strings.Count(got, "\n"))
	}
}
