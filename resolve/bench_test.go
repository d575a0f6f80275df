package resolve_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"pkg/resolve"
)

// BenchmarkAllRoots takes every version of every package of a graph as the only
// root, each with a Resolve of its own.
func BenchmarkAllRoots(b *testing.B) {
	files, err := filepath.Glob(filepath.Join(corpus(b), "*.g"))
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range files {
		b.Run(filepath.Base(file), func(b *testing.B) {
			g := parseGraph(b, read(b, file))
			var worst time.Duration
			b.ReportAllocs()
			for b.Loop() {
				worst = 0
				for _, p := range g.names {
					for rank := range g.packages[key(p)].Releases {
						start := time.Now()
						_, err := resolve.Resolve(b.Context(), g, resolve.Request{Roots: []resolve.Dep{g.exactly(p, rank)}})
						worst = max(worst, time.Since(start))
						if err != nil && !isConflict(err) {
							b.Fatal(err)
						}
					}
				}
			}
			b.ReportMetric(float64(worst), "worst-ns")
		})
	}
}

// BenchmarkLargeAnswer resolves a registry of 20,000 packages with 50 versions
// each, nearly all of which are in the answer, and compares that with the time it
// takes to read the same graph from text.
func BenchmarkLargeAnswer(b *testing.B) {
	text := generated(20_000, 50)
	start := time.Now()
	g := parseGraph(b, text)
	parsed := time.Since(start)
	b.ReportAllocs()
	packages, conflicts := 0, 0
	for b.Loop() {
		res, err := resolve.Resolve(b.Context(), g, resolve.Request{Roots: []resolve.Dep{g.exactly("p0", 49)}})
		if err != nil {
			b.Fatal(err)
		}
		packages, conflicts = len(res.Packages), res.Conflicts
	}
	if packages < 19_000 {
		b.Fatalf("%d packages in the answer", packages)
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/parsed.Seconds(), "x-parse")
	b.ReportMetric(float64(conflicts), "conflicts")
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/1e6, "MB-sys") // with the text and the catalog
}

// generated writes a graph of n packages with k versions each. Each version needs
// the next package and four others, in ranges around what was current when it
// was made; one in a thousand ranges is far narrower.
func generated(n, k int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for p := range n {
		to := []int{(p + 1) % n}
		for range 4 {
			to = append(to, r.IntN(n))
		}
		slices.Sort(to)
		to = slices.Compact(to)
		fmt.Fprintf(&b, "P p%d %d\n", p, k)
		for v := range k {
			fmt.Fprintf(&b, "V %d\n", v)
			for _, d := range to {
				lo, size := max(0, v-10-r.IntN(3)), []int{16, 30, k}[r.IntN(3)]
				if v < k-5 && r.IntN(1000) == 0 {
					size = 3
				}
				fmt.Fprintf(&b, "D p%d %d-%d\n", d, lo, min(k, lo+size))
			}
		}
	}
	return b.Bytes()
}
