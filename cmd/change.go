package cmd

import (
	"context"
	"fmt"
	"slices"

	"pkg/cmd/ui"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

// screenful is how many changes are told one by one; of more, the others are counted, first those that pkg.toml
// does not name.
const screenful = 20

// changed is the JSON form of one change of a lock.
type changed struct {
	Name   string `json:"name"`
	Change string `json:"change"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	Why    string `json:"why,omitempty"`
	Author string `json:"author,omitempty"`
	Root   string `json:"root,omitempty"`
}

// tell says what changed and why.
func (e *Env) tell(changes []change) {
	added, removed, more, shown := 0, 0, 0, 0
	for _, ch := range changes {
		c := changed{Name: ch.Name.String(), Change: string(ch.Kind), Why: ch.why}
		if ch.Old != nil {
			c.From = rowVersion(ch.Old)
		}
		if ch.New != nil {
			c.To, c.Author = rowVersion(ch.New), string(ch.New.Author)
			if ch.New.Root.Defined() {
				c.Root = ch.New.Root.String()
			}
		}
		if shown++; shown > screenful && (ch.direct || ch.Old != nil && ch.New != nil) {
			e.UI.Data("change", c, "")
			more++
			continue
		}
		why := ui.Dim("")
		if c.Why != "" {
			why = ui.Dim(" (" + c.Why + ")")
		}
		switch {
		case len(changes) > screenful && !ch.direct && (ch.Old == nil || ch.New == nil):
			e.UI.Data("change", c, "")
			shown--
			if ch.Old == nil {
				added++
			} else {
				removed++
			}
		case ch.Old == nil:
			e.UI.Data("change", c, "%s %s %s%s", ui.Good("+"), ui.Bold(c.Name), c.To, why)
		case ch.New == nil:
			e.UI.Data("change", c, "%s %s %s%s", ui.Bad("-"), ui.Bold(c.Name), c.From, why)
		case c.From == c.To:
			e.UI.Data("change", c, "%s %s %s%s", ui.Caution("~"), ui.Bold(c.Name), c.To, why)
		default:
			e.UI.Data("change", c, "%s %s %s -> %s%s", ui.Caution("~"), ui.Bold(c.Name), c.From, c.To, why)
		}
	}
	if more > 0 {
		e.UI.Data("", nil, "%s %s (pkg list shows what there is now)", ui.Caution("~"), count(more, "more change"))
	}
	if added > 0 {
		e.UI.Data("", nil, "%s %s that these need (pkg tree shows them)", ui.Good("+"), count(added, "package"))
	}
	if removed > 0 {
		e.UI.Data("", nil, "%s %s that nothing needs any more", ui.Bad("-"), count(removed, "package"))
	}
}

// change is one change of a lock, and why it came.
type change struct {
	lockfile.Change
	direct bool // pkg.toml names it
	why    string
}

// changes says what a new lock changes, and why.
func (s *sync) changes(ctx context.Context, lock *lockfile.Lock) []change {
	var out []change
	for _, ch := range lockfile.Diff(s.project.lock, lock) {
		_, direct := declared(s.manifest, ch.Name)
		_, was := declared(s.project.manifest, ch.Name)
		c := change{Change: ch, direct: direct || was}
		switch {
		case ch.Old == nil && !direct:
			c.why = neededBy(lock, ch.Name)
		case ch.New == nil && !was:
			c.why = "nothing needs it any more"
		case ch.Old != nil && ch.New != nil && ch.Old.Path == "" && ch.New.Path == "":
			c.why = s.moved(ctx, ch)
		}
		out = append(out, c)
	}
	return out
}

// neededBy says which packages of a lock need one: "for a, b and 3 more".
func neededBy(l *lockfile.Lock, n name.Name) string {
	var by []string
	for _, p := range l.Packages {
		for _, e := range p.Dependencies {
			if _, to := p.Edge(e); to == n {
				by = append(by, p.Name.String())
			}
		}
	}
	switch len(by) {
	case 0:
		return ""
	case 1:
		return "for " + by[0]
	case 2:
		return "for " + by[0] + " and " + by[1]
	case 3:
		return fmt.Sprintf("for %s, %s and %s", by[0], by[1], by[2])
	}
	return fmt.Sprintf("for %s, %s and %d more", by[0], by[1], len(by)-2)
}

// moved says why a package has another version now: what rules the old one out, or that nothing does.
func (s *sync) moved(ctx context.Context, ch lockfile.Change) string {
	if s.result == nil || ch.Old.Version.Equal(ch.New.Version) {
		return ""
	}
	if o, ok := s.manifest.Overrides[ch.Name]; ok && !o.Constraint.CheckLocked(ch.Old.Version) {
		return "overridden to " + o.Constraint.String() + after(": ", o.Reason)
	}
	if d, ok := declared(s.manifest, ch.Name); ok && d.Path == "" && !d.Constraint.CheckLocked(ch.Old.Version) {
		return manifest.File + " asks for " + d.Constraint.String()
	}
	up := ch.New.Version.Compare(ch.Old.Version) > 0
	switch moves := s.o.FreeAll || s.o.Free[ch.Name]; {
	case moves && up && s.o.Strategy == resolve.Highest:
		return "the newest that fits"
	case moves && !up && s.o.Strategy != resolve.Highest:
		return "the lowest that fits"
	}
	for _, p := range s.result.Packages {
		for _, d := range p.Release.Deps {
			if !s.o.Free[ch.Name] && d.Name == ch.Name && !d.Constraint.IsZero() && !d.Constraint.CheckLocked(ch.Old.Version) && slices.Contains(p.Edges, resolve.Key{Registry: d.Registry, Name: d.Name}) {
				return fmt.Sprintf("%s %s needs %s", p.Name, p.Release.Version, d.Constraint)
			}
		}
	}
	if why := s.left(ctx, ch); why != "" {
		return why
	}
	switch {
	case s.o.Strategy == resolve.Highest && ch.New.Version.Compare(ch.Old.Version) > 0:
		return "the newest that fits"
	case s.o.Strategy != resolve.Highest && ch.New.Version.Compare(ch.Old.Version) < 0:
		return "the lowest that fits"
	}
	return ""
}

// left says what is wrong with the old version itself: it was yanked, or needs what is not there.
func (s *sync) left(ctx context.Context, ch lockfile.Change) string {
	for _, o := range s.opened {
		if o.empty || o.ID() != registryID(s.project.lock, ch.Old.Registry) {
			continue
		}
		p, err := o.Package(ctx, ch.Name)
		if err != nil {
			return ""
		}
		i := slices.IndexFunc(p.Releases, func(r resolve.Release) bool { return r.Version.Equal(ch.Old.Version) })
		if i < 0 {
			return ""
		}
		if p.Releases[i].Yanked != "" {
			return fmt.Sprintf("%s was yanked", ch.Old.Version)
		}
		for _, d := range p.Releases[i].Deps {
			if v, ok := s.chosen(d.Name); ok && !d.Constraint.IsZero() && !d.Constraint.CheckLocked(v) {
				return fmt.Sprintf("%s needs %s %s", ch.Old.Version, d.Name, d.Constraint)
			}
		}
		return ""
	}
	return ""
}

// chosen is the version of a package in the new lock.
func (s *sync) chosen(n name.Name) (semver.Version, bool) {
	for _, p := range s.result.Packages {
		if p.Name == n && p.Registry != "" {
			return p.Release.Version, true
		}
	}
	return semver.Version{}, false
}
