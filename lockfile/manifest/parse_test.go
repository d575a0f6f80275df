package manifest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

const full = `
[package]
name = "scope/left-pad"
version = "1.2.3"
description = "Pads on the left."
license = "Apache-2.0"
authors = ["Ann <ann@example.org>"]
repository = "https://example.org/left-pad"
homepage = "https://example.org"
keywords = ["pad"]
security = "security@example.org"
include = ["src/", "README.md"]
exclude = ["*.test.js"]

[bin]
left-pad = "bin/left-pad.js"

[dependencies]
express = "^5.1.0"
"scope/name" = { version = "^1", registry = "work", author = "` + author + `" }
sibling = { path = "../sibling" }

[dev-dependencies.mocha]
version = "10"
registry = "local"

[optional-dependencies]
fsevents.version = "~2.3"

[overrides]
qs = "6.14.0"
semver = { version = "^7", reason = "6.x is slow on long input" }

[overrides."scope/ws"]
version = "~8.1"

[registries.work]
url = "https://pkg.example.org"
id = "` + regID + `"

[policy]
min-age = "3d"
require-witnesses = 2
deny-advisories = true
`

func parse(t *testing.T, s string) *Manifest {
	t.Helper()
	m, err := Parse([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEverythingIsRead(t *testing.T) {
	t.Parallel()
	v, err := semver.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	work := dep(t, "^1")
	work.Registry, work.Author = "work", author
	local := dep(t, "10")
	local.Registry = LocalRegistry
	want := &Manifest{
		Package: Package{
			Name: "scope/left-pad", Version: v, Description: "Pads on the left.", License: "Apache-2.0",
			Authors: []string{"Ann <ann@example.org>"}, Repository: "https://example.org/left-pad",
			Homepage: "https://example.org", Keywords: []string{"pad"}, Security: "security@example.org",
			Include: []string{"src/", "README.md"}, Exclude: []string{"*.test.js"},
		},
		Bin: map[string]string{"left-pad": "bin/left-pad.js"},
		Dependencies: map[name.Name]Dependency{
			"express": dep(t, "^5.1.0"), "scope/name": work, "sibling": {Path: "../sibling"},
		},
		DevDependencies:      map[name.Name]Dependency{"mocha": local},
		OptionalDependencies: map[name.Name]Dependency{"fsevents": dep(t, "~2.3")},
		Overrides: map[name.Name]Override{
			"qs":       {Constraint: dep(t, "6.14.0").Constraint},
			"semver":   {dep(t, "^7").Constraint, "6.x is slow on long input"},
			"scope/ws": {Constraint: dep(t, "~8.1").Constraint},
		},
		Registries: map[string]Registry{"work": {URL: "https://pkg.example.org", ID: regID}},
		Policy:     Policy{72 * time.Hour, 2, true},
	}
	if d := cmp.Diff(want, parse(t, full)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestAnEmptyManifestIsAnApp(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "[package]\n", "[dependencies]\n", "# nothing\n"} {
		m := parse(t, s)
		if err := m.CheckPublishable(); err == nil {
			t.Errorf("%q may be published", s)
		}
	}
}

func TestFaultsHaveALineAndHelp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		line int
		msg  string
		help string
	}{
		{"[pakage]", 1, `unknown key "pakage" (did you mean "package"?)`, ""},
		{"[depndencies]\nx = '1'", 1, `(did you mean "dependencies"?)`, ""},
		{"[devDependencies]", 1, `(did you mean "dev-dependencies"?)`, ""},
		{"[package]\nname = 'Foo_Bar'", 2, `did you mean "foo-bar"`, ""},
		{"[package]\nname = ''", 2, "it is empty", ""},
		{"[package]\nname = 1", 2, "", ""},
		{"[package]\nversion = '1.2'", 2, `invalid version "1.2"`, "three numbers"},
		{"[package]\nname = 'a'\nversion = 'v1.2.3'", 3, "invalid version", "three numbers"},
		{"[package]\ndescription = \"a\\nb\"", 2, "control character", ""},
		{"[package]\ndescription = '" + strings.Repeat("x", 1025) + "'", 2, "1025 bytes", ""},
		{"[package]\nexclude = ['a', '[']", 2, `"[" is not a pattern`, ""},
		{"[package]\ninclude = ['../x']", 2, "not a pattern", ""},
		{"[bin]\n'a b' = 'x'", 2, `command "a b"`, ""},
		{"[bin]\n'.a' = 'x'", 2, `command ".a"`, ""},
		{"[bin]\na = '/x'", 2, "absolute", "from the folder"},
		{"[bin]\na = '../x'", 2, "leaves the package", "from the folder"},
		{"[bin]\na = 'b/../../x'", 2, "leaves the package", ""},
		{"[bin]\na = './x'", 2, "shortest form", ""},
		{"[bin]\na = 'x\\y'", 2, "use /", ""},
		{"[dependencies]\nok = '1'\nNot_Ok = '1'", 3, `did you mean "not-ok"`, ""},
		{"[dependencies]\n'@s/x' = '1'", 2, `did you mean "s/x"`, ""},
		{"[dependencies]\na = '^*'", 2, "matches only 0.0.0", `write "*"`},
		{"[dependencies]\na = ''", 2, "it is empty", `write "*"`},
		{"[dependencies]\na = '~0.0.0'", 2, "matches every version", `write "0.0.x"`},
		{"[dependencies]\na = 'latest'", 2, "not a version constraint", `write "*"`},
		{"[dependencies]\na = {}", 2, "has no version", `version = "*"`},
		{"[dependencies]\na = 1", 2, "constraint", ""},
		{"[dependencies]\na = { version = 1 }", 2, "version is not a text", ""},
		{"[dependencies]\na = { versionn = '1' }", 2, `did you mean "version"`, ""},
		{"[dependencies]\na = { git = 'x' }", 2, `unknown key "git" in [dependencies.a]`, ""},
		{"[dependencies]\na = { path = '' }", 2, "not a path", ""},
		{"[dependencies]\na = { path = '../a', registry = 'local' }", 2, "neither registry nor author", ""},
		{"[dependencies]\na = { version = '1', author = 'did:key:x' }", 2, "invalid author", ""},
		{"[dependencies]\na = { version = '1', registry = 'work' }", 2, "no [registries.work]", "[registries.work]"},
		{"[dependencies]\na = { version = '1', registry = 'W' }", 2, "not the name of a registry", ""},
		{"[dependencies]\na = '1'\n[dev-dependencies]\na = '1'", 4, "both [dependencies] and [dev-dependencies]", "keep one"},
		{"[package]\nname = 'a'\n[dependencies]\na = '1'", 4, "depends on itself", ""},
		{"[overrides]\nA = '1'", 2, `did you mean "a"`, ""},
		{"[overrides]\na = '>*'", 2, "above 0.0.0", `write "*"`},
		{"[overrides]\na = 1", 2, "constraint", ""},
		{"[overrides]\na = {}", 2, "override a has no version", `version = "^1"`},
		{"[overrides]\na = { reason = 'x' }", 2, "override a has no version", `version = "^1"`},
		{"[overrides]\na = { version = '^*' }", 2, "matches only 0.0.0", `write "*"`},
		{"[overrides]\na = { version = 1 }", 2, "version is not a text", ""},
		{"[overrides]\na = { version = '1', reason = true }", 2, "reason is not a text", ""},
		{"[overrides]\na = { version = '1', resaon = 'x' }", 2, `did you mean "reason"`, ""},
		{"[overrides.a]\nversion = '1'\npath = '../a'", 3, `unknown key "path" in [overrides.a] (known: version, reason)`, ""},
		{"[overrides.a]\nversion = '1'\nreason = ''", 3, "the reason is empty", "leave it out"},
		{"[overrides]\na = { version = '1', reason = \" \\t\" }", 2, "the reason is empty", "leave it out"},
		{"[overrides.a]\nversion = '1'\nreason = \"x\\ny\"", 3, "more than one line", "on one line"},
		{"[overrides]\na = { version = '1', reason = \"x\\u2028y\" }", 2, "more than one line", "on one line"},
		{"[overrides]\na = { version = '1', reason = \"x\\u001B[31m\" }", 2, `control character '\x1b'`, "on one line"},
		{"[overrides]\na = { version = '1', reason = '" + strings.Repeat("x", 201) + "' }", 2, "201 bytes, at most 200", "on one line"},
		{"[registries.work]\nurl = 'pkg.example.org'", 1, "not an http or https address", ""},
		{"[registries.work]\nurl = 'file:///x'", 1, "not an http or https address", ""},
		{"[registries.work]\nid = 'bafkqaaa'", 1, "not an http or https address", ""},
		{"[registries.work]\nurl = 'https://u:p@x'", 1, "user name", ""},
		{"[registries.work]\nurl = 'https://x'\nid = 'x'", 1, "id: invalid CID", ""},
		{"[registries.Work]\nurl = 'https://x'", 1, "not the name of a registry", ""},
		{"[registries]\nwork = 'https://x'", 2, "", ""},
		{"[policy]\nmin-age = 'soon'", 2, "not a length of time", `"3d"`},
		{"[policy]\nmin-age = '-1h'", 2, "between 0 and ten years", ""},
		{"[policy]\nmin-age = '60000d'", 2, "between 0 and ten years", ""},
		{"[policy]\nrequire-witnesses = -1", 2, "require-witnesses is -1", ""},
		{"[policy]\ndeny-advisories = 'yes'", 2, "", ""},
		{"x", 1, "expected =", ""},
		{"a = " + strings.Repeat("[", 1000), 1, "brackets", ""},
		{strings.Repeat("#", 70000), 0, "70000 bytes", ""},
	}
	for _, tt := range tests {
		_, err := Parse([]byte(tt.in))
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("Parse(%.60q) = %v", tt.in, err)
			continue
		}
		if e.Line != tt.line || !strings.Contains(e.Error(), tt.msg) || !strings.Contains(e.Help, tt.help) {
			t.Errorf("Parse(%.60q)\n got %v\nhelp %s\nwant line %d, %q, help %q", tt.in, e, e.Help, tt.line, tt.msg, tt.help)
		}
		if !strings.HasPrefix(e.Error(), "pkg.toml:") {
			t.Errorf("%q does not name the file", e)
		}
	}
}

func TestTheFirstFaultIsTold(t *testing.T) {
	t.Parallel()
	_, err := Parse([]byte("[overrides]\nb = 'newest'\n[dependencies]\na = 'oldest'\n[package]\nname = 'X'\n"))
	var e *Error
	if !errors.As(err, &e) || e.Line != 2 {
		t.Errorf("got %v", err)
	}
	var ce *semver.ConstraintError
	if !errors.As(err, &ce) || ce.Input != "newest" {
		t.Errorf("cause %v", ce)
	}
}

func TestAges(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]time.Duration{
		"": 0, "0": 0, "72h": 72 * time.Hour, "3d": 72 * time.Hour, "2w": 14 * 24 * time.Hour, "90m": 90 * time.Minute,
		"1h30m": 90 * time.Minute,
	} {
		if got, err := parseAge(in); err != nil || got != want {
			t.Errorf("%q is %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestPublishableNeedsWhatOthersHave(t *testing.T) {
	t.Parallel()
	const head = "[package]\nname = 'a'\nversion = '1.0.0'\n"
	tests := []struct{ in, msg string }{
		{head, ""},
		{head + "[dev-dependencies]\nb = { path = '../b' }", ""},
		{"[package]\nversion = '1.0.0'", "no name"},
		{"[package]\nname = 'a'", "no version"},
		{head + "[dependencies]\nb = { path = '../b' }", "nobody else has"},
		{head + "[optional-dependencies]\nb = { path = '../b', version = '1' }", "nobody else has"},
	}
	for _, tt := range tests {
		err := parse(t, tt.in).CheckPublishable()
		if (err == nil) != (tt.msg == "") || (err != nil && !strings.Contains(err.Error(), tt.msg)) {
			t.Errorf("%q: %v, want %q", tt.in, err, tt.msg)
		}
		var e *Error
		if err != nil && (!errors.As(err, &e) || e.Help == "") {
			t.Errorf("%q: no help in %v", tt.in, err)
		}
	}
}

func TestTemplateParses(t *testing.T) {
	t.Parallel()
	m := parse(t, string(Template("scope/x", "0.1.0")))
	if m.Package.Name != "scope/x" || m.Package.Version.String() != "0.1.0" || m.CheckPublishable() != nil {
		t.Errorf("%+v", m.Package)
	}
	parse(t, string(Template("", "")))
	if out, err := SetDependency(Template("x", ""), Dependencies, "a", dep(t, "1")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(full))
	f.Add([]byte("[dependencies]\na = { path = '../a' }"))
	f.Add([]byte("[overrides]\na = { version = '^1', reason = '2.x breaks our build' }\nb.version = '2'\nb.reason = 'x'"))
	f.Add([]byte("[overrides.a]\nreason = \"a\\nb\"\nversion = '1'"))
	sources, err := filepath.Glob("testdata/edit/*.golden")
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
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error is a %T", err)
			}
			return
		}
		_ = m.CheckPublishable()
		filter := m.Filter()
		filter("a/b/c.js", false)
		filter("a", true)
	})
}
