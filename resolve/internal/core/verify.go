package core

import (
	"context"
	"fmt"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// Verify checks that an explanation says why roots have no solution: each fact is
// one, each other node follows from its premises by reverse unit propagation, and
// the last one is a contradiction. It asks reg once more and shares nothing with
// how the explanation was found.
func Verify(ctx context.Context, reg pubgrub.Registry, roots []pubgrub.Dep, ex *Explanation) error {
	if n := len(ex.Nodes); n == 0 || len(ex.Nodes[n-1].Terms) > 0 {
		return fmt.Errorf("explanation: %d nodes do not end in a contradiction", n)
	}
	c := checker{ctx: ctx, reg: reg, roots: roots}
	used := make([]bool, len(ex.Nodes))
	used[len(used)-1] = true
	var core []int
	for i := range ex.Nodes {
		n := &ex.Nodes[i]
		if n.Kind == pubgrub.Root {
			core = append(core, n.Root)
		}
		if err := c.node(ex, i); err != nil {
			return fmt.Errorf("explanation: node %d: %w", i, err)
		}
		for _, p := range n.Premises {
			used[p] = true
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return fmt.Errorf("explanation: nothing follows from node %d", i)
	}
	slices.Sort(core)
	if !slices.Equal(core, ex.Roots) {
		return fmt.Errorf("explanation: it speaks of roots %v and uses %v", ex.Roots, core)
	}
	return nil
}

// checker is one Verify.
type checker struct {
	ctx   context.Context
	reg   pubgrub.Registry
	roots []pubgrub.Dep
}

func (c *checker) node(ex *Explanation, i int) error {
	n := &ex.Nodes[i]
	for j, t := range n.Terms {
		pk, err := c.reg.Package(c.ctx, t.Pkg)
		if err != nil {
			return err
		}
		if t.N != pk.N || j > 0 && n.Terms[j-1].Pkg >= t.Pkg {
			return fmt.Errorf("term %d about package %d is out of order", j, t.Pkg)
		}
	}
	if n.Kind != pubgrub.Derived && len(n.Premises) > 0 {
		return fmt.Errorf("a fact follows from %v", n.Premises)
	}
	switch n.Kind {
	case pubgrub.Root:
		return c.root(n)
	case pubgrub.Dependency:
		return c.dependency(n)
	case pubgrub.External:
		return c.exclusion(n)
	case pubgrub.Derived:
		for _, p := range n.Premises {
			if p < 0 || p >= i {
				return fmt.Errorf("comes before its premise %d", p)
			}
		}
		return follows(ex, n)
	}
	return fmt.Errorf("unknown kind %d", n.Kind)
}

// root checks that the root does not allow what the node's term says.
func (c *checker) root(n *Node) error {
	if n.Root < 0 || n.Root >= len(c.roots) || c.roots[n.Root].Pkg != n.Target {
		return fmt.Errorf("no root %d that asks for package %d", n.Root, n.Target)
	}
	for _, t := range n.Terms {
		if t.Pkg != n.Target {
			return fmt.Errorf("a root on package %d does not concern %d", n.Target, t.Pkg)
		}
	}
	return c.rules(c.roots[n.Root:n.Root+1], n, -1)
}

// dependency checks that each version that the node speaks of has dependencies
// that rule out what the node's other term says.
func (c *checker) dependency(n *Node) error {
	own, ok := term(n.Terms, n.Pkg)
	if !ok || own.Absent() {
		return fmt.Errorf("package %d need not be there", n.Pkg)
	}
	for _, t := range n.Terms {
		if t.Pkg != n.Pkg && t.Pkg != n.Target {
			return fmt.Errorf("a dependency of package %d on %d does not concern %d", n.Pkg, n.Target, t.Pkg)
		}
	}
	for v := range own.N {
		if !own.Has(v) {
			continue
		}
		deps, err := c.reg.Deps(c.ctx, n.Pkg, v)
		if err != nil {
			return err
		}
		if err := c.rules(deps, n, v); err != nil {
			return fmt.Errorf("version %d of package %d: %w", v, n.Pkg, err)
		}
	}
	return nil
}

// rules checks that for everything that the target may be according to the node
// there is a dependency that forbids it. If the target is the owner itself, it is
// at version v and nothing else.
func (c *checker) rules(deps []pubgrub.Dep, n *Node, v int32) error {
	pk, err := c.reg.Package(c.ctx, n.Target)
	if err != nil {
		return err
	}
	forbidden := make([]bool, pk.N+1)
	for _, d := range deps {
		if d.Pkg != n.Target {
			continue
		}
		allowed := c.reg.Allowed(d.Pkg, d.Range)
		for u := range pk.N {
			if int(u/64) >= len(allowed) || allowed[u/64]>>(u%64)&1 == 0 {
				forbidden[u] = true
			}
		}
		forbidden[pk.N] = forbidden[pk.N] || !d.Optional
	}
	t, ok := term(n.Terms, n.Target)
	for u := range pk.N + 1 {
		says := !ok || t.Has(u) || u == pk.N && t.Absent()
		if n.Kind == pubgrub.Dependency && n.Target == n.Pkg {
			says = u == v
		}
		if says && !forbidden[u] {
			return fmt.Errorf("package %d may be %d of %d", n.Target, u, pk.N)
		}
	}
	return nil
}

// exclusion checks that each version that the node speaks of is excluded.
func (c *checker) exclusion(n *Node) error {
	if len(n.Terms) != 1 || n.Terms[0].Pkg != n.Pkg || n.Terms[0].Absent() {
		return fmt.Errorf("an exclusion concerns versions of package %d alone", n.Pkg)
	}
	pk, err := c.reg.Package(c.ctx, n.Pkg)
	if err != nil {
		return err
	}
	for v := range pk.N {
		if n.Terms[0].Has(v) && !slices.ContainsFunc(pk.Excluded, func(e pubgrub.Exclusion) bool {
			return e.Reason == n.Reason && int(v/64) < len(e.Versions) && e.Versions[v/64]>>(v%64)&1 == 1
		}) {
			return fmt.Errorf("version %d of package %d is not excluded", v, n.Pkg)
		}
	}
	return nil
}

func term(ts []pubgrub.Term, p int32) (pubgrub.Term, bool) {
	for _, t := range ts {
		if t.Pkg == p {
			return t, true
		}
	}
	return pubgrub.Term{}, false
}
