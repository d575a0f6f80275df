package cmd

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/fetch/tree"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/publish"
)

func (e *Env) publishCommand() *cli.Command {
	return &cli.Command{
		Name: "publish", Category: onPackages, Usage: "make a package visible to everybody", ArgsUsage: "[DIR]",
		Description: `Packs DIR (the current project unless given), signs a release with the author's key, and hands both to the registry. The
first release of a name claims it. With no registry named anywhere it is the local one, in your data folder.`,
		Flags: append(append(registryFlags(), keyFlags()...),
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would be packed, without key and network"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			dir, err := e.packageDir(args)
			if err != nil {
				return err
			}
			if c.Bool("dry-run") {
				return e.publishDry(c.Context, dir)
			}
			return e.publish(c, dir)
		},
	}
}

// packageDir is the folder to publish.
func (e *Env) packageDir(args []string) (string, error) {
	if len(args) == 0 {
		p, err := e.project()
		if err != nil {
			return "", err
		}
		return p.dir, nil
	}
	dir, err := e.Path(args[0])
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return "", fail(exitUsage, "pkg publish "+filepath.Dir(args[0]), "%s is a file: pkg publish takes the folder of a package", args[0])
	}
	_, _, err = e.readManifest(dir)
	return dir, err
}

// drafted is the JSON form of what would be published.
type drafted struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Files   int    `json:"files"`
	Size    int64  `json:"size"`
	Root    string `json:"root"`
}

type draftedFile struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
	Exec bool   `json:"exec,omitempty"`
}

func (e *Env) publishDry(ctx context.Context, dir string) error {
	draft, err := publish.Check(ctx, dir)
	if err != nil {
		return e.unpackable(dir, err)
	}
	var rows []ui.Row
	for _, f := range draft.Files {
		mark := ""
		if f.Exec {
			mark = "executable"
		}
		rows = append(rows, ui.Row{Fields: draftedFile{f.Path, f.Size, f.Exec}, Cells: []any{f.Path, size(f.Size), mark}})
	}
	e.UI.Table("file", rows)
	s, p := draft.Summary, draft.Manifest.Package
	d := drafted{Name: p.Name.String(), Version: p.Version.String(), Files: s.Files, Size: s.Size, Root: s.Root.String()}
	e.UI.Data("draft", d, "%s %s: %s, %s, root %s", ui.Bold(d.Name), d.Version, count(d.Files, "file"), size(d.Size), d.Root)
	e.UI.Note("", nil, "nothing was published: this was a dry run")
	return nil
}

// unpackable is the error of a folder that breaks the rules of packages: pkg.toml can exclude what is in the way.
func (e *Env) unpackable(dir string, err error) error {
	if _, ok := errors.AsType[*tree.Error](err); ok {
		return fail(exitFailed, "$EDITOR "+e.shown(filepath.Join(dir, manifest.File)), "%w", err)
	}
	return err
}

// published is the JSON form of a receipt.
type published struct {
	Name         string   `json:"name"`
	Version      string   `json:"version"`
	Author       string   `json:"author"`
	Root         string   `json:"root"`
	Files        int      `json:"files"`
	Size         int64    `json:"size"`
	Entry        uint64   `json:"entry"`
	Commit       uint64   `json:"commit"`
	Registry     string   `json:"registry"` // its id
	NewName      bool     `json:"new_name"`
	AlreadyThere bool     `json:"already_there"`
	Warnings     []string `json:"warnings,omitempty"`
}

func (e *Env) publish(c *cli.Context, dir string) error {
	ctx := c.Context
	draft, err := publish.Check(ctx, dir) // before anybody is asked for a passphrase
	if err != nil {
		return e.unpackable(dir, err)
	}
	at, err := e.writing(c, &project{dir: dir, manifest: draft.Manifest, lock: &lockfile.Lock{}})
	if err != nil {
		return err
	}
	at.Dir = dir
	r, err := publish.Publish(ctx, at.Options)
	if err != nil {
		return at.explain(err)
	}
	for _, w := range r.Warnings {
		e.UI.Warn("warning", nil, "%s", w)
	}
	sum := published{
		Name: r.Name.String(), Version: r.Version.String(), Author: string(r.Author), Root: r.Root.String(), Files: r.Files, Size: r.Size,
		Entry: r.Entry, Commit: r.Commit, Registry: at.to.ID(), NewName: r.NewName, AlreadyThere: r.AlreadyThere, Warnings: r.Warnings,
	}
	if r.AlreadyThere {
		e.UI.Data("published", sum, "%s %s is published already, with the same content: root %s", ui.Bold(sum.Name), sum.Version, sum.Root)
		return nil
	}
	if r.NewName {
		e.UI.Note("claimed", map[string]string{"name": sum.Name, "author": sum.Author}, "%s is yours now: it belongs to %s", sum.Name, sum.Author)
	}
	e.UI.Data("published", sum, "published %s %s: root %s, entry %d, commit %d", ui.Bold(sum.Name), sum.Version, sum.Root, sum.Entry, sum.Commit)
	e.UI.Note("", nil, "in %s", at.to)
	return nil
}
