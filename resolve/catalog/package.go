package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

// toPackage says what is proved of a name as resolve wants it.
func (r *Registry) toPackage(n name.Name, e *entry) *resolve.Package {
	if e.pkg != nil {
		return e.pkg
	}
	p := &resolve.Package{
		Key: resolve.Key{Registry: r.id, Name: n},
		ID:  e.record.ID, Author: e.State.Author, Epoch: e.record.Epoch,
	}
	switch e.record.Status {
	case namespace.Frozen:
		p.Status = resolve.Frozen
	case namespace.Removed:
		p.Status = resolve.Removed
	}
	seen := make(map[string]bool)
	// Oldest first: a version of a former owner cannot be released again.
	for _, s := range slices.Concat(e.Former, []*author.State{e.State}) {
		for i := range s.Releases {
			rel := r.toRelease(s, &s.Releases[i])
			if seen[rel.Version.Core()] {
				continue
			}
			seen[rel.Version.Core()] = true
			p.Releases = append(p.Releases, rel)
		}
	}
	slices.SortFunc(p.Releases, func(a, b resolve.Release) int { return a.Version.Compare(b.Version) })
	e.pkg = p
	return p
}

// toRelease converts one release.
func (r *Registry) toRelease(s *author.State, rel *author.Released) resolve.Release {
	out := resolve.Release{
		Version:    rel.Version,
		T:          rel.Recorded.T,
		Author:     s.Author,
		ID:         s.ID,
		Entry:      rel.Index,
		Log:        rel.LogRoot,
		Commit:     rel.Recorded.Commit,
		Root:       rel.Release.Root,
		Size:       int64(rel.Release.Size), //nolint:gosec // bounded by the author log
		Bin:        rel.Release.Bin,
		Deprecated: rel.Deprecated,
	}
	if rel.Signer != s.Author {
		out.Signer = rel.Signer
	}
	switch {
	case rel.Disowned:
		out.Yanked = "disowned by its author"
	case rel.Yanked:
		out.Yanked = cmp.Or(rel.YankReason, "no reason given")
	}
	from := s.Name + " " + rel.Release.Version
	out.Deps = slices.Grow(out.Deps, len(rel.Release.Deps))
	for _, d := range rel.Release.Deps {
		c, err := r.constraints.read(d.Constraint)
		if err != nil {
			out.Broken = fmt.Sprintf("its dependency on %s: %v", d.Name, err)
			continue
		}
		out.Deps = append(out.Deps, resolve.Dep{
			Key:        resolve.Key{Registry: cmp.Or(d.Registry, r.id), Name: d.Name},
			Constraint: c,
			Optional:   d.Optional,
			From:       from,
		})
	}
	return out
}

// constraints are those read lately, by text, so that each is compiled once:
// authors write few, and in most releases those of the release before.
type constraints map[string]semver.Constraint

// maxConstraints is how many are kept, more than most runs meet. The packages
// hold what they need anyway; the map adds some hundred bytes for each, two
// megabytes in all whatever an author writes.
const maxConstraints = 1 << 14

// read is semver.ParseConstraint. When there are too many it forgets all, which
// costs only time: to choose what to forget would cost more.
func (cs constraints) read(text string) (semver.Constraint, error) {
	if c, ok := cs[text]; ok {
		return c, nil
	}
	c, err := semver.ParseConstraint(text)
	if err != nil {
		return c, err
	}
	if len(cs) >= maxConstraints {
		clear(cs)
	}
	cs[text] = c
	return c, nil
}

// near returns names known here that look like n, best first.
func (r *Registry) near(n name.Name) []string {
	files, err := r.cfg.Memory.List("names/" + r.id)
	if err != nil {
		return nil
	}
	type found struct {
		name string
		far  int
	}
	var all []found
	for _, f := range files {
		x, ok := strings.CutPrefix(f, "_")
		x, ok2 := strings.CutSuffix(x, ".json")
		if x = strings.ReplaceAll(x, "~", "/"); !ok || !ok2 || x == string(n) || strings.HasSuffix(x, "/") {
			continue
		}
		if d := name.Distance(string(n), x); d <= max(1, len(n)/4) {
			all = append(all, found{x, d})
		}
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Or(cmp.Compare(a.far, b.far), cmp.Compare(a.name, b.name)) })
	var out []string
	for _, f := range all[:min(3, len(all))] {
		out = append(out, f.name)
	}
	return out
}
