package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pkg/cmd/ui"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"

	"github.com/urfave/cli/v2"
)

func (e *Env) initCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Category: onProject, Usage: "start a project: write pkg.toml", ArgsUsage: "[NAME]",
		Description: "NAME is the folder's name unless given. In a git work tree pkg_modules is added to .gitignore.",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			n, err := e.projectName(args)
			if err != nil {
				return err
			}
			return e.init(n)
		},
	}
}

// projectName is the name given, or the folder's, folded to a valid one.
func (e *Env) projectName(args []string) (name.Name, error) {
	if len(args) == 1 {
		n, err := name.Parse(args[0])
		if err != nil {
			return "", initHelp(err)
		}
		return n, nil
	}
	dir, err := e.Path(".")
	if err != nil {
		return "", err
	}
	n, err := name.Parse(filepath.Base(dir))
	if bad, ok := errors.AsType[*name.Error](err); ok && bad.Suggestion != "" {
		return name.Parse(bad.Suggestion)
	} else if err != nil {
		return "", fail(exitUsage, "pkg init NAME", "the folder's name is no package name: %w", err)
	}
	return n, nil
}

func initHelp(err error) error {
	help := "pkg init --help"
	if bad, ok := errors.AsType[*name.Error](err); ok && bad.Suggestion != "" {
		help = "pkg init " + bad.Suggestion
	}
	return fail(exitUsage, help, "%w", err)
}

// init writes pkg.toml, never over another one.
func (e *Env) init(n name.Name) error {
	path, err := e.Path(manifest.File)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // G302, G304: a source file of the project
	if errors.Is(err, os.ErrExist) {
		return fail(exitFailed, "pkg add NAME", "%s exists already: this is a project", path)
	} else if err != nil {
		return fmt.Errorf("write %s: %w", manifest.File, err)
	}
	_, err = f.Write(manifest.Template(n, "0.1.0"))
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", manifest.File, errors.Join(err, os.Remove(path)))
	}
	if err := e.ignoreModules(); err != nil {
		return err
	}
	e.UI.Data("init", map[string]string{"name": n.String(), "file": path}, "wrote %s for %s", manifest.File, ui.Bold(n))
	e.UI.Note("", nil, "next: pkg add NAME, or pkg publish --dry-run")
	return nil
}

// ignoreModules adds pkg_modules to .gitignore where there is a git work tree and no such line.
func (e *Env) ignoreModules() error {
	if _, err := os.Lstat(filepath.Join(e.Dir, ".git")); err != nil {
		return nil //nolint:nilerr // not the top of a work tree
	}
	path := filepath.Join(e.Dir, ".gitignore")
	old, err := os.ReadFile(path) //nolint:gosec // G304: a fixed name in the project
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read .gitignore: %w", err)
	}
	for line := range bytes.Lines(old) {
		if bytes.Equal(bytes.Trim(line, "/ \t\r\n"), []byte("pkg_modules")) {
			return nil
		}
	}
	if len(old) > 0 && !bytes.HasSuffix(old, []byte("\n")) {
		old = append(old, '\n')
	}
	if err := os.WriteFile(path, append(old, "/pkg_modules/\n"...), 0o644); err != nil { //nolint:gosec // G306: a source file of the project
		return fmt.Errorf("write .gitignore: %w", err)
	}
	return nil
}
