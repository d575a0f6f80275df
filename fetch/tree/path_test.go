package tree_test

import (
	"errors"
	"strings"
	"testing"

	"pkg/fetch/tree"
)

func TestNamesThatNoPlatformMayMeet(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", ".", "..", "a/b", `a\b`, "a\x00", "a\n", "\x7f", "a\u0085", "\xff", "a\xc0\xaf", "CON", "con", "Con.txt", "aux.", "nul.tar.gz",
		"COM1", "com9.js", "lpt¹", "CONIN$", "con .txt", "a.", "a ", "a:b", "a<", "a>", `a"`, "a|b", "what?", "*", "a\u202eb", "a\u200fb",
		"a\u2066", "a\u2028", ".git", ".GIT", "GIT~1", ".g\u200cit", "\ufeffa", ".gi\u206at", "a\u206f", "pkg_modules", "PKG_Modules",
		"p\u212ag_modules", "pkg_module\u017f", strings.Repeat("x", 256),
	} {
		var e *tree.Error
		if err := tree.CheckName(bad); !errors.As(err, &e) {
			t.Errorf("CheckName(%q) = %v, want an Error", bad, err)
		}
	}
	for _, good := range []string{
		"a", ".npmrc", "...x", "..a", "a b", " a", "COM", "COM10", "console", "conx.txt", "nul1", "é", "日本", "a~1", ".gitignore", "git",
		"@scope", "[id].js", "a;b", "$x", "%41", "~", "-", strings.Repeat("x", 255),
	} {
		if err := tree.CheckName(good); err != nil {
			t.Errorf("CheckName(%q) = %v, want nil", good, err)
		}
	}
}

func TestCheckHoldsPathsAndLimits(t *testing.T) {
	t.Parallel()
	small := tree.Limits{Files: 3, Bytes: 10, Depth: 3, PathBytes: 20}
	for _, c := range []struct {
		rule  string
		paths []string
		ok    bool
	}{
		{"one file", []string{"a"}, true},
		{"no files", nil, false},
		{"three files", []string{"a", "b", "c"}, true},
		{"too many files", []string{"a", "b", "c", "d"}, false},
		{"twice the same", []string{"a", "a"}, false},
		{"case", []string{"readme", "README"}, false},
		{"case of directories", []string{"Dir/a", "dir/b"}, false},
		{"same directory", []string{"dir/a", "dir/b"}, true},
		{"sharp s", []string{"straße", "STRASSE"}, false},
		{"dotless i stays apart", []string{"ı", "i"}, true},
		{"composed and decomposed", []string{"\u00e9", "e\u0301"}, false},
		{"kelvin sign", []string{"\u212a", "k"}, false},
		{"final sigma", []string{"ς", "Σ"}, false},
		{"file where a directory is", []string{"a", "a/b"}, false},
		{"file where a directory is, in another case", []string{"A", "a/b"}, false},
		{"a name between", []string{"a/b", "a.b"}, true},
		{"deep enough", []string{"a/b/c"}, true},
		{"too deep", []string{"a/b/c/d"}, false},
		{"too long", []string{strings.Repeat("x", 21)}, false},
		{"absolute", []string{"/a"}, false},
		{"parent", []string{"../a"}, false},
		{"parent inside", []string{"a/../b"}, false},
		{"trailing slash", []string{"a/"}, false},
		{"double slash", []string{"a//b"}, false},
		{"drive", []string{"C:/a"}, false},
		{"stream", []string{"a:$DATA"}, false},
		{"too many directories", []string{"a/b/1", "c/d/2"}, false},
	} {
		var files []tree.File
		for _, p := range c.paths {
			files = append(files, tree.File{Path: p, Size: 1})
		}
		if err := tree.Check(files, small); (err == nil) != c.ok {
			t.Errorf("%s %q: got %v, want ok = %v", c.rule, c.paths, err, c.ok)
		}
	}
	for _, size := range []int64{-1, 11, 1 << 62} {
		if tree.Check([]tree.File{{Path: "a", Size: size}}, small) == nil {
			t.Errorf("size %d is accepted over a limit of 10 bytes", size)
		}
	}
	if tree.Check([]tree.File{{Path: "a", Size: 6}, {Path: "b", Size: 6}}, small) == nil {
		t.Error("6 + 6 bytes are accepted over a limit of 10")
	}
}
