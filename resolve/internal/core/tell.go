package core

import (
	"cmp"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// explanation translates a derivation.
func (d *derivation) explanation() *Explanation {
	t := teller{d: d, ex: new(Explanation), at: make([]int, len(d.clauses))}
	t.node(len(d.clauses) - 1)
	for i := range t.ex.Nodes {
		if t.ex.Nodes[i].Kind == pubgrub.Root {
			t.ex.Roots = append(t.ex.Roots, t.ex.Nodes[i].Root)
		}
	}
	slices.Sort(t.ex.Roots)
	t.ex.Core = slices.Clone(t.ex.Roots)
	return t.ex
}

// teller puts nodes in an order in which each comes soon after its premises.
type teller struct {
	d  *derivation
	ex *Explanation
	at []int // nodes by clause, plus 1
}

// node returns the node of a clause, adding what it follows from first. It recurs
// no deeper than there are lemmas.
func (t *teller) node(i int) int {
	if t.at[i] > 0 {
		return t.at[i] - 1
	}
	var n int
	if facts := len(t.d.q.facts); i < facts {
		n = t.add(t.fact(i))
	} else {
		chain := t.d.chains[i-facts]
		if len(chain) > 1 && chain[0].cause < facts {
			t.node(chain[1].cause) // what is known comes before what it is used with
		}
		n = t.node(chain[0].cause)
		for _, l := range chain[1:] {
			other := t.node(l.cause)
			n = t.add(Node{
				Kind: pubgrub.Derived, Terms: t.terms(l.result),
				Premises: []int{min(n, other), max(n, other)}, Resolve: t.id(l.p),
			})
		}
	}
	t.at[i] = n + 1
	return n
}

func (t *teller) add(n Node) int {
	t.ex.Nodes = append(t.ex.Nodes, n)
	return len(t.ex.Nodes) - 1
}

// id returns the registry's number of a package of the quotient.
func (t *teller) id(p int32) int32 { return t.d.w.packs[t.d.q.packs[p].p].id }

// fact returns the node of a fact.
func (t *teller) fact(i int) Node {
	f := &t.d.q.facts[i]
	n := Node{Kind: f.kind, Terms: t.terms(t.d.clauses[i]), Root: f.root, Reason: f.reason}
	if f.owner >= 0 {
		n.Pkg = t.id(f.owner)
	}
	if f.target >= 0 {
		n.Target = t.id(f.target)
	}
	return n
}

// terms translates a clause.
func (t *teller) terms(c clause) []pubgrub.Term {
	var out []pubgrub.Term
	for _, l := range c {
		b := &t.d.q.packs[l.p]
		s := b.grow(l.set)
		out = append(out, pubgrub.NewTerm(t.id(l.p), b.n, s.and(versions(b.n)), s.has(b.n)))
	}
	slices.SortFunc(out, func(a, b pubgrub.Term) int { return cmp.Compare(a.Pkg, b.Pkg) })
	return out
}
