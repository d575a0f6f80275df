package pubgrub

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// world is a Registry in memory. Range -1-v of any package is exactly version v;
// other ranges are indices of ranges.
type world struct {
	packages []Package
	deps     [][][]Dep // by package and version
	ranges   [][]span
	buf      []uint64
}

// span is the versions from lo to hi-1.
type span struct{ lo, hi int32 }

func (w *world) Package(_ context.Context, p int32) (Package, error) { return w.packages[p], nil }

func (w *world) Deps(_ context.Context, p, v int32) ([]Dep, error) { return w.deps[p][v], nil }

func (w *world) Allowed(p, r int32) []uint64 {
	n := w.packages[p].N
	w.buf = append(w.buf[:0], make([]uint64, (n+63)/64)...)
	if r < 0 {
		add(w.buf, -1-r)
		return w.buf
	}
	for _, s := range w.ranges[r] {
		for v := max(s.lo, 0); v < min(s.hi, n); v++ {
			add(w.buf, v)
		}
	}
	return w.buf
}

// exactly is a dependency on one version.
func exactly(p, v int32) Dep { return Dep{Pkg: p, Range: -1 - v} }

// graph is a world in the text format of the shared corpus.
type graph struct {
	world
	names  []string
	byName map[string]int32
	labels [][]string
}

func (g *graph) id(name string) int32 {
	p, ok := g.byName[name]
	if !ok {
		p = int32(len(g.names))
		g.byName[name] = p
		g.names = append(g.names, name)
		g.packages = append(g.packages, Package{})
		g.deps = append(g.deps, nil)
		g.labels = append(g.labels, nil)
	}
	return p
}

// parseGraph reads the format: "P name n", "V label", "D name lo-hi,lo-hi".
func parseGraph(tb testing.TB, b []byte) *graph {
	tb.Helper()
	g := &graph{byName: make(map[string]int32)}
	index := make(map[string]int32)
	p := int32(-1)
	sc := bufio.NewScanner(bytes.NewReader(b))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		kind, rest, _ := strings.Cut(sc.Text(), " ")
		name, arg, _ := strings.Cut(rest, " ")
		switch kind {
		case "P":
			p = g.id(name)
		case "V":
			g.packages[p].N++
			g.deps[p] = append(g.deps[p], nil)
			g.labels[p] = append(g.labels[p], rest)
		case "D":
			r, ok := index[arg]
			if !ok {
				r = int32(len(g.ranges))
				index[arg] = r
				g.ranges = append(g.ranges, spans(tb, arg))
			}
			v := len(g.deps[p]) - 1
			g.deps[p][v] = append(g.deps[p][v], Dep{Pkg: g.id(name), Range: r})
		default:
			tb.Fatalf("bad line %q", sc.Text())
		}
	}
	return g
}

func spans(tb testing.TB, s string) []span {
	tb.Helper()
	var out []span
	for r := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		if r == "" {
			continue
		}
		lo, hi, _ := strings.Cut(r, "-")
		out = append(out, span{atoi(tb, lo), atoi(tb, hi)})
	}
	return out
}

func atoi(tb testing.TB, s string) int32 {
	tb.Helper()
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		tb.Fatal(err)
	}
	return int32(n)
}

func read(tb testing.TB, file string) []byte {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// corpus returns the files of the shared graphs that match, or skips.
func corpus(tb testing.TB, pattern string) []string {
	tb.Helper()
	dir := os.Getenv("PKG_RESOLVE_CORPUS")
	if dir == "" {
		tb.Skip("PKG_RESOLVE_CORPUS names no folder: the shared dependency graphs are not checked")
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no %s in the corpus: %v", pattern, err)
	}
	return files
}

// show writes a solution as "0:3 7:1".
func show(cs []Choice) string {
	var b strings.Builder
	for _, c := range cs {
		fmt.Fprintf(&b, "%d:%d ", c.Pkg, c.Version)
	}
	return strings.TrimSpace(b.String())
}
