package cmd

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func testTable() []*cli.Command {
	nothing := func(*cli.Context) error { return nil }
	return []*cli.Command{
		{Name: "add", Action: nothing, Flags: []cli.Flag{&cli.BoolFlag{Name: "dev"}, &cli.StringFlag{Name: "tag", Aliases: []string{"t"}}}},
		{Name: "exec", Action: nothing},
		{Name: "keys", Subcommands: []*cli.Command{{Name: "rotate", Action: nothing, Flags: []cli.Flag{&cli.IntFlag{Name: "n"}}}}},
	}
}

func TestFlagsComeFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"add foo --dev", "pkg add --dev -- foo"},
		{"--dev add foo", "pkg add --dev -- foo"},
		{"add foo --tag x bar", "pkg add --tag=x -- foo bar"},
		{"add foo --tag=x bar -t y", "pkg add --tag=x -t=y -- foo bar"},
		{"add --tag --dev foo", "pkg add --tag=--dev -- foo"},
		{"add --tag= foo", "pkg add --tag= -- foo"},
		{"add foo -- --dev", "pkg add -- foo --dev"},
		{"add -- keys -- -x", "pkg add -- keys -- -x"},
		{"add - --dev", "pkg add --dev -- -"},
		{"add --dev=false", "pkg add --dev=false --"},
		{"-C dir add foo", "pkg add -C=dir -- foo"},
		{"keys rotate a -n 3", "pkg keys rotate -n=3 -- a"},
		{"-n 3 keys --json rotate a", "pkg keys rotate -n=3 --json -- a"},
		{"exec --json tsc --version --json -C x", "pkg exec --json -- tsc --version --json -C x"},
		{"exec -- tsc --help", "pkg exec -- tsc --help"},
		{"exec -- --help", "pkg exec -- --help"},
		{"exec tsc -- --help", "pkg exec -- tsc -- --help"},
		{"exec keys rotate", "pkg exec -- keys rotate"},
	} {
		l, err := parse(testTable(), strings.Fields(c.in))
		if got := strings.Join(l.argv(), " "); err != nil || got != c.want {
			t.Errorf("parse(%q) = %q, %v, want %q", c.in, got, err, c.want)
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, want string }{
		{"", "pkg needs a command: add, exec, keys"},
		{"ad foo", `there is no command "ad"; did you mean add?`},
		{"-- add foo", `there is no command "add"; did you mean`},
		{"nosuch a -b", `there is no command "nosuch"`},
		{"keys", "pkg keys needs a command: rotate"},
		{"keys rotat", `pkg keys has no command "rotat"; did you mean rotate?`},
		{"add --dve", "pkg add has no flag --dve; did you mean --dev?"},
		{"add -n 3", "pkg add has no flag -n"},
		{"add --tag", "--tag needs a value"},
		{"x tsc", `there is no command "x"; did you mean exec?`},
		{"add -", ""},
	} {
		_, err := parse(testTable(), strings.Fields(c.in))
		if c.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("parse(%q): %v, want %s", c.in, err, c.want)
		}
	}
}

func TestWordsOfOthersLeadToACommand(t *testing.T) {
	t.Parallel()
	commands := names(new(Env).commands())
	for word, want := range map[string]string{
		"i": "install", "ci": "install", "restore": "install", "get": "add", "ls": "list", "freeze": "list", "explain": "why",
		"graph": "tree", "deps": "tree", "uninstall": "remove", "up": "update", "upgrade": "update", "npx": "exec", "view": "info",
		"create": "init", "unpublish": "yank", "push": "publish", "audit": "verify", "tree": "", "why": "", "outdated": "",
	} {
		got := elsewhere(word)
		if got != want || got != "" && !slices.Contains(commands, got) {
			t.Errorf("elsewhere(%q) = %q, want %q, a command", word, got, want)
		}
		if got != "" && slices.Contains(commands, word) {
			t.Errorf("elsewhere(%q) = %q, but %q is a command itself", word, got, word)
		}
	}
}

func TestHelpIsFoundAnywhereButBehindExec(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		help bool
	}{
		{"--help", true},
		{"add -h", true},
		{"add a --help b", true},
		{"keys --help", true},
		{"keys rotate --help", true},
		{"exec --help", true},
		{"exec tsc --help", false},
		{"add -- --help", false},
	} {
		l, err := parse(testTable(), strings.Fields(c.in))
		if err != nil || l.help != c.help {
			t.Errorf("parse(%q): help %v, %v, want %v", c.in, l.help, err, c.help)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"add", "install", "list", "outdated", "publish", "update", "registry"}
	for word, want := range map[string]string{
		"isntall": "install", "instal": "install", "pubilsh": "publish", "pub": "publish", "upgrade": "update",
		"reg": "registry", "out": "outdated", "xyzzy": "", "q": "", "": "", strings.Repeat("a", 100): "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"add\x00foo\x00--dev", "exec\x00--\x00-x", "keys\x00rotate\x00-n\x003", "--help", "-", "--", "-C=", "--=", "---x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(s, "\x00")
		l, err := parse(testTable(), args)
		if err != nil || l.help || l.version {
			return
		}
		again, err := parse(testTable(), l.argv()[1:])
		if err != nil {
			t.Fatalf("%q became %q: %v", args, l.argv(), err)
		}
		if a, b := strings.Join(l.argv(), "\x00"), strings.Join(again.argv(), "\x00"); a != b {
			t.Fatalf("%q became %q, and that %q", args, a, b)
		}
	})
}
