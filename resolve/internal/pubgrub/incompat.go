package pubgrub

import (
	"cmp"
	"context"
	"slices"
)

// term is the statement that a package is in a set. It is satisfied if the
// domain of the package is within the set, and contradicted if it is disjoint.
type term struct {
	set set
	p   int32
}

// incompat is an incompatibility: its terms must not all be true.
type incompat struct {
	from, to int32 // its terms are Solver.terms[from:to]
	w0, w1   int32 // the terms watched, the same one if there is but one
	kind     Kind
	// Root: a is the index of the root. Dependency: group b of package a.
	// External: exclusion b of package a. Derived: steps[a:b].
	a, b int32
}

// step is one resolution: with the incompatibility cause, on package pivot. The
// first step of a derivation has no pivot and is what it begins with.
type step struct{ cause, pivot int32 }

// termsOf returns the terms of an incompatibility.
func (s *Solver) termsOf(c *incompat) []term { return s.terms[c.from:c.to] }

// say adds a term to the incompatibility that add makes known next, unless it
// says nothing because it holds whatever is chosen.
func (s *Solver) say(p int32, a set) {
	if !subset(s.vars[p].full, a) {
		s.terms = append(s.terms, term{a, p})
	}
}

// add makes an incompatibility known: of the terms said since the one before.
func (s *Solver) add(kind Kind, a, b int32) int32 {
	from := int32(0)
	if n := len(s.incompats); n > 0 {
		from = s.incompats[n-1].to
	}
	s.incompats = append(s.incompats, incompat{from: from, to: count(len(s.terms)), kind: kind, a: a, b: b})
	return count(len(s.incompats) - 1)
}

// attach begins to watch two terms: those that are not satisfied, or else those
// that were satisfied last and will be the first not to be after a jump back.
func (s *Solver) attach(id int32) {
	c := &s.incompats[id]
	switch c.to - c.from {
	case 0:
	case 1:
		s.watch(id, 0)
	case 2:
		c.w1 = 1
		s.watchBoth(id)
	default:
		c.w0 = s.watchable(c, -1)
		c.w1 = s.watchable(c, c.w0)
		s.watch(id, c.w0)
		s.watch(id, c.w1)
	}
}

func (s *Solver) watch(id, t int32) {
	u := &s.termsOf(&s.incompats[id])[t]
	v := &s.vars[u.p]
	v.watches = append(v.watches, watch{word: u.set.word, other: -1, incompat: id})
}

// watchBoth watches an incompatibility of two terms.
func (s *Solver) watchBoth(id int32) {
	ts := s.termsOf(&s.incompats[id])
	a, b := &ts[0], &ts[1]
	if !a.set.narrow() || !b.set.narrow() {
		s.watch(id, 0)
		s.watch(id, 1)
		return
	}
	v, w := &s.vars[a.p], &s.vars[b.p]
	v.watches = append(v.watches, watch{a.set.word, b.set.word, b.p, id})
	w.watches = append(w.watches, watch{b.set.word, a.set.word, a.p, id})
}

// watchable returns the term to watch, other than except.
func (s *Solver) watchable(c *incompat, except int32) int32 {
	best, when := int32(-1), int32(-1)
	for i, t := range s.termsOf(c) {
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
	for i, t := range s.termsOf(c) {
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
	s.derive(s.termsOf(c)[open], id)
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

// visit looks at the incompatibilities that watch p. It returns a conflict or -1.
//
// Nearly all are of two terms with sets of one word, for which the watch is
// enough.
func (s *Solver) visit(p int32) int32 {
	v := &s.vars[p]
	watches, domain, kept := v.watches, v.domain.word, 0
	for i := range watches {
		w := &watches[i]
		if domain&^w.word == 0 {
			found := idle
			if w.other < 0 {
				found = s.examine(p, w.incompat)
			} else if other := s.vars[w.other].domain.word; other&w.rest != 0 {
				if left := other &^ w.rest; left != 0 {
					s.assign(w.other, set{word: left}, w.incompat)
				} else {
					found = broken
				}
			}
			if found == moved {
				continue
			}
			if found == broken {
				id := w.incompat
				v.watches = append(watches[:kept], watches[i:]...)
				return id
			}
		}
		if kept < i {
			watches[kept] = *w
		}
		kept++
	}
	if kept < len(watches) {
		v.watches = watches[:kept]
	}
	return -1
}

// finding is what came of a look at an incompatibility.
type finding uint8

const (
	idle   finding = iota // no conflict, and what follows was derived
	moved                 // another term is watched now
	broken                // it is a conflict
)

// examine looks at an incompatibility of any kind that watches p.
func (s *Solver) examine(p, id int32) finding {
	c := &s.incompats[id]
	ts, own, at := s.termsOf(c), c.w0, c.w1
	if ts[own].p != p {
		own, at = at, own
	}
	if !subset(s.vars[p].domain, ts[own].set) {
		return idle
	}
	other := &ts[at]
	domain := s.vars[other.p].domain
	if at != own && disjoint(domain, other.set) {
		return idle
	}
	if len(ts) > 2 && s.rewatch(id, own) {
		return moved
	}
	if at == own || subset(domain, other.set) {
		return broken
	}
	s.derive(*other, id)
	return idle
}

// rewatch moves a watch to a term that is not satisfied, if there is one.
func (s *Solver) rewatch(id, own int32) bool {
	c := &s.incompats[id]
	ts := s.termsOf(c)
	for i := range ts {
		t, here := &ts[i], count(i)
		if here == c.w0 || here == c.w1 || subset(s.vars[t.p].domain, t.set) {
			continue
		}
		if c.w0 == own {
			c.w0 = here
		} else {
			c.w1 = here
		}
		s.watch(id, here)
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
	nots := make([]set, len(roots))
	for i, d := range roots {
		nots[i] = s.forbidden(&s.learned, d)
	}
	slices.SortStableFunc(at, func(a, b int32) int {
		return cmp.Or(s.precedes(roots[a].Pkg, roots[b].Pkg), compare(nots[a], nots[b]))
	})
	for _, i := range at {
		s.say(roots[i].Pkg, nots[i])
		id := s.add(Root, i, 0)
		s.attach(id)
		if c := s.check(id); c >= 0 {
			return c, nil
		}
	}
	return -1, nil
}
