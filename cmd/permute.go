package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// line is a command line taken apart: urfave/cli v2 stops reading flags at the first operand and would silently take a
// later `--dev` for one, so flags, command and operands are told apart here, wherever they stand.
type line struct {
	path          []*cli.Command // the command: keys, new
	flags         []flagged
	operands      []string
	help, version bool
}

// flagged is one flag as given.
type flagged struct {
	name  string // without dashes
	value string
	has   bool // it has a value
}

// argv is the line in the one order that urfave/cli reads right, beginning with the program.
func (l line) argv() []string {
	out := []string{"pkg"}
	for _, c := range l.path {
		out = append(out, c.Name)
	}
	for _, f := range l.flags {
		dash := "--"
		if len(f.name) == 1 {
			dash = "-"
		}
		if f.has {
			out = append(out, dash+f.name+"="+f.value)
		} else {
			out = append(out, dash+f.name)
		}
	}
	out = append(out, "--")
	return append(out, l.operands...)
}

// has reports whether a flag without a value is on.
func (l line) has(name string) bool {
	v, ok := l.value(name)
	return ok && v != "false" && v != "0"
}

// value returns the last value of a flag.
func (l line) value(name string) (string, bool) {
	for _, f := range slices.Backward(l.flags) {
		if f.name == name {
			return f.value, true
		}
	}
	return "", false
}

// parse takes args apart. Flags may stand anywhere before "--"; after it everything is an operand. What it could read
// before an error is in the line too.
func parse(commands []*cli.Command, args []string) (line, error) {
	var l line
	valued := takesValue(commands)
	list, stopped := commands, false
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case stopped || a == "-" || !strings.HasPrefix(a, "-"):
			if c := find(list, a); c != nil && !stopped {
				l.path, list = append(l.path, c), c.Subcommands
				continue
			}
			l.operands = append(l.operands, a)
			// The rest belongs to the command that is run; an unknown command has no rest worth reading.
			if len(l.path) > 0 && passesThrough(l.path[len(l.path)-1]) {
				l.operands, args = append(l.operands, args...), nil
			}
			list = nil
		case a == "--":
			stopped = true
		default:
			var err error
			if args, err = l.flag(a, args, valued); err != nil {
				return l, err
			}
		}
	}
	return l, l.check(commands)
}

// flag reads one flag and its value, if it takes one, and returns the arguments left.
func (l *line) flag(a string, args []string, valued map[string]bool) ([]string, error) {
	name, value, has := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(a, "-"), "-"), "=")
	switch name {
	case "help", "h":
		l.help = true
		return args, nil
	case "version":
		if len(l.path) == 0 {
			l.version = true
			return args, nil
		}
	}
	if valued[name] && !has {
		if len(args) == 0 {
			return nil, &usageError{Err: fmt.Errorf("%s needs a value", a), Help: nameOf(l.path) + " --help"}
		}
		value, has, args = args[0], true, args[1:]
	}
	l.flags = append(l.flags, flagged{name: name, value: value, has: has})
	return args, nil
}

// check reports a command or flag that does not exist.
func (l line) check(commands []*cli.Command) error {
	if l.help && (len(l.path) > 0 || len(l.operands) == 0) || l.version {
		return nil
	}
	list, flags, name := commands, globalFlags(), "pkg"
	if n := len(l.path); n > 0 {
		c := l.path[n-1]
		list, flags, name = c.Subcommands, append(flags, c.Flags...), nameOf(l.path)
	}
	if len(list) > 0 {
		switch {
		case len(l.operands) > 0:
			return noCommand(l.path, l.operands[0], list)
		case len(l.path) == 0 || l.path[len(l.path)-1].Action == nil:
			return &usageError{Err: fmt.Errorf("%s needs a command: %s", name, strings.Join(names(list), ", ")), Help: name + " --help"}
		}
	}
	for _, f := range l.flags {
		known := flagNames(flags)
		if !slices.Contains(known, f.name) {
			return unknown(fmt.Sprintf("%s has no flag %s", name, dashed(f.name)), "", dashed(f.name), dashedAll(known), name+" --help")
		}
	}
	return nil
}

// takesValue says of every flag name whether a value follows it.
func takesValue(commands []*cli.Command) map[string]bool {
	valued := map[string]bool{}
	add := func(flags []cli.Flag) {
		for _, f := range flags {
			d, ok := f.(cli.DocGenerationFlag)
			for _, n := range f.Names() {
				valued[n] = ok && d.TakesValue()
			}
		}
	}
	add(globalFlags())
	walk(commands, func(_ []*cli.Command, c *cli.Command) { add(c.Flags) })
	return valued
}

func find(list []*cli.Command, name string) *cli.Command {
	if i := slices.IndexFunc(list, func(c *cli.Command) bool { return c.HasName(name) }); i >= 0 {
		return list[i]
	}
	return nil
}

// nameOf is the command as it is typed: pkg keys new.
func nameOf(path []*cli.Command) string {
	return strings.Join(append([]string{"pkg"}, names(path)...), " ")
}

// noCommand says that word is no command below path.
func noCommand(path []*cli.Command, word string, list []*cli.Command) error {
	what := fmt.Sprintf("there is no command %q", word)
	if len(path) > 0 {
		what = fmt.Sprintf("%s has no command %q", nameOf(path), word)
	}
	if ours := elsewhere(word); ours != "" && slices.Contains(names(list), ours) {
		word = ours
	}
	return unknown(what, nameOf(path), word, names(list), nameOf(path)+" --help")
}

// elsewhere is our word for what other package managers call word. What nearest finds by itself is not here.
func elsewhere(word string) string {
	switch word {
	case "i", "ci", "sync", "fetch", "restore":
		return "install"
	case "get", "require":
		return "add"
	case "ls", "freeze":
		return "list"
	case "explain":
		return "why"
	case "graph", "deps", "dependencies":
		return "tree"
	case "rm", "uninstall", "un":
		return "remove"
	case "upgrade", "up":
		return "update"
	case "run", "x", "npx", "dlx":
		return "exec"
	case "show", "view":
		return "info"
	case "new", "create":
		return "init"
	case "unpublish":
		return "yank"
	case "push":
		return "publish"
	case "audit", "check":
		return "verify"
	}
	return ""
}

func names(list []*cli.Command) []string {
	var out []string
	for _, c := range list {
		if !c.Hidden {
			out = append(out, c.Name)
		}
	}
	return out
}

func flagNames(flags []cli.Flag) []string {
	var out []string
	for _, f := range flags {
		out = append(out, f.Names()...)
	}
	return out
}

func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

func dashedAll(names []string) []string {
	var out []string
	for _, n := range append(names, "help") {
		out = append(out, dashed(n))
	}
	return out
}
