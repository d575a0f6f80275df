package resolve

import (
	"fmt"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// Verify checks that res satisfies req: one version a name, every dependency of
// the project and of every package in it met and listed as an edge, nothing in
// it that nobody needs, nothing that may be chosen only if locked or admitted. It takes time
// in proportion to the edges and shares no code with the search.
func Verify(res *Result, req Request) error {
	byName := make(map[name.Name]*Selected, len(res.Packages))
	for i := range res.Packages {
		p := &res.Packages[i]
		if o := byName[p.Name]; o != nil {
			return fmt.Errorf("verify: %s is there twice, as %s and %s", p.Name, o.Release.Version, p.Release.Version)
		}
		byName[p.Name] = p
		if err := verifyChoice(p, req); err != nil {
			return err
		}
	}
	needed := make(map[name.Name]bool, len(res.Packages))
	queue, err := verifyDeps("the project", req.Roots, byName, req)
	if err != nil {
		return err
	}
	for len(queue) > 0 {
		p := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if needed[p.Name] {
			continue
		}
		needed[p.Name] = true
		next, err := verifyDeps(label(p.Name, p.Release.Version), p.Release.Deps, byName, req)
		if err != nil {
			return err
		}
		if err := verifyEdges(p, byName); err != nil {
			return err
		}
		queue = append(queue, next...)
	}
	if len(needed) != len(byName) {
		for n := range byName {
			if !needed[n] {
				return fmt.Errorf("verify: nothing needs %s", n)
			}
		}
	}
	return nil
}

// verifyChoice checks what holds of a release whoever needs it.
func verifyChoice(p *Selected, req Request) error {
	if p.Release.Broken != "" {
		return fmt.Errorf("verify: %s %s cannot be used: %s", p.Name, p.Release.Version, p.Release.Broken)
	}
	if p.Registry == "" || isLocked(p, req) {
		return nil
	}
	switch r := p.Release; {
	case r.Yanked != "":
		return fmt.Errorf("verify: %s %s is yanked and not locked", p.Name, r.Version)
	case req.MinAge > 0 && req.Now.Unix()-r.T < int64(req.MinAge.Seconds()):
		return fmt.Errorf("verify: %s %s is too young", p.Name, r.Version)
	}
	return nil
}

// verifyDeps checks that each dependency is met, and returns what meets those
// that are not optional.
func verifyDeps(from string, deps []Dep, byName map[name.Name]*Selected, req Request) ([]*Selected, error) {
	var out []*Selected
	for _, d := range deps {
		p := byName[d.Name]
		_, path := req.Paths[d.Name]
		same := p != nil && (p.Registry == d.Registry || p.Registry == "" && (path || d.Path != ""))
		switch {
		case d.Optional && !same:
			continue
		case !same:
			return nil, fmt.Errorf("verify: %s needs %s, which is missing", from, d.Name)
		case !met(d, p, req):
			return nil, fmt.Errorf("verify: %s needs %s %s, not %s", from, d.Name, d.Constraint, p.Release.Version)
		}
		if !d.Optional {
			out = append(out, p)
		}
	}
	return out, nil
}

// met reports whether p meets d.
func met(d Dep, p *Selected, req Request) bool {
	if p.Registry == "" && (d.Path != "" || p.Release.Version.IsZero()) {
		return true
	}
	if d.Author != "" && p.Registry != "" && p.Release.Author != d.Author {
		return false
	}
	c := d.Constraint
	if o, ok := req.Overrides[d.Name]; ok {
		c = o
	}
	return admits(c, p.Release.Version, isLocked(p, req))
}

// verifyEdges checks that the edges of p are its dependencies in the tree.
func verifyEdges(p *Selected, byName map[name.Name]*Selected) error {
	want := make(map[Key]bool)
	for _, d := range p.Release.Deps {
		if t := byName[d.Name]; t != nil && (t.Registry == d.Registry || t.Registry == "") {
			want[t.Key] = true
		}
	}
	for _, e := range p.Edges {
		if !want[e] {
			return fmt.Errorf("verify: %s %s has no dependency %s", p.Name, p.Release.Version, e.Name)
		}
	}
	if len(want) != len(p.Edges) {
		return fmt.Errorf("verify: %s %s has %d dependencies in the tree and %d edges", p.Name, p.Release.Version, len(want), len(p.Edges))
	}
	return nil
}

func isLocked(p *Selected, req Request) bool {
	if v, ok := req.Admit[p.Key]; ok && v.Compare(p.Release.Version) == 0 {
		return true
	}
	v, ok := req.Locked[p.Key]
	return ok && !req.Free[p.Name] && v.Compare(p.Release.Version) == 0
}

// admits reports whether c admits v; the zero constraint admits every release.
// With locked set, a pre-release needs no comparator that names one of its
// major.minor.patch.
func admits(c semver.Constraint, v semver.Version, locked bool) bool {
	switch {
	case c.IsZero():
		return locked || !v.IsPrerelease()
	case locked:
		return c.CheckLocked(v)
	}
	return c.Check(v)
}
