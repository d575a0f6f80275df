package core

import (
	"context"
	"errors"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// quotient is a registry that knows given facts and nothing else. Versions that
// no fact tells apart are one block, so that it is small. Its packages are those
// of the facts.
type quotient struct {
	packs []block
	at    []int32 // package by the world's number; -1 if there is none
	facts []fact  // with sets of blocks
	use   []bool  // by fact; the others are ignored
	up    bool    // the first block is the best, not the last
}

// block is one package of a quotient.
type block struct {
	p    int32   // the world's number
	n    int32   // versions in the world
	sets []set   // the versions of each block, blocks in ascending order of their least version
	own  []int32 // facts about dependencies
	bar  []int32 // facts that versions cannot be chosen
}

func newQuotient(w *world, facts []fact) *quotient {
	q := &quotient{at: make([]int32, len(w.packs)), use: make([]bool, len(facts))}
	for i := range q.at {
		q.at[i] = -1
	}
	for i := range facts {
		q.use[i] = true
		for _, l := range facts[i].literals() {
			if q.at[l.p] < 0 {
				q.at[l.p] = 0
			}
		}
	}
	for p := range q.at {
		if q.at[p] < 0 {
			continue
		}
		q.at[p] = count(len(q.packs))
		n := w.packs[p].n
		b := block{p: count(p), n: n}
		if n > 0 {
			b.sets = []set{versions(n)}
		}
		q.packs = append(q.packs, b)
	}
	for i := range facts {
		for _, l := range facts[i].literals() {
			q.packs[q.at[l.p]].split(l.set)
		}
	}
	for i := range q.packs {
		slices.SortFunc(q.packs[i].sets, func(a, b set) int { return int(a.lowest() - b.lowest()) })
	}
	for _, f := range facts {
		q.add(f)
	}
	return q
}

// split splits the blocks along s.
func (b *block) split(s set) {
	for i := range b.sets {
		in, out := b.sets[i].and(s), b.sets[i].minus(s)
		if !in.none() && !out.none() {
			b.sets[i] = in
			b.sets = append(b.sets, out)
		}
	}
}

// shrink returns the blocks of a set, which is made of blocks.
func (b *block) shrink(s set) set {
	k := count(len(b.sets))
	out := empty(k)
	for i, vs := range b.sets {
		if s.has(vs.lowest()) {
			out.add(count(i))
		}
	}
	if s.has(b.n) {
		out.add(k)
	}
	return out
}

// grow is the opposite of shrink.
func (b *block) grow(s set) set {
	out := empty(b.n)
	for i, vs := range b.sets {
		if s.has(count(i)) {
			out = out.or(vs)
		}
	}
	if s.has(count(len(b.sets))) {
		out.add(b.n)
	}
	return out
}

// add translates a fact.
func (q *quotient) add(f fact) {
	i := count(len(q.facts))
	pair := f.pair()
	if f.owner >= 0 {
		f.owner = q.at[f.owner]
		b := &q.packs[f.owner]
		f.have = b.shrink(f.have)
		if pair {
			b.own = append(b.own, i)
		} else {
			b.bar = append(b.bar, i)
		}
	}
	if f.target >= 0 {
		f.target = q.at[f.target]
		if pair || f.owner < 0 {
			f.ban = q.packs[f.target].shrink(f.ban)
		}
	}
	q.facts = append(q.facts, f)
}

// size returns the number of blocks of a package.
func (q *quotient) size(p int32) int32 { return count(len(q.packs[p].sets)) }

// Package implements [pubgrub.Registry].
func (q *quotient) Package(_ context.Context, p int32) (pubgrub.Package, error) {
	b := &q.packs[p]
	pk := pubgrub.Package{N: q.size(p)}
	for _, i := range b.bar {
		if q.use[i] {
			pk.Excluded = append(pk.Excluded, pubgrub.Exclusion{Versions: q.facts[i].have, Reason: i})
		}
	}
	if q.up {
		for i := range pk.N {
			pk.Order = append(pk.Order, i)
		}
	}
	return pk, nil
}

// Deps implements [pubgrub.Registry]. Ranges are facts.
func (q *quotient) Deps(_ context.Context, p, v int32) ([]pubgrub.Dep, error) {
	var out []pubgrub.Dep
	for _, i := range q.packs[p].own {
		if f := &q.facts[i]; q.use[i] && f.have.has(v) {
			out = append(out, q.dep(i))
		}
	}
	return out, nil
}

// Allowed implements [pubgrub.Registry].
func (q *quotient) Allowed(p, r int32) []uint64 { return domain(q.size(p)).minus(q.facts[r].ban) }

func (q *quotient) dep(i int32) pubgrub.Dep {
	f := &q.facts[i]
	return pubgrub.Dep{Pkg: f.target, Range: i, Optional: !f.ban.has(q.size(f.target))}
}

// solve looks for a contradiction between the facts in use. It returns nil if
// there is none or if it takes more than some conflicts. compare orders packages.
func (q *quotient) solve(ctx context.Context, budget int, compare func(a, b int32) int) (*pubgrub.Proof, int, error) {
	query := pubgrub.Query{Budget: max(1, budget), Compare: compare}
	for i, f := range q.facts {
		if q.use[i] && f.kind == pubgrub.Root {
			query.Roots = append(query.Roots, q.dep(count(i)))
		}
	}
	s := pubgrub.New(q)
	_, err := s.Solve(ctx, query)
	spent := s.Stats().Conflicts
	if errors.Is(err, pubgrub.ErrUnsatisfiable) {
		return s.Proof(), spent, nil
	}
	if _, ok := errors.AsType[*pubgrub.BudgetError](err); ok {
		err = nil
	}
	return nil, spent, err
}

// used reports for each fact whether a proof uses it.
func (q *quotient) used(p *pubgrub.Proof) []bool {
	out := make([]bool, len(q.facts))
	for i := range p.Nodes {
		switch n := &p.Nodes[i]; n.Kind {
		case pubgrub.Root, pubgrub.Dependency:
			out[n.Dep.Range] = true
		case pubgrub.External:
			out[n.Reason] = true
		case pubgrub.Derived:
		}
	}
	return out
}
