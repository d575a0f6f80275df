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
		Name: "outdated", Category: onProject, Usage: "say which packages of the lock have newer versions, or were yanked",
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
			if err := r.bind(c.Context, true); err != nil {
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
	Name    string `json:"name"`
	Current string `json:"current"`
	Wanted  string `json:"wanted"`
	Latest  string `json:"latest"`
	Yanked  string `json:"yanked,omitempty"` // why the current version was
}

// olds is the JSON form of what outdated found.
type olds struct {
	Packages int `json:"packages"` // looked at
	Outdated int `json:"outdated"`
}

// outdated prints the packages that have newer versions, or whose version was yanked, and returns how many there are.
func (e *Env) outdated(ctx context.Context, r *registries) (int, error) {
	if !r.project.locked {
		if len(dependencies(r.project.manifest)) > 0 {
			return 0, fail(exitDrift, "pkg install", "there is no %s: nothing is installed yet", lockfile.File)
		}
		e.UI.Data("outdated-summary", olds{}, "")
		e.UI.Note("", nil, "there is no %s: nothing is installed", lockfile.File)
		return 0, nil
	}
	sum := olds{}
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
		sum.Packages++
		p, err := known[row.Registry].Package(ctx, row.Name)
		if _, absent := errors.AsType[*resolve.NotFoundError](err); absent {
			continue
		} else if err != nil {
			return 0, err
		}
		if o, found := newer(r.project, row, p); found {
			current := o.Current
			if o.Yanked != "" {
				current += " (yanked)"
			}
			rows = append(rows, ui.Row{Fields: o, Cells: []any{ui.Bold(o.Name), current, o.Wanted, o.Latest}})
		}
	}
	sum.Outdated = len(rows) - 1
	e.UI.Data("outdated-summary", sum, "")
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
	o := older{Name: row.Name.String(), Current: row.Version.String()}
	wanted, latest := row.Version, row.Version
	instead := false // of the locked version, which was yanked
	for _, rel := range there.Releases {
		if rel.Version.Equal(row.Version) {
			o.Yanked = rel.Yanked
		}
	}
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
		if fits && (rel.Version.Compare(wanted) > 0 || o.Yanked != "" && !instead) {
			wanted, instead = rel.Version, true
		}
	}
	if len(bounds) == 0 {
		wanted = row.Version // what others allow is for the resolver to say
	}
	o.Wanted, o.Latest = wanted.String(), latest.String()
	return o, latest.Compare(row.Version) > 0 || o.Yanked != ""
}
