package catalog_test

import (
	"errors"
	"testing"

	"pkg/keys/author"
	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// row is the lock row of a release.
func row(tb testing.TB, f *fake, n name.Name, v string) lockfile.Package {
	tb.Helper()
	s := f.logs[n].state
	rel := s.Find(mustVersion(tb, v))
	if rel == nil {
		tb.Fatalf("no %s %s", n, v)
		return lockfile.Package{}
	}
	p := lockfile.Package{
		Name: n, Version: rel.Version, Registry: "main", Author: s.Author, ID: s.ID, Entry: rel.Index, Log: rel.LogRoot,
		Commit: rel.Recorded.Commit, Root: rel.Release.Root, Size: int64(rel.Release.Size),
	}
	for _, d := range rel.Release.Deps {
		p.Dependencies = append(p.Dependencies, string(d.Name))
	}
	return p
}

func TestProve(t *testing.T) {
	t.Parallel()
	f := standard(t)
	good := row(t, f, "a", "1.1.0")
	for what, change := range map[string]func(*lockfile.Package){
		"":                    func(*lockfile.Package) {},
		"root":                func(p *lockfile.Package) { p.Root = row(t, f, "b", "1.0.0").Root },
		"author":              func(p *lockfile.Package) { p.Author = testKey(7).Author() },
		"entry":               func(p *lockfile.Package) { p.Entry = 1 },
		"log":                 func(p *lockfile.Package) { p.Log[3] ^= 1 },
		"commit":              func(p *lockfile.Package) { p.Commit = 1 },
		"size":                func(p *lockfile.Package) { p.Size = 11 },
		"signer":              func(p *lockfile.Package) { p.Signer = testKey(7).Author() },
		"another author":      func(p *lockfile.Package) { p.ID[0] ^= 1 },
		"does not have":       func(p *lockfile.Package) { p.Version = mustVersion(t, "7.0.0") },
		"version":             func(p *lockfile.Package) { p.Version = mustVersion(t, "1.1.0+build") },
		"registry does not":   func(p *lockfile.Package) { p.Name = "gone" },
		"invents a dependenc": func(p *lockfile.Package) { p.Dependencies = append([]string{"x:evil"}, p.Dependencies...) },
		"the wrong registry":  func(p *lockfile.Package) { p.Dependencies = []string{"x:b", "c"} },
		"leaves out a depend": func(p *lockfile.Package) { p.Dependencies = p.Dependencies[:1] },
	} {
		c := newClient(t)
		p := good
		change(&p)
		r := c.open(f.source())
		err := r.ProveAll(t.Context(), []lockfile.Package{p})
		if what == "" {
			if err != nil {
				t.Errorf("a good row: %v", err)
			}
			c.cfg.Offline = true
			again := c.open(nil)
			if !again.Proved(p) || again.ProveAll(t.Context(), []lockfile.Package{p}) != nil {
				t.Error("a proved row is not remembered")
			}
			continue
		}
		wantTrust(t, err, what)
		if r.Proved(p) {
			t.Errorf("%s: a bad row is recorded as proved", what)
		}
	}
}

// TestReleaseOfAProvedRow: what a release says beyond its row is at hand wherever the row was proved.
func TestReleaseOfAProvedRow(t *testing.T) {
	t.Parallel()
	f := standard(t)
	c := newClient(t)
	p := row(t, f, "a", "1.1.0")
	if err := c.open(f.source()).ProveAll(t.Context(), []lockfile.Package{p}); err != nil {
		t.Fatal(err)
	}
	c.cfg.Offline = true
	rel, err := c.open(nil).Release(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := f.logs["a"].state.Find(p.Version).Release.Deps
	if len(rel.Deps) != len(want) || rel.Version.Compare(p.Version) != 0 || rel.Root != p.Root {
		t.Fatalf("release %+v, want that of %+v", rel, p)
	}
	for i, d := range rel.Deps {
		if d.Name != want[i].Name || d.Registry != f.id || d.Constraint.String() != want[i].Constraint {
			t.Errorf("dependency %+v, want %+v of registry %s", d, want[i], f.id)
		}
	}
	if _, err := c.open(nil).Release(t.Context(), row(t, f, "c", "2.0.0")); err == nil {
		t.Error("offline, the release of a row that was never proved is told")
	}
}

func TestProveWhatIsNotYetHere(t *testing.T) {
	t.Parallel()
	f := standard(t)
	old := f.fork()
	f.release("a 1.2.0", "")
	f.commit()
	c := newClient(t)
	err := c.open(old.source()).Prove(t.Context(), row(t, f, "a", "1.2.0"))
	if _, ok := errors.AsType[*resolve.UnavailableError](err); !ok {
		t.Errorf("a row from a commit that a mirror does not have yet: %v, want unavailable", err)
	}
	c.cfg.Offline = true
	err = c.open(nil).Prove(t.Context(), row(t, f, "a", "1.2.0"))
	if e, ok := errors.AsType[*resolve.UnavailableError](err); !ok || !e.Offline {
		t.Errorf("offline: %v, want unavailable", err)
	}
}

// TestProveWhereDependenciesComeFrom: a dependency comes from the registry that
// the release names, else from the release's own, or from a path of the project.
func TestProveWhereDependenciesComeFrom(t *testing.T) {
	t.Parallel()
	f := standard(t)
	f.append(f.logs["c"], author.Body{Kind: author.KindRelease, Release: &author.Release{
		Version: "2.1.0", Root: row(t, f, "b", "1.0.0").Root, Size: 1, Files: 1,
		Deps: []author.Dependency{
			{Name: "far", Constraint: "^1", Registry: newFake(t, "elsewhere.test").id},
			{Name: "near", Constraint: "^1", Registry: f.id},
		},
	}})
	f.commit()
	for _, tc := range []struct {
		edges []string
		bad   bool
	}{
		{edges: []string{"near", "x:far"}},
		{edges: []string{":near", "x:far"}},
		{edges: []string{":far", "near"}},
		{edges: []string{"far", "near"}, bad: true},
		{edges: []string{"x:far", "x:near"}, bad: true},
	} {
		p := row(t, f, "c", "2.1.0")
		p.Dependencies = tc.edges
		err := newClient(t).open(f.source()).ProveAll(t.Context(), []lockfile.Package{p})
		if tc.bad {
			wantTrust(t, err, "the wrong registry")
		} else if err != nil {
			t.Errorf("%v: %v", tc.edges, err)
		}
	}
}
