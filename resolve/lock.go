package resolve

import (
	"slices"

	"pkg/lockfile"
)

// Lock writes res down as a lock. Registries are the ones the project knows;
// those that no package comes from are left out.
func Lock(res *Result, registries ...lockfile.Registry) *lockfile.Lock {
	names := make(map[string]string, len(registries))
	for _, g := range registries {
		names[g.ID] = g.Name
	}
	used := make(map[string]bool)
	l := &lockfile.Lock{}
	for _, p := range res.Packages {
		row := lockfile.Package{Name: p.Name, Version: p.Release.Version, Path: p.Release.Path}
		if p.Registry != "" {
			used[p.Registry] = true
			r := p.Release
			row.Registry = names[p.Registry]
			row.Author, row.ID, row.Entry, row.Log, row.Commit = r.Author, r.ID, r.Entry, r.Log, r.Commit
			row.Root, row.Size, row.Signer = r.Root, r.Size, r.Signer
		}
		for _, e := range p.Edges {
			row.Dependencies = append(row.Dependencies, row.EdgeTo(names[e.Registry], e.Name))
		}
		slices.Sort(row.Dependencies)
		l.Packages = append(l.Packages, row)
	}
	for _, g := range registries {
		if used[g.ID] && !slices.ContainsFunc(l.Registries, func(x lockfile.Registry) bool { return x.ID == g.ID }) {
			l.Registries = append(l.Registries, g)
		}
	}
	return l
}
