package core

import (
	"cmp"
	"math/bits"
	"slices"
)

// best returns the derivation of a contradiction from facts that takes the fewest
// lines, of those that different orders of leaving out facts lead to.
func (e *explainer) best(facts []fact) (*derivation, error) {
	facts, err := e.trim(unique(facts))
	if err != nil {
		return nil, err
	}
	var best *derivation
	for i, order := range []func(a, b fact) int{finest, compareFacts, func(a, b fact) int { return compareFacts(b, a) }, nil} {
		if (i == 1 || i == 2) && len(facts) > someFacts {
			continue
		}
		fs := facts // as they are, in the end
		if order != nil {
			if fs, err = e.minimise(facts, order); err != nil {
				return nil, err
			}
		}
		d, err := e.derive(fs)
		if err != nil {
			return nil, err
		}
		if best == nil || d != nil && d.better(best) {
			best = d
		}
	}
	return best, nil
}

// finest compares facts by how few versions have them.
func finest(a, b fact) int {
	return cmp.Or(cmp.Compare(a.have.size(), b.have.size()), compareFacts(a, b))
}

// minimise leaves out, widens and merges facts.
func (e *explainer) minimise(facts []fact, order func(a, b fact) int) ([]fact, error) {
	facts = e.widen(facts)
	slices.SortFunc(facts, order)
	for _, step := range []func([]fact) ([]fact, error){e.omit, e.merge, e.smooth} {
		var err error
		if facts, err = step(facts); err != nil {
			return nil, err
		}
	}
	facts = e.widen(facts)
	slices.SortFunc(facts, order)
	return e.omit(facts)
}

// fails reports whether facts contradict each other, if that is soon found.
func (e *explainer) fails(facts []fact) (bool, error) {
	if e.left <= 0 {
		return false, nil
	}
	p, spent, err := newQuotient(e.w, facts).solve(e.ctx, min(trial, e.left), nil)
	e.left -= spent
	return p != nil, err
}

// trim drops the facts that a proof does not use, as long as that helps.
func (e *explainer) trim(facts []fact) ([]fact, error) {
	for {
		q := newQuotient(e.w, facts)
		p, spent, err := q.solve(e.ctx, e.left, nil)
		e.left -= spent
		if err != nil || p == nil {
			return facts, err
		}
		rest := only(facts, q.used(p))
		if len(rest) == len(facts) {
			return facts, nil
		}
		facts = rest
	}
}

// only returns the facts that are marked.
func only(facts []fact, mark []bool) []fact {
	var out []fact
	for i, f := range facts {
		if mark[i] {
			out = append(out, f)
		}
	}
	return out
}

// omit leaves out facts, the first ones first.
func (e *explainer) omit(facts []fact) ([]fact, error) {
	facts, err := e.trim(facts)
	if err != nil || len(facts) > manyFacts {
		return facts, err
	}
	q := newQuotient(e.w, facts)
	for i := range facts {
		if !q.use[i] || e.left <= 0 {
			continue
		}
		q.use[i] = false
		p, spent, err := q.solve(e.ctx, min(trial, e.left), nil)
		e.left -= spent
		if err != nil {
			return nil, err
		}
		if p != nil {
			q.use = q.used(p)
		} else {
			q.use[i] = true
		}
	}
	return only(facts, q.use), nil
}

// widen makes each dependency speak of all neighbouring versions for which it
// holds, and say all that these have in common.
func (e *explainer) widen(facts []fact) []fact {
	out := slices.Clone(facts)
	for i := range out {
		f := &out[i]
		if !f.pair() {
			continue
		}
		pk := &e.w.packs[f.owner]
		t, ok := slices.BinarySearch(pk.targets, f.target)
		if !ok {
			continue
		}
		have := empty(pk.n)
		for _, run := range e.w.shared(f.owner, t, f.ban).runs(pk.n) {
			if !run.disjoint(f.have) {
				have = have.or(run)
			}
		}
		f.have = have
		if f.ban.ragged(e.w.packs[f.target].n) {
			continue
		}
		if allowed := e.w.union(f.owner, t, have); allowed != nil {
			if ban := domain(e.w.packs[f.target].n).minus(allowed); !ban.ragged(e.w.packs[f.target].n) {
				f.ban = ban
			}
		}
	}
	return unique(out)
}

// ragged reports whether s is hard to tell: neither an interval nor all but one.
func (s set) ragged(n int32) bool {
	edges := 0
	for i, w := range s.and(versions(n)) {
		before := w << 1
		if i > 0 {
			before |= s[i-1] >> 63
		}
		edges += bits.OnesCount64(w ^ before)
	}
	return edges > 4
}

// merge makes one dependency of two that say different things about the same
// packages, as long as what they have in common is enough.
func (e *explainer) merge(facts []fact) ([]fact, error) {
	for i := 0; i < len(facts) && len(facts) <= manyFacts; i++ {
		for j := i + 1; j < len(facts); j++ {
			f, g := facts[i], facts[j]
			if !f.akin(&g) {
				continue
			}
			f.have, f.ban = f.have.or(g.have), f.ban.and(g.ban)
			if f.ban.none() {
				continue
			}
			rest := slices.Delete(slices.Clone(facts), j, j+1)
			rest[i] = f
			ok, err := e.fails(rest)
			if err != nil {
				return nil, err
			}
			if ok {
				facts, j = rest, i
			}
		}
	}
	return facts, nil
}

// smooth drops from ragged sets those intervals that are not needed. What a
// version itself declares is left as it is.
func (e *explainer) smooth(facts []fact) ([]fact, error) {
	if len(facts) > manyFacts {
		return facts, nil
	}
	facts = slices.Clone(facts)
	for i := range facts {
		if !facts[i].pair() || e.w.uniform(&facts[i]) {
			continue
		}
		for _, f := range []struct {
			set *set
			n   int32
		}{{&facts[i].ban, e.w.packs[facts[i].target].n}, {&facts[i].have, e.w.packs[facts[i].owner].n}} {
			if !f.set.ragged(f.n) {
				continue
			}
			if err := e.drop(facts, f.set, f.set.runs(f.n)); err != nil {
				return nil, err
			}
		}
	}
	return facts, nil
}

// drop takes runs, or each half of them if that is too much, from a set of facts.
func (e *explainer) drop(facts []fact, s *set, runs []set) error {
	all := *s
	for _, run := range runs {
		*s = s.minus(run)
	}
	ok, err := e.fails(facts)
	if ok || err != nil {
		return err
	}
	*s = all
	if len(runs) == 1 {
		return nil
	}
	for _, half := range [][]set{runs[:len(runs)/2], runs[len(runs)/2:]} {
		if err := e.drop(facts, s, half); err != nil {
			return err
		}
	}
	return nil
}
