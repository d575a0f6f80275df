package core

import (
	"cmp"
	"slices"
)

// clause is literals that are not all true, in ascending order of packages.
type clause []literal

// engine propagates clauses about packages whose domains are full.
type engine struct {
	full   []set
	visits int // of clauses, so far
}

// newEngine returns an engine for the packages of q.
func newEngine(q *quotient) *engine {
	e := new(engine)
	for i := range q.packs {
		e.full = append(e.full, domain(q.size(count(i))))
	}
	return e
}

// clauses returns the terms of the facts of q that say something.
func (e *engine) clauses(q *quotient) []clause {
	out := make([]clause, len(q.facts))
	for i := range q.facts {
		out[i] = slices.DeleteFunc(clause(q.facts[i].literals()), func(l literal) bool { return e.full[l.p].within(l.set) })
	}
	return out
}

// narrowing is one change of a domain.
type narrowing struct {
	p      int32
	before set
	cause  int
}

// link is one resolution of a chain: with the clause cause, on package p, which
// gives result. The first link of a chain has no p and is what it begins with.
type link struct {
	cause  int
	p      int32
	result clause
}

// trail is what a propagation did until a clause was broken.
type trail struct {
	steps  []narrowing
	broken int
}

// refute assumes that goal is true and looks at clauses in the order given until
// one is broken. It returns nil if none is.
func (e *engine) refute(clauses []clause, order []int, goal clause) *trail {
	dom := slices.Clone(e.full)
	for _, l := range goal {
		dom[l.p] = dom[l.p].and(l.set)
	}
	t := new(trail)
	for changed := true; changed; {
		changed = false
		for _, i := range order {
			e.visits++
			open, broken := unit(clauses[i], dom)
			if broken {
				t.broken = i
				return t
			}
			if open < 0 {
				continue
			}
			l := clauses[i][open]
			t.steps = append(t.steps, narrowing{l.p, dom[l.p], i})
			dom[l.p] = dom[l.p].minus(l.set)
			changed = true
		}
	}
	return nil
}

// unit returns the only literal of c that need not be true, -1 if there are
// several or if one is false. It reports whether all are true.
func unit(c clause, dom []set) (open int, broken bool) {
	open = -1
	for i, l := range c {
		switch {
		case dom[l.p].within(l.set):
		case open >= 0 || dom[l.p].disjoint(l.set):
			return -1, false
		default:
			open = i
		}
	}
	return open, open < 0
}

// backwards resolves the broken clause with the causes of what broke it, the
// latest first, until what is left is true whenever the goal is.
func (e *engine) backwards(clauses []clause, t *trail) []link {
	here := clauses[t.broken]
	out := []link{{cause: t.broken, p: -1, result: here}}
	for _, s := range slices.Backward(t.steps) {
		if here.needs(s) {
			here = e.resolve(here, clauses[s.cause], s.p)
			out = append(out, link{s.cause, s.p, here})
		}
	}
	return out
}

// needs reports whether c was not true of the package of s before s.
func (c clause) needs(s narrowing) bool {
	at := slices.IndexFunc(c, func(l literal) bool { return l.p == s.p })
	return at >= 0 && !s.before.within(c[at].set)
}

// forwards derives for each narrowing, and at last for the broken clause, what is
// true of one package, and of others whenever the goal is. The lemmas, one for
// each chain, have the numbers after those of clauses.
func (e *engine) forwards(clauses []clause, t *trail) [][]link {
	known := slices.Clone(clauses)
	lemma := make([]int, 0, len(t.steps)) // clause by narrowing
	var out [][]link
	prove := func(cause int, own int32) {
		here := known[cause]
		chain := []link{{cause: cause, p: -1, result: here}}
		for i, l := range slices.Backward(lemma) {
			if s := t.steps[i]; s.p != own && here.needs(s) {
				here = e.resolve(here, known[l], s.p)
				chain = append(chain, link{l, s.p, here})
			}
		}
		if len(chain) > 1 || own < 0 {
			cause = len(known)
			known, out = append(known, here), append(out, chain)
		}
		lemma = append(lemma, cause)
	}
	for _, s := range t.steps {
		prove(s.cause, s.p)
	}
	prove(t.broken, -1)
	return out
}

// resolve returns what follows from two clauses: of p that either literal is
// true, of all other packages that both are.
func (e *engine) resolve(a, b clause, p int32) clause {
	out := make(clause, 0, len(a)+len(b)-1)
	for _, l := range a {
		if i := slices.IndexFunc(b, func(m literal) bool { return m.p == l.p }); i >= 0 {
			if l.p == p {
				l.set = l.set.or(b[i].set)
			} else {
				l.set = l.set.and(b[i].set)
			}
		}
		if !e.full[l.p].within(l.set) {
			out = append(out, l)
		}
	}
	for _, l := range b {
		if !slices.ContainsFunc(a, func(m literal) bool { return m.p == l.p }) {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b literal) int { return cmp.Compare(a.p, b.p) })
	return out
}

// shortest derives from clauses what is true whenever goal is: by the shortest of
// the chains that a few orders give, and that their own clauses alone give once
// more, or by the same told forwards. The last chain ends in what is wanted. It
// returns nil if propagation does not get there.
func (e *engine) shortest(clauses []clause, goal clause, forward bool) [][]link {
	order := make([]int, len(clauses))
	for i := range order {
		order[i] = i
	}
	var best []link
	var way *trail
	for try := range 4 {
		switch try {
		case 1, 3:
			slices.Reverse(order)
		case 2: // the short ones first
			slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(clauses[a]), len(clauses[b])) })
		}
		t := e.refute(clauses, order, goal)
		if t == nil {
			return nil
		}
		c := e.backwards(clauses, t)
		for {
			again := e.refute(clauses, causes(c), goal)
			if again == nil {
				break
			}
			shorter := e.backwards(clauses, again)
			if len(shorter) >= len(c) {
				break
			}
			t, c = again, shorter
		}
		if best == nil || len(c) < len(best) {
			best, way = c, t
		}
	}
	if !forward {
		return [][]link{best}
	}
	if t := e.refute(clauses, causes(best), goal); t != nil {
		way = t
	}
	return e.forwards(clauses, way)
}

// causes returns the clauses of a chain, the last ones first, once each.
func causes(c []link) []int {
	var out []int
	for _, l := range slices.Backward(c) {
		if !slices.Contains(out, l.cause) {
			out = append(out, l.cause)
		}
	}
	return out
}
