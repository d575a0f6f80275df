package core

import (
	"cmp"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// fact is something that the registry or the query says, in the numbers of a
// world: versions have of package owner do not go with target being in ban.
// Roots have no owner (-1). Exclusions have no target (-1). If target is owner,
// ban is nil, for the versions rule themselves out.
type fact struct {
	kind          pubgrub.Kind
	owner, target int32
	have, ban     set
	root          int
	reason        int32
}

// literal is a statement that a package is in a set.
type literal struct {
	p   int32
	set set
}

// literals returns the terms of f in ascending order of packages.
func (f *fact) literals() []literal {
	var out []literal
	if f.owner >= 0 {
		out = append(out, literal{f.owner, f.have})
	}
	if f.target >= 0 && f.target != f.owner {
		out = append(out, literal{f.target, f.ban})
	}
	slices.SortFunc(out, func(a, b literal) int { return cmp.Compare(a.p, b.p) })
	return out
}

// pair reports whether f is a dependency of one package on another.
func (f *fact) pair() bool { return f.kind == pubgrub.Dependency && f.owner != f.target }

// compareFacts is a total order of facts that say different things.
func compareFacts(a, b fact) int {
	return cmp.Or(
		cmp.Compare(a.kind, b.kind), cmp.Compare(a.owner, b.owner), cmp.Compare(a.target, b.target),
		slices.Compare(a.have, b.have), slices.Compare(a.ban, b.ban), cmp.Compare(a.root, b.root), cmp.Compare(a.reason, b.reason),
	)
}

// facts returns what the nodes of a proof about the registry say that are not
// derived, in their order.
func (w *world) facts(p *pubgrub.Proof) []fact {
	var out []fact
	for i := range p.Nodes {
		n := &p.Nodes[i]
		switch n.Kind {
		case pubgrub.Root:
			at := slices.IndexFunc(w.roots, func(f fact) bool { return f.root == n.Root })
			out = append(out, w.roots[at])
		case pubgrub.External:
			o := w.at[n.Pkg]
			out = append(out, fact{kind: n.Kind, owner: o, target: -1, have: w.set(n.Terms[0]), reason: n.Reason})
		case pubgrub.Dependency:
			f := fact{kind: n.Kind, owner: w.at[n.Pkg], target: w.at[n.Dep.Pkg]}
			if f.owner != f.target {
				f.ban = domain(w.packs[f.target].n)
			}
			for _, t := range n.Terms {
				if t.Pkg == n.Pkg {
					f.have = w.set(t)
				} else {
					f.ban = w.set(t)
				}
			}
			out = append(out, f)
		case pubgrub.Derived:
		}
	}
	return out
}

// set returns the set of a term about the registry.
func (w *world) set(t pubgrub.Term) set {
	s := copyOf(t.Versions(), t.N)
	if t.Absent() {
		s.add(t.N)
	}
	return s
}

// whole replaces facts that versions cannot be chosen by all that the world says
// of that kind, and drops repetitions.
func (w *world) whole(fs []fact) []fact {
	out := slices.Clone(fs)
	for i, f := range out {
		if f.owner < 0 || f.pair() {
			continue
		}
		for _, g := range w.packs[f.owner].barred {
			if g.kind == f.kind && g.reason == f.reason && f.have.within(g.have) {
				out[i] = g
			}
		}
	}
	return unique(out)
}

// unique sorts facts and drops repetitions and those that another one implies.
func unique(fs []fact) []fact {
	slices.SortFunc(fs, compareFacts)
	fs = slices.CompactFunc(fs, func(a, b fact) bool { return compareFacts(a, b) == 0 })
	drop := make([]bool, len(fs))
	for i := range fs {
		// Facts about the same packages are neighbours.
		for j := i + 1; j < len(fs) && fs[i].akin(&fs[j]); j++ {
			drop[i] = drop[i] || !drop[j] && fs[j].implies(&fs[i])
			drop[j] = drop[j] || !drop[i] && fs[i].implies(&fs[j])
		}
	}
	out := fs[:0]
	for i, f := range fs {
		if !drop[i] {
			out = append(out, f)
		}
	}
	return out
}

// akin reports whether f and g are dependencies of one package on another one.
func (f *fact) akin(g *fact) bool {
	return f.pair() && g.pair() && f.owner == g.owner && f.target == g.target
}

// implies reports whether a dependency says all that another one says.
func (f *fact) implies(g *fact) bool {
	return f.akin(g) && g.have.within(f.have) && g.ban.within(f.ban)
}
