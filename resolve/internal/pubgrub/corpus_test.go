package pubgrub

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCorpusCases solves each small case of the corpus for its exact answer.
func TestCorpusCases(t *testing.T) {
	t.Parallel()
	for _, file := range corpus(t, "cases/*.g") {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".g"), func(t *testing.T) {
			t.Parallel()
			g := parseGraph(t, read(t, file))
			want := spell(string(read(t, strings.TrimSuffix(file, ".g")+".exp")))
			root := g.byName["__root"]
			v := slices.Index(g.labels[root], "1.0.0")
			if v < 0 {
				t.Fatal("no __root 1.0.0")
			}
			roots := []Dep{exactly(root, int32(v))}
			s := New(g)
			cs, err := s.Solve(t.Context(), Query{Roots: roots})
			if want == "UNSAT" {
				mustFail(t, s, g, roots, err)
				return
			}
			if err != nil {
				t.Fatalf("Solve: %v, want\n%s", err, want)
			}
			var got []string
			for _, c := range cs {
				if c.Pkg != root {
					got = append(got, g.names[c.Pkg]+" "+g.labels[c.Pkg][c.Version])
				}
			}
			slices.Sort(got)
			if s := spell(strings.Join(got, "\n")); s != want {
				t.Errorf("Solve =\n%s\nwant\n%s", s, want)
			}
		})
	}
}

// mustFail checks that a query failed, and its proof.
func mustFail(tb testing.TB, s *Solver, reg Registry, roots []Dep, err error) {
	tb.Helper()
	if !errors.Is(err, ErrUnsatisfiable) {
		tb.Fatalf("Solve(%v) = %v, want %v", roots, err, ErrUnsatisfiable)
	}
	if err := s.Proof().Verify(tb.Context(), reg, roots); err != nil {
		tb.Fatalf("Solve(%v): %v", roots, err)
	}
}

// TestCorpusOracle takes every version of every package as the only root and
// compares existence with the oracle; it verifies every solution, and the proof
// wherever there is none.
func TestCorpusOracle(t *testing.T) {
	t.Parallel()
	for _, file := range corpus(t, "*.g") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			g := parseGraph(t, read(t, file))
			s := New(g)
			lines, most, sum, steps := 0, 0, 0, 0
			for line := range strings.Lines(string(read(t, file+".libsolv"))) {
				f := strings.Fields(line)
				if lines++; slow && lines%20 != 0 {
					continue
				}
				p, ok := g.byName[f[0]]
				if !ok || len(f) != 3 {
					t.Fatalf("bad line %q", line)
				}
				roots := []Dep{exactly(p, atoi(t, f[1]))}
				cs, err := s.Solve(t.Context(), Query{Roots: roots})
				most = max(most, s.Stats().Conflicts)
				sum += s.Stats().Conflicts
				steps += s.Stats().Steps
				switch f[2] {
				case "1":
					if err == nil {
						err = Verify(t.Context(), g, roots, cs)
					}
					if err != nil {
						t.Errorf("%s rank %s: %v, oracle has a solution", f[0], f[1], err)
					}
				case "0":
					mustFail(t, s, g, roots, err)
				default:
					t.Fatalf("bad line %q", line)
				}
			}
			t.Logf("%d queries, %d conflicts, %d in one, %d steps", lines, sum, most, steps)
		})
	}
}

// spell drops zeros at the end of versions: the corpus spells one version as 1.2
// and as 1.2.0.
func spell(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i := range lines {
		for strings.HasSuffix(lines[i], ".0") {
			lines[i] = strings.TrimSuffix(lines[i], ".0")
		}
	}
	return strings.Join(lines, "\n")
}
