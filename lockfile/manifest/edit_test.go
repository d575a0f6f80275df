package manifest

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	author = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
	regID  = "bafyreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
)

func dep(tb testing.TB, constraint string) Dependency {
	tb.Helper()
	c, err := semver.ParseConstraint(constraint)
	if err != nil {
		tb.Fatal(err)
	}
	return Dependency{Constraint: c}
}

type edit func(src []byte) ([]byte, error)

// edits says what is done to testdata/edit/NAME.in to give NAME.golden.
func edits(t *testing.T) map[string]edit {
	t.Helper()
	set := func(table, n string, d Dependency) edit {
		return func(src []byte) ([]byte, error) { return SetDependency(src, table, name.Name(n), d) }
	}
	remove := func(n string) edit {
		return func(src []byte) ([]byte, error) {
			out, _, err := RemoveDependency(src, name.Name(n))
			return out, err
		}
	}
	registry := func(n, url, id string) edit {
		return func(src []byte) ([]byte, error) { return SetRegistry(src, n, Registry{URL: url, ID: id}) }
	}
	from := func(constraint, reg, author string) Dependency {
		d := dep(t, constraint)
		d.Registry, d.Author = reg, name.Author(author)
		return d
	}
	return map[string]edit{
		"add-to-empty-file":          set(Dependencies, "accepts", dep(t, "^2.0.0")),
		"add-sorted":                 set(Dependencies, "body-parser", dep(t, "^1.2.3")),
		"add-first":                  set(Dependencies, "abc", dep(t, "^1.2.3")),
		"add-last":                   set(Dependencies, "scope/zoo", dep(t, "^1.2.3")),
		"add-optional-table":         set(OptionalDependencies, "fsevents", dep(t, "^2")),
		"add-unsorted":               set(Dependencies, "body-parser", dep(t, "^1.2.3")),
		"add-dotted":                 set(Dependencies, "body-parser", dep(t, "^1.2.3")),
		"add-inline-table":           set(Dependencies, "body-parser", dep(t, "^1.2.3")),
		"add-inline-lines":           set(Dependencies, "body-parser", dep(t, "^1.2.3")),
		"add-inline-comment":         set(Dependencies, "body-parser", dep(t, "^1.2.3")),
		"add-inline-empty":           set(Dependencies, "body-parser", dep(t, "^1.2.3")),
		"crlf":                       set(DevDependencies, "zoo", dep(t, "^1.2.3")),
		"no-newline":                 set(Dependencies, "zoo", dep(t, "^1.2.3")),
		"replace-same-line":          set(Dependencies, "accepts", dep(t, "^3.0.0")),
		"replace-literal-unchanged":  set(Dependencies, "express", dep(t, "^5.1.0")),
		"move-between-tables":        set(DevDependencies, "accepts", dep(t, "^2.0.0")),
		"replace-header-table":       set(Dependencies, "accepts", from("^2.0.0", "work", "")),
		"add-field-to-header-table":  set(Dependencies, "accepts", from("^2.0.0", "work", author)),
		"drop-field-of-header-table": set(Dependencies, "accepts", from("^2.0.0", "", author)),
		"remove-header-table":        remove("accepts"),
		"replace-dotted-pairs":       set(Dependencies, "accepts", from("^2.0.0", "local", author)),
		"remove-dotted-pairs":        remove("accepts"),
		"replace-inline-value":       set(Dependencies, "accepts", from("^2.0.0", "work", "")),
		"inline-value-to-text":       set(Dependencies, "accepts", dep(t, "^2.0.0")),
		"quoted-key":                 set(Dependencies, "accepts", dep(t, "^2.0.0")),
		"replace-scoped":             set(Dependencies, "scope/x", Dependency{Path: `..\"x"`}),
		"remove-line":                remove("accepts"),
		"remove-several-lines":       remove("accepts"),
		"remove-inline-first":        remove("accepts"),
		"remove-inline-last":         remove("qs"),
		"remove-inline-only":         remove("accepts"),
		"remove-escaped-key":         remove("accepts"),
		"remove-absent":              remove("accepts"),
		"overrides-stay":             set(OptionalDependencies, "qs", dep(t, "^6")),
		"overrides-inline-stay":      remove("accepts"),
		"registry-new":               registry("work", "https://pkg.example.org", regID),
		"registry-second":            registry("work", "https://pkg.example.org", ""),
		"registry-replace":           registry("work", "https://new.example.org", ""),
		"registry-inline":            registry("work", "https://new.example.org", regID),
		"registry-id-added":          registry("work", "https://pkg.example.org", regID),
		"registry-private-stays":     registry("work", "https://pkg.example.org", regID),
	}
}

func TestEditsKeepTheRest(t *testing.T) {
	t.Parallel()
	all := edits(t)
	for what, edit := range all {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", "edit", what)
			src, err := os.ReadFile(file + ".in")
			if err != nil {
				t.Fatal(err)
			}
			before := bytes.Clone(src)
			got, err := edit(src)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(src, before) {
				t.Error("the source was changed in place")
			}
			if *update {
				if err := os.WriteFile(file+".golden", got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file + ".golden")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Errorf("%s.golden (-want +got):\n%s", file, d)
			}
			again, err := edit(got)
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("a second time: %v\n%s", err, cmp.Diff(string(got), string(again)))
			}
		})
	}
	ins, err := filepath.Glob("testdata/edit/*.in")
	if err != nil || len(ins) != len(all) {
		t.Errorf("%d files, %d edits, %v", len(ins), len(all), err)
	}
}

func TestImpossibleEditsChangeNothing(t *testing.T) {
	t.Parallel()
	a, err := name.Parse("a")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]edit{
		"not a manifest": func([]byte) ([]byte, error) { return SetDependency([]byte("x"), Dependencies, a, dep(t, "1")) },
		"unknown table":  func(src []byte) ([]byte, error) { return SetDependency(src, "overrides", a, dep(t, "1")) },
		"no registry": func(src []byte) ([]byte, error) {
			d := dep(t, "1")
			d.Registry = "work"
			return SetDependency(src, Dependencies, a, d)
		},
		"no constraint": func(src []byte) ([]byte, error) { return SetDependency(src, Dependencies, a, Dependency{}) },
		"itself":        func(src []byte) ([]byte, error) { return SetDependency(src, Dependencies, "self", dep(t, "1")) },
		"not a name":    func(src []byte) ([]byte, error) { return SetDependency(src, Dependencies, "A", dep(t, "1")) },
		"not an address": func(src []byte) ([]byte, error) {
			return SetRegistry(src, "work", Registry{URL: "pkg.example.org"})
		},
		"not an id": func(src []byte) ([]byte, error) {
			return SetRegistry(src, "work", Registry{URL: "https://pkg.example.org", ID: "x"})
		},
		"too large": func(src []byte) ([]byte, error) {
			return SetDependency(append(src, "#"+strings.Repeat("x", 65490)...), Dependencies, a, dep(t, "1"))
		},
	}
	for what, edit := range tests {
		out, err := edit([]byte("[package]\nname = \"self\"\n"))
		var e *Error
		if out != nil || !errors.As(err, &e) {
			t.Errorf("%s: %q, %v", what, out, err)
		}
	}
}

// TestAnyEditReadsBack makes and unmakes dependencies in random order, against
// the same done to a map.
func TestAnyEditReadsBack(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("testdata/edit/*.in")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		src, err := os.ReadFile(rapid.SampledFrom(sources).Draw(rt, "file"))
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(1, 6).Draw(rt, "edits") {
			n := name.Name(rapid.SampledFrom([]string{"accepts", "express", "qs", "scope/x", "zebra", "b"}).Draw(rt, "name"))
			table := rapid.SampledFrom(tables()).Draw(rt, "table")
			want := dep(t, rapid.SampledFrom([]string{"1", "^2.0.0", ">=1 <3", "*"}).Draw(rt, "constraint"))
			if rapid.Bool().Draw(rt, "pinned") {
				want.Author, want.Registry = author, "local"
			}
			comments := bytes.Count(src, []byte("#"))
			if bytes.Contains(src, []byte("[dependencies.accepts]")) || bytes.Contains(src, []byte("accepts = {\n")) {
				comments = 0 // what stands inside goes with it
			}
			if rapid.IntRange(0, 2).Draw(rt, "remove") == 0 {
				var removed bool
				if src, removed, err = RemoveDependency(src, n); err != nil {
					rt.Fatal(err)
				}
				m, err := Parse(src)
				if err != nil || hasDependency(m, n) {
					rt.Fatalf("removed %v %s: %v\n%s", removed, n, err, src)
				}
				continue
			}
			if src, err = SetDependency(src, table, n, want); err != nil {
				rt.Fatal(err)
			}
			m, err := Parse(src)
			if err != nil {
				rt.Fatal(err)
			}
			if d := cmp.Diff(want, m.Table(table)[n]); d != "" {
				rt.Fatalf("%s in [%s]:\n%s\n%s", n, table, d, src)
			}
			if after := bytes.Count(src, []byte("#")); after < comments-1 {
				rt.Fatalf("%d comments were %d before:\n%s", after, comments, src)
			}
		}
	})
}

func hasDependency(m *Manifest, n name.Name) bool {
	for _, table := range tables() {
		if _, ok := m.Table(table)[n]; ok {
			return true
		}
	}
	return false
}

func FuzzEdit(f *testing.F) {
	sources, err := filepath.Glob("testdata/edit/*.in")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range sources {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	want := dep(f, "^1.2.3")
	f.Fuzz(func(t *testing.T, src []byte) {
		if _, err := Parse(src); err != nil {
			return
		}
		if out, err := SetDependency(src, Dependencies, "accepts", want); err == nil {
			m, err := Parse(out)
			if err != nil || !m.Dependencies["accepts"].Constraint.Equal(want.Constraint) {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		if out, _, err := RemoveDependency(src, "accepts"); err == nil {
			if m, err := Parse(out); err != nil || hasDependency(m, "accepts") {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	})
}
