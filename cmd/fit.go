package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pkg/keys"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// fit is a lock whose packages are held against each other: a row says which version is locked and which packages it
// depends on, but only its release says within which bounds, and from which registry.
//
// A version out of bounds is drift, exit code 3, not a question of trust: every row is as its author signed it, two
// branches that each move one end of a dependency merge into such a lock without a conflict, and resolving anew mends it.
// A package from another registry than the release names is another package of that name, which no merge brings about:
// exit code 4, as where a row takes from another registry what its release takes from its own.
type fit struct {
	rows       map[name.Name]*lockfile.Package
	ids        map[string]string // of registries, by what the lock calls them
	overridden map[name.Name]manifest.Override
}

func newFit(l *lockfile.Lock, m *manifest.Manifest) fit {
	f := fit{rows: l.Index(), ids: make(map[string]string, len(l.Registries)), overridden: m.Overrides}
	for _, g := range l.Registries {
		f.ids[g.Name] = g.ID
	}
	return f
}

// misfits says which of a row's dependencies the lock does not meet. The error is a *keys.TrustError. It leaves out what
// others hold against the lock: a path stands in for every package of its name, an override replaces every constraint
// (lockfile.Satisfies), and an optional dependency means only a package that is there.
func (f fit) misfits(row *lockfile.Package, rel *resolve.Release) ([]string, error) {
	if rel.Broken != "" {
		return []string{fmt.Sprintf("%s %s cannot be used: %s", row.Name, row.Version, rel.Broken)}, nil
	}
	var out []string
	edges := make(map[name.Name]bool, len(row.Dependencies))
	for _, e := range row.Dependencies {
		_, n := row.Edge(e)
		edges[n] = true
	}
	for _, d := range rel.Deps {
		to, ok := f.rows[d.Name]
		if !ok || to.Path != "" { // what is missing is told by lockfile.Satisfies, as its edge is proved to be there
			continue
		}
		if id := f.ids[to.Registry]; id != d.Registry {
			if d.Optional && !edges[d.Name] {
				continue
			}
			return nil, &keys.TrustError{
				Subject: fmt.Sprintf("%s %s", row.Name, row.Version),
				What:    fmt.Sprintf("the lock takes from the wrong registry a dependency on %s", d.Name),
				Ours:    id, Theirs: d.Registry,
			}
		}
		if _, ok := f.overridden[d.Name]; !ok && !d.Constraint.CheckLocked(to.Version) {
			out = append(out, fmt.Sprintf("%s %s needs %s %s, not %s", row.Name, row.Version, d.Name, d.Constraint, to.Version))
		}
	}
	return out, nil
}

// unfit says in what the packages of the project's lock do not satisfy each other. What fitted once is remembered.
func (s *sync) unfit(ctx context.Context) ([]string, error) {
	path := s.fitPath(s.project.lockText)
	if _, err := s.state.Load(path); err == nil {
		return nil, nil
	}
	if err := s.proveRows(ctx, s.project.lock); err != nil {
		return nil, err
	}
	return s.misfits(ctx, s.project.lock, path)
}

// misfits holds the rows of a lock, which are proved, against each other, and if they fit remembers it under path.
func (s *sync) misfits(ctx context.Context, lock *lockfile.Lock, path string) ([]string, error) {
	if len(lock.Packages) == 0 {
		return nil, nil
	}
	f := newFit(lock, s.manifest)
	var out []string
	for _, g := range lock.Registries {
		o, err := s.row(g)
		if err != nil {
			return nil, err
		}
		for i := range lock.Packages {
			row := &lock.Packages[i]
			if row.Path != "" || row.Registry != g.Name {
				continue
			}
			rel, err := o.Release(ctx, *row)
			if err != nil {
				return nil, fmt.Errorf("check %s: %w", lockfile.File, err)
			}
			why, err := f.misfits(row, &rel)
			if err != nil {
				return nil, fmt.Errorf("check %s: %w", lockfile.File, err)
			}
			out = append(out, why...)
		}
	}
	if len(out) > 0 {
		slices.Sort(out)
		return out, nil
	}
	if err := s.state.Save(path, nil); err != nil {
		return nil, fmt.Errorf("record that %s fits: %w", lockfile.File, err)
	}
	return nil, nil
}

// fitPath names the record that the packages of a lock satisfy each other, by all that decides it: releases do not change,
// so the lock's text, and the names that are overridden.
func (s *sync) fitPath(text []byte) string {
	all := fmt.Appendf(nil, "%q\n", slices.Sorted(maps.Keys(s.manifest.Overrides)))
	h := sha256.Sum256(append(all, text...))
	return "proved/" + hex.EncodeToString(h[:])
}

// unfitting is the error of a lock whose packages do not satisfy each other, where it must not change. In CI a plain
// install would say the same again.
func unfitting(why []string, ci bool) error {
	f := &failure{Code: exitDrift, Help: "pkg install", Err: fmt.Errorf("%s: %s", lockfile.File, why[0])}
	if ci {
		f.Help = "CI= pkg install"
	}
	if len(why) > 1 {
		f.Detail = "  " + strings.Join(why[1:], "\n  ")
	}
	return f
}
