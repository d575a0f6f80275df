package pubgrub

import (
	"cmp"
	"math/bits"
	"slices"
)

// Kind says where an incompatibility comes from.
type Kind uint8

// The kinds of incompatibilities.
const (
	Root       Kind = iota // the query wants it so
	Dependency             // of some versions of a package
	External               // an exclusion
	Derived                // from two others
)

// A Proof derives from facts that a query has no solution. Nodes come after
// those they follow from; the last one has no terms, which is the contradiction.
type Proof struct {
	Nodes []Node
}

// A Node is one incompatibility: its terms, in ascending order of packages, are
// not all true in any solution.
type Node struct {
	Kind  Kind
	Terms []Term

	Root    int   // of Root: its index in Query.Roots
	Pkg     int32 // of Dependency and External: the package whose versions have it
	Dep     Dep   // of Root and Dependency
	Reason  int32 // of External
	A, B    int   // of Derived: the nodes it follows from
	Resolve int32 // of Derived: the package A and B were resolved on
}

// A Term says that a package is in a set of its versions or absent.
type Term struct {
	Pkg int32
	N   int32 // number of versions of the package
	set []uint64
}

// Has reports whether the term is true for a version.
func (t Term) Has(version int32) bool {
	return version >= 0 && version < t.N && has(t.set, version)
}

// Absent reports whether the term is true if the package is not chosen.
func (t Term) Absent() bool { return has(t.set, t.N) }

// Count returns for how many versions the term is true.
func (t Term) Count() int {
	n := 0
	for _, w := range t.set {
		n += bits.OnesCount64(w)
	}
	if t.Absent() {
		n--
	}
	return n
}

// Versions returns the versions for which the term is true, as a new bitset.
func (t Term) Versions() []uint64 {
	out := slices.Clone(t.set)
	out[t.N>>6] &^= 1 << (t.N & 63)
	return out[:(t.N+63)/64]
}

// Roots returns the indices of the roots that the proof uses, ascending. The
// query has no solution with these alone.
func (p *Proof) Roots() []int {
	var out []int
	for _, n := range p.Nodes {
		if n.Kind == Root {
			out = append(out, n.Root)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Proof says why the latest query has no solution. It is nil unless that query
// ended with [ErrUnsatisfiable]. The proof does not change with later queries.
func (s *Solver) Proof() *Proof {
	if s.failed < 0 {
		return nil
	}
	used := make([]bool, s.failed+1)
	used[s.failed] = true
	for id := s.failed; id >= 0; id-- { // causes are older than what follows from them
		if c := &s.incompats[id]; used[id] && c.kind == Derived {
			for _, st := range s.steps[c.a:c.b] {
				used[st.cause] = true
			}
		}
	}
	p := new(Proof)
	at := make([]int, s.failed+1)
	for id := range s.failed + 1 {
		if !used[id] {
			continue
		}
		if c := &s.incompats[id]; c.kind == Derived {
			at[id] = p.derive(s.steps[c.a:c.b], at)
		} else {
			at[id] = p.add(s.fact(c))
		}
	}
	return p
}

func (p *Proof) add(n Node) int {
	p.Nodes = append(p.Nodes, n)
	return len(p.Nodes) - 1
}

// derive adds a node for each step; at says which node an incompatibility is.
func (p *Proof) derive(steps []step, at []int) int {
	here := at[steps[0].cause]
	for _, st := range steps[1:] {
		other := at[st.cause]
		here = p.add(Node{
			Kind: Derived, A: here, B: other, Resolve: st.pivot,
			Terms: resolvent(p.Nodes[here].Terms, p.Nodes[other].Terms, st.pivot),
		})
	}
	return here
}

// fact returns the node of an incompatibility that is not derived.
func (s *Solver) fact(c *incompat) Node {
	n := Node{Kind: c.kind}
	switch c.kind {
	case Root:
		n.Root, n.Dep = int(c.a), s.roots[c.a]
	case Dependency:
		n.Pkg, n.Dep = c.a, s.vars[c.a].groups[c.b].dep
	case External:
		n.Pkg, n.Reason = c.a, s.vars[c.a].excluded[c.b].Reason
	}
	for _, t := range s.termsOf(c) {
		n.Terms = append(n.Terms, Term{t.p, s.vars[t.p].n, t.set.words()})
	}
	slices.SortFunc(n.Terms, func(a, b Term) int { return cmp.Compare(a.Pkg, b.Pkg) })
	return n
}

// resolvent returns what follows from two incompatibilities: for the pivot that
// either term is true, for all other packages that both are.
func resolvent(a, b []Term, pivot int32) []Term {
	out := make([]Term, 0, len(a)+len(b)-2)
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Pkg < b[0].Pkg:
			out, a = append(out, a[0]), a[1:]
		case len(a) == 0 || b[0].Pkg < a[0].Pkg:
			out, b = append(out, b[0]), b[1:]
		default:
			if t, ok := combine(a[0], b[0], pivot); ok {
				out = append(out, t)
			}
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// combine makes one term of two about a package, unless it is always true.
func combine(a, b Term, pivot int32) (Term, bool) {
	t := Term{a.Pkg, a.N, slices.Clone(a.set)}
	for i, w := range b.set {
		if a.Pkg == pivot {
			t.set[i] |= w
		} else {
			t.set[i] &= w
		}
	}
	return t, t.Count() < int(t.N) || !t.Absent()
}
