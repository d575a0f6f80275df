package catalog

import (
	"fmt"
	"testing"

	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// history returns a package of so many releases with 20 dependencies each, of
// which text says the constraint.
func history(tb testing.TB, releases int, text func(release, dep int) string) *entry {
	tb.Helper()
	s := &author.State{Name: "p", Author: "alice"}
	for i := range releases {
		v, err := semver.Parse(fmt.Sprintf("%d.%d.%d", 1+i/100, i/10%10, i%10))
		if err != nil {
			tb.Fatal(err)
		}
		rel := author.Released{Version: v, Release: author.Release{Version: v.String()}, Signer: "alice"}
		for j := range 20 {
			rel.Release.Deps = append(rel.Release.Deps, author.Dependency{
				Name: name.Name(fmt.Sprintf("d%d", j)), Constraint: text(i, j),
			})
		}
		s.Releases = append(s.Releases, rel)
	}
	return &entry{State: s, record: &namespace.Record{}}
}

// TestConstraintsAreReadOnce counts allocations, so it is not parallel.
func TestConstraintsAreReadOnce(t *testing.T) {
	cs := make(constraints)
	n := testing.AllocsPerRun(10, func() {
		if c, err := cs.read("^1.2.3"); err != nil || c.String() != "^1.2.3" {
			t.Fatalf("read %q, %v", c, err)
		}
	})
	if n != 0 {
		t.Errorf("a constraint read before takes %v allocations", n)
	}
	for range 2 {
		if _, err := cs.read("^^1"); err == nil {
			t.Error("what is no constraint is read")
		}
	}
	if len(cs) != 1 {
		t.Errorf("%d constraints are kept, want 1", len(cs))
	}
}

// TestConstraintsAreBounded writes more than are kept: all are right, and few
// are kept.
func TestConstraintsAreBounded(t *testing.T) {
	t.Parallel()
	r := &Registry{constraints: make(constraints)}
	text := func(i, j int) string { return fmt.Sprintf("^%d.%d.0", i, j) }
	p := r.toPackage("p", history(t, maxConstraints/20+100, text))
	for i, rel := range p.Releases {
		if rel.Broken != "" || len(rel.Deps) != 20 {
			t.Fatalf("release %d: %d dependencies, broken: %q", i, len(rel.Deps), rel.Broken)
		}
		for j, d := range rel.Deps {
			if d.Constraint.String() != text(i, j) || d.From != "p "+rel.Version.String() {
				t.Fatalf("dependency %d of release %d is on %q, from %q", j, i, d.Constraint, d.From)
			}
		}
	}
	if n := len(r.constraints); n == 0 || n > maxConstraints {
		t.Errorf("%d constraints are kept", n)
	}
}

// BenchmarkPackage converts 1,000 releases of 20 dependencies: raised now and
// then as authors do, and what costs most.
func BenchmarkPackage(b *testing.B) {
	for _, bb := range []struct {
		name string
		text func(release, dep int) string
	}{
		{"raised", func(i, j int) string { return fmt.Sprintf("^%d.%d.0", 1+j/10, (i+j)/20) }},
		{"distinct", func(i, j int) string { return fmt.Sprintf("^%d.%d.0", i, j) }},
		{"unusual", func(i, j int) string { return fmt.Sprintf(">=%d.%d, <%d", 1+j/10, (i+j)/20, 3+j/10) }},
	} {
		b.Run(bb.name, func(b *testing.B) {
			e := history(b, 1000, bb.text)
			b.ReportAllocs()
			for b.Loop() {
				e.pkg = nil
				r := &Registry{constraints: make(constraints)}
				p := r.toPackage("p", e)
				if len(p.Releases) != 1000 || len(p.Releases[0].Deps) != 20 {
					b.Fatal("not all of it")
				}
			}
		})
	}
}
