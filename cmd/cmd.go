// Package cmd turns words into calls of the other rooms, and their results and errors into words.
//
// Each command lives in a file of its own and is made by a method of [Env]:
//
//	func (e *Env) addCommand() *cli.Command {
//		return &cli.Command{
//			Name: "add", Category: "project", Usage: "add dependencies and install them", ArgsUsage: "NAME[@CONSTRAINT]...",
//			Description: "What the one line above does not say, with examples.",
//			Flags: append(registryFlags(), &cli.BoolFlag{Name: "dev", Usage: "only for working on this project"}),
//			Action: func(c *cli.Context) error {
//				names, err := operands(c, 1, -1)
//				if err != nil {
//					return err
//				}
//				return e.add(c.Context, names, addOptions{Dev: c.Bool("dev"), Registry: e.registryRef(c)})
//			},
//		}
//	}
//
// and listed once, in table.go. What every command has in common is done here, by [Main], before the Action runs: the
// flags of globalFlags (-C, --json, --color, --quiet, and --help) are understood in any position and e.Dir, e.JSON and
// e.UI are set from them. So an Action takes relative paths through e.Path, prints only through e.UI, and returns errors;
// errors.go alone decides what an error means to a person and which exit code it is. A flag of one name takes a value
// everywhere or nowhere, is never Required and reads no environment of its own (a test holds that).
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"pkg/cmd/ui"

	"github.com/urfave/cli/v2"
)

// Exit codes. They are an interface: the README lists them and scripts branch on them.
const (
	exitDone        = 0
	exitFailed      = 1   // something failed that none of the others names
	exitUsage       = 2   // the words on the command line
	exitDrift       = 3   // pkg.lock does not match pkg.toml
	exitTrust       = 4   // a hash, signature, proof, fork or changed key
	exitAbsent      = 5   // not found, or no solution
	exitNetwork     = 6   // a registry or source does not answer
	exitFindings    = 7   // the command worked and found something
	exitConfirm     = 8   // somebody must say yes
	exitInterrupted = 130 // by a signal
)

// Main runs one command line, without the program's name, and returns the exit code. It changes e.
func Main(ctx context.Context, args []string, e *Env) int {
	commands := e.commands()
	line, err := parse(commands, args)
	if e.settle(line); err != nil {
		return e.end(ctx, err)
	}
	switch {
	case line.help:
		e.help(commands, line.path)
		return e.end(ctx, nil)
	case line.version:
		e.version()
		return e.end(ctx, nil)
	}
	return e.end(ctx, e.app(commands).RunContext(ctx, line.argv()))
}

// app is urfave/cli with everything it does on its own accord switched off: it only reads flags and calls the Action.
// (It would print help on stdout, exit by itself, suggest nonsense, and exit 3 on an unknown command.)
func (e *Env) app(commands []*cli.Command) *cli.App {
	usage := func(c *cli.Context, err error, _ bool) error { return flagError(c, err) }
	app := &cli.App{
		Name: "pkg", Commands: commands,
		Reader: strings.NewReader(""), Writer: io.Discard, ErrWriter: io.Discard,
		HideHelp: true, HideHelpCommand: true, HideVersion: true, DisableSliceFlagSeparator: true,
		ExitErrHandler: func(*cli.Context, error) {}, OnUsageError: usage,
		Compiled: time.Unix(0, 0), // otherwise it looks at the binary's file
	}
	walk(commands, func(_ []*cli.Command, c *cli.Command) {
		c.HideHelp, c.HideHelpCommand, c.OnUsageError = true, true, usage
		c.Flags = append(c.Flags, globalFlags()...)
		if run := c.Action; run != nil {
			c.Action = func(c *cli.Context) error {
				if err := e.begin(c); err != nil {
					return helpful(c, err)
				}
				return helpful(c, run(c))
			}
		}
	})
	return app
}

// helpful points an error of usage to the command's help, if it points nowhere else.
func helpful(c *cli.Context, err error) error {
	if u, ok := errors.AsType[*usageError](err); ok && u.Help == "" {
		u.Help = c.Command.HelpName + " --help"
	}
	return err
}

// globalFlags are understood by every command, before and after it.
func globalFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "C", Usage: "work in `DIR`"},
		&cli.BoolFlag{Name: "json", Usage: "print one JSON object a line"},
		&cli.StringFlag{Name: "color", Usage: "colour the output: `WHEN` is auto, always or never", Value: "auto"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print no progress and no notes"},
	}
}

// begin sets what the global flags say.
func (e *Env) begin(c *cli.Context) error {
	switch color := c.String("color"); color {
	case "auto", "always", "never":
	default:
		return usagef("--color is auto, always or never, not %q", color)
	}
	if c.IsSet("C") {
		dir, err := e.Path(c.String("C"))
		if err != nil {
			return err
		}
		if info, err := os.Stat(dir); err != nil {
			return usagef("-C %s: %w", c.String("C"), reason(err))
		} else if !info.IsDir() {
			return usagef("-C %s: not a folder", c.String("C"))
		}
		e.origin, e.Dir = e.Dir, dir
	}
	if e.mode = c.String("mode"); c.Bool("offline") {
		if e.mode != "" && e.mode != modeOffline {
			return usagef("--offline and --mode %s say two things", e.mode)
		}
		e.mode = modeOffline
	}
	return nil
}

// settle chooses the printer before anything is parsed in earnest, so that errors of usage obey --json and --color too.
func (e *Env) settle(l line) {
	e.JSON, e.Quiet = l.has("json"), l.has("quiet") || l.has("q")
	color, _ := l.value("color")
	e.UI = ui.New(ui.Settings{
		Stdout: e.Stdout, Stderr: e.Stderr, JSON: e.JSON, Quiet: e.Quiet, Color: color, Plain: e.CI(),
		Getenv: e.Getenv, Now: e.Now,
	})
}

// end says why the command failed, if it did, and returns its exit code.
func (e *Env) end(ctx context.Context, err error) int {
	err = errors.Join(err, e.close())
	var status exitStatus
	if errors.As(err, &status) {
		_ = e.UI.Finish()
		return int(status)
	}
	if err != nil {
		f := e.better(explain(ctx, err), err)
		e.UI.Fail(f)
		_ = e.UI.Finish() // the failure is told already
		return f.Code
	}
	if err := e.UI.Finish(); err != nil {
		e.UI.Fail(ui.Failure{Code: exitFailed, Message: fmt.Sprintf("write to stdout: %v", reason(err))})
		return exitFailed
	}
	return exitDone
}

// operands returns the command's operands if there are between least and most of them; most -1 is any number.
func operands(c *cli.Context, least, most int) ([]string, error) {
	args := c.Args().Slice()
	name := c.Command.HelpName
	switch {
	case len(args) < least:
		return nil, usagef("%s needs %s", name, c.Command.ArgsUsage)
	case most == 0 && len(args) > 0:
		return nil, usagef("%s takes no operand, but was given %q", name, args[0])
	case most >= 0 && len(args) > most:
		return nil, usagef("%s takes %s, but was given %q as well", name, c.Command.ArgsUsage, args[most])
	}
	return args, nil
}

// walk calls do for every command, parents first.
func walk(commands []*cli.Command, do func(parents []*cli.Command, c *cli.Command)) {
	var down func(parents, list []*cli.Command)
	down = func(parents, list []*cli.Command) {
		for _, c := range list {
			do(parents, c)
			down(append(parents[:len(parents):len(parents)], c), c.Subcommands)
		}
	}
	down(nil, commands)
}
