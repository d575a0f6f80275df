package toml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	burntsushi "github.com/BurntSushi/toml"
)

func TestGuardRefusesBombs(t *testing.T) {
	t.Parallel()
	repeat := strings.Repeat
	tests := []struct{ what, in, msg string }{
		{"size", repeat("#", MaxManifest+1), "bytes, more than the limit"},
		{"dotted key", repeat("a.", 20000) + "a = 1", "parts"},
		{"dotted key of 9", "a.b.c.d.e.f.g.h.i = 1", "parts"},
		{"dotted header", "[" + repeat("a.", 20000) + "a]", "parts"},
		{"dotted header of an array", "[[" + repeat("a.", 20000) + "a]]", "parts"},
		{"dotted key in braces", "a = {" + repeat("a.", 20000) + "a = 1}", "parts"},
		{"quoted parts", repeat(`"a".`, 9) + "a = 1", "parts"},
		{"run of [", "a = " + repeat("[", 60000), "brackets"},
		{"run of [ at the start", repeat("[", 60000), "expected a key"},
		{"run of {", "a = " + repeat("{a=", 20000), "brackets"},
		{"mixed nesting", "a = " + repeat("[{a=", 9), "brackets"},
		{"nesting of 17", "a = " + repeat("[", 17) + repeat("]", 17), "brackets"},
		{"long key", repeat("a", MaxKey+1) + " = 1", "bytes"},
		{"long quoted key", `"` + repeat("a", MaxKey+1) + `" = 1`, "bytes"},
		{"long header", "[" + repeat("a", MaxKey+1) + "]", "bytes"},
		{"long space in a key", "a" + repeat(" ", MaxKey) + ".b = 1", "bytes"},
		{"not UTF-8", "a = \"\xff\"", "UTF-8"},
		{"UTF-16", "\xff\xfea\x00", "UTF-8"},
		{"NUL", "a = 1\nb = \"\x00\"", "line 2: control character 0x00"},
		{"escape byte", "# \x1b[31m", "control character"},
		{"lone CR", "a = 1\rb = 2", "control character"},
		{"string without an end", "a = \"b", "without an end"},
		{"string over a line", "a = \"b\nc\"", "without an end"},
		{"long string without an end", "a = '''b\nc''", "without an end"},
		{"six quotes", `a = """b""""""`, "quotes"},
		{"no value", "a =", "expected a value"},
		{"no equals", "a\n", "expected ="},
		{"two on a line", "a = 1 b = 2", "end of the line"},
		{"open array", "a = [1, 2", "expected a comma"},
		{"open table", "a = { b = 1", "expected a comma"},
		{"header", "[a", "expected ]"},
		{"header of an array", "[[a]", "expected ]"},
		{"empty part", "a..b = 1", "expected a key"},
		{"text", "hello", "expected ="},
		{"merge conflict", "<<<<<<< ours", "expected a key"},
	}
	for _, tt := range tests {
		err := Guard([]byte(tt.in), MaxManifest)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.msg) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.msg)
		}
		if e != nil && len(e.Msg) > 200 {
			t.Errorf("%s: message of %d bytes", tt.what, len(e.Msg))
		}
	}
	if err := Guard([]byte(repeat("[[a]]\n", MaxTables+1)), MaxLock); err == nil {
		t.Error("too many tables are accepted")
	}
	if err := Guard([]byte("a = ["+repeat("{},", MaxTables)+"]\n[b]"), MaxLock); err == nil {
		t.Error("too many inline tables are accepted")
	}
}

func TestGuardAcceptsTOML(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", "\n", "# c", "# c\r\n\r\n", "\xef\xbb\xbfa = 1",
		"a = 1", "a = 1 # c", "a=1\r\nb=2\r\n", "\t a \t = \t 1 \t # c",
		"a.b.c.d.e.f.g.h = 1", `a . "b.c" . 'd' = 1`, `"" = 1`, `"a\"b\u0041" = 1`, `'a\' = 1`,
		"[a]\n[a.b]\n[ a . c ] # c\n[[d]]\n[[ d ]]",
		`a = "b # c \" \\"` + "\nb = 'c \" d \\'",
		"a = \"\"\"\nb \"\" c \\\n  d\"\"\"\"\"\nb = 1",
		"a = '''\nb '' c'''''\nb = 1", `a = """"""`, `a = ""`, `a = """a\""""`,
		"a = [1, 2,\n # c\n 3, # d\n]\nb = [[1], ['x', \"]\"]]",
		"a = { b = 1, \"c.d\" = [{ e = 2 }], f.g = 3 }\nb = {}", "a = {\n b = 1, # c\n c = 2,\n}",
		"a = 1979-05-27 07:32:00\nb = 1979-05-27T07:32:00.5+01:00\nc = 07:32:00\nd = 1979-05-27 # c",
		"a = -1.5e+10\nb = 0xff\nc = inf\nd = true\ne = 1_000",
		"a = " + strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth),
	} {
		if err := Guard([]byte(in), MaxManifest); err != nil {
			t.Errorf("Guard(%q) = %v", in, err)
		}
		var v map[string]any
		if _, err := burntsushi.Decode(in, &v); err != nil {
			t.Errorf("the parser refuses %q: %v", in, err)
		}
	}
}

// TestGuardIsLinear ends at once, or not within the patience of the test: 2
// MiB of what looks worst passes or fails in one pass.
func TestGuardIsLinear(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"[", "a.", "a=1\n", "a=[[]]\n", "#\n", "''\n", "a='''\n", "\"", "a = {b={}}\n", " ", "a=\"\\\""} {
		in := []byte(strings.Repeat(unit, MaxLock/8/len(unit)))
		if err := Guard(in, MaxLock); err != nil && len(err.Error()) > 200 {
			t.Errorf("%q…: message of %d bytes", unit, len(err.Error()))
		}
	}
}

type shape struct {
	Package struct {
		Name    string   `toml:"name"`
		Version string   `toml:"version"`
		Authors []string `toml:"authors"`
	} `toml:"package"`
	Dependencies map[string]dep `toml:"dependencies"`
	Rows         []dep          `toml:"row"`
	Size         *int64         `toml:"size"`
}

type dep struct {
	Version  string `toml:"version"`
	Registry string `toml:"registry"`
}

func TestUnknownKeysAreErrorsWithASuggestion(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"\n[pakage]", `line 2: unknown key "pakage" (did you mean "package"?)`},
		{"[package]\nname = 'x'\nversionn = '1'", `line 3: unknown key "versionn" in [package] (did you mean "version"?)`},
		{"[package]\nName = 'x'", `line 2: unknown key "Name" in [package] (did you mean "name"?)`},
		{"package = { nam = 'x' }", `line 1: unknown key "nam" in [package] (did you mean "name"?)`},
		{"package.author = []", `line 1: unknown key "author" in [package] (did you mean "authors"?)`},
		{"[package]\nzzzzzz = 1", `line 2: unknown key "zzzzzz" in [package] (known: name, version, authors)`},
		{"[dependencies]\na = { registrry = 'x' }", `line 2: unknown key "registrry" in [dependencies.a] (did you mean "registry"?)`},
		{"[dependencies.a]\nvrsion = 'x'", `line 2: unknown key "vrsion" in [dependencies.a] (did you mean "version"?)`},
		{"[dependencies]\na.b.c = 'x'", `line 2: unknown key "b" in [dependencies.a] (known: version, registry)`},
		{"[[row]]\n[[row]]\nversion = '1'\nregistri = 'x'", `line 4: unknown key "registri" in [row] (did you mean "registry"?)`},
		{"row = [{},\n{ versio = '1' }]", `line 2: unknown key "versio" in [row] (did you mean "version"?)`},
		{"[dependencies]\n\"a\\u0062\" = { x = 1 }", `line 2: unknown key "x" in [dependencies.ab] (known: version, registry)`},
		{"dev_dependencies = 1", `line 1: unknown key "dev_dependencies" (did you mean "dependencies"?)`},
	}
	for _, tt := range tests {
		_, err := Decode([]byte(tt.in), MaxManifest, new(shape))
		if err == nil || err.Error() != tt.want {
			t.Errorf("Decode(%q)\n got %v\nwant %s", tt.in, err, tt.want)
		}
	}
}

func TestWrongValuesAreErrorsWithALine(t *testing.T) {
	t.Parallel()
	for in, line := range map[string]int{
		"[package]\nname = 1":                       2,
		"[package]\nname = 'x'\nauthors = 'y'":      3,
		"\n[package.name]":                          2,
		"\npackage = 1":                             2,
		"[package]\nname = 'x'\nname = 'y'":         3,
		"size = " + strings.Repeat("1-", 30000):     1,
		"size = 99999999999999999999":               1,
		"size = 0b":                                 1,
		"\nsize = 1.":                               2,
		"[dependencies]\na = { version = 1 }":       2,
		"[dependencies]\na = { version = \"\\q\" }": 2,
		"[[package]]":                               1,
		"[row]":                                     1,
		"[size]":                                    1,
		"\nrow = 1":                                 2,
		"\ndependencies = 'x'":                      2,
	} {
		_, err := Decode([]byte(in), MaxManifest, new(shape))
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("Decode(%.20q…): message of %d bytes", in, len(err.Error()))
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("Decode(%q) = %v", in, err)
		} else if e.Line != line || strings.Contains(e.Msg, "struct") || strings.Contains(e.Msg, "map[") || strings.Contains(e.Msg, "last key") {
			t.Errorf("Decode(%q): %v; want line %d", in, e, line)
		}
	}
}

func TestItemsSayWhereThingsStand(t *testing.T) {
	t.Parallel()
	const in = "a.b = 1 # c\n[t] # d\n  \"k.l\"  =  { m = [1, 2], n = 'x' }\n[[u.v]]\nw = \"\"\"\nx\"\"\"\ny = 3\n"
	doc, err := Parse([]byte(in), MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, it := range doc.Items {
		got = append(got, fmt.Sprintf("%d %d %q %q %q", it.Kind, it.Line, it.Path, in[it.Start:it.End], in[it.Value:it.End]))
	}
	// A header has no value; its second text starts at the top.
	want := []string{
		`2 1 ["a" "b"] "a.b = 1" "1"`,
		`0 2 ["t"] "[t]" "a.b = 1 # c\n[t]"`,
		`2 3 ["t" "k.l"] "\"k.l\"  =  { m = [1, 2], n = 'x' }" "{ m = [1, 2], n = 'x' }"`,
		`3 3 ["t" "k.l" "m"] "m = [1, 2]" "[1, 2]"`,
		`3 3 ["t" "k.l" "n"] "n = 'x'" "'x'"`,
		`1 4 ["u" "v"] "[[u.v]]" "a.b = 1 # c\n[t] # d\n  \"k.l\"  =  { m = [1, 2], n = 'x' }\n[[u.v]]"`,
		`2 5 ["u" "v" "w"] "w = \"\"\"\nx\"\"\"" "\"\"\"\nx\"\"\""`,
		`2 7 ["u" "v" "y"] "y = 3" "3"`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for path, line := range map[string]int{"t": 2, "t/k.l": 3, "t/k.l/zz": 3, "u": 4, "u/v/y": 7, "zz": 0} {
		if got := doc.Line(strings.Split(path, "/")...); got != line {
			t.Errorf("Line(%s) = %d, want %d", path, got, line)
		}
	}
}

func TestQuoteReadsBack(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "a", `a"b\c`, "a\nb\tc\x00\x7f", "naïve ☃ 𝄞", "'", "# x"} {
		var v struct {
			K map[string]string `toml:"k"`
		}
		if _, err := Decode([]byte("[k]\n"+Key(s)+" = "+Quote(s)), MaxManifest, &v); err != nil || v.K[s] != s {
			t.Errorf("%q comes back as %q, %v", s, v.K, err)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"name", "version", "dependencies", "dev-dependencies", "id"}
	for s, want := range map[string]string{
		"naem": "name", "vrsion": "version", "Version": "version", "depndencies": "dependencies",
		"dev_dependencies": "dev-dependencies", "devDependencies": "dev-dependencies", "xyz": "", "": "",
		strings.Repeat("name", 1000): "",
	} {
		if got := Nearest(s, known); got != want {
			t.Errorf("Nearest(%.20q) = %q, want %q", s, got, want)
		}
	}
}

// depth returns the deepest nesting of tables and arrays.
func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, x := range v {
			deepest = max(deepest, depth(x))
		}
	case []any:
		for _, x := range v {
			deepest = max(deepest, depth(x))
		}
	case []map[string]any:
		for _, x := range v {
			deepest = max(deepest, depth(x))
		}
	default:
		return 0
	}
	return deepest + 1
}

// FuzzGuard holds the scan against the parser: what the parser accepts, the
// guard accepts or refuses for a limit; and what both accept is not deep.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{
		"a.b = 1 # c\n[t]\nk = { m = [1, 2], n = 'x' }\n[[u]]\n", "a = \"\"\"\nx\\\"\"\"\"\"\"\nb = 1",
		"a = '''b'''''\nc=2", "\"a\" . b = 1979-05-27 07:32:00", "a = [[[[", "a = {\n},", "[a.b.c]\r\n", "a = \"\\u00e9\" # x",
		"\xef\xbb\xbfx = inf", "a = 0b\n", "x = [ {a=1}, {b=2} ]", "a.b.c.d.e.f.g.h.i = 1", "a = 07:32:00 \n", "a = {b=1,,c=2}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1024 {
			return // the parser is slow on what the guard is for
		}
		doc, err := Parse(b, MaxManifest)
		if gErr := Guard(b, MaxManifest); (gErr == nil) != (err == nil) {
			t.Fatalf("Guard says %v, Parse %v", gErr, err)
		}
		v, pErr := parserOracle(b)
		if err != nil {
			limit := strings.Contains(err.Error(), "more than") || strings.Contains(err.Error(), "control character") ||
				strings.Contains(err.Error(), "UTF-8")
			if pErr == nil && !limit {
				t.Fatalf("the parser accepts %q, the guard says %v", b, err)
			}
			return
		}
		if pErr == nil {
			if d := depth(v); d > MaxDepth+MaxParts*(MaxDepth+2) {
				t.Fatalf("depth %d", d)
			}
			paths(t, doc, v)
		}
		var s shape
		_ = doc.Decode(&s) // must not panic
	})
}

// paths checks that every item the scan found is there for the parser too.
func paths(t *testing.T, doc *Doc, v map[string]any) {
	t.Helper()
	for _, it := range doc.Items {
		var at any = v
		for _, part := range it.Path {
			table, ok := at.(map[string]any)
			if !ok {
				at = nil // inside an array
				break
			}
			if at, ok = table[part]; !ok {
				t.Fatalf("the scan finds %q, the parser does not", it.Path)
			}
		}
		_ = at
	}
}

func parserOracle(b []byte) (v map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	_, err = burntsushi.Decode(string(b), &v)
	return v, err
}

func BenchmarkGuard(b *testing.B) {
	in := []byte(strings.Repeat("[[package]]\nname = \"left-pad\"\nversion = \"1.2.3\"\ndependencies = [\n  \"a\",\n]\n\n", 2000))
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Guard(in, MaxLock); err != nil {
			b.Fatal(err)
		}
	}
}
