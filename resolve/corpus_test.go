package resolve_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// TestCorpus runs every graph in the folder. One with an oracle is asked for each
// version of each package as the only root; every answer must be the oracle's, and
// each solution is verified. One with an expected set is asked for that. Any other
// is asked for every version, and need only be answered.
func TestCorpus(t *testing.T) {
	t.Parallel()
	dir, files := corpus(t), 0
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(file) != ".g" {
			return err
		}
		files++
		rel, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		t.Run(filepath.ToSlash(rel), func(t *testing.T) {
			t.Parallel()
			g := parseGraph(t, read(t, file))
			want, oracle := expected(t, file+".libsolv"), true
			if want == nil {
				want, oracle = expected(t, strings.TrimSuffix(file, ".g")+".exp"), false
			}
			switch {
			case oracle:
				checkOracle(t, g, string(want))
			case want != nil:
				checkCase(t, g, spell(string(want)))
			default:
				checkAnswers(t, g)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Errorf("there is no graph in %s", dir)
	}
}

// TestCorpusExplanations explains a sample of what the oracles say has no
// solution, and checks every fact and every line.
func TestCorpusExplanations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(corpus(t), "*.g.libsolv"))
	if err != nil || len(files) == 0 {
		t.Skipf("no oracle in the corpus: %v", err)
	}
	step := 29
	if slow {
		step = 293
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".libsolv"), func(t *testing.T) {
			t.Parallel()
			g := parseGraph(t, read(t, strings.TrimSuffix(file, ".libsolv")))
			var lengths []int
			for i, line := range strings.Split(string(read(t, file)), "\n") {
				f := strings.Fields(line)
				if i%step != 0 || len(f) != 3 || f[2] != "0" {
					continue
				}
				_, err := resolve.Resolve(t.Context(), g, resolve.Request{Roots: []resolve.Dep{g.exactly(f[0], atoi(t, f[1]))}})
				err = resolve.Explain(t.Context(), err)
				c, ok := errors.AsType[*resolve.ConflictError](err)
				if !ok {
					t.Fatalf("%s rank %s: %v", f[0], f[1], err)
				}
				lengths = append(lengths, len(c.Lines))
				if err := c.Check(); err != nil {
					t.Errorf("%s rank %s: %v\n%s\n%s", f[0], f[1], err, c.Sentence, strings.Join(c.Lines, "\n"))
				}
			}
			slices.Sort(lengths)
			if n := len(lengths); n > 0 {
				t.Logf("%d explained: %d lines in the middle, %d at most", n, lengths[n/2], lengths[n-1])
			}
		})
	}
}

// expected returns a file, nil if there is none.
func expected(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	return append([]byte{}, b...)
}

// solvable reports whether a version of a package can be had. It fails the test
// if that is not what comes out.
func (g *graph) solvable(t *testing.T, r *resolve.Repeater, p string, rank int) bool {
	t.Helper()
	_, err := r.Resolve(t.Context(), []resolve.Dep{g.exactly(p, rank)})
	if _, none := errors.AsType[*resolve.ConflictError](err); err != nil && !none {
		t.Errorf("%s rank %d: %v", p, rank, err)
	}
	return err == nil
}

func checkOracle(t *testing.T, g *graph, want string) {
	t.Helper()
	lines, r := 0, resolve.NewRepeater(g)
	for line := range strings.Lines(want) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 || g.packages[key(f[0])] == nil || f[2] != "0" && f[2] != "1" {
			t.Fatalf("bad line %q", line)
		}
		lines++
		if got := g.solvable(t, r, f[0], atoi(t, f[1])); got != (f[2] == "1") {
			t.Errorf("%s rank %s: solvable = %v, the oracle says %s", f[0], f[1], got, f[2])
		}
	}
	if lines == 0 {
		t.Error("the oracle has no line")
	}
	t.Logf("%d questions", lines)
}

func checkAnswers(t *testing.T, g *graph) {
	t.Helper()
	yes, no, r := 0, 0, resolve.NewRepeater(g)
	for _, p := range g.names {
		for rank := range g.packages[key(p)].Releases {
			if g.solvable(t, r, p, rank) {
				yes++
			} else {
				no++
			}
		}
	}
	t.Logf("no oracle: %d can be had, %d cannot", yes, no)
}

// checkCase asks for __root 1.0.0 and compares the exact set.
func checkCase(t *testing.T, g *graph, want string) {
	t.Helper()
	res, err := resolve.Resolve(t.Context(), g, resolve.Request{Roots: deps(t, "__root 1.0.0")})
	if want == "UNSAT" {
		if _, ok := errors.AsType[*resolve.ConflictError](err); !ok {
			t.Fatalf("Resolve = %v, %v; want no solution", res, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Resolve: %v, want\n%s", err, want)
	}
	var got []string
	for _, p := range res.Packages {
		if p.Name != "__root" {
			got = append(got, string(p.Name)+" "+g.labels[string(p.Name)][p.Release.Version.Major()-1])
		}
	}
	slices.Sort(got)
	if s := spell(strings.Join(got, "\n")); s != want {
		t.Errorf("Resolve =\n%s\nwant\n%s", s, want)
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
