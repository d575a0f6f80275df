package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// testEnv is an environment with buffers for everything.
func testEnv(t *testing.T) (e *Env, stdout, stderr *bytes.Buffer) {
	t.Helper()
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	dir := t.TempDir()
	return &Env{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Environ: []string{"PKG_HOME=" + dir}, Dir: dir,
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) }, Rand: zeros{},
	}, stdout, stderr
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// leaves are the commands that do something, with their path.
func leaves(e *Env) map[string][]*cli.Command {
	out := map[string][]*cli.Command{}
	walk(e.commands(), func(parents []*cli.Command, c *cli.Command) {
		if len(c.Subcommands) == 0 {
			path := append(slices.Clone(parents), c)
			out[nameOf(path)] = path
		}
	})
	return out
}

func TestEveryCommandIsWhole(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv(t)
	walk(e.commands(), func(parents []*cli.Command, c *cli.Command) {
		name := nameOf(append(slices.Clone(parents), c))
		if c.Usage == "" || strings.HasSuffix(c.Usage, ".") || strings.ToLower(c.Usage[:1]) != c.Usage[:1] {
			t.Errorf("%s: Usage %q: want a phrase in lower case without a full stop", name, c.Usage)
		}
		if len(parents) == 0 && !slices.Contains(categories(), c.Category) {
			t.Errorf("%s: Category %q is none of %q", name, c.Category, categories())
		}
		if c.Action == nil && len(c.Subcommands) == 0 {
			t.Errorf("%s: want an Action or commands below it", name)
		}
		if len(c.Aliases) > 0 {
			t.Errorf("%s: one word per command: aliases %q", name, c.Aliases)
		}
		if c.Before != nil || c.After != nil || c.OnUsageError != nil {
			t.Errorf("%s: Main alone goes before and after an Action", name)
		}
	})
}

func TestEveryFlagIsWhole(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv(t)
	valued := map[string]string{} // flag -> "true by pkg add"
	walk(e.commands(), func(parents []*cli.Command, c *cli.Command) {
		name := nameOf(append(slices.Clone(parents), c))
		for _, f := range append(globalFlags(), c.Flags...) {
			d, ok := f.(cli.DocGenerationFlag)
			if !ok || d.GetUsage() == "" {
				t.Errorf("%s %s: no usage", name, f.Names()[0])
				continue
			}
			if d.TakesValue() && !strings.Contains(d.GetUsage(), "`") {
				t.Errorf("%s --%s: usage %q does not name the value in backquotes", name, f.Names()[0], d.GetUsage())
			}
			if r, ok := f.(cli.RequiredFlag); ok && r.IsRequired() {
				t.Errorf("%s --%s: say in the Action that it is needed: a Required flag prints help by itself", name, f.Names()[0])
			}
			if len(d.GetEnvVars()) > 0 {
				t.Errorf("%s --%s: reads the environment by itself", name, f.Names()[0])
			}
			for _, n := range f.Names() {
				takes := fmt.Sprint(d.TakesValue())
				if before, ok := valued[n]; ok && before != takes {
					t.Errorf("%s --%s: takes a value here and none elsewhere, or the other way about", name, n)
				}
				valued[n] = takes
			}
		}
		for _, g := range globalFlags() {
			for _, f := range c.Flags {
				if slices.ContainsFunc(f.Names(), func(n string) bool { return slices.Contains(g.Names(), n) || n == "help" || n == "h" }) {
					t.Errorf("%s: %q is a flag of every command", name, f.Names())
				}
			}
		}
	})
}

// read runs args with every Action replaced by one that looks.
func read(t *testing.T, e *Env, args []string, look func(*cli.Context)) error {
	t.Helper()
	commands := e.commands()
	l, err := parse(commands, args)
	if err != nil {
		return err
	}
	e.settle(l)
	app := e.app(commands)
	looked := false
	walk(commands, func(_ []*cli.Command, c *cli.Command) {
		if c.Action != nil {
			c.Action = func(c *cli.Context) error { looked = true; look(c); return nil }
		}
	})
	if err := app.RunContext(t.Context(), l.argv()); err != nil {
		return err
	}
	if !looked {
		t.Errorf("%q reached no command", args)
	}
	return nil
}

// sample is a value that a flag accepts.
func sample(f cli.Flag) []string {
	name := dashed(f.Names()[0])
	switch f.(type) {
	case *cli.BoolFlag:
		return []string{name}
	case *cli.IntFlag, *cli.Int64Flag, *cli.UintFlag, *cli.Uint64Flag:
		return []string{name, "7"}
	case *cli.DurationFlag:
		return []string{name, "3h"}
	}
	if name == "--color" {
		return []string{name, "never"}
	}
	return []string{name, "--odd,value"}
}

func TestEveryFlagWorksAnywhere(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv(t)
	for name, path := range leaves(e) {
		c := path[len(path)-1]
		words := strings.Fields(name)[1:]
		for _, f := range append(globalFlags(), c.Flags...) {
			flag := sample(f)
			lines := [][]string{
				slices.Concat(flag, words, []string{"a", "b"}),
				slices.Concat(words, flag, []string{"a", "b"}),
				slices.Concat(words[:1], flag, words[1:], []string{"a", "b"}),
				slices.Concat(words, []string{"a"}, flag, []string{"b"}),
				slices.Concat(words, []string{"a", "b"}, flag),
				slices.Concat(words, flag, []string{"--", "a", "b"}),
			}
			for i, args := range lines {
				if passesThrough(c) && (i == 3 || i == 4) {
					continue
				}
				err := read(t, e, args, func(ctx *cli.Context) {
					if got := ctx.Args().Slice(); !slices.Equal(got, []string{"a", "b"}) {
						t.Errorf("%q: operands %q, want a and b", args, got)
					}
					if !ctx.IsSet(f.Names()[0]) {
						t.Errorf("%q: %s is not set", args, flag[0])
					}
				})
				if err != nil {
					t.Errorf("%q: %v", args, err)
				}
			}
		}
	}
}

func TestEveryCommandHasHelpAndJSON(t *testing.T) {
	t.Parallel()
	plain, _, _ := testEnv(t)
	for name := range leaves(plain) {
		e, stdout, stderr := testEnv(t)
		args := append(strings.Fields(name)[1:], "a", "b", "--help", "--json")
		if path := leaves(plain)[name]; passesThrough(path[len(path)-1]) {
			args = append(strings.Fields(name)[1:], "--help", "--json")
		}
		if code := Main(t.Context(), args, e); code != exitDone {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
		var got struct{ Event, Command, Text string }
		if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got.Event != "help" || got.Command != name {
			t.Errorf("%q: %v %s", args, err, stdout)
		}
		for _, want := range []string{"usage: " + name, "  -C DIR ", "  --json ", "  -q, --quiet "} {
			if !strings.Contains(got.Text, want) {
				t.Errorf("%q: no %q in its help", args, want)
			}
		}
	}
}

func TestEveryCommandRefusesUnknownFlags(t *testing.T) {
	t.Parallel()
	plain, _, _ := testEnv(t)
	for name := range leaves(plain) {
		e, stdout, stderr := testEnv(t)
		args := append(strings.Fields(name)[1:], "--no-such-flag", "a")
		if code := Main(t.Context(), args, e); code != exitUsage || stdout.Len() > 0 {
			t.Errorf("%q: exit code %d, want %d; stdout %q", args, code, exitUsage, stdout)
		}
		if !strings.Contains(stderr.String(), "\nhelp: "+name+" --help\n") {
			t.Errorf("%q: no help line: %s", args, stderr)
		}
	}
}

func TestInterruptedEndsWith130(t *testing.T) {
	t.Parallel()
	e, _, stderr := testEnv(t)
	e.settle(line{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{context.Canceled, errors.New("connection reset")} {
		if code := e.end(ctx, fmt.Errorf("fetch: %w", err)); code != exitInterrupted {
			t.Errorf("%v: exit code %d, want %d: %s", err, code, exitInterrupted, stderr)
		}
	}
	if code := e.end(ctx, fail(exitTrust, "", "a forged head")); code != exitTrust {
		t.Errorf("a failure of trust: exit code %d, want %d", code, exitTrust)
	}
}

func TestHomesFollowTheEnvironment(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	at := func(elem ...string) string { return filepath.Join(append([]string{root}, elem...)...) }
	xdg := Homes{
		Keys: at("d", "pkg", "keys"), Store: at("d", "pkg", "store"), Registry: at("d", "pkg", "registry"),
		State: at("s", "pkg"), Config: at("c", "pkg", "config.toml"),
	}
	one := Homes{Keys: at("p", "keys"), Store: at("p", "store"), State: at("p", "state"), Registry: at("p", "registry"), Config: at("p", "config.toml")}
	for _, c := range []struct {
		environ []string
		want    Homes
	}{
		{[]string{"PKG_HOME=" + at("p")}, one},
		{[]string{"PKG_HOME=p"}, one}, // of the folder pkg was started in, whatever -C says
		{[]string{"HOME=" + at("h"), "XDG_DATA_HOME=" + at("d"), "XDG_STATE_HOME=" + at("s"), "XDG_CONFIG_HOME=" + at("c")}, xdg},
		{[]string{"HOME=" + at("h"), "XDG_DATA_HOME=relative"}, Homes{
			Keys: at("h", ".local", "share", "pkg", "keys"), Store: at("h", ".local", "share", "pkg", "store"),
			Registry: at("h", ".local", "share", "pkg", "registry"), State: at("h", ".local", "state", "pkg"),
			Config: at("h", ".config", "pkg", "config.toml"),
		}},
	} {
		if runtime.GOOS == "windows" && !strings.HasPrefix(c.environ[0], "PKG_HOME") {
			continue
		}
		e := &Env{Environ: c.environ, Dir: at("elsewhere"), origin: root}
		if got, err := e.Homes(); err != nil || got != c.want {
			t.Errorf("%q: %+v, %v\nwant %+v", c.environ, got, err, c.want)
		}
	}
	if _, err := (&Env{Dir: root}).Homes(); err == nil {
		t.Error("no variable at all: want an error")
	}
}

func TestARegistryOfTheEnvironmentKeepsItsIDToItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args, environ []string
		want          registryRef
	}{
		{nil, nil, registryRef{}},
		{nil, []string{"PKG_REGISTRY=http://a", "PKG_REGISTRY_ID=x"}, registryRef{"http://a", "x"}},
		{[]string{"--registry=http://b"}, []string{"PKG_REGISTRY=http://a", "PKG_REGISTRY_ID=x"}, registryRef{"http://b", ""}},
		{[]string{"--registry=http://a"}, []string{"PKG_REGISTRY=http://a", "PKG_REGISTRY_ID=x"}, registryRef{"http://a", "x"}},
		{[]string{"--registry=http://b"}, []string{"PKG_REGISTRY_ID=x"}, registryRef{"http://b", "x"}},
		{[]string{"--registry-id=y"}, []string{"PKG_REGISTRY=http://a", "PKG_REGISTRY_ID=x"}, registryRef{"http://a", "y"}},
	} {
		e, _, _ := testEnv(t)
		e.Environ = c.environ
		err := read(t, e, append([]string{"install"}, c.args...), func(ctx *cli.Context) {
			if got := e.registryRef(ctx); got != c.want {
				t.Errorf("%q with %q: %+v, want %+v", c.args, c.environ, got, c.want)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAChildsExitCodeIsPassedOn(t *testing.T) {
	t.Parallel()
	e, _, stderr := testEnv(t)
	e.settle(line{})
	if code := e.end(t.Context(), fmt.Errorf("exec: %w", exitStatus(42))); code != 42 || stderr.Len() > 0 {
		t.Errorf("exit code %d, want 42 and no word: %q", code, stderr)
	}
}

func TestWhatIsDeferredIsClosedLastFirst(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv(t)
	e.settle(line{})
	var order []int
	for i := range 3 {
		e.Defer(func() error { order = append(order, i); return nil })
	}
	e.Defer(func() error { return errors.New("close store: no") })
	if code := e.end(t.Context(), nil); code != exitFailed || !slices.Equal(order, []int{2, 1, 0}) {
		t.Errorf("exit code %d and order %v, want %d and 2 1 0", code, order, exitFailed)
	}
}
