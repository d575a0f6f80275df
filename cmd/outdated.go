package cmd

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

func (e *Env) outdatedCommand() *cli.Command {
	return &cli.Command{
		Name: "outdated", Category: onProject, Usage: "say which packages of the lock have newer versions, or were yanked",
		Description: `WANTED is what pkg update would take: it heeds pkg.toml and what the packages need of each other, and is "-" for a package
that nothing would need any more. LATEST is the newest there is: pre-releases and yanked versions do not count.`,
		Flags: append(registryFlags(), &cli.BoolFlag{Name: "exit-code", Usage: "exit with 7 if there are any"}),
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
	Wanted  string `json:"wanted,omitempty"` // by pkg update; empty if it would drop the package
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
	s := newSync(r, syncOptions{FreeAll: true, Admit: true}) // as update without NAME
	wanted, err := s.wanted(ctx)
	if err != nil {
		return 0, err
	}
	sum := olds{}
	rows := []ui.Row{{Cells: []any{"NAME", "CURRENT", "WANTED", "LATEST"}}}
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
		want, kept := wanted[row.Name]
		if wanted == nil {
			want, kept = s.alone(row, p), true
		}
		if o, found := newer(row, p, want, kept); found {
			current, wanted := o.Current, o.Wanted
			if o.Yanked != "" {
				current += " (yanked)"
			}
			if wanted == "" {
				wanted = "-"
			}
			rows = append(rows, ui.Row{Fields: o, Cells: []any{ui.Bold(o.Name), current, wanted, o.Latest}})
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

// wanted is what pkg update would take of every package, found as pkg update does it; nil if nothing satisfies all
// constraints, which it says.
func (s *sync) wanted(ctx context.Context) (map[name.Name]semver.Version, error) {
	if err := errors.Join(s.same(s.manifest), s.lost(s.manifest)); err != nil {
		return nil, err
	}
	s.env.UI.Progress("resolving", nil, "resolving")
	res, _, err := s.solve(ctx, 0)
	_, conflict := errors.AsType[*resolve.ConflictError](err)
	_, budget := errors.AsType[*resolve.BudgetError](err)
	_, absent := errors.AsType[*resolve.NotFoundError](err)
	switch {
	case conflict || budget || absent:
		s.env.UI.Note("unresolved", map[string]string{"why": err.Error()},
			"no versions satisfy all constraints, as pkg update says: WANTED is what %s alone allows of each", manifest.File)
		return nil, nil
	case err != nil:
		return nil, err
	}
	wanted := make(map[name.Name]semver.Version, len(res.Packages))
	for _, p := range res.Packages {
		if p.Registry != "" {
			wanted[p.Name] = p.Release.Version
		}
	}
	return wanted, nil
}

// alone is the newest version of a package that pkg.toml allows, whatever others ask for: of one that pkg.toml does not
// name the locked one.
func (s *sync) alone(row lockfile.Package, p *resolve.Package) semver.Version {
	d, direct := declared(s.manifest, row.Name)
	if o, ok := s.manifest.Overrides[row.Name]; ok {
		d.Constraint = o.Constraint
	} else if !direct {
		return row.Version
	}
	want, instead := row.Version, !d.Constraint.CheckLocked(row.Version) // of the locked version, which may not stay
	for _, rel := range p.Releases {
		if rel.Version.Equal(row.Version) && rel.Yanked != "" {
			instead = true
		}
	}
	oldest := s.env.Now().Add(-s.manifest.Policy.MinAge)
	for _, rel := range p.Releases {
		if rel.Yanked != "" || rel.Broken != "" || s.manifest.Policy.MinAge > 0 && time.Unix(rel.T, 0).After(oldest) || !d.Constraint.Check(rel.Version) {
			continue
		}
		if instead || rel.Version.Compare(want) > 0 {
			want, instead = rel.Version, false
		}
	}
	return want
}

// newer compares a row with the version wanted, if the package is to be kept, and with what there is. It reports whether
// there is anything to say.
func newer(row lockfile.Package, there *resolve.Package, wanted semver.Version, kept bool) (older, bool) {
	o := older{Name: row.Name.String(), Current: row.Version.String()}
	latest := row.Version
	for _, rel := range there.Releases {
		if rel.Version.Equal(row.Version) {
			o.Yanked = rel.Yanked
		}
		if rel.Yanked == "" && (!rel.Version.IsPrerelease() || row.Version.IsPrerelease()) && rel.Version.Compare(latest) > 0 {
			latest = rel.Version
		}
	}
	o.Latest = latest.String()
	if kept {
		o.Wanted = wanted.String()
	}
	return o, latest.Compare(row.Version) > 0 || o.Yanked != "" || kept && !wanted.Equal(row.Version)
}
