package pubgrub

import (
	"cmp"
	"context"
	"slices"
)

// term is the statement that a package is in a set. It is satisfied if the
// domain of the package is within the set, and contradicted if it is disjoint.
type term struct {
	p   int32
	set []uint64
}

// incompat is an incompatibility: its terms must not all be true.
type incompat struct {
	terms  []term
	w0, w1 int32 // the terms watched, the same one if there is but one
	kind   Kind
	// Root: a is the index of the root. Dependency: group b of package a.
	// External: exclusion b of package a. Derived: steps[a:b].
	a, b int32
}

// step is one resolution: with the incompatibility cause, on package pivot. The
// first step of a derivation has no pivot and is what it begins with.
type step struct{ cause, pivot int32 }

// add makes an incompatibility known. Terms that say nothing, because they hold
// whatever is chosen, are left out.
func (s *Solver) add(c incompat, ts ...term) int32 {
	c.terms = s.terms.take(len(ts))[:0]
	for _, t := range ts {
		if !subset(s.vars[t.p].full, t.set) {
			c.terms = append(c.terms, t)
		}
	}
	s.incompats = append(s.incompats, c)
	return count(len(s.incompats) - 1)
}

// attach begins to watch two terms: those that are not satisfied, or else those
// that were satisfied last and will be the first not to be after a jump back.
func (s *Solver) attach(id int32) {
	c := &s.incompats[id]
	if len(c.terms) == 0 {
		return
	}
	c.w0 = s.watchable(c, -1)
	c.w1 = c.w0
	s.watch(id, c.w0)
	if len(c.terms) > 1 {
		c.w1 = s.watchable(c, c.w0)
		s.watch(id, c.w1)
	}
}

func (s *Solver) watch(id, t int32) {
	u := s.incompats[id].terms[t]
	v := &s.vars[u.p]
	v.watches = append(v.watches, watch{id, t, u.set[0]})
}

// watchable returns the term to watch, other than except.
func (s *Solver) watchable(c *incompat, except int32) int32 {
	best, when := int32(-1), int32(-1)
	for i, t := range c.terms {
		here := count(i)
		if here == except {
			continue
		}
		if !subset(s.vars[t.p].domain, t.set) {
			return here
		}
		if at := s.satisfier(t); best < 0 || at > when {
			best, when = here, at
		}
	}
	return best
}

// check returns id if the incompatibility is a conflict, else -1 after deriving
// what it implies.
func (s *Solver) check(id int32) int32 {
	c, open := &s.incompats[id], -1
	for i, t := range c.terms {
		d := s.vars[t.p].domain
		switch {
		case subset(d, t.set):
		case open >= 0 || disjoint(d, t.set):
			return -1
		default:
			open = i
		}
	}
	if open < 0 {
		return id
	}
	s.derive(c.terms[open], id)
	return -1
}

// propagate derives all that follows from changed domains. It returns a conflict,
// or -1.
func (s *Solver) propagate(ctx context.Context) (int32, error) {
	if err := s.poll(ctx, 1); err != nil {
		return -1, err
	}
	for len(s.queue) > 0 {
		p := s.queue[len(s.queue)-1]
		s.queue = s.queue[:len(s.queue)-1]
		s.vars[p].queued = false
		if err := s.poll(ctx, 1+len(s.vars[p].watches)); err != nil {
			return -1, err
		}
		if c := s.visit(p); c >= 0 {
			return c, nil
		}
	}
	return -1, nil
}

// visit looks at the incompatibilities that watch p.
func (s *Solver) visit(p int32) int32 {
	v := &s.vars[p]
	kept := v.watches[:0]
	for i, w := range v.watches {
		if v.domain[0]&^w.word != 0 {
			kept = append(kept, w)
			continue
		}
		c := &s.incompats[w.incompat]
		if !subset(v.domain, c.terms[w.term].set) {
			kept = append(kept, w)
			continue
		}
		at := c.w0 + c.w1 - w.term
		other := &c.terms[at]
		domain := s.vars[other.p].domain
		if at != w.term && disjoint(domain, other.set) {
			kept = append(kept, w)
			continue
		}
		if len(c.terms) > 2 && s.rewatch(w) {
			continue
		}
		kept = append(kept, w)
		if at == w.term || subset(domain, other.set) {
			v.watches = append(kept, v.watches[i+1:]...)
			return w.incompat
		}
		s.derive(*other, w.incompat)
	}
	v.watches = kept
	return -1
}

// rewatch moves a watch to a term that is not satisfied, if there is one.
func (s *Solver) rewatch(w watch) bool {
	c := &s.incompats[w.incompat]
	for i, t := range c.terms {
		here := count(i)
		if here == c.w0 || here == c.w1 || subset(s.vars[t.p].domain, t.set) {
			continue
		}
		if c.w0 == w.term {
			c.w0 = here
		} else {
			c.w1 = here
		}
		s.watch(w.incompat, here)
		return true
	}
	return false
}

// require states the roots of the query. It returns a conflict or -1.
func (s *Solver) require(ctx context.Context, roots []Dep) (int32, error) {
	s.roots = append(s.roots, roots...)
	at := make([]int32, len(roots))
	for i := range at {
		at[i] = count(i)
	}
	slices.SortStableFunc(at, func(a, b int32) int { return s.precedes(roots[a].Pkg, roots[b].Pkg) })
	s.fetch = s.fetch[:0]
	for _, i := range at {
		s.fetch = s.unseen(s.fetch, roots[i].Pkg)
	}
	if err := s.discover(ctx, s.fetch); err != nil {
		return -1, err
	}
	sets := make([][]uint64, len(roots))
	for i, d := range roots {
		sets[i] = s.forbidden(&s.learned, d)
	}
	slices.SortStableFunc(at, func(a, b int32) int {
		return cmp.Or(s.precedes(roots[a].Pkg, roots[b].Pkg), slices.Compare(sets[a], sets[b]))
	})
	for _, i := range at {
		id := s.add(incompat{kind: Root, a: i}, term{roots[i].Pkg, sets[i]})
		s.attach(id)
		if c := s.check(id); c >= 0 {
			return c, nil
		}
	}
	return -1, nil
}
