package pubgrub

import (
	"errors"
	"path/filepath"
	"testing"
)

// BenchmarkAllRoots takes every version of every package of a graph as the only
// root.
func BenchmarkAllRoots(b *testing.B) {
	for _, file := range corpus(b, "*.g") {
		b.Run(filepath.Base(file), func(b *testing.B) {
			g := parseGraph(b, read(b, file))
			b.ReportAllocs()
			for b.Loop() {
				s := New(g)
				for p, pk := range g.packages {
					for v := range pk.N {
						solve(b, s, Query{Roots: []Dep{exactly(int32(p), v)}})
					}
				}
			}
		})
	}
}

// BenchmarkWorstQuery takes the query of a hard graph with the most conflicts,
// and a new solver each time.
func BenchmarkWorstQuery(b *testing.B) {
	g := parseGraph(b, read(b, corpus(b, "p34_2.g")[0]))
	s, worst, most := New(g), Dep{}, -1
	for p, pk := range g.packages {
		for v := range pk.N {
			d := exactly(int32(p), v)
			solve(b, s, Query{Roots: []Dep{d}})
			if c := s.Stats().Conflicts; c > most {
				worst, most = d, c
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		solve(b, New(g), Query{Roots: []Dep{worst}})
	}
	b.ReportMetric(float64(most), "conflicts")
}

// BenchmarkGenerated solves a registry of 20,000 packages with 50 versions each,
// nearly all of which are in the answer.
func BenchmarkGenerated(b *testing.B) {
	solveLarge(b, generated(20_000, 50, 0))
}

// BenchmarkLargeAnswer is BenchmarkGenerated with traps: each conflict undoes
// thousands of decisions, most of which are taken again.
func BenchmarkLargeAnswer(b *testing.B) {
	solveLarge(b, generated(20_000, 50, 300))
}

func solveLarge(b *testing.B, w *world) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		s := New(w)
		cs, err := s.Solve(b.Context(), Query{Roots: []Dep{{Pkg: 0, Range: 2}}})
		if err != nil || len(cs) < 19_000 {
			b.Fatalf("%d packages, %v", len(cs), err)
		}
		b.ReportMetric(float64(s.Stats().Conflicts), "conflicts")
		b.ReportMetric(float64(s.Stats().Decisions), "decisions")
		b.ReportMetric(float64(len(cs)), "packages")
	}
}

// BenchmarkPigeons proves that there is no solution where that is hard.
func BenchmarkPigeons(b *testing.B) {
	w, roots := pigeons(6)
	for b.Loop() {
		s := New(w)
		solve(b, s, Query{Roots: roots})
		b.ReportMetric(float64(s.Stats().Conflicts), "conflicts")
	}
}

func solve(b *testing.B, s *Solver, q Query) {
	b.Helper()
	if _, err := s.Solve(b.Context(), q); err != nil && !errors.Is(err, ErrUnsatisfiable) {
		b.Fatal(err)
	}
}
