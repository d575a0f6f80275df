package cmd

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"
)

func (e *Env) execCommand() *cli.Command {
	return &cli.Command{
		Name: "exec", Category: onProject, Usage: "run a command with the project's commands first on the PATH", ArgsUsage: "CMD [ARG]...",
		Description: "The commands are those that direct dependencies list under [bin]. pkg exits as the command does.",
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) == 0 {
				return usagef("pkg exec needs CMD")
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			return e.exec(c.Context, p, args)
		},
	}
}

// exec runs a command and ends as it ends.
func (e *Env) exec(ctx context.Context, p *project, args []string) error {
	path := filepath.Join(p.dir, modules, ".bin") + string(os.PathListSeparator) + e.Getenv("PATH")
	file := e.lookPath(args[0], path)
	if file == "" {
		if there := e.unrunnable(p, args[0]); there != "" {
			return fail(exitFailed, "chmod +x "+there, "the command %s is not executable: %s", args[0], there)
		}
		if exists(filepath.Join(p.dir, modules)) || len(p.lock.Packages) == 0 {
			return fail(exitAbsent, "pkg list", "there is no command %s, neither in %s nor on the PATH", args[0], filepath.Join(modules, ".bin"))
		}
		return fail(exitAbsent, "pkg install", "there is no command %s: the project is not installed", args[0])
	}
	if err := e.UI.Finish(); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, file, args[1:]...) //nolint:gosec // G204: to run it is what the user asks for
	cmd.Dir, cmd.Env = e.Dir, e.with("PATH", path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.Stdin, e.Stdout, e.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exitStatus(exit.ExitCode())
	case errors.As(err, &exit) && ctx.Err() != nil:
		return exitStatus(exitInterrupted)
	case errors.As(err, &exit):
		if how, ok := exit.Sys().(syscall.WaitStatus); ok && how.Signaled() {
			return exitStatus(128 + int(how.Signal())) // as shells do
		}
		return fail(exitFailed, "", "run %s: %w", args[0], err)
	case err != nil: // most often the interpreter in its first line
		return fail(exitFailed, "head -n 1 "+file, "run %s: %w", args[0], err)
	}
	return nil
}

// unrunnable is the file that a command would be if it were executable, or "".
func (e *Env) unrunnable(p *project, name string) string {
	if runtime.GOOS == "windows" { // names, not modes, say what can be run
		return ""
	}
	dir := filepath.Join(p.dir, modules, ".bin")
	if filepath.Base(name) != name {
		dir = e.Dir
	}
	file, err := filepath.EvalSymlinks(filepath.Join(dir, name))
	if filepath.IsAbs(name) {
		file, err = filepath.EvalSymlinks(name)
	}
	if err != nil {
		return ""
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return file
}

// lookPath finds an executable as a shell does, or returns "".
func (e *Env) lookPath(name, path string) string {
	dirs := filepath.SplitList(path)
	if strings.ContainsRune(name, '/') || runtime.GOOS == "windows" && strings.ContainsRune(name, '\\') {
		dirs = []string{""}
	}
	for _, dir := range dirs {
		file := filepath.Join(dir, name)
		if !filepath.IsAbs(file) {
			if dir != "" {
				continue // an empty or relative PATH entry is the working directory: never search it
			}
			file = filepath.Join(e.Dir, file)
		}
		if found, err := exec.LookPath(file); err == nil {
			return found
		}
	}
	return ""
}

// with returns the environment with one variable changed.
func (e *Env) with(key, value string) []string {
	var env []string
	for _, kv := range e.Environ {
		k, _, _ := strings.Cut(kv, "=")
		if k == key || runtime.GOOS == "windows" && strings.EqualFold(k, key) {
			continue
		}
		env = append(env, kv)
	}
	return append(env, key+"="+value)
}
