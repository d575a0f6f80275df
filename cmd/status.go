package cmd

import (
	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/fetch"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
)

func (e *Env) statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Category: onProject, Usage: "say where pkg.toml, pkg.lock and pkg_modules differ",
		Description: "No network is used, and no content is read again: pkg verify does that. Exits with 0 whatever it finds.",
		Flags:       registryFlags(),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			r, err := e.registries(p, e.registryRef(c), true)
			if err != nil {
				return err
			}
			return e.status(r)
		},
	}
}

// projectStatus is the JSON form of a project's state.
type projectStatus struct {
	Dir      string  `json:"dir"`
	Packages int     `json:"packages"` // in the lock
	Missing  int     `json:"missing"`  // of them not in the store
	Unlinked int     `json:"unlinked"` // of them not in pkg_modules
	Drift    []drift `json:"drift"`
}

type drift struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

func (e *Env) status(r *registries) error {
	p := r.project
	found, err := newSync(r, syncOptions{Offline: true}).drift()
	if err != nil {
		return err
	}
	st := projectStatus{Dir: p.dir, Packages: len(p.lock.Packages), Drift: []drift{}}
	for _, d := range found {
		st.Drift = append(st.Drift, drift{d.Name.String(), d.Why})
	}
	store, err := r.store()
	if err != nil {
		return err
	}
	st.Missing = len(fetch.NewPlan(p.lock, nil, store).Want)
	for _, row := range p.lock.Packages {
		if !exists(moduleDir(p, row.Name)) {
			st.Unlinked++
		}
	}
	e.UI.Data("status", st, "%s in %s", count(st.Packages, "package"), lockfile.File)
	for _, d := range st.Drift {
		e.UI.Data("", nil, "  %s %s %s", ui.Caution("drift"), d.Name, d.Why)
	}
	if st.Missing > 0 {
		e.UI.Data("", nil, "  %s to fetch", count(st.Missing, "package"))
	}
	if st.Unlinked > 0 {
		e.UI.Data("", nil, "  %s not in %s", count(st.Unlinked, "package"), modules)
	}
	switch {
	case len(st.Drift) > 0:
		e.UI.Note("", nil, "%s does not match %s: pkg install mends that", lockfile.File, manifest.File)
	case st.Missing+st.Unlinked > 0:
		e.UI.Note("", nil, "pkg install brings what is missing")
	default:
		e.UI.Note("", nil, "everything is as %s says; pkg verify checks every byte", lockfile.File)
	}
	return nil
}
