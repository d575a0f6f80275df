package pubgrub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// variable is one package: what the registry says of it, and the domain that the
// search has left it.
type variable struct {
	// What the query has brought.
	domain    set     // what is left
	watches   []watch // of incompatibilities
	conflicts uint64  // it took part in
	last      int32   // latest entry in the trail, -1 if there is none
	rank      int32   // order of discovery from 1, 0 if not discovered
	slot      int32   // in the clause under analysis plus 1, 0 if it is not there
	bars      int32   // first of the incompatibilities for barred
	queued    bool
	wanted    set // versions whose deps have known packages, in the query's order

	// What the registry says. It stays from query to query.
	first    bool
	known    bool // Package was asked
	grouped  bool // Deps was asked
	n        int32
	order    []int32
	full     set // the whole domain
	excluded []Exclusion
	barred   []set // the excluded versions as sets of the domain
	groups   []group
	mine     []uint64 // the versions that have each group, set after set
	deps     []int32  // groups of all versions, one version after the other
	from     []int32  // deps[from[v]:from[v+1]] are those of version v
	sorted   set      // versions whose deps are in the order without Compare
}

// group is a dependency that some versions of a package have.
type group struct {
	dep      Dep
	not      int32 // what it forbids dep.Pkg, in Solver.nots; 0 until it is known
	incompat int32 // -1 until there is one
}

// watch is an incompatibility that watches a term of the package it is kept with.
// It spares a look at the term, mostly, and always a look at the other term if
// there are two, with sets of one word.
type watch struct {
	word     uint64 // the first of the term's set
	rest     uint64 // the other term's set
	other    int32  // the package of the other term, -1 to look at the incompatibility
	incompat int32
}

// forget drops what a query has brought.
func (v *variable) forget() {
	v.rank, v.domain, v.last, v.queued = 0, v.full, -1, false
	v.conflicts, v.slot = 0, 0
	v.watches = v.watches[:0]
	v.wanted.clear()
}

// having returns the versions that have a group.
func (v *variable) having(g int32) []uint64 {
	n := wordsFor(v.n)
	return v.mine[int(g)*n : (int(g)+1)*n]
}

// present reports whether the package must be in the solution.
func (v *variable) present() bool { return !v.domain.has(v.n) }

// best returns the version to try first.
func (v *variable) best() int32 {
	if v.order == nil {
		return highest(v.domain)
	}
	for _, i := range v.order {
		if v.domain.has(i) {
			return i
		}
	}
	return -1
}

// discover makes packages part of the query, in the order given.
func (s *Solver) discover(ctx context.Context, ps []int32) error {
	if f, ok := s.reg.(Prefetcher); ok && len(ps) > 0 {
		if err := f.Prefetch(ctx, ps); err != nil {
			return err
		}
	}
	for _, p := range ps {
		if err := s.load(ctx, p); err != nil {
			return err
		}
		s.discovered = append(s.discovered, p)
		v := &s.vars[p]
		v.rank = count(len(s.discovered))
		v.bars = count(len(s.incompats))
		for i, b := range v.barred {
			s.say(p, b)
			s.attach(s.add(External, p, count(i)))
		}
		s.bar(p)
	}
	return nil
}

// bar takes the excluded versions from the domain of p. It comes before anything
// else happens to the domain, so that absence at least is left.
func (s *Solver) bar(p int32) {
	v := &s.vars[p]
	for i, b := range v.barred {
		if !disjoint(v.domain, b) {
			s.derive(term{b, p}, v.bars+count(i))
		}
	}
	if len(v.barred) > 0 {
		s.again(p)
	}
}

// load asks the registry for p.
func (s *Solver) load(ctx context.Context, p int32) error {
	if int(p) < len(s.vars) && s.vars[p].known {
		return nil
	}
	if p < 0 {
		return fmt.Errorf("package %d has a negative number", p)
	}
	pk, err := s.reg.Package(ctx, p)
	if err != nil {
		return err
	}
	if pk.N < 0 || pk.Order != nil && len(pk.Order) != int(pk.N) {
		return fmt.Errorf("package %d has %d versions and ranks %d", p, pk.N, len(pk.Order))
	}
	if n := int(p) + 1; n > len(s.vars) {
		s.vars = slices.Grow(s.vars, n-len(s.vars))[:n]
		s.order.grow(n)
	}
	v := &s.vars[p]
	v.known, v.n, v.order, v.excluded, v.first = true, pk.N, pk.Order, pk.Excluded, pk.First
	v.full = s.static.full(pk.N)
	for _, e := range pk.Excluded {
		v.barred = append(v.barred, v.versions(&s.static, e.Versions))
	}
	v.forget()
	return nil
}

// versions makes a set of the domain of v from one of its versions.
func (v *variable) versions(r *sets, b []uint64) set {
	out := r.none(v.full)
	if len(b) > 0 {
		out.word = b[0] & v.full.word
		t := out.tail()
		for i := range t[:copy(t, b[1:])] {
			t[i] &= (*v.full.more)[i]
		}
	}
	out.remove(v.n)
	return out
}

// forbidden returns what d rules out: all but the range, and absence unless the
// dependency is optional.
func (s *Solver) forbidden(r *sets, d Dep) set {
	v := &s.vars[d.Pkg]
	allowed := v.versions(r, s.reg.Allowed(d.Pkg, d.Range))
	if d.Optional {
		allowed.add(v.n)
	}
	return r.minus(v.full, allowed)
}

// group asks the registry for the dependencies of p and finds which versions
// share them.
func (s *Solver) group(ctx context.Context, p int32) error {
	v := &s.vars[p]
	v.from = make([]int32, 1, v.n+1)
	s.index.empty()
	b := &s.grouping
	b.groups, b.deps, b.mine = b.groups[:0], b.deps[:0], b.mine[:0]
	words := wordsFor(v.n)
	var before []Dep
	for i := range v.n {
		deps, err := s.reg.Deps(ctx, p, i)
		if err != nil {
			return err
		}
		start := v.from[max(i, 1)-1]
		for j, d := range deps {
			var g int32
			if j < len(before) && before[j] == d {
				g = b.deps[int(start)+j]
			} else {
				g = s.groupOf(d, words)
			}
			b.deps = append(b.deps, g)
			add(b.mine[int(g)*words:], i)
		}
		v.from = append(v.from, count(len(b.deps)))
		before = deps
	}
	s.work += len(b.deps)
	v.groups, v.deps, v.mine = slices.Clone(b.groups), slices.Clone(b.deps), slices.Clone(b.mine)
	v.wanted, v.sorted = s.static.none(v.full), s.static.none(v.full)
	v.grouped = true
	return nil
}

// grouping is what group gathers, before it is copied to its size.
type grouping struct {
	groups []group
	deps   []int32
	mine   []uint64
}

// groupOf returns the index of d among the groups, whose sets have n words.
func (s *Solver) groupOf(d Dep, n int) int32 {
	b := &s.grouping
	g, known := s.index.number(d, count(len(b.groups)))
	if !known {
		b.groups = append(b.groups, group{dep: d, incompat: -1})
		for range n {
			b.mine = append(b.mine, 0)
		}
	}
	return g
}

// wanted returns the groups of a version in an order that does not depend on how
// its dependencies were listed, and makes their packages known.
func (s *Solver) wanted(ctx context.Context, p, version int32) ([]int32, error) {
	if !s.vars[p].grouped {
		if err := s.group(ctx, p); err != nil {
			return nil, err
		}
	}
	v := &s.vars[p]
	groups, gs := v.deps[v.from[version]:v.from[version+1]], v.groups
	if v.wanted.has(version) {
		return groups, nil
	}
	sorted := s.compare == nil && v.sorted.has(version)
	if !sorted {
		slices.SortFunc(groups, func(a, b int32) int { return s.precedes(gs[a].dep.Pkg, gs[b].dep.Pkg) })
	}
	s.fetch = s.fetch[:0]
	for _, g := range groups {
		s.fetch = s.unseen(s.fetch, gs[g].dep.Pkg)
	}
	if len(s.fetch) > 0 {
		if err := s.discover(ctx, s.fetch); err != nil {
			return nil, err
		}
		v = &s.vars[p] // discover may have moved it
	}
	if !sorted {
		s.understand(p, groups)
		v.sorted.remove(version)
		if s.compare == nil {
			v.sorted.add(version)
		}
	}
	v.wanted.add(version)
	return groups, nil
}

// understand finds what groups of p forbid packages that are known, and sorts
// the groups that are about one package.
func (s *Solver) understand(p int32, groups []int32) {
	v := &s.vars[p]
	gs := v.groups
	for _, g := range groups {
		if gs[g].not == 0 {
			gs[g].not = count(len(s.nots))
			s.nots = append(s.nots, s.forbidden(&s.static, gs[g].dep))
		}
	}
	for len(groups) > 0 {
		n := 1
		for n < len(groups) && gs[groups[n]].dep.Pkg == gs[groups[0]].dep.Pkg {
			n++
		}
		if n > 1 {
			slices.SortFunc(groups[:n], func(a, b int32) int {
				return cmp.Or(compare(s.nots[gs[a].not], s.nots[gs[b].not]), slices.Compare(v.having(a), v.having(b)))
			})
		}
		groups = groups[n:]
	}
}

// precedes compares two packages that are discovered together.
func (s *Solver) precedes(a, b int32) int {
	if s.compare == nil || a == b {
		return cmp.Compare(a, b)
	}
	return cmp.Or(s.compare(a, b), cmp.Compare(a, b))
}

// unseen appends p to ps, which is in order, unless it is there or discovered.
func (s *Solver) unseen(ps []int32, p int32) []int32 {
	if n := len(ps); n > 0 && ps[n-1] == p {
		return ps
	}
	if p >= 0 && int(p) < len(s.vars) && s.vars[p].rank > 0 {
		return ps
	}
	return append(ps, p)
}
