package core

import (
	"context"
	"errors"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// abstraction is a registry in which the versions of each package are put into
// classes, and all versions of a class have the same dependencies: what the
// world's versions of the class have in common.
type abstraction struct {
	w       *world
	classes [][]class // by package
	of      [][]int32 // class by package and version
	facts   []fact    // by range
}

// class is some versions of one package.
type class struct {
	versions set
	deps     []pubgrub.Dep
	asked    bool
}

func newAbstraction(w *world) *abstraction {
	a := &abstraction{w: w}
	for i := range w.packs {
		n := w.packs[i].n
		a.classes = append(a.classes, []class{{versions: versions(n)}})
		a.of = append(a.of, make([]int32, n))
	}
	return a
}

// Package implements [pubgrub.Registry]. Exclusions have the index in barred as
// their reason.
func (a *abstraction) Package(_ context.Context, p int32) (pubgrub.Package, error) {
	pk := pubgrub.Package{N: a.w.packs[p].n}
	for i, f := range a.w.packs[p].barred {
		pk.Excluded = append(pk.Excluded, pubgrub.Exclusion{Versions: f.have, Reason: count(i)})
	}
	return pk, nil
}

// Deps implements [pubgrub.Registry].
func (a *abstraction) Deps(_ context.Context, p, v int32) ([]pubgrub.Dep, error) {
	return a.class(p, v).deps, nil
}

// Allowed implements [pubgrub.Registry]. Ranges are facts; -1-i is root i.
func (a *abstraction) Allowed(p, r int32) []uint64 {
	f := &a.w.roots
	if r >= 0 {
		f = &a.facts
	} else {
		r = -1 - r
	}
	return domain(a.w.packs[p].n).minus((*f)[r].ban)
}

// class returns the class of a version, with its dependencies.
func (a *abstraction) class(p, v int32) *class {
	c := &a.classes[p][a.of[p][v]]
	if c.asked {
		return c
	}
	c.asked = true
	for i, t := range a.w.packs[p].targets {
		allowed := a.w.union(p, i, c.versions)
		if allowed == nil {
			continue
		}
		n := a.w.packs[t].n
		c.deps = append(c.deps, pubgrub.Dep{Pkg: t, Range: count(len(a.facts)), Optional: allowed.has(n)})
		a.facts = append(a.facts, fact{
			kind: pubgrub.Dependency, owner: p, target: t, have: c.versions, ban: domain(n).minus(allowed),
		})
	}
	return c
}

// split puts those versions of all classes of p that are in s into classes of
// their own. It reports whether there were any such and others.
func (a *abstraction) split(p int32, s set) bool {
	changed := false
	for i := range a.classes[p] {
		c := &a.classes[p][i]
		in, out := c.versions.and(s), c.versions.minus(s)
		if in.none() || out.none() {
			continue
		}
		changed = true
		next := count(len(a.classes[p]))
		for v := range a.w.packs[p].n {
			if in.has(v) {
				a.of[p][v] = next
			}
		}
		*c = class{versions: out}
		a.classes[p] = append(a.classes[p], class{versions: in})
	}
	return changed
}

// narrow splits packages along what the roots leave of them, following what has
// to be there through everything that it needs.
func (a *abstraction) narrow() {
	left := make([]set, len(a.w.packs))
	fresh := make([]bool, len(left))
	for i := range left {
		left[i], fresh[i] = domain(a.w.packs[i].n), true
		for _, f := range a.w.packs[i].barred {
			left[i] = left[i].minus(f.have)
		}
	}
	for _, f := range a.w.roots {
		left[f.target] = left[f.target].minus(f.ban)
	}
	for left := (narrowed{left, fresh}); left.pass(a); {
	}
}

// narrowed is what is left of packages, and which to look at.
type narrowed struct {
	of    []set
	fresh []bool
}

// pass looks at each package once that has changed. It reports whether another
// pass may change more.
func (l *narrowed) pass(a *abstraction) bool {
	changed := false
	for i, left := range l.of {
		p := count(i)
		if left.none() {
			return false
		}
		if !l.fresh[i] || left.has(a.w.packs[i].n) {
			continue
		}
		l.fresh[i] = false
		a.split(p, left)
		for j, t := range a.w.packs[i].targets {
			allowed := a.w.union(p, j, left)
			if allowed != nil && !l.of[t].within(allowed) {
				l.of[t] = l.of[t].and(allowed)
				l.fresh[t], changed = true, true
			}
		}
	}
	return changed
}

// refine splits a class of a version whose dependencies the choices break. It
// reports false if there is none, that is, if the choices are a solution.
func (a *abstraction) refine(choices []pubgrub.Choice) bool {
	chosen := make([]int32, len(a.w.packs))
	for p := range chosen {
		chosen[p] = a.w.packs[p].n
	}
	for _, c := range choices {
		chosen[c.Pkg] = c.Version
	}
	for _, c := range choices {
		pk := &a.w.packs[c.Pkg]
		for i, t := range pk.targets {
			if allow := pk.allow[i][c.Version]; allow == nil || allow.has(chosen[t]) {
				continue
			}
			ban := empty(a.w.packs[t].n)
			ban.add(chosen[t])
			old := a.class(c.Pkg, c.Version).versions
			return a.split(c.Pkg, a.w.shared(c.Pkg, i, ban).and(old))
		}
	}
	return false
}

// abstract finds facts about classes that contradict each other. It returns nil
// if that takes too long.
func (e *explainer) abstract() ([]fact, error) {
	a := newAbstraction(e.w)
	a.narrow()
	var q pubgrub.Query
	for i, f := range e.w.roots {
		q.Roots = append(q.Roots, pubgrub.Dep{Pkg: f.target, Range: count(-1 - i), Optional: !f.ban.has(e.w.packs[f.target].n)})
	}
	for range splits {
		q.Budget = max(1, e.left/4)
		s := pubgrub.New(a)
		choices, err := s.Solve(e.ctx, q)
		e.left -= s.Stats().Conflicts
		switch _, tired := errors.AsType[*pubgrub.BudgetError](err); {
		case tired:
			return nil, nil
		case errors.Is(err, pubgrub.ErrUnsatisfiable):
			return a.used(s.Proof()), nil
		case err != nil:
			return nil, err
		}
		if !a.refine(choices) {
			return nil, nil
		}
	}
	return nil, nil
}

// used returns the facts that a proof about the abstraction uses.
func (a *abstraction) used(p *pubgrub.Proof) []fact {
	var out []fact
	for i := range p.Nodes {
		switch n := &p.Nodes[i]; n.Kind {
		case pubgrub.Root:
			out = append(out, a.w.roots[n.Root])
		case pubgrub.Dependency:
			out = append(out, a.facts[n.Dep.Range])
		case pubgrub.External:
			out = append(out, a.w.packs[n.Pkg].barred[n.Reason])
		case pubgrub.Derived:
		}
	}
	slices.SortFunc(out, compareFacts)
	return out
}
