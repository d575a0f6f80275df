package core

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// record is a registry that remembers what it was asked.
type record struct {
	reg      pubgrub.Registry
	packages map[int32]*known
}

// known is what was told of a package.
type known struct {
	pubgrub.Package
	deps [][]pubgrub.Dep // by version; nil if nobody asked
}

// Package implements [pubgrub.Registry].
func (r *record) Package(ctx context.Context, p int32) (pubgrub.Package, error) {
	pk, err := r.reg.Package(ctx, p)
	if err == nil && r.packages[p] == nil {
		r.packages[p] = &known{Package: pk}
	}
	return pk, err
}

// Deps implements [pubgrub.Registry].
func (r *record) Deps(ctx context.Context, p, v int32) ([]pubgrub.Dep, error) {
	ds, err := r.reg.Deps(ctx, p, v)
	if k := r.packages[p]; err == nil && k != nil && v < k.N {
		if k.deps == nil {
			k.deps = make([][]pubgrub.Dep, k.N)
		}
		k.deps[v] = ds
	}
	return ds, err
}

// Allowed implements [pubgrub.Registry].
func (r *record) Allowed(p, rg int32) []uint64 { return r.reg.Allowed(p, rg) }

// Prefetch implements [pubgrub.Prefetcher].
func (r *record) Prefetch(ctx context.Context, ps []int32) error {
	if f, ok := r.reg.(pubgrub.Prefetcher); ok {
		return f.Prefetch(ctx, ps)
	}
	return nil
}

// conflict is roots without a solution, in the order of packages, and the proof.
type conflict struct {
	roots []int
	proof *pubgrub.Proof
	spent int // conflicts of the solver
}

// derived returns the number of derived nodes of the proof.
func (c *conflict) derived() int {
	n := 0
	for i := range c.proof.Nodes {
		if c.proof.Nodes[i].Kind == pubgrub.Derived {
			n++
		}
	}
	return n
}

// solve returns the conflict of q.
func (r *record) solve(ctx context.Context, q pubgrub.Query) (*conflict, error) {
	s := pubgrub.New(r)
	_, err := s.Solve(ctx, q)
	if err == nil {
		return nil, ErrSatisfiable
	}
	if !errors.Is(err, pubgrub.ErrUnsatisfiable) {
		return nil, err
	}
	c := &conflict{proof: s.Proof(), spent: s.Stats().Conflicts}
	c.roots = c.proof.Roots()
	slices.SortStableFunc(c.roots, func(a, b int) int { return r.compareRoots(&q, a, b) })
	return c, nil
}

// core returns a part of c none of whose roots can be left out. The root that
// comes last in the order of packages, or else first, is left out first.
func (r *record) core(ctx context.Context, q pubgrub.Query, c *conflict, last bool) (*conflict, error) {
	c = &conflict{slices.Clone(c.roots), c.proof, c.spent}
	some := q
	some.Budget = patience + 2*c.spent
	s := pubgrub.New(r)
	try := slices.Clone(c.roots)
	if last {
		slices.Reverse(try)
	}
	for _, root := range try {
		at := slices.Index(c.roots, root)
		if at < 0 {
			continue
		}
		rest := slices.Delete(slices.Clone(c.roots), at, at+1)
		some.Roots = pick(q.Roots, rest)
		_, err := s.Solve(ctx, some)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !errors.Is(err, pubgrub.ErrUnsatisfiable) {
			continue
		}
		c.proof = translate(s.Proof(), rest)
		used := c.proof.Roots()
		c.roots = slices.DeleteFunc(rest, func(root int) bool { return !slices.Contains(used, root) })
	}
	return c, nil
}

// compareRoots orders roots by package and by what they allow.
func (r *record) compareRoots(q *pubgrub.Query, a, b int) int {
	da, db := q.Roots[a], q.Roots[b]
	if c := precedes(q, da.Pkg, db.Pkg); c != 0 {
		return c
	}
	if da.Optional != db.Optional {
		if db.Optional {
			return -1
		}
		return 1
	}
	sa := slices.Clone(r.reg.Allowed(da.Pkg, da.Range))
	return slices.Compare(sa, r.reg.Allowed(db.Pkg, db.Range))
}

func precedes(q *pubgrub.Query, a, b int32) int {
	if q.Compare != nil {
		return cmp.Or(q.Compare(a, b), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}

// pick returns the roots with the indices.
func pick(roots []pubgrub.Dep, at []int) []pubgrub.Dep {
	out := make([]pubgrub.Dep, len(at))
	for i, j := range at {
		out[i] = roots[j]
	}
	return out
}

// translate makes the root i of a proof the root at[i].
func translate(p *pubgrub.Proof, at []int) *pubgrub.Proof {
	for i := range p.Nodes {
		if n := &p.Nodes[i]; n.Kind == pubgrub.Root {
			n.Root = at[n.Root]
		}
	}
	return p
}
