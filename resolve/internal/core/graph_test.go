package core_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pkg/resolve/internal/pubgrub"
)

// graph is a registry in memory in the text format of the shared corpus: lines
// "P name versions", "V label" and "D name lo-hi,lo-hi". A "?" before the name of
// a dependency makes it optional. Range -1-v of any package is version v alone.
type graph struct {
	packages []pubgrub.Package
	deps     [][][]pubgrub.Dep // by package and version
	names    []string
	ids      map[string]int32
	labels   [][]string
	ranges   [][][2]int32 // half-open
	byRange  map[string]int32
}

func newGraph() *graph { return &graph{ids: make(map[string]int32), byRange: make(map[string]int32)} }

func (g *graph) Package(_ context.Context, p int32) (pubgrub.Package, error) {
	return g.packages[p], nil
}

func (g *graph) Deps(_ context.Context, p, v int32) ([]pubgrub.Dep, error) { return g.deps[p][v], nil }

func (g *graph) Allowed(p, r int32) []uint64 {
	out := make([]uint64, g.packages[p].N/64+1)
	if r < 0 {
		out[(-1-r)/64] |= 1 << ((-1 - r) % 64)
		return out
	}
	for _, s := range g.ranges[r] {
		for v := s[0]; v < min(s[1], g.packages[p].N); v++ {
			out[v/64] |= 1 << (v % 64)
		}
	}
	return out
}

func spans(s string) [][2]int32 {
	var out [][2]int32
	for r := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		if lo, hi, ok := strings.Cut(r, "-"); ok {
			out = append(out, [2]int32{number(lo), number(hi)})
		}
	}
	return out
}

func number(s string) int32 {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		panic(err)
	}
	return int32(n)
}

func (g *graph) id(name string) int32 {
	p, ok := g.ids[name]
	if !ok {
		p = int32(len(g.names))
		g.ids[name] = p
		g.names = append(g.names, name)
		g.packages = append(g.packages, pubgrub.Package{})
		g.deps = append(g.deps, nil)
		g.labels = append(g.labels, nil)
	}
	return p
}

// dep returns the dependency of a line "name ranges".
func (g *graph) dep(line string) pubgrub.Dep {
	line, optional := strings.CutPrefix(line, "?")
	name, r, _ := strings.Cut(line, " ")
	n, ok := g.byRange[r]
	if !ok {
		n = int32(len(g.ranges))
		g.byRange[r] = n
		g.ranges = append(g.ranges, spans(r))
	}
	return pubgrub.Dep{Pkg: g.id(name), Range: n, Optional: optional}
}

func parse(text string) *graph {
	g := newGraph()
	p := int32(-1)
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch kind {
		case "P":
			name, _, _ := strings.Cut(rest, " ")
			p = g.id(name)
		case "V":
			g.packages[p].N++
			g.deps[p] = append(g.deps[p], nil)
			g.labels[p] = append(g.labels[p], rest)
		case "D":
			ds := g.deps[p]
			ds[len(ds)-1] = append(ds[len(ds)-1], g.dep(rest))
		}
	}
	return g
}

// corpus returns the files of the shared graphs that match, or skips.
func corpus(tb testing.TB, pattern string) []string {
	tb.Helper()
	dir := os.Getenv("PKG_RESOLVE_CORPUS")
	if dir == "" {
		tb.Skip("PKG_RESOLVE_CORPUS names no folder: the shared dependency graphs are not explained")
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no %s in the corpus: %v", pattern, err)
	}
	return files
}

func read(tb testing.TB, file string) string {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// show writes a term as "a{0-2,7,absent}".
func (g *graph) show(t pubgrub.Term) string {
	var parts []string
	for lo := int32(0); lo < t.N; lo++ {
		if !t.Has(lo) {
			continue
		}
		hi := lo
		for hi+1 < t.N && t.Has(hi+1) {
			hi++
		}
		if lo == hi {
			parts = append(parts, fmt.Sprint(lo))
		} else if lo == 0 && hi == t.N-1 {
			parts = append(parts, "all")
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", lo, hi))
		}
		lo = hi
	}
	if t.Absent() {
		parts = append(parts, "absent")
	}
	return g.names[t.Pkg] + "{" + strings.Join(parts, ",") + "}"
}

func (g *graph) terms(ts []pubgrub.Term) string {
	var parts []string
	for _, t := range ts {
		parts = append(parts, g.show(t))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
