package lockfile

import (
	"strings"
	"testing"

	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
)

// project is a lock and the manifest it was made for.
func project(tb testing.TB) (*Lock, string) {
	tb.Helper()
	local := registry("local")
	local.Local = true
	l := &Lock{
		Registries: []Registry{registry("main"), registry("work"), local},
		Packages: []Package{
			row(tb, "main", "express", "5.1.0", "qs"),
			row(tb, "main", "qs", "6.14.0"),
			row(tb, "work", "mine", "1.3.0-beta", "main:qs"),
			row(tb, "main", "mocha", "10.0.0", "glob"),
			row(tb, "main", "glob", "1.0.0"),
			row(tb, "main", "fsevents", "2.3.0", "nan"),
			row(tb, "main", "nan", "1.0.0"),
			row(tb, "local", "own", "0.1.0"),
			{Name: "sibling", Version: version(tb, "0.1.0"), Path: "../sibling", Dependencies: []string{"main:nan"}},
		},
	}
	return l, `
[dependencies]
express = "^5.0.0"
mine = { version = "^1.2", registry = "work", author = "` + string(name.AuthorOf([32]byte{1})) + `" }
own = { version = "*", registry = "local" }
sibling = { path = "../sibling" }
[dev-dependencies]
mocha = "10.0.0"
[optional-dependencies]
fsevents = "~2.3"
[overrides]
qs = "^6.14"
[registries.work]
url = "https://pkg.example.org"
id = "` + registry("work").ID + `"
`
}

func read(t *testing.T, s string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDriftNamesTheDependency(t *testing.T) {
	t.Parallel()
	drop := func(names ...name.Name) func(*Lock) {
		return func(l *Lock) {
			var kept []Package
			for _, p := range l.Packages {
				keep := true
				for _, n := range names {
					keep = keep && p.Name != n
				}
				if keep {
					kept = append(kept, p)
				}
			}
			l.Packages = kept
		}
	}
	change := func(n name.Name, f func(*Package)) func(*Lock) {
		return func(l *Lock) {
			p, ok := l.Get(n)
			if !ok {
				t.Fatalf("no %s", n)
			}
			f(p)
		}
	}
	tests := []struct {
		what     string
		lock     func(*Lock)
		old, new string // in the manifest
		want     []string
	}{
		{"the same", nil, "", "", nil},
		{"optional one missing", drop("fsevents"), "", "", nil},
		{"optional one of another version", nil, "~2.3", "~2.4", []string{"fsevents is locked at 2.3.0, pkg.toml wants ~2.4"}},
		{"dependency added", nil, "express =", "added = \"1\"\nexpress =", []string{"added is not in pkg.lock"}},
		{"dependency removed", nil, `mocha = "10.0.0"`, "", []string{
			"glob is in pkg.lock, but nothing depends on it", "mocha is in pkg.lock, but nothing depends on it",
		}},
		{"dependency missing", drop("mocha", "glob"), "", "", []string{"mocha is not in pkg.lock"}},
		{"constraint changed", nil, "^5.0.0", "^4.0.0", []string{"express is locked at 5.1.0, pkg.toml wants ^4.0.0"}},
		{"locked pre-release out of bounds", nil, `"^1.2"`, `"^1.3"`, []string{"mine is locked at 1.3.0-beta, pkg.toml wants ^1.3"}},
		{"author changed", change("mine", func(p *Package) { p.Author = name.AuthorOf([32]byte{9}) }), "", "", []string{
			"mine is locked by author " + string(name.AuthorOf([32]byte{9})) + ", pkg.toml wants " + string(name.AuthorOf([32]byte{1})),
		}},
		{"registry changed", change("mine", func(p *Package) { p.Registry = "main"; p.Dependencies = nil }), "", "", []string{
			"mine is locked from registry main, pkg.toml wants work",
		}},
		{"registry of another id", nil, registry("work").ID, registry("other").ID, []string{
			"mine is locked from registry work, pkg.toml wants work",
		}},
		{"registry without an id goes by name", nil, `id = "` + registry("work").ID + `"`, "", nil},
		{"embedded registry is not this one", change("own", func(p *Package) { p.Registry = "main" }), "", "", []string{
			"own is locked from registry main, pkg.toml wants local",
		}},
		{"path changed", nil, `"../sibling"`, `"../brother"`, []string{"sibling is locked at ../sibling, pkg.toml wants the path ../brother"}},
		{"path became a version", nil, `{ path = "../sibling" }`, `"^1"`, []string{"sibling is locked at the path ../sibling, pkg.toml wants ^1"}},
		{"version became a path", nil, `express = "^5.0.0"`, `express = { path = "../x" }`, []string{"express is locked at 5.1.0, pkg.toml wants the path ../x"}},
		{"path with a version", nil, `{ path = "../sibling" }`, `{ path = "../sibling", version = "^1" }`, []string{"sibling is locked at 0.1.0, pkg.toml wants ^1"}},
		{"override of what is not direct", nil, "^6.14", "^6.15", []string{"qs is locked at 6.14.0, the override wants ^6.15"}},
		{"override with a reason", nil, `"^6.14"`, `{ version = "^6.15", reason = "why" }`, []string{"qs is locked at 6.14.0, the override wants ^6.15"}},
		{"override of what is direct", nil, "qs = ", "express = \"^4\"\nqs = ", []string{"express is locked at 5.1.0, pkg.toml wants ^4"}},
		{"edge without a row", drop("qs"), "", "", []string{"qs is not in pkg.lock, express depends on it", "qs is not in pkg.lock, mine depends on it"}},
	}
	for _, tt := range tests {
		l, text := project(t)
		if tt.lock != nil {
			tt.lock(l)
		}
		if tt.old != "" && !strings.Contains(text, tt.old) {
			t.Fatalf("%s: no %q", tt.what, tt.old)
		}
		var got []string
		for _, d := range Satisfies(l, read(t, strings.Replace(text, tt.old, tt.new, 1))) {
			got = append(got, d.String())
		}
		if g, w := strings.Join(got, "\n"), strings.Join(tt.want, "\n"); g != w {
			t.Errorf("%s:\n got %s\nwant %s", tt.what, g, w)
		}
	}
}

func TestProdLeavesOutWhatOnlyDevelopmentNeeds(t *testing.T) {
	t.Parallel()
	l, text := project(t)
	got := Prod(l, read(t, text))
	for i := range l.Packages {
		n := l.Packages[i].Name
		if want := n != "mocha" && n != "glob"; got[n] != want {
			t.Errorf("%s: %v, want %v", n, got[n], want)
		}
	}
	// A cycle ends.
	loop := &Lock{Registries: l.Registries, Packages: []Package{
		row(t, "main", "express", "5.1.0", "qs"), row(t, "main", "qs", "6.14.0", "express", "qs"),
	}}
	if got := Prod(loop, read(t, "[dependencies]\nexpress = '*'")); len(got) != 2 {
		t.Errorf("a cycle gives %v", got)
	}
}

func TestDiffSaysWhatChanged(t *testing.T) {
	t.Parallel()
	l, _ := project(t)
	next, _ := project(t)
	edit := func(n name.Name, f func(*Package)) {
		p, ok := next.Get(n)
		if !ok {
			t.Fatalf("no %s", n)
		}
		f(p)
	}
	edit("express", func(p *Package) { p.Version = version(t, "5.2.0") })
	edit("qs", func(p *Package) { p.Version = version(t, "6.13.0") })
	edit("mocha", func(p *Package) { p.Commit++ })
	edit("sibling", func(p *Package) { p.Path = "../brother" })
	edit("glob", func(p *Package) { p.Signer = p.Author }) // says nothing new
	next.Packages = append(next.Packages[:len(next.Packages)-2], next.Packages[len(next.Packages)-1], row(t, "main", "added", "1.0.0"))
	var got []string
	for _, c := range Diff(l, next) {
		got = append(got, c.String())
	}
	want := []string{
		"added added 1.0.0", "updated express 5.1.0 → 5.2.0", "changed mocha 10.0.0", "removed own 0.1.0",
		"downgraded qs 6.14.0 → 6.13.0", "changed sibling ../sibling → ../brother",
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
	if d := Diff(l, l); len(d) != 0 {
		t.Errorf("a lock differs from itself: %v", d)
	}
	if d := Diff(nil, l); len(d) != len(l.Packages) || d[0].Kind != Added {
		t.Errorf("from nothing: %v", d)
	}
	if d := Diff(l, nil); len(d) != len(l.Packages) || d[0].Kind != Removed {
		t.Errorf("to nothing: %v", d)
	}
	// The name of a registry may stay while what is behind it changes.
	next, _ = project(t)
	next.Registries[1].ID = registry("other").ID
	if d := Diff(l, next); len(d) != 1 || d[0].Name != "mine" || d[0].Kind != Changed {
		t.Errorf("another registry: %v", d)
	}
}
