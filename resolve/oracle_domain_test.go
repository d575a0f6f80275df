package resolve

import (
	"slices"

	mathbits "math/bits"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// variable is a package the search has come across: its domain is the releases
// that could ever be chosen.
type variable struct {
	Key
	loaded   bool
	pkg      *Package // after load; without releases if missing is set
	missing  error    // *NotFoundError, or *UnavailableError while offline
	locked   int      // index of the locked release, -1 if none
	admit    int      // index of the release that is admitted as if it were locked, -1 if none
	base     semver.Set
	versions []semver.Version // of the releases
	order    []int            // indexes of releases, best first
	masks    map[maskKey]semver.Set

	demands []demand // made by levels, in their order
	hard    int      // of them not optional: the package is wanted if > 0
	level   int      // where it was decided, 0 if it is not
	chosen  int      // index of the release, if decided
}

// maskKey is what the set of releases that meet a dependency depends on.
type maskKey struct {
	constraint string
	author     name.Author
	path       bool
}

// demand is a dependency on a variable, made by a level.
type demand struct {
	dep   *Dep
	level int
	own   semver.Set // releases that meet the dependency
	mask  semver.Set // that meet it and all demands before it
}

// prepare computes what does not depend on the search.
func (v *variable) prepare(req *Request, direct bool) {
	rs := v.pkg.Releases
	v.masks = make(map[maskKey]semver.Set)
	v.versions = make([]semver.Version, len(rs))
	for i := range rs {
		v.versions[i] = rs[i].Version
	}
	v.locked, v.admit = -1, -1
	if want, ok := req.Admit[v.Key]; ok {
		v.admit = slices.IndexFunc(v.versions, want.Equal)
	}
	if want, ok := req.locked(v.Key); ok {
		v.locked = slices.IndexFunc(v.versions, want.Equal)
	}
	v.base = semver.NewSet(len(rs))
	v.order = make([]int, 0, len(rs))
	for i := range rs {
		if rs[i].Broken == "" && (i == v.locked || i == v.admit || v.Registry == "" || usable(v.pkg, &rs[i], req) == "") {
			v.base.Add(i)
			v.order = append(v.order, i)
		}
	}
	if req.Strategy == Highest || req.Strategy == LowestDirect && !direct {
		slices.Reverse(v.order)
	}
	if at := slices.Index(v.order, v.admit); at >= 0 && usable(v.pkg, &rs[v.admit], req) != "" {
		v.order = append(slices.Delete(v.order, at, at+1), v.admit)
	}
	if at := slices.Index(v.order, v.locked); at > 0 {
		copy(v.order[1:at+1], v.order[:at])
		v.order[0] = v.locked
	}
}

// meets returns the releases that could be chosen and meet the dependency.
func (v *variable) meets(d *Dep, req *Request) semver.Set {
	c := req.constraint(d)
	k := maskKey{c.String(), d.Author, d.Path != ""}
	if m, ok := v.masks[k]; ok {
		return m
	}
	var m semver.Set
	switch {
	case v.missing != nil:
		return v.base
	case v.Registry == "" && (d.Path != "" || v.pkg.Releases[0].Version.IsZero()):
		m = slices.Clone(v.base)
	default:
		m = mask(c, semver.NewDomain(v.versions))
		for _, i := range []int{v.locked, v.admit} {
			if i >= 0 && admits(c, v.versions[i], true) {
				m.Add(i)
			}
		}
		m = and(m, v.base)
	}
	if d.Author != "" && v.Registry != "" {
		for i, r := range v.pkg.Releases {
			if m.Has(i) && r.Author != d.Author {
				m.Remove(i)
			}
		}
	}
	v.masks[k] = m
	return m
}

// mask returns the releases that meet all demands.
func (v *variable) mask() semver.Set {
	if n := len(v.demands); n > 0 {
		return v.demands[n-1].mask
	}
	return v.base
}

// limits returns those of the first n demands that ruled out something.
func (v *variable) limits(n int) []demand {
	var out []demand
	before := v.base
	for _, d := range v.demands[:n] {
		if !slices.Equal(d.mask, before) {
			out = append(out, d)
		}
		before = d.mask
	}
	return out
}

// activator returns the first level that needs the package.
func (v *variable) activator() int {
	for _, d := range v.demands {
		if !d.dep.Optional {
			return d.level
		}
	}
	return 0
}

// demand records what the top level's candidate needs. A conflict is a reason
// why it cannot be met.
func (s *solver) demand(deps []Dep) (*conflict, error) {
	var missing []Key
	for i := range deps {
		if k := s.key(deps[i]); !deps[i].Optional && k.Registry != "" {
			if v := s.byKey[k]; v == nil || !v.loaded {
				missing = append(missing, k)
			}
		}
	}
	if len(missing) > 0 && len(s.levels) > 1 {
		if err := s.cat.Prefetch(s.ctx, missing); err != nil {
			return nil, err
		}
	}
	for i := range deps {
		if c, err := s.demandOne(&deps[i]); c != nil || err != nil {
			return c, err
		}
	}
	return nil, nil
}

func (s *solver) demandOne(d *Dep) (*conflict, error) {
	here := len(s.levels) - 1
	l := s.levels[here]
	k := s.key(*d)
	v := s.byKey[k]
	if v == nil {
		v = &variable{Key: k, locked: -1, admit: -1}
		s.byKey[k] = v
		s.byName[k.Name] = append(s.byName[k.Name], v)
	}
	fresh := v.hard == 0 && !d.Optional
	v.demands = append(v.demands, demand{dep: d, level: here})
	l.asked = append(l.asked, v)
	if !d.Optional {
		v.hard++
	}
	if v.hard == 0 {
		return nil, nil
	}
	if err := s.load(v); err != nil {
		return nil, err
	}
	was := v.narrow(fresh, &s.req)
	if fresh {
		if c := s.rival(v); c != nil {
			return c, nil
		}
		s.active = append(s.active, v)
	}
	m := v.mask()
	switch n := m.Count(); {
	case n == 0:
		return s.empty(v), nil
	case v.level > 0:
		if !m.Has(v.chosen) {
			return s.unfit(v), nil
		}
	case n == 1 && (fresh || was > 1):
		s.singles = append(s.singles, v)
	}
	return nil, nil
}

// narrow computes the masks of the demands that have none yet, and returns how
// many candidates there were before. When the package becomes wanted, optional
// demands made before come into force.
func (v *variable) narrow(all bool, req *Request) int {
	from := len(v.demands) - 1
	if all {
		from = 0
	}
	before := v.base
	if from > 0 {
		before = v.demands[from-1].mask
	}
	n := before.Count()
	for i := from; i < len(v.demands); i++ {
		d := &v.demands[i]
		d.own = v.meets(d.dep, req)
		d.mask = and(before, d.own)
		before = d.mask
	}
	return n
}

// and returns the intersection as a new set of the length of the longer one.
func and(a, b semver.Set) semver.Set {
	out := make(semver.Set, max(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		out[i] = a[i] & b[i]
	}
	return out
}

// bits is a set of small numbers. The zero value is empty.
type bits []uint64

func (b *bits) add(n int) {
	for len(*b) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b *bits) remove(n int) {
	if n/64 < len(*b) {
		(*b)[n/64] &^= 1 << (n % 64)
	}
}

func (b *bits) or(o bits) {
	for len(*b) < len(o) {
		*b = append(*b, 0)
	}
	for i, w := range o {
		(*b)[i] |= w
	}
}

// max returns the largest member, -1 if there is none.
func (b *bits) max() int {
	for i := len(*b) - 1; i >= 0; i-- {
		if w := (*b)[i]; w != 0 {
			return 64*i + 63 - mathbits.LeadingZeros64(w)
		}
	}
	return -1
}
