package cmd

import (
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile"
)

func (e *Env) listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Category: onProject, Usage: "say what pkg.lock holds",
		Description: "Direct dependencies come with the constraint of pkg.toml. No network is used. pkg tree and pkg why say who needs what.",
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
	Name       string      `json:"name"`
	Version    string      `json:"version,omitempty"`
	Path       string      `json:"path,omitempty"`
	Constraint string      `json:"constraint,omitempty"`
	Kind       string      `json:"kind"` // dependencies, dev-dependencies, optional-dependencies, transitive
	Override   *overridden `json:"override,omitempty"`
	Registry   string      `json:"registry,omitempty"`
	Author     string      `json:"author,omitempty"`
	Root       string      `json:"root,omitempty"`
	Size       int64       `json:"size"`
}

// overridden is the JSON form of the override that is in force for a package.
type overridden struct {
	Constraint string `json:"constraint"`
	Reason     string `json:"reason,omitempty"`
}

// String says it in a clause, or nothing where there is none.
func (o *overridden) String() string {
	if o == nil {
		return ""
	}
	return "overridden to " + o.Constraint + after(": ", o.Reason)
}

// overridden returns the override that is in force for a package, or nil. There is none for a path.
func (g *graph) overridden(i int) *overridden {
	o, ok := g.project.manifest.Overrides[g.rows[i].Name]
	if !ok || g.rows[i].Path != "" {
		return nil
	}
	return &overridden{o.Constraint.String(), o.Reason}
}

// listed describes a package.
func (g *graph) listed(i int) listed {
	row := &g.rows[i]
	l := listed{
		Name: row.Name.String(), Version: row.Version.String(), Path: row.Path, Kind: "transitive", Override: g.overridden(i),
		Registry: row.Registry, Author: string(row.Author), Size: row.Size,
	}
	if row.Root.Defined() {
		l.Root = row.Root.String()
	}
	if d, ok := g.direct[i]; ok {
		l.Kind, l.Constraint = d.table, d.Constraint.String()
	}
	return l
}

// kind is how a dependency is marked: what is needed for all purposes is not.
func (d dependency) kind() string {
	switch d.table {
	case tableDev:
		return "dev"
	case tableOptional:
		return "optional"
	}
	return ""
}

func (e *Env) list(p *project, direct bool) {
	g := newGraph(p)
	if len(g.rows) == 0 {
		e.UI.Note("", nil, "%s holds no package", lockfile.File)
	}
	var rows []ui.Row
	for i, row := range g.rows {
		d, isDirect := g.direct[i]
		if direct && !isDirect {
			continue
		}
		l := g.listed(i)
		var note []string
		switch {
		case row.Path != "":
			note = append(note, "path "+row.Path)
		case isDirect:
			note = append(note, l.Constraint)
			if kind := d.kind(); kind != "" {
				note = append(note, "("+kind+")")
			}
		}
		if l.Override != nil {
			note = append(note, "(overridden to "+l.Override.Constraint+")")
		}
		rows = append(rows, ui.Row{Fields: l, Cells: []any{ui.Bold(l.Name), l.Version, strings.Join(note, " "), ui.Dim(row.Author.Short())}})
	}
	e.UI.Table("package", rows)
}
