package manifest

import (
	"strings"
	"testing"
)

func TestPackedFiles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		include, exclude string // separated by spaces
		packed, left     string
	}{
		{"", "", "pkg.toml a a/b .gitignore a/.gitattributes keys/x monkey", ".git .git/config a/.git/x .GIT/x pkg_modules pkg_modules/a a/pkg_modules/b my.key a/my.KEY x.pkgkey"},
		{"src/ README.md", "", "pkg.toml src/a src/b/c README.md docs/README.md docs/src/a", "a other/README src"},
		{"/src/ /README.md", "", "src/a README.md", "docs/README.md docs/src/a"},
		{"src/*.js", "", "src/a.js", "src/a.ts src/b/a.js x/src/a.js"},
		{"src/**/*.js", "", "src/a.js src/b/a.js src/b/c/a.js", "a.js src/a.ts"},
		{"src/**", "", "src/a src/b/c", "src a"},
		{"**/x", "", "x a/x a/b/x x/y", "xx a/xx"},
		{"a/**/z", "", "a/z a/b/z a/b/c/z", "a/b b/z"},
		{"*.js !b.js", "", "a.js x/a.js", "b.js x/b.js"},
		{"", "*.test.js", "a.js test.js", "a.test.js x/a.test.js"},
		{"", "test/", "test a/test.js", "test/a a/test/b"},
		{"", "/test", "a/test", "test test/a"},
		{"", "*.log !keep.log", "keep.log a/keep.log", "a.log"},
		{"", "logs/ !logs/keep", "x", "logs/a logs/keep"},
		{"", "logs/* !logs/keep", "logs/keep", "logs/a"},
		{"", "file[0-9] x?z", "file filea xz", "file1 xyz"},
		{"", "file[!0-9]", "file1", "filea"},
		{"", `\!a \#b`, "a b", "!a #b"},
		{"", "*", "pkg.toml bin/tool", "a a/pkg.toml bin/other"},
		{"src/", "src/x", "src/a bin/tool", "src/x src/x/y"},
		{"", "./a/b", "b x/a/b", "a/b a/b/c"},
		{"", "pkg.toml", "pkg.toml", "a/pkg.toml"},
	}
	for _, tt := range tests {
		m := &Manifest{
			Package: Package{Include: strings.Fields(tt.include), Exclude: strings.Fields(tt.exclude)},
			Bin:     map[string]string{"tool": "bin/tool"},
		}
		for _, g := range append(m.Package.Include, m.Package.Exclude...) {
			if _, err := compileGlob(g); err != nil {
				t.Errorf("%q: %v", g, err)
			}
		}
		for file := range strings.FieldsSeq(tt.packed) {
			if !m.Packs(file, false) {
				t.Errorf("include %q, exclude %q: %s is left out", tt.include, tt.exclude, file)
			}
			for i, c := range file {
				if c == '/' && !m.Packs(file[:i], true) {
					t.Errorf("include %q, exclude %q: directory %s is not looked into", tt.include, tt.exclude, file[:i])
				}
			}
		}
		for file := range strings.FieldsSeq(tt.left) {
			if m.Packs(file, false) {
				t.Errorf("include %q, exclude %q: %s is packed", tt.include, tt.exclude, file)
			}
		}
	}
}

func TestExcludedDirectoriesAreNotEntered(t *testing.T) {
	t.Parallel()
	m := &Manifest{Package: Package{Exclude: []string{"test/", "bin"}}, Bin: map[string]string{"tool": "bin/deep/tool"}}
	for dir, want := range map[string]bool{
		".": true, "test": false, "a/test": false, ".git": false, "a/pkg_modules": false,
		"bin": true, "bin/deep": true, "bin/other": false, "src": true,
	} {
		if got := m.Packs(dir, true); got != want {
			t.Errorf("directory %s: %v, want %v", dir, got, want)
		}
	}
}

func TestPatternsTakeNoLongerThanTheirLength(t *testing.T) {
	t.Parallel()
	pattern := strings.Repeat("**/a/", 100) + "b"
	g, err := compileGlob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	if g.match(strings.Split(strings.Repeat("a/", 500)+"c", "/"), false) {
		t.Error("matches")
	}
}
