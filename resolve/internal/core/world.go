package core

import (
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// world is the part of a registry that a proof speaks of. Its packages are
// numbered in the query's order; dependencies on others are left out, so that
// what has no solution here has none at all.
type world struct {
	packs   []pack
	at      map[int32]int32 // number by the registry's
	roots   []fact
	allowed map[pubgrub.Dep]set
}

// pack is one package.
type pack struct {
	id      int32 // the registry's
	n       int32
	barred  []fact  // versions that cannot be chosen, as facts with no target
	targets []int32 // other packages that versions need, ascending
	allow   [][]set // by target and version: what the version allows; nil if it says nothing
}

// newWorld gathers what proof speaks of. roots are indices.
func newWorld(rec *record, q *pubgrub.Query, roots []int, proof *pubgrub.Proof) *world {
	w := &world{at: make(map[int32]int32), allowed: make(map[pubgrub.Dep]set)}
	var ids []int32
	for i := range proof.Nodes {
		switch n := &proof.Nodes[i]; n.Kind {
		case pubgrub.Root:
			ids = append(ids, n.Dep.Pkg)
		case pubgrub.Dependency:
			ids = append(ids, n.Pkg, n.Dep.Pkg)
		case pubgrub.External:
			ids = append(ids, n.Pkg)
		case pubgrub.Derived:
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	slices.SortStableFunc(ids, func(a, b int32) int { return precedes(q, a, b) })
	for i, id := range ids {
		w.at[id] = count(i)
		w.packs = append(w.packs, pack{id: id, n: rec.packages[id].N})
	}
	for i, id := range ids {
		w.load(rec, count(i), rec.packages[id])
	}
	for _, i := range roots {
		d := q.Roots[i]
		p := w.at[d.Pkg]
		ban := domain(w.packs[p].n).minus(w.allows(rec, d))
		w.roots = append(w.roots, fact{kind: pubgrub.Root, root: i, owner: -1, target: p, ban: ban})
	}
	return w
}

// load translates what was told of package p.
func (w *world) load(rec *record, p int32, k *known) {
	pk := &w.packs[p]
	for _, e := range k.Excluded {
		w.bar(fact{kind: pubgrub.External, owner: p, target: -1, have: copyOf(e.Versions, pk.n), reason: e.Reason})
	}
	own := fact{kind: pubgrub.Dependency, owner: p, target: p, have: empty(pk.n)}
	need := make(map[int32][]set)
	for v, ds := range k.deps {
		for _, d := range ds {
			t, ok := w.at[d.Pkg]
			if !ok {
				continue
			}
			allowed := w.allows(rec, d)
			if t == p {
				if !allowed.has(count(v)) {
					own.have.add(count(v))
				}
				continue
			}
			if need[t] == nil {
				need[t] = make([]set, pk.n)
				pk.targets = append(pk.targets, t)
			}
			if old := need[t][v]; old != nil {
				allowed = allowed.and(old)
			}
			need[t][v] = allowed
		}
	}
	w.bar(own)
	slices.Sort(pk.targets)
	for _, t := range pk.targets {
		pk.allow = append(pk.allow, need[t])
	}
}

// bar adds a fact that versions cannot be chosen.
func (w *world) bar(f fact) {
	if !f.have.none() {
		w.packs[f.owner].barred = append(w.packs[f.owner].barred, f)
	}
}

// allows returns what d leaves of its package, absence included if it is optional.
func (w *world) allows(rec *record, d pubgrub.Dep) set {
	if s, ok := w.allowed[d]; ok {
		return s
	}
	n := rec.packages[d.Pkg].N
	s := copyOf(rec.reg.Allowed(d.Pkg, d.Range), n)
	if d.Optional {
		s.add(n)
	}
	w.allowed[d] = s
	return s
}

// union returns what versions of p allow target number t of its targets to be
// together; nil if that is everything.
func (w *world) union(p int32, t int, vs set) set {
	pk := &w.packs[p]
	all := domain(w.packs[pk.targets[t]].n)
	out := empty(w.packs[pk.targets[t]].n)
	for v := range pk.n {
		if !vs.has(v) {
			continue
		}
		a := pk.allow[t][v]
		if a == nil {
			return nil
		}
		for i := range out {
			out[i] |= a[i]
		}
	}
	if all.within(out) {
		return nil
	}
	return out
}

// shared returns all versions of p that rule out all of ban for target number t.
func (w *world) shared(p int32, t int, ban set) set {
	pk := &w.packs[p]
	out := empty(pk.n)
	for v := range pk.n {
		if a := pk.allow[t][v]; a != nil && a.disjoint(ban) {
			out.add(v)
		}
	}
	return out
}

// uniform reports whether all versions that have a dependency allow the same,
// which is what it says.
func (w *world) uniform(f *fact) bool {
	pk := &w.packs[f.owner]
	t, ok := slices.BinarySearch(pk.targets, f.target)
	if !ok {
		return false
	}
	all := domain(w.packs[f.target].n)
	for v := range pk.n {
		if f.have.has(v) && (pk.allow[t][v] == nil || !slices.Equal(all.minus(pk.allow[t][v]), f.ban)) {
			return false
		}
	}
	return true
}
