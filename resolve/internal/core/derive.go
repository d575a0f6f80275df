package core

import (
	"cmp"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// derivation is a way from facts to a contradiction.
type derivation struct {
	w       *world
	q       *quotient
	clauses []clause // facts, then lemmas
	chains  [][]link // of the lemmas, the last of which is the contradiction
	steps   int      // resolutions
	terms   int      // that these result in
}

// better reports whether d takes less to tell: fewer lines, and as a rule of thumb
// eight terms more in them are worth a line.
func (d *derivation) better(other *derivation) bool {
	return cmp.Or(
		cmp.Compare(8*d.steps+d.terms, 8*other.steps+other.terms), cmp.Compare(len(d.q.facts), len(other.q.facts)),
	) < 0
}

// derive looks for a short derivation. Facts that contradict each other by unit
// propagation alone need no lemma; else what a few searches learn is tried.
func (e *explainer) derive(facts []fact) (*derivation, error) {
	q := newQuotient(e.w, facts)
	en := newEngine(q)
	empty := &derivation{w: e.w, q: q, clauses: en.clauses(q)}
	if d := empty.build(en, []clause{nil}, false); d != nil {
		return d.forward(en), nil
	}
	var best *derivation
	for try := range 4 {
		if best != nil && len(facts) > someFacts {
			break
		}
		q.up = try&1 == 1
		var compare func(a, b int32) int
		if try&2 == 2 {
			compare = func(a, b int32) int { return cmp.Compare(b, a) }
		}
		p, _, err := q.solve(e.ctx, total, compare)
		if err != nil {
			return nil, err
		}
		if p == nil {
			continue
		}
		for _, d := range empty.tries(en, p) {
			if best == nil || d.better(best) {
				best = d
			}
		}
	}
	return best, nil
}

// tries returns derivations that a proof about the quotient suggests.
func (d *derivation) tries(e *engine, p *pubgrub.Proof) []*derivation {
	out := []*derivation{d.plain(p)}
	if ls := d.q.lemmas(p); len(ls)*(len(ls)+len(d.clauses)) < manyVisits/4 {
		if r := d.reduce(e, ls); r != nil {
			out = append(out, r.forward(e))
		}
	}
	return out
}

// plain returns the derivation that a proof is.
func (d *derivation) plain(p *pubgrub.Proof) *derivation {
	out := &derivation{w: d.w, q: d.q, clauses: slices.Clone(d.clauses)}
	at := make([]int, len(p.Nodes))
	for i := range p.Nodes {
		switch n := &p.Nodes[i]; n.Kind {
		case pubgrub.Root, pubgrub.Dependency:
			at[i] = int(n.Dep.Range)
		case pubgrub.External:
			at[i] = int(n.Reason)
		case pubgrub.Derived:
			at[i] = len(out.clauses)
			c := d.q.clause(n)
			out.clauses = append(out.clauses, c)
			out.chains = append(out.chains, []link{{at[n.A], -1, out.clauses[at[n.A]]}, {at[n.B], n.Resolve, c}})
		}
	}
	if len(out.chains) == 0 { // one fact, which has no terms
		last := at[len(at)-1]
		out.clauses, out.chains = append(out.clauses, nil), [][]link{{{last, -1, nil}}}
	}
	return out.needed()
}

// clause returns the terms of a derived node.
func (q *quotient) clause(n *pubgrub.Node) clause {
	var c clause
	for _, t := range n.Terms {
		s := copyOf(t.Versions(), t.N)
		if t.Absent() {
			s.add(t.N)
		}
		c = append(c, literal{t.Pkg, s})
	}
	return c
}

// literally returns the derivation that a proof about the registry is.
func (w *world) literally(p *pubgrub.Proof) *derivation {
	facts := w.facts(p)
	q := newQuotient(w, facts)
	d := &derivation{w: w, q: q, clauses: newEngine(q).clauses(q)}
	same := &pubgrub.Proof{Nodes: slices.Clone(p.Nodes)}
	next := int32(0)
	for i := range same.Nodes {
		n := &same.Nodes[i]
		if n.Kind != pubgrub.Derived {
			n.Dep.Range, n.Reason = next, next
			next++
			continue
		}
		n.Resolve = q.at[w.at[n.Resolve]]
		terms := make([]pubgrub.Term, len(n.Terms))
		for j, t := range n.Terms {
			at := q.at[w.at[t.Pkg]]
			s := q.packs[at].shrink(w.set(t))
			k := q.size(at)
			terms[j] = pubgrub.NewTerm(at, k, s, s.has(k))
		}
		n.Terms = terms
	}
	return d.plain(same)
}

// lemmas returns the derived nodes of a proof about q, but for those that only the
// next step of a chain uses.
func (q *quotient) lemmas(p *pubgrub.Proof) []clause {
	uses := make([]int, len(p.Nodes))
	uses[len(uses)-1] = 2
	for i := range p.Nodes {
		if n := &p.Nodes[i]; n.Kind == pubgrub.Derived {
			uses[n.A]++
			uses[n.B] += 2
		}
	}
	var out []clause
	for i := range p.Nodes {
		if p.Nodes[i].Kind == pubgrub.Derived && uses[i] >= 2 {
			out = append(out, q.clause(&p.Nodes[i]))
		}
	}
	return out
}

// lemmas returns the clauses of d that are not facts.
func (d *derivation) lemmas() []clause { return d.clauses[len(d.q.facts):] }

// build derives lemmas from the facts of d and the lemmas before each; those that
// the last one does not need are left out. With forward set each domain that is
// narrowed on the way is a lemma too. It returns nil if one of the lemmas does not
// follow by unit propagation.
func (d *derivation) build(e *engine, lemmas []clause, forward bool) *derivation {
	facts := len(d.q.facts)
	out := &derivation{w: d.w, q: d.q, clauses: slices.Clone(d.clauses[:facts])}
	for _, goal := range lemmas {
		chains := e.shortest(out.clauses, goal, forward)
		if chains == nil {
			return nil
		}
		for _, c := range chains {
			out.chains = append(out.chains, c)
			out.clauses = append(out.clauses, c[len(c)-1].result)
		}
		if len(out.clauses[len(out.clauses)-1]) == 0 {
			break
		}
	}
	return out.needed()
}

// needed drops the lemmas that the last one does not need, and counts.
func (d *derivation) needed() *derivation {
	facts := len(d.q.facts)
	need := make([]bool, len(d.clauses))
	need[len(need)-1] = true
	for i, c := range slices.Backward(d.chains) {
		for _, l := range c {
			need[l.cause] = need[l.cause] || need[facts+i]
		}
	}
	to := make([]int, len(d.clauses))
	out := &derivation{w: d.w, q: d.q, clauses: slices.Clone(d.clauses[:facts])}
	for i := range d.clauses {
		if i < facts {
			to[i] = i
			continue
		}
		if !need[i] {
			continue
		}
		to[i] = len(out.clauses)
		chain := slices.Clone(d.chains[i-facts])
		for j := range chain {
			chain[j].cause = to[chain[j].cause]
			if j > 0 {
				out.steps++
				out.terms += len(chain[j].result)
			}
		}
		out.chains = append(out.chains, chain)
		out.clauses = append(out.clauses, d.clauses[i])
	}
	return out
}

// reduce derives a contradiction with as few as possible of the lemmas. It returns
// nil if these do not follow from each other by propagation.
func (d *derivation) reduce(e *engine, lemmas []clause) *derivation {
	best := d.build(e, lemmas, false)
	for best != nil {
		next := best.build(e, best.lemmas(), false)
		if next == nil || next.steps >= best.steps {
			break
		}
		best = next
	}
	if best == nil {
		return nil
	}
	limit := e.visits + manyVisits
	for i := len(best.chains) - 2; i >= 0 && e.visits < limit && len(best.chains) <= manyLemmas; i-- {
		i = min(i, len(best.chains)-2)
		if i < 0 {
			break
		}
		rest := slices.Delete(slices.Clone(best.lemmas()), i, i+1)
		if next := best.build(e, rest, false); next != nil && next.steps <= best.steps {
			best = next
		}
	}
	return best
}

// forward returns d told forwards if that is better.
func (d *derivation) forward(e *engine) *derivation {
	if next := d.build(e, d.lemmas(), true); next != nil && next.better(d) {
		return next
	}
	return d
}
