package resolve_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pkg/resolve"
)

// corpus returns the folder of graphs nobody here wrote, or skips.
func corpus(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("PKG_RESOLVE_CORPUS")
	if dir == "" {
		tb.Skip("PKG_RESOLVE_CORPUS names no folder: the shared dependency graphs are not checked")
	}
	return dir
}

// TestCorpusCases solves each small case of the corpus for its exact answer.
func TestCorpusCases(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(corpus(t), "cases", "*.g"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in the corpus: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".g"), func(t *testing.T) {
			t.Parallel()
			g := parseGraph(t, read(t, file))
			want := spell(string(read(t, strings.TrimSuffix(file, ".g")+".exp")))
			res, err := resolve.Resolve(t.Context(), g, resolve.Request{Roots: deps(t, "__root 1.0.0")})
			if want == "UNSAT" {
				if e, ok := errors.AsType[*resolve.ConflictError](err); ok {
					t.Log(e)
					return
				}
				if _, ok := errors.AsType[*resolve.NotFoundError](err); !ok {
					t.Fatalf("Resolve = %v, want no solution", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Resolve: %v, want\n%s", err, want)
			}
			var got []string
			for _, p := range res.Packages {
				if p.Name != "__root" {
					got = append(got, string(p.Name)+" "+g.labels[string(p.Name)+" "+p.Release.Version.String()])
				}
			}
			slices.Sort(got)
			if s := spell(strings.Join(got, "\n")); s != want {
				t.Errorf("Resolve =\n%s\nwant\n%s", s, want)
			}
		})
	}
}

// TestCorpusOracle takes every version of every package as the only root. Where
// the search comes to an answer it must be that of the oracle; graphs made to be
// hard may exhaust a small budget.
func TestCorpusOracle(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(corpus(t), "*.g"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no graphs in the corpus: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			g := parseGraph(t, read(t, file))
			start := time.Now()
			lines, gaveUp, most := 0, 0, 0
			for line := range strings.Lines(string(read(t, file+".libsolv"))) {
				f := strings.Fields(line)
				if lines++; slow && lines%20 != 0 {
					continue
				}
				res, err := resolve.Resolve(t.Context(), g, resolve.Request{
					Roots:  deps(t, f[0]+" "+g.packages[key(f[0])].Releases[atoi(t, f[1])].Version.String()),
					Budget: 200000,
				})
				if _, ok := errors.AsType[*resolve.BudgetError](err); ok {
					gaveUp++
					continue
				}
				if res != nil {
					most = max(most, res.Conflicts)
				}
				if got, want := err == nil, f[2] == "1"; got != want {
					t.Errorf("%s rank %s: solved = %v (%v), oracle says %v", f[0], f[1], got, err, want)
				}
			}
			t.Logf("%d questions in %v, %d given up, at most %d conflicts to a solution", lines, time.Since(start), gaveUp, most)
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

func read(tb testing.TB, file string) []byte {
	tb.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func atoi(tb testing.TB, s string) int {
	tb.Helper()
	n := 0
	for _, c := range s {
		if c < '0' || c > '9' {
			tb.Fatalf("bad number %q", s)
		}
		n = 10*n + int(c-'0')
	}
	return n
}
