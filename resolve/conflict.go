package resolve

import (
	"fmt"
	"slices"
	"strings"

	"pkg/keys"
	"pkg/lockfile/semver"
)

// conflict is a set of decisions that cannot stand together.
type conflict struct {
	v       *variable
	rival   *variable // set if both supply one name
	demands []demand  // the demands that clash, in the order they were made
	unfit   bool      // only the release chosen for v is ruled out
	blame   bits      // levels
	leaf    *conflict // set if a level ran out of candidates: the failure to tell people
}

// leafOf returns the failure to tell people of.
func (c *conflict) leafOf() *conflict {
	if c.leaf != nil {
		return c.leaf
	}
	return c
}

// weight orders failures by how well they explain that there is no solution.
func (c *conflict) weight() int {
	if c.unfit {
		return 1
	}
	return 2
}

// empty is the conflict of demands that leave v no release.
func (s *solver) empty(v *variable) *conflict {
	c := &conflict{v: v, demands: minimal(v)}
	for _, d := range c.demands {
		c.blame.add(d.level)
	}
	c.blame.add(v.activator())
	if len(c.demands) == 0 {
		for _, d := range v.demands {
			if !d.dep.Optional {
				c.demands = []demand{d}
				break
			}
		}
	}
	return c
}

// minimal returns demands on v that together leave it no release, none of them
// superfluous unless there are very many.
func minimal(v *variable) []demand {
	ds := v.limits(len(v.demands))
	if len(ds) > 64 {
		return ds
	}
	for i := 0; i < len(ds); {
		m := v.base
		for j, d := range ds {
			if j != i {
				m = and(m, d.own)
			}
		}
		if m.Count() == 0 {
			ds = slices.Delete(ds, i, i+1)
		} else {
			i++
		}
	}
	return ds
}

// unfit is the conflict of the latest demand on v with the release chosen.
func (s *solver) unfit(v *variable) *conflict {
	d := v.demands[len(v.demands)-1]
	c := &conflict{v: v, unfit: true, demands: []demand{d}}
	c.blame.add(d.level)
	c.blame.add(v.level)
	return c
}

// rival returns the conflict of v with another wanted package of its name.
func (s *solver) rival(v *variable) *conflict {
	for _, o := range s.byName[v.Name] {
		if o == v || o.hard == 0 {
			continue
		}
		c := &conflict{v: v, rival: o}
		for _, x := range []*variable{o, v} {
			i := slices.IndexFunc(x.demands, func(d demand) bool { return !d.dep.Optional })
			c.demands = append(c.demands, x.demands[i])
			c.blame.add(x.demands[i].level)
		}
		return c
	}
	return nil
}

// failure is the error for a conflict that nothing can avoid.
func (s *solver) failure(c *conflict) error {
	e := &ConflictError{Package: c.v.Key}
	for _, d := range c.demands {
		e.From = append(e.From, d.from)
	}
	from := ""
	if len(e.From) > 0 {
		from = e.From[0]
	}
	switch m := c.v.missing.(type) { //nolint:errorlint // load stores just these
	case *NotFoundError:
		f := *m
		f.From = from
		return &f
	case *UnavailableError:
		f := *m
		f.From = from
		return &f
	}
	if c.rival == nil && !c.unfit && len(c.demands) == 1 {
		if d := c.demands[0].dep; d.Author != "" && d.Author != c.v.pkg.Author && len(c.v.pkg.Releases) > 0 {
			return &keys.TrustError{
				Subject: string(c.v.Name), What: fmt.Sprintf("%s pins another author", from),
				Ours: string(d.Author), Theirs: string(c.v.pkg.Author),
			}
		}
	}
	e.Sentence = s.sentence(c)
	return e
}

// sentence says in one sentence what clashes.
func (s *solver) sentence(c *conflict) string {
	asks := make([]string, len(c.demands))
	for i, d := range c.demands {
		asks[i] = s.ask(d)
	}
	n := c.v.Name
	switch {
	case c.rival != nil:
		return fmt.Sprintf("%s; these are two packages from different registries, and a tree holds one of a name", join(asks, "and"))
	case c.unfit:
		return fmt.Sprintf("%s, but %s is in use and no other version fits the rest", asks[0], label(n, c.v.pkg.Releases[c.v.chosen].Version))
	case c.v.missing != nil:
		return fmt.Sprintf("%s, but %v", join(asks, "and"), c.v.missing)
	case len(c.v.pkg.Releases) == 0:
		return fmt.Sprintf("%s, but %s has no release", join(asks, "and"), n)
	case len(asks) == 1:
		return fmt.Sprintf("%s, but %s", asks[0], s.lack(c.v, c.demands[0].dep))
	case len(asks) == 2:
		return fmt.Sprintf("%s: no version of %s fits both; %s", join(asks, "and"), n, exist(c.v))
	}
	return fmt.Sprintf("%s: no version of %s fits all; %s", join(asks, "and"), n, exist(c.v))
}

// ask says a demand: "left-pad 1.3.0 needs pad ^2".
func (s *solver) ask(d demand) string {
	what := string(d.dep.Name)
	if c, ok := s.req.Overrides[d.dep.Name]; ok {
		what += " " + c.String() + " (overridden)"
	} else if t := d.dep.Constraint.String(); t != "" {
		what += " " + t
	}
	return d.from + " needs " + what
}

// lack says why no release of v meets a dependency.
func (s *solver) lack(v *variable, d *Dep) string {
	c := s.req.constraint(d)
	var fit []string // versions in the range that something else rules out
	why := make(map[string]bool)
	pre := false
	for i := range v.pkg.Releases {
		r := &v.pkg.Releases[i]
		if !admits(c, r.Version, true) {
			continue
		}
		switch u := usable(v.pkg, r, &s.req); {
		case u != "":
			why[u] = true
		case !admits(c, r.Version, false):
			pre = true
		default:
			why["another author's"] = true
		}
		fit = append(fit, r.Version.String())
	}
	if len(fit) == 0 {
		return exist(v)
	}
	list := some(fit)
	switch {
	case pre && len(why) == 0:
		return fmt.Sprintf("only pre-releases fit: %s", list)
	case !pre && why["removed"]:
		return fmt.Sprintf("the registry removed %s", v.Name)
	case !pre && len(why) == 1:
		for w := range why {
			verb := "are"
			if len(fit) == 1 {
				verb = "is"
			}
			return fmt.Sprintf("what fits %s %s: %s", verb, w, list)
		}
	}
	return fmt.Sprintf("what fits is yanked, too young, broken or a pre-release: %s", list)
}

// exist says which versions there are.
func exist(v *variable) string {
	all := make([]semver.Version, 0, len(v.pkg.Releases))
	for _, r := range v.pkg.Releases {
		all = append(all, r.Version)
	}
	switch len(all) {
	case 0:
		return "none exists"
	case 1:
		return "only " + all[0].String() + " exists"
	case 2:
		return fmt.Sprintf("only %s and %s exist", all[0], all[1])
	}
	return fmt.Sprintf("%d versions exist, from %s to %s", len(all), all[0], all[len(all)-1])
}

// some lists a few words, the last ones if there are many.
func some(words []string) string {
	if n := len(words); n > 4 {
		return strings.Join(words[n-3:], ", ") + fmt.Sprintf(" and %d older", n-3)
	}
	return join(words, "and")
}
