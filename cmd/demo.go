package cmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
)

func (e *Env) demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Category: onItself, Usage: "watch the whole workflow, in a temporary home",
		Description: `Makes a registry, keys, a package and a project, runs the commands you would type, and then attacks them. Nothing outside
a temporary folder is touched, no other machine is asked, and the folder is removed at the end.`,
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			return e.demo(c.Context)
		},
	}
}

// demo is one run of the workflow. Every step runs the command's own code through Main and reads what it printed as JSON.
type demo struct {
	e    *Env
	dir  string
	step int

	url, id      string // of the registry
	author, root string // of the package
	stop         func() error
}

// demo runs all steps and cleans up, whatever happens.
func (e *Env) demo(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "pkg-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d := &demo{e: e, dir: dir, stop: func() error { return nil }}
	defer func() { err = errors.Join(err, d.stop(), removeAll(dir)) }()
	for _, step := range []func(context.Context) error{
		d.registry, d.key, d.publish, d.project, d.prove, d.release, d.colleague, d.squatter, d.warm, d.tamper,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	e.UI.Note("", nil, "all of it was real: the same commands work on your own packages. Start with pkg help.")
	return nil
}

// said is one JSON line of a command.
type said map[string]any

func (s said) text(field string) string {
	if v, ok := s[field]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

// lastSaid returns the last event of a kind, or an empty one.
func lastSaid(events []said, kind string) said {
	for i := len(events) - 1; i >= 0; i-- {
		if events[i]["event"] == kind {
			return events[i]
		}
	}
	return said{}
}

// env is a process of its own: one home, one working directory, nothing of the user's settings.
func (d *demo) env(home, dir string, stdout *bytes.Buffer) *Env {
	var environ []string
	for _, kv := range d.e.Environ {
		if k, _, _ := strings.Cut(kv, "="); !strings.HasPrefix(k, "PKG_") && k != "CI" {
			environ = append(environ, kv)
		}
	}
	return &Env{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: &bytes.Buffer{}, Environ: append(environ, "PKG_HOME="+d.path(home)),
		Dir: d.path(dir), Now: d.e.Now, Rand: d.e.Rand, Version: d.e.Version,
	}
}

func (d *demo) path(elem ...string) string { return filepath.Join(append([]string{d.dir}, elem...)...) }

// run runs one command and returns its exit code and what it said.
func (d *demo) run(ctx context.Context, home, dir string, args ...string) (int, []said, error) {
	if err := os.MkdirAll(d.path(dir), 0o750); err != nil {
		return 0, nil, err
	}
	var out bytes.Buffer
	code := Main(ctx, append([]string{"--json"}, args...), d.env(home, dir, &out))
	events, err := parseSaid(out.Bytes())
	return code, events, err
}

func parseSaid(b []byte) ([]said, error) {
	var events []said
	for line := range bytes.Lines(b) {
		var s said
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		events = append(events, s)
	}
	return events, nil
}

// must runs a command that has to work.
func (d *demo) must(ctx context.Context, home, dir string, args ...string) ([]said, error) {
	code, events, err := d.run(ctx, home, dir, args...)
	if err == nil && code != exitDone {
		err = fmt.Errorf("pkg %s exited with %d: %s", strings.Join(args, " "), code, lastSaid(events, "error").text("message"))
	}
	return events, err
}

// refused runs a command that has to fail with a code, and returns why it did.
func (d *demo) refused(ctx context.Context, want int, home, dir string, args ...string) (string, error) {
	code, events, err := d.run(ctx, home, dir, args...)
	why := lastSaid(events, "error").text("message")
	if err == nil && code != want {
		err = fmt.Errorf("pkg %s exited with %d, not %d: %s", strings.Join(args, " "), code, want, why)
	}
	return why, err
}

// say prints the next line.
func (d *demo) say(command, format string, args ...any) {
	d.step++
	plain := fmt.Sprintf(format, args...)
	d.e.UI.Data("step", map[string]any{"step": d.step, "command": command, "text": plain}, "%2d. %s", d.step, ui.Bold("pkg "+command))
	d.e.UI.Data("", nil, "    %s", plain)
}

// registry makes and serves a registry.
func (d *demo) registry(ctx context.Context) error {
	events, err := d.must(ctx, "server", ".", "registry", "init", "registry", "--origin", "demo.invalid")
	if err != nil {
		return err
	}
	d.id = lastSaid(events, "registry").text("id")
	d.say("registry init registry --origin demo.invalid", "a registry is a signed log of names; its identity is the hash of its first trust root, %s", d.id)
	if err := d.serve(ctx); err != nil {
		return err
	}
	d.say("registry serve registry", "it answers at %s: whatever it says is checked against that identity", d.url)
	return nil
}

// serve starts the registry's server, and sets stop to end it.
func (d *demo) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	out := &firstLine{got: make(chan []byte, 1)}
	env := d.env("server", ".", nil)
	env.Stdout = out
	done := make(chan int, 1)
	go func() {
		done <- Main(ctx, []string{"--json", "--quiet", "registry", "serve", "registry", "--listen", "127.0.0.1:0"}, env)
	}()
	stopped := false
	d.stop = func() error {
		if cancel(); stopped {
			return nil
		}
		stopped = true
		if code := <-done; code != exitDone {
			return fmt.Errorf("pkg registry serve exited with %d", code)
		}
		return nil
	}
	select {
	case line := <-out.got:
		events, err := parseSaid(line)
		if err == nil {
			d.url = lastSaid(events, "serving").text("url")
		}
		return err
	case code := <-done:
		stopped = true
		cancel()
		return fmt.Errorf("pkg registry serve exited with %d", code)
	}
}

// firstLine hands over the first thing that is written.
type firstLine struct{ got chan []byte }

func (f *firstLine) Write(p []byte) (int, error) {
	select {
	case f.got <- bytes.Clone(p):
	default:
	}
	return len(p), nil
}

// key makes the author's key.
func (d *demo) key(ctx context.Context) error {
	if _, err := d.must(ctx, "ada", ".", "keys", "new", "ada", "--no-passphrase"); err != nil {
		return err
	}
	events, err := d.must(ctx, "ada", ".", "keys", "list")
	if err != nil {
		return err
	}
	for _, ev := range events {
		if a := ev.text("author"); a != "" {
			d.author = a
		}
	}
	d.say("keys new ada", "an author is a key pair; Ada is %s to everybody", d.author)
	return nil
}

// write makes a file of the package or a project.
func (d *demo) write(path, text string) error {
	file := d.path(filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}

// hello writes a version of the package.
func (d *demo) hello(version string) error {
	return errors.Join(
		d.write("hello/"+manifest.File, "[package]\nname = \"hello\"\nversion = \""+version+"\"\ndescription = \"says hello\"\nlicense = \"Apache-2.0\"\n"),
		d.write("hello/hello.txt", "hello from "+version+"\n"),
		d.write("hello/README.md", "# hello\n"))
}

// publish publishes the first version.
func (d *demo) publish(ctx context.Context) error {
	if err := d.hello("1.0.0"); err != nil {
		return err
	}
	events, err := d.must(ctx, "ada", ".", "publish", "hello", "--key", "ada", "--registry", d.url, "--registry-id", d.id)
	if err != nil {
		return err
	}
	p := lastSaid(events, "published")
	d.root = p.text("root")
	d.say("publish hello --key ada", "hello 1.0.0, %s files, is the IPFS root %s; Ada signed it as entry %s of her log, and commit %s of the registry's log gave her the name",
		p.text("files"), d.root, p.text("entry"), p.text("commit"))
	return nil
}

// project adds the package to a project.
func (d *demo) project(ctx context.Context) error {
	if _, err := d.must(ctx, "bob", "app", "init"); err != nil {
		return err
	}
	events, err := d.must(ctx, "bob", "app", "add", "hello", "--registry", d.url, "--registry-id", d.id)
	if err != nil {
		return err
	}
	d.say("add hello --registry "+d.url, "Bob trusts %s for hello from now on; pkg.toml says ^1.0.0, pkg.lock pins key and root; %s bytes came from the registry",
		lastSaid(events, "trust").text("author"), lastSaid(events, "installed").text("bytes"))
	return nil
}

// prove shows how little Bob had to believe.
func (d *demo) prove(ctx context.Context) error {
	events, err := d.must(ctx, "bob", "app", "registry", "status")
	if err != nil {
		return err
	}
	st := lastSaid(events, "registry")
	d.say("registry status", "%s commits are proved by a signed head of %s bytes: no name can be changed or hidden without it showing", st.text("commits"), st.text("head_bytes"))
	return nil
}

// release publishes a second version and updates.
func (d *demo) release(ctx context.Context) error {
	if err := d.hello("1.1.0"); err != nil {
		return err
	}
	if _, err := d.must(ctx, "ada", ".", "publish", "hello", "--key", "ada", "--registry", d.url, "--registry-id", d.id); err != nil {
		return err
	}
	events, err := d.must(ctx, "bob", "app", "update")
	if err != nil {
		return err
	}
	ch := lastSaid(events, "change")
	d.root = ch.text("root")
	d.say("update", "Ada published again: hello %s -> %s, root %s", ch.text("from"), ch.text("to"), d.root)
	return nil
}

// colleague installs the same project elsewhere.
func (d *demo) colleague(ctx context.Context) error {
	for _, f := range []string{manifest.File, lockfile.File} {
		b, err := os.ReadFile(d.path("app", f))
		if err != nil {
			return err
		}
		if err := d.write("clone/"+f, string(b)); err != nil {
			return err
		}
	}
	events, err := d.must(ctx, "carol", "clone", "install", "--locked")
	if err != nil {
		return err
	}
	d.say("install --locked", "Carol cloned Bob's project: %s package proved and installed on another machine, and the lock did not change", lastSaid(events, "installed").text("packages"))
	return nil
}

// squatter tries to publish under the same name.
func (d *demo) squatter(ctx context.Context) error {
	if _, err := d.must(ctx, "mallory", ".", "keys", "new", "mallory", "--no-passphrase"); err != nil {
		return err
	}
	if err := d.hello("6.6.6"); err != nil {
		return err
	}
	code, events, err := d.run(ctx, "mallory", ".", "publish", "hello", "--key", "mallory", "--registry", d.url, "--registry-id", d.id)
	if err == nil && code == exitDone {
		err = errors.New("the registry let another key publish hello")
	}
	if err != nil {
		return err
	}
	d.say("publish hello --key mallory", "refused with exit code %d: %s", code, lastSaid(events, "error").text("message"))
	return nil
}

// warm installs without a registry.
func (d *demo) warm(ctx context.Context) error {
	if err := d.stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(d.path("app", modules)); err != nil {
		return err
	}
	if _, err := d.must(ctx, "bob", "app", "install"); err != nil {
		return err
	}
	d.say("install", "the registry is switched off and %s deleted: everything is back, proved before and kept by its hash", modules)
	events, err := d.must(ctx, "bob", "app", "verify")
	if err != nil {
		return err
	}
	v := lastSaid(events, "verify")
	d.say("verify", "%s package read again: every byte hashes to the root in the lock, and %s author log agrees", v.text("packages"), v.text("logs"))
	return nil
}

// tamper changes an installed file behind pkg's back.
func (d *demo) tamper(ctx context.Context) error {
	file, err := filepath.EvalSymlinks(d.path("app", modules, "hello", "hello.txt"))
	if err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(file, 0o600), os.WriteFile(file, []byte("hello from Mallory\n"), 0o600)); err != nil {
		return err
	}
	why, err := d.refused(ctx, exitTrust, "bob", "app", "verify")
	if err != nil {
		return err
	}
	d.say("verify", "somebody changed an installed file: refused with exit code %d, %s", exitTrust, why)
	return nil
}

// removeAll removes a folder, read-only parts too.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			return os.Chmod(path, 0o700) //nolint:gosec // G302: a folder, to be removed
		}
		return nil
	})
	return os.RemoveAll(dir)
}
