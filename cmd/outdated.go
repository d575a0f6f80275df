package cmd

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

func (e *Env) outdatedCommand() *cli.Command {
	return &cli.Command{
		Name: "outdated", Category: onProject, Usage: "say which packages of the lock have newer versions",
		Description: "WANTED is the newest version that pkg.toml allows, LATEST the newest there is. Pre-releases and yanked versions do not count.",
		Flags:       append(registryFlags(), &cli.BoolFlag{Name: "exit-code", Usage: "exit with 7 if there are any"}),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			r, err := e.registries(p, e.registryRef(c), false)
			if err != nil {
				return err
			}
			n, err := e.outdated(c.Context, r)
			if err == nil && n > 0 && c.Bool("exit-code") {
				return exitStatus(exitFindings)
			}
			return err
		},
	}
}

// older is the JSON form of one package that has newer versions.
type older struct {
	Name       string `json:"name"`
	Current    string `json:"current"`
	Wanted     string `json:"wanted"`
	Latest     string `json:"latest"`
	Deprecated string `json:"deprecated,omitempty"`
}

// outdated prints the packages that have newer versions and returns how many there are.
func (e *Env) outdated(ctx context.Context, r *registries) (int, error) {
	rows := []ui.Row{{Cells: []any{"NAME", "CURRENT", "WANTED", "LATEST"}}}
	known := make(map[string]*opened)
	for _, g := range r.project.lock.Registries {
		o, err := r.row(g)
		if err != nil {
			return 0, err
		}
		if err := r.refresh(ctx, o); err != nil {
			return 0, err
		}
		known[g.Name] = o
	}
	for _, row := range r.project.lock.Packages {
		if row.Path != "" {
			continue
		}
		p, err := known[row.Registry].Package(ctx, row.Name)
		if _, absent := errors.AsType[*resolve.NotFoundError](err); absent {
			continue
		} else if err != nil {
			return 0, err
		}
		if o, found := newer(r.project, row, p); found {
			rows = append(rows, ui.Row{Fields: o, Cells: []any{ui.Bold(o.Name), o.Current, o.Wanted, o.Latest}})
		}
	}
	if len(rows) == 1 {
		e.UI.Note("", nil, "everything is at its newest version")
		return 0, nil
	}
	e.UI.Table("outdated", rows)
	return len(rows) - 1, nil
}

// newer compares a row with what there is.
func newer(p *project, row lockfile.Package, there *resolve.Package) (older, bool) {
	var bounds []semver.Constraint
	if d, ok := declared(p.manifest, row.Name); ok {
		bounds = append(bounds, d.Constraint)
	}
	wanted, latest := row.Version, row.Version
	for _, rel := range there.Releases {
		if rel.Yanked != "" || rel.Version.IsPrerelease() && !row.Version.IsPrerelease() {
			continue
		}
		if rel.Version.Compare(latest) > 0 {
			latest = rel.Version
		}
		fits := true
		for _, c := range bounds {
			fits = fits && c.Check(rel.Version)
		}
		if fits && rel.Version.Compare(wanted) > 0 {
			wanted = rel.Version
		}
	}
	if len(bounds) == 0 {
		wanted = row.Version // what others allow is for the resolver to say
	}
	return older{Name: row.Name.String(), Current: row.Version.String(), Wanted: wanted.String(), Latest: latest.String()}, latest.Compare(row.Version) > 0
}
