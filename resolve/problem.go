package resolve

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"pkg/keys"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve/internal/pubgrub"
)

// problem is a request and a catalog as the solver sees them: packages, versions
// and ranges are numbers. A version is a release that could ever be chosen; the
// others of its package are left out, and told of only to people.
//
// An optional dependency must not bring a package, not even its lookup. So it is
// left out as long as nothing else has brought that package; if something does
// later, what was said is no longer true and the search starts again (errAgain).
type problem struct {
	cat Catalog
	req *Request

	packs  []*pack // by number
	ids    map[Key]int32
	byName map[name.Name][]int32
	direct map[name.Name]bool

	ranges  []span
	byRange map[rangeKey]int32
	left    map[int32]bool // packages for which an optional dependency was left out
	stale   bool           // errAgain was returned

	lastPack    *pack // that Deps was asked for, if it left nothing out
	lastVersion int32
	lastDeps    []pubgrub.Dep
}

// span is a range of any package. Number 0 is empty.
type span struct {
	constraint semver.Constraint
	author     name.Author
	path       bool
}

// rangeKey tells spans apart.
type rangeKey struct {
	constraint string
	author     name.Author
	path       bool
}

// pack is one package.
type pack struct {
	Key
	loaded     bool
	pkg        *Package         // after load; without releases if missing is set
	missing    error            // *NotFoundError, or *UnavailableError while offline
	candidates []int32          // the releases that could be chosen, ascending
	versions   []semver.Version // of the candidates
	domain     semver.Domain    // of versions, once a range was asked for
	kept       []int            // candidates that are locked or admitted
	asked      bool             // for its dependencies
	rivals     []int32          // loaded packages of the same name, when it was asked
}

// errAgain says that the problem changed while it was being solved.
var errAgain = errors.New("what exists was told wrongly")

func newProblem(c Catalog, req *Request) *problem {
	p := &problem{
		cat: c, req: req, ids: make(map[Key]int32), byName: make(map[name.Name][]int32), direct: make(map[name.Name]bool),
		ranges: make([]span, 1), byRange: make(map[rangeKey]int32), left: make(map[int32]bool),
	}
	for _, d := range req.Roots {
		p.direct[d.Name] = true
	}
	return p
}

// query returns what the request asks for. roots[i] of the query is
// Request.Roots[at[i]].
func (p *problem) query(budget int) (q pubgrub.Query, at []int) {
	q = pubgrub.Query{Budget: budget, Compare: p.compare}
	for i := range p.req.Roots {
		if d, ok := p.dep(&p.req.Roots[i]); ok {
			q.Roots, at = append(q.Roots, d), append(at, i)
		}
	}
	return q, at
}

// compare orders packages by name.
func (p *problem) compare(a, b int32) int { return compareKeys(p.packs[a].Key, p.packs[b].Key) }

// id returns the number of a package.
func (p *problem) id(k Key) int32 {
	if id, ok := p.ids[k]; ok {
		return id
	}
	id := number(len(p.packs))
	p.ids[k] = id
	p.packs = append(p.packs, &pack{Key: k})
	p.byName[k.Name] = append(p.byName[k.Name], id)
	return id
}

// dep returns a dependency in numbers. An optional one on a package that nothing
// else has brought is left out.
func (p *problem) dep(d *Dep) (pubgrub.Dep, bool) {
	id := p.id(p.req.key(*d))
	if d.Optional && !p.packs[id].loaded {
		p.left[id] = true
		return pubgrub.Dep{}, false
	}
	c := p.req.constraint(d)
	k := rangeKey{c.String(), d.Author, d.Path != ""}
	r, ok := p.byRange[k]
	if !ok {
		r = number(len(p.ranges))
		p.ranges, p.byRange[k] = append(p.ranges, span{c, k.author, k.path}), r
	}
	return pubgrub.Dep{Pkg: id, Range: r, Optional: d.Optional}, true
}

// number makes a package or range number of a length.
func number(n int) int32 { return int32(n) } //nolint:gosec // G115: each of what is counted takes more than a byte

// Prefetch implements [pubgrub.Prefetcher].
func (p *problem) Prefetch(ctx context.Context, ids []int32) error {
	var ks []Key
	for _, id := range ids {
		if k := p.packs[id]; !k.loaded && k.Registry != "" {
			ks = append(ks, k.Key)
		}
	}
	if len(ks) == 0 {
		return nil
	}
	return p.cat.Prefetch(ctx, ks)
}

// announce tells the catalog what will be looked at for certain, or nearly so.
func (p *problem) announce(ctx context.Context) error {
	var ks []Key
	for _, d := range p.req.Roots {
		if k := p.req.key(d); k.Registry != "" && !d.Optional {
			ks = append(ks, k)
		}
	}
	for k := range p.req.Locked {
		if _, path := p.req.Paths[k.Name]; !path && k.Registry != "" {
			ks = append(ks, k)
		}
	}
	slices.SortFunc(ks, compareKeys)
	return p.cat.Prefetch(ctx, slices.Compact(ks))
}

// Package implements [pubgrub.Registry].
func (p *problem) Package(ctx context.Context, id int32) (pubgrub.Package, error) {
	k := p.packs[id]
	if !k.loaded {
		if err := p.load(ctx, k); err != nil {
			return pubgrub.Package{}, err
		}
		k.loaded = true
		if p.left[id] {
			delete(p.left, id)
			p.stale = true
			return pubgrub.Package{}, errAgain
		}
	}
	return pubgrub.Package{N: number(len(k.candidates)), Order: p.order(k), First: p.req.Free[k.Name]}, nil
}

// load asks the catalog for a package and finds its candidates.
func (p *problem) load(ctx context.Context, k *pack) error {
	if k.Registry == "" {
		rel, ok := p.req.Paths[k.Name]
		if !ok {
			k.missing, k.pkg = &NotFoundError{Key: k.Key}, &Package{Key: k.Key}
			return nil
		}
		k.pkg = &Package{Key: k.Key, Releases: []Release{rel}}
		k.prepare(p.req)
		return nil
	}
	pkg, err := p.cat.Package(ctx, k.Key)
	if _, absent := errors.AsType[*NotFoundError](err); absent {
		k.missing, k.pkg = err, &Package{Key: k.Key}
		return nil
	}
	if _, away := errors.AsType[*UnavailableError](err); away && p.req.Offline {
		k.missing, k.pkg = err, &Package{Key: k.Key}
		return nil
	}
	if err != nil {
		return err
	}
	if known, ok := p.req.Known[k.Key]; ok && known.ID != pkg.ID {
		return &keys.TrustError{
			Subject: string(k.Name), What: "the lock holds another author's package of this name",
			Ours: string(known.Author), Theirs: string(pkg.Author),
		}
	}
	k.pkg = pkg
	k.prepare(p.req)
	return nil
}

// prepare finds the candidates.
func (k *pack) prepare(req *Request) {
	admit, admitted := req.Admit[k.Key]
	lock, locked := req.locked(k.Key)
	k.candidates, k.versions = make([]int32, 0, len(k.pkg.Releases)), make([]semver.Version, 0, len(k.pkg.Releases))
	for i := range k.pkg.Releases {
		r := &k.pkg.Releases[i]
		kept := locked && r.Version.Equal(lock) || admitted && r.Version.Equal(admit)
		if r.Broken != "" || k.Registry != "" && !kept && usable(k.pkg, r, req) != "" {
			continue
		}
		if req.Held[k.Name] && locked && !r.Version.Equal(lock) {
			continue
		}
		if kept {
			k.kept = append(k.kept, len(k.versions))
		}
		k.candidates = append(k.candidates, number(i))
		k.versions = append(k.versions, r.Version)
	}
}

// order returns the candidates, the best first; nil is the highest first.
func (p *problem) order(k *pack) []int32 {
	highest := p.req.Strategy == Highest || p.req.Strategy == LowestDirect && !p.direct[k.Name]
	if highest && len(k.kept) == 0 {
		return nil
	}
	out := make([]int32, len(k.versions))
	for i := range out {
		out[i] = number(i)
	}
	if highest {
		slices.Reverse(out)
	}
	lock, locked := p.req.locked(k.Key)
	for _, at := range k.kept {
		v := number(at)
		i := slices.Index(out, v)
		switch {
		case locked && k.versions[at].Equal(lock):
			out = slices.Insert(slices.Delete(out, i, i+1), 0, v)
		case usable(k.pkg, &k.pkg.Releases[k.candidates[at]], p.req) != "":
			out = append(slices.Delete(out, i, i+1), v)
		}
	}
	return out
}

// usable says why a release that is not locked can never be chosen; empty if
// it can.
func usable(p *Package, r *Release, req *Request) string {
	switch {
	case r.Broken != "":
		return "broken"
	case p.Status == Removed:
		return "removed"
	case r.Yanked != "":
		return "yanked"
	case req.MinAge > 0 && time.Unix(r.T, 0).After(req.Now.Add(-req.MinAge)):
		return "too young"
	}
	return ""
}

// Deps implements [pubgrub.Registry]. Most releases depend on what the release
// before them did: what both say in the same words is looked up once.
func (p *problem) Deps(_ context.Context, id, version int32) ([]pubgrub.Dep, error) {
	k := p.packs[id]
	if !k.asked {
		k.asked = true
		for _, o := range p.byName[k.Name] {
			if o != id && p.packs[o].loaded {
				k.rivals = append(k.rivals, o)
			}
		}
	}
	ds := k.pkg.Releases[k.candidates[version]].Deps
	if len(ds)+len(k.rivals) == 0 {
		return nil, nil
	}
	var before []Dep
	var known []pubgrub.Dep
	if p.lastPack == k && p.lastVersion == version-1 {
		before, known = k.pkg.Releases[k.candidates[version-1]].Deps, p.lastDeps
	}
	out := make([]pubgrub.Dep, 0, len(ds)+len(k.rivals))
	for i := range ds {
		if i < len(before) && len(out) == i && i < len(known) && same(&ds[i], &before[i]) {
			out = append(out, known[i])
		} else if d, ok := p.dep(&ds[i]); ok {
			out = append(out, d)
		}
	}
	p.lastPack, p.lastVersion, p.lastDeps = k, version, out
	if len(out) < len(ds) { // some are left out: places do not match
		p.lastPack = nil
	}
	for _, o := range k.rivals {
		out = append(out, pubgrub.Dep{Pkg: o, Optional: true})
	}
	return out, nil
}

// same reports whether two dependencies ask for the same.
func same(a, b *Dep) bool {
	return a.Key == b.Key && a.Constraint.Equal(b.Constraint) && a.Author == b.Author && a.Optional == b.Optional && a.Path == b.Path
}

// Allowed implements [pubgrub.Registry].
func (p *problem) Allowed(id, r int32) []uint64 {
	k, s := p.packs[id], &p.ranges[r]
	n := len(k.versions)
	switch {
	case n == 0 || r == 0:
		return nil
	case k.Registry == "" && (s.path || k.versions[0].IsZero()):
		return semver.FullSet(n)
	}
	if k.domain.Len() == 0 {
		k.domain = semver.NewDomain(k.versions)
	}
	m := mask(s.constraint, k.domain)
	for _, i := range k.kept {
		if admits(s.constraint, k.versions[i], true) {
			m.Add(i)
		}
	}
	if s.author != "" && k.Registry != "" {
		for i := range m.All() {
			if k.pkg.Releases[k.candidates[i]].Author != s.author {
				m.Remove(i)
			}
		}
	}
	return m
}

// mask returns the positions of the versions that c admits; the zero constraint
// admits every release.
func mask(c semver.Constraint, d semver.Domain) semver.Set {
	if c.IsZero() {
		return d.Releases()
	}
	return c.Mask(d)
}

// result writes choices down as releases.
func (p *problem) result(choices []pubgrub.Choice) *Result {
	chosen := make(map[Key]bool, len(choices))
	for _, c := range choices {
		chosen[p.packs[c.Pkg].Key] = true
	}
	res := &Result{Packages: make([]Selected, 0, len(choices))}
	for _, c := range choices {
		k := p.packs[c.Pkg]
		sel := Selected{Key: k.Key, Release: k.pkg.Releases[k.candidates[c.Version]]}
		for _, d := range sel.Release.Deps {
			if to := p.req.key(d); chosen[to] {
				sel.Edges = append(sel.Edges, to)
			}
		}
		slices.SortFunc(sel.Edges, compareKeys)
		sel.Edges = slices.Compact(sel.Edges)
		res.Packages = append(res.Packages, sel)
	}
	slices.SortFunc(res.Packages, func(a, b Selected) int { return compareKeys(a.Key, b.Key) })
	return res
}

func label(n name.Name, v semver.Version) string {
	if v.IsZero() {
		return string(n)
	}
	return string(n) + " " + v.String()
}

// key returns the package a dependency means: a path dependency of the project
// stands in for every package of its name.
func (r *Request) key(d Dep) Key {
	if _, ok := r.Paths[d.Name]; ok || d.Path != "" {
		return Key{Name: d.Name}
	}
	return d.Key
}

func (r *Request) locked(k Key) (semver.Version, bool) {
	if r.Free[k.Name] {
		return semver.Version{}, false
	}
	v, ok := r.Locked[k]
	return v, ok
}

func (r *Request) constraint(d *Dep) semver.Constraint {
	if c, ok := r.Overrides[d.Name]; ok {
		return c
	}
	return d.Constraint
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Registry, b.Registry))
}
