package lockfile

import (
	"fmt"
	"maps"
	"slices"

	"pkg/lockfile/name"
)

// Kind is the kind of a Change.
type Kind string

// The kinds of change.
const (
	Added      Kind = "added"
	Removed    Kind = "removed"
	Updated    Kind = "updated"    // to a higher version
	Downgraded Kind = "downgraded" // to a lower version
	Changed    Kind = "changed"    // the same version with other fields
)

// Change is one difference between two locks.
type Change struct {
	Name     name.Name
	Kind     Kind
	Old, New *Package // nil if added or removed; they stay part of their locks
}

// String says the change in a line, as in "updated qs 6.13.0 → 6.14.0".
func (c Change) String() string {
	switch c.Kind {
	case Added:
		return fmt.Sprintf("%s %s %s", c.Kind, c.Name, c.New.where())
	case Removed:
		return fmt.Sprintf("%s %s %s", c.Kind, c.Name, c.Old.where())
	case Changed:
		if c.Old.where() == c.New.where() {
			return fmt.Sprintf("%s %s %s", c.Kind, c.Name, c.New.where())
		}
	}
	return fmt.Sprintf("%s %s %s → %s", c.Kind, c.Name, c.Old.where(), c.New.where())
}

// where returns the version, or the path.
func (p *Package) where() string {
	if p.Path != "" {
		return p.Path
	}
	return p.Version.String()
}

// Diff returns what turns one lock into another, by name. Either may be nil.
func Diff(before, after *Lock) []Change {
	if before == nil {
		before = new(Lock)
	}
	if after == nil {
		after = new(Lock)
	}
	olds, news := before.Index(), after.Index()
	names := make(map[name.Name]bool, len(news))
	for n := range olds {
		names[n] = true
	}
	for n := range news {
		names[n] = true
	}
	var out []Change
	for _, n := range slices.Sorted(maps.Keys(names)) {
		c := Change{Name: n, Old: olds[n], New: news[n]}
		switch {
		case c.Old == nil:
			c.Kind = Added
		case c.New == nil:
			c.Kind = Removed
		case c.Old.sameRow(c.New) && sameRegistry(before, after, c.Old, c.New):
			continue
		default:
			c.Kind = direction(c.Old, c.New)
		}
		out = append(out, c)
	}
	return out
}

func direction(before, after *Package) Kind {
	if before.Path == "" && after.Path == "" {
		switch after.Version.Compare(before.Version) {
		case 1:
			return Updated
		case -1:
			return Downgraded
		}
	}
	return Changed
}

// sameRow compares all fields; the order of dependencies does not count.
func (p *Package) sameRow(q *Package) bool {
	a, b := *p, *q
	for _, r := range []*Package{&a, &b} {
		if r.Signer == r.Author {
			r.Signer = ""
		}
	}
	return slices.Equal(slices.Sorted(slices.Values(a.Dependencies)), slices.Sorted(slices.Values(b.Dependencies))) &&
		a.Name == b.Name && a.Version == b.Version && a.Registry == b.Registry && a.Author == b.Author &&
		a.ID == b.ID && a.Entry == b.Entry && a.Log == b.Log && a.Commit == b.Commit &&
		a.Root == b.Root && a.Size == b.Size && a.Signer == b.Signer && a.Path == b.Path
}

// sameRegistry compares the registries behind the names in two rows.
func sameRegistry(l, k *Lock, p, q *Package) bool {
	a, okA := l.Registry(p.Registry)
	b, okB := k.Registry(q.Registry)
	return okA == okB && (!okA || *a == *b)
}
