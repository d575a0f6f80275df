package lockfile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// Drift is one way in which a lock does not satisfy a manifest.
type Drift struct {
	Name name.Name // the package
	Why  string    // a clause about it, as in "is not in pkg.lock"
}

// String says the drift in a line.
func (d Drift) String() string { return fmt.Sprintf("%s %s", d.Name, d.Why) }

// Satisfies returns how the lock differs from what the manifest asks, by name;
// nothing means that it satisfies. Every dependency needs a row of an allowed
// version (that of an override, where there is one), from the registry, the
// author or the path the manifest names; an optional one may be missing. A
// pre-release in the lock needs to lie within the bounds only. Every edge needs
// a row, and every row a reason to be there.
func Satisfies(l *Lock, m *manifest.Manifest) []Drift {
	c := checker{lock: l, manifest: m, rows: l.Index()}
	for _, n := range slices.Sorted(maps.Keys(m.Dependencies)) {
		c.direct(n, m.Dependencies[n], false)
	}
	for _, n := range slices.Sorted(maps.Keys(m.DevDependencies)) {
		c.direct(n, m.DevDependencies[n], false)
	}
	for _, n := range slices.Sorted(maps.Keys(m.OptionalDependencies)) {
		c.direct(n, m.OptionalDependencies[n], true)
	}
	reached := reach(l, m.Dependencies, m.DevDependencies, m.OptionalDependencies)
	for i := range l.Packages {
		p := &l.Packages[i]
		c.edges(p)
		if !reached[p.Name] {
			c.add(p.Name, "is in %s, but nothing depends on it", File)
		}
		if over, ok := m.Overrides[p.Name]; ok && p.Path == "" && !over.Constraint.CheckLocked(p.Version) && !c.isDirect(p.Name) {
			c.add(p.Name, "is locked at %s, the override wants %s", p.where(), over.Constraint)
		}
	}
	slices.SortStableFunc(c.out, func(a, b Drift) int { return cmp.Compare(a.Name, b.Name) })
	return c.out
}

// checker collects drifts.
type checker struct {
	lock     *Lock
	manifest *manifest.Manifest
	rows     map[name.Name]*Package
	out      []Drift
}

func (c *checker) add(n name.Name, format string, args ...any) {
	c.out = append(c.out, Drift{n, fmt.Sprintf(format, args...)})
}

func (c *checker) isDirect(n name.Name) bool {
	for _, deps := range []map[name.Name]manifest.Dependency{
		c.manifest.Dependencies, c.manifest.DevDependencies, c.manifest.OptionalDependencies,
	} {
		if _, ok := deps[n]; ok {
			return true
		}
	}
	return false
}

// direct checks a dependency of the project.
func (c *checker) direct(n name.Name, d manifest.Dependency, optional bool) {
	row, ok := c.rows[n]
	if !ok {
		if !optional {
			c.add(n, "is not in %s", File)
		}
		return
	}
	want := d.Constraint
	if over, ok := c.manifest.Overrides[n]; ok && d.Path == "" {
		want = over.Constraint
	}
	switch {
	case d.Path != row.Path && d.Path != "":
		c.add(n, "is locked at %s, %s wants the path %s", row.where(), manifest.File, d.Path)
	case d.Path != row.Path:
		c.add(n, "is locked at the path %s, %s wants %s", row.Path, manifest.File, want)
	case !allows(want, row.Version):
		c.add(n, "is locked at %s, %s wants %s", row.Version, manifest.File, want)
	case d.Author != "" && d.Author != row.Author:
		c.add(n, "is locked by author %s, %s wants %s", row.Author, manifest.File, d.Author)
	case d.Registry != "" && !c.from(row, d.Registry):
		c.add(n, "is locked from registry %s, %s wants %s", row.Registry, manifest.File, d.Registry)
	}
}

// allows is CheckLocked; a path may come without a constraint.
func allows(c semver.Constraint, v semver.Version) bool { return c.IsZero() || c.CheckLocked(v) }

// from reports whether a row comes from the registry that the manifest knows by
// this name: by id if it says one, else by name.
func (c *checker) from(row *Package, regName string) bool {
	r, ok := c.lock.Registry(row.Registry)
	if !ok {
		return false
	}
	if known, ok := c.manifest.Registries[regName]; ok {
		if known.ID != "" {
			return known.ID == r.ID
		}
		return r.Name == regName
	}
	return regName == manifest.LocalRegistry && r.Local
}

// edges checks that what a row depends on is there. Parse has done so for a
// lock that was read.
func (c *checker) edges(p *Package) {
	for _, d := range p.Dependencies {
		reg, n := p.Edge(d)
		if row, ok := c.rows[n]; !ok || row.Registry != reg {
			c.add(n, "is not in %s, %s depends on it", File, p.Name)
		}
	}
}

// Prod returns the names of the packages that the project needs when it runs:
// those that its dependencies and optional dependencies reach.
func Prod(l *Lock, m *manifest.Manifest) map[name.Name]bool {
	return reach(l, m.Dependencies, m.OptionalDependencies)
}

// reach returns the names in the lock that the tables reach.
func reach(l *Lock, tables ...map[name.Name]manifest.Dependency) map[name.Name]bool {
	rows := l.Index()
	reached := make(map[name.Name]bool, len(rows))
	var todo []*Package
	visit := func(n name.Name) {
		if row, ok := rows[n]; ok && !reached[n] {
			reached[n] = true
			todo = append(todo, row)
		}
	}
	for _, deps := range tables {
		for n := range deps {
			visit(n)
		}
	}
	for len(todo) > 0 {
		row := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, d := range row.Dependencies {
			_, n := row.Edge(d)
			visit(n)
		}
	}
	return reached
}
