package core_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pkg/resolve/internal/core"
	"pkg/resolve/internal/pubgrub"
)

// TestCorpusExplains explains every query of the shared graphs that has no
// solution.
func TestCorpusExplains(t *testing.T) {
	t.Parallel()
	for _, file := range corpus(t, "*.g") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			g := parse(read(t, file))
			var st spread
			i := 0
			for line := range strings.Lines(read(t, file+".libsolv")) {
				f := strings.Fields(line)
				if f[2] == "1" {
					continue
				}
				if i++; slow && i%10 != 0 {
					continue
				}
				st.explain(t, g, []pubgrub.Dep{{Pkg: g.ids[f[0]], Range: -1 - number(f[1])}})
			}
			st.log(t)
		})
	}
}

// spread gathers what explaining takes.
type spread struct {
	before, after, facts []int
	longer               int
	took                 []time.Duration
}

func (s *spread) explain(t *testing.T, g *graph, roots []pubgrub.Dep) *core.Explanation {
	t.Helper()
	ps := pubgrub.New(g)
	if _, err := ps.Solve(t.Context(), pubgrub.Query{Roots: roots}); !errors.Is(err, pubgrub.ErrUnsatisfiable) {
		t.Fatal(err)
	}
	plain := 0
	for _, n := range ps.Proof().Nodes {
		if n.Kind == pubgrub.Derived {
			plain++
		}
	}
	start := time.Now()
	ex, err := core.Explain(t.Context(), g, pubgrub.Query{Roots: roots})
	took := time.Since(start)
	if err != nil {
		t.Fatalf("Explain(%v): %v", roots, err)
	}
	if err := core.Verify(t.Context(), g, roots, ex); err != nil {
		t.Errorf("Explain(%v): %v", roots, err)
	}
	if ex.Derived() > plain {
		s.longer++
	}
	s.before = append(s.before, plain)
	s.after = append(s.after, ex.Derived())
	s.facts = append(s.facts, len(ex.Nodes)-ex.Derived())
	s.took = append(s.took, took)
	return ex
}

func (s *spread) log(t *testing.T) {
	t.Helper()
	t.Logf("%d explanations; median, 95 %%, most: derived nodes before %v, after %v; facts %v; time %v; %d are longer",
		len(s.took), points(s.before), points(s.after), points(s.facts), points(s.took), s.longer)
}

// points returns the median, the 95th percentile and the maximum.
func points[T int | time.Duration](xs []T) [3]T {
	if len(xs) == 0 {
		return [3]T{}
	}
	slices.Sort(xs)
	return [3]T{xs[len(xs)/2], xs[len(xs)*95/100], xs[len(xs)-1]}
}

// TestCorpusPairs explains why random roots do not go together: each wants some
// neighbouring versions of a package.
func TestCorpusPairs(t *testing.T) {
	t.Parallel()
	for _, file := range corpus(t, "*.g") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			g := parse(read(t, file))
			r := rand.New(rand.NewPCG(1, 2)) // the same ones each time
			tries, most := 200, 50
			if slow {
				tries, most = 40, 10
			}
			var st spread
			for range tries {
				var roots []pubgrub.Dep
				for range 2 + r.IntN(5) {
					p := r.Int32N(int32(len(g.packages)))
					if n := g.packages[p].N; n > 0 {
						lo := r.Int32N(n)
						hi := min(n, lo+1+r.Int32N(1+n/4))
						roots = append(roots, g.dep(fmt.Sprintf("%s %d-%d", g.names[p], lo, hi)))
					}
				}
				if _, err := pubgrub.New(g).Solve(t.Context(), pubgrub.Query{Roots: roots}); err == nil || len(st.took) == most {
					continue
				}
				ex := st.explain(t, g, roots)
				if os.Getenv("TELL") != "" && ex.Derived() > 2 {
					t.Logf("%d\n%s", ex.Derived(), g.tell(ex))
				}
			}
			st.log(t)
		})
	}
}
