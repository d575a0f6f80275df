package pubgrub

import (
	"context"
	"fmt"
	"slices"
)

// Verify checks a proof that roots have no solution: every fact is one, every
// other node follows from its two premises, and the last one is a contradiction.
func (p *Proof) Verify(ctx context.Context, reg Registry, roots []Dep) error {
	if len(p.Nodes) == 0 || len(p.Nodes[len(p.Nodes)-1].Terms) > 0 {
		return fmt.Errorf("proof: %d nodes do not end in a contradiction", len(p.Nodes))
	}
	for i, n := range p.Nodes {
		var err error
		switch n.Kind {
		case Root:
			err = n.isRoot(ctx, reg, roots)
		case Dependency:
			err = n.isDependency(ctx, reg)
		case External:
			err = n.isExclusion(ctx, reg)
		case Derived:
			if n.A < 0 || n.A >= i || n.B < 0 || n.B >= i {
				return fmt.Errorf("proof: node %d does not come after nodes %d and %d", i, n.A, n.B)
			}
			err = n.follows(p.Nodes[n.A], p.Nodes[n.B])
		default:
			err = fmt.Errorf("unknown kind %d", n.Kind)
		}
		if err != nil {
			return fmt.Errorf("proof: node %d: %w", i, err)
		}
	}
	return nil
}

// isRoot checks that nothing a root accepts fulfils the term.
func (n *Node) isRoot(ctx context.Context, reg Registry, roots []Dep) error {
	if n.Root < 0 || n.Root >= len(roots) || roots[n.Root] != n.Dep {
		return fmt.Errorf("no root %d that asks for package %d", n.Root, n.Dep.Pkg)
	}
	return n.rules(ctx, reg, -1)
}

// isDependency checks that every version the node speaks of has the dependency,
// and that nothing that meets it fulfils the other term.
func (n *Node) isDependency(ctx context.Context, reg Registry) error {
	for _, t := range n.Terms {
		if t.Pkg != n.Pkg && t.Pkg != n.Dep.Pkg {
			return fmt.Errorf("a dependency of package %d on %d does not concern %d", n.Pkg, n.Dep.Pkg, t.Pkg)
		}
	}
	t, ok := n.term(n.Pkg)
	if !ok || t.Absent() {
		return fmt.Errorf("package %d need not be there", n.Pkg)
	}
	for v := range t.N {
		if !t.Has(v) {
			continue
		}
		deps, err := reg.Deps(ctx, n.Pkg, v)
		if err != nil {
			return err
		}
		if !slices.Contains(deps, n.Dep) {
			return fmt.Errorf("version %d of package %d does not depend on %v", v, n.Pkg, n.Dep)
		}
	}
	return n.rules(ctx, reg, n.Pkg)
}

// rules checks that what meets the dependency does not fulfil the term on its package. A
// package never meets its own dependency by being absent.
func (n *Node) rules(ctx context.Context, reg Registry, owner int32) error {
	d := n.Dep
	allowed := reg.Allowed(d.Pkg, d.Range)
	t, ok := n.term(d.Pkg)
	if !ok {
		pk, err := reg.Package(ctx, d.Pkg)
		if err != nil {
			return err
		}
		for v := range pk.N {
			if member(allowed, v) {
				return fmt.Errorf("version %d of package %d is allowed", v, d.Pkg)
			}
		}
		if d.Optional {
			return fmt.Errorf("package %d may be absent", d.Pkg)
		}
		return nil
	}
	if d.Optional && d.Pkg != owner && t.Absent() {
		return fmt.Errorf("package %d may be absent", d.Pkg)
	}
	for v := range t.N {
		if t.Has(v) && member(allowed, v) {
			return fmt.Errorf("version %d of package %d is allowed", v, d.Pkg)
		}
	}
	return nil
}

// isExclusion checks that all versions the node speaks of are excluded.
func (n *Node) isExclusion(ctx context.Context, reg Registry) error {
	pk, err := reg.Package(ctx, n.Pkg)
	if err != nil {
		return err
	}
	if len(n.Terms) != 1 || n.Terms[0].Pkg != n.Pkg || n.Terms[0].Absent() {
		return fmt.Errorf("an exclusion concerns versions of package %d alone", n.Pkg)
	}
	for v := range n.Terms[0].N {
		if n.Terms[0].Has(v) && !slices.ContainsFunc(pk.Excluded, func(e Exclusion) bool {
			return e.Reason == n.Reason && member(e.Versions, v)
		}) {
			return fmt.Errorf("version %d of package %d is not excluded", v, n.Pkg)
		}
	}
	return nil
}

// follows checks that whenever all terms of n are true those of a or those of b
// are: for the package resolved on one of the two, for every other one both.
func (n *Node) follows(a, b Node) error {
	for _, premise := range []Node{a, b} {
		for _, t := range premise.Terms {
			if t.Pkg == n.Resolve {
				continue
			}
			c, ok := n.term(t.Pkg)
			for v := range t.N + 1 {
				if (!ok || member(c.set, v)) && !member(t.set, v) {
					return fmt.Errorf("package %d may be at %d without the premise", t.Pkg, v)
				}
			}
		}
	}
	ta, oka := a.term(n.Resolve)
	tb, okb := b.term(n.Resolve)
	if !oka || !okb {
		return nil
	}
	c, ok := n.term(n.Resolve)
	for v := range ta.N + 1 {
		if (!ok || member(c.set, v)) && !member(ta.set, v) && !member(tb.set, v) {
			return fmt.Errorf("package %d may be at %d without either premise", n.Resolve, v)
		}
	}
	return nil
}

func (n *Node) term(p int32) (Term, bool) {
	for _, t := range n.Terms {
		if t.Pkg == p {
			return t, true
		}
	}
	return Term{}, false
}
