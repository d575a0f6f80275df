package cmd

import (
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile"
	"pkg/lockfile/name"
)

func (e *Env) listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Category: onProject, Usage: "say what pkg.lock holds",
		Description: "Direct dependencies come with the constraint of pkg.toml. No network is used.",
		Flags:       []cli.Flag{&cli.BoolFlag{Name: "direct", Usage: "only what pkg.toml names"}},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			e.list(p, c.Bool("direct"))
			return nil
		},
	}
}

// listed is the JSON form of one package of a lock.
type listed struct {
	Name       string `json:"name"`
	Version    string `json:"version,omitempty"`
	Path       string `json:"path,omitempty"`
	Constraint string `json:"constraint,omitempty"`
	Kind       string `json:"kind"` // dependencies, dev-dependencies, optional-dependencies, transitive
	Registry   string `json:"registry,omitempty"`
	Author     string `json:"author,omitempty"`
	Root       string `json:"root,omitempty"`
	Size       int64  `json:"size"`
}

func (e *Env) list(p *project, direct bool) {
	declared := make(map[name.Name]dependency)
	for _, d := range dependencies(p.manifest) {
		declared[d.name] = d
	}
	if len(p.lock.Packages) == 0 {
		e.UI.Note("", nil, "%s holds no package", lockfile.File)
	}
	var rows []ui.Row
	for _, row := range p.lock.Packages {
		d, isDirect := declared[row.Name]
		if direct && !isDirect {
			continue
		}
		l := listed{
			Name: row.Name.String(), Version: row.Version.String(), Path: row.Path, Kind: "transitive",
			Registry: row.Registry, Author: string(row.Author), Size: row.Size,
		}
		if row.Root.Defined() {
			l.Root = row.Root.String()
		}
		if isDirect {
			l.Kind, l.Constraint = d.table, d.Constraint.String()
		}
		note := l.Constraint
		switch l.Kind {
		case tableDev:
			note += " (dev)"
		case tableOptional:
			note += " (optional)"
		}
		if row.Path != "" {
			note = "path " + row.Path
		}
		rows = append(rows, ui.Row{Fields: l, Cells: []any{ui.Bold(l.Name), l.Version, strings.TrimSpace(note), ui.Dim(row.Author.Short())}})
	}
	e.UI.Table("package", rows)
}
