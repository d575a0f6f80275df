package pubgrub

import (
	"errors"
	"path/filepath"
	"testing"
)

// BenchmarkFirstRoot takes the highest version of the first package of a graph as
// the only root, with a new solver each time. resolve.sh lays this file over the
// package for graphs that are too large to take every version as the root.
func BenchmarkFirstRoot(b *testing.B) {
	for _, file := range corpus(b, "*.g") {
		b.Run(filepath.Base(file), func(b *testing.B) {
			g := parseGraph(b, read(b, file))
			roots := []Dep{exactly(0, g.packages[0].N-1)}
			packages, conflicts := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				s := New(g)
				cs, err := s.Solve(b.Context(), Query{Roots: roots})
				if err != nil && !errors.Is(err, ErrUnsatisfiable) {
					b.Fatal(err)
				}
				packages, conflicts = len(cs), s.Stats().Conflicts
			}
			b.ReportMetric(float64(packages), "packages")
			b.ReportMetric(float64(conflicts), "conflicts")
		})
	}
}
