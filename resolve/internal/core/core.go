// Package core says why a query has no solution, in as few facts as possible.
//
// The proof that [pubgrub] finds on its way is right and often long: it speaks of
// each version that the search happened to try. People want to hear "every
// version of a needs b 1, and you asked for b 2". [Explain] finds such facts; it
// knows of packages, versions and sets of them as numbers only, and has no words.
//
//	ex, err := core.Explain(ctx, registry, query)
//	for _, n := range ex.Nodes { … }
//
// # Method
//
//  1. Roots are left out one by one, as long as there is still no solution.
//  2. The versions of each package are put into a few classes. What all versions
//     of a class have in common is a fact of the class: b must be within the union
//     of what they allow, and present if all of them need it. If there is a
//     solution that meets these facts, it breaks a dependency of some version;
//     that version's class is split into the versions for which it does and the
//     others, and so on (counterexample-guided abstraction refinement, Clarke et
//     al. 2000).
//  3. Facts are widened to all neighbouring versions for which they hold, merged
//     and left out as long as there is still no solution.
//  4. What follows from what is found by unit propagation, with as few lemmas as
//     possible, and told from the roots onwards if that makes shorter lines.
//
// # Promises
//
//   - Right: [Verify] accepts what Explain returns; it shares no step with it.
//   - Minimal roots: without any one of [Explanation].Core the others have a
//     solution, unless it takes too long to find out.
//   - Deterministic: the answer depends neither on the order of roots or
//     dependencies nor, with [pubgrub.Query].Compare, on the numbers of packages.
//     Only which of several equal roots is named follows their order.
//   - Bounded: whatever takes too many conflicts is not done, and the explanation
//     is longer than it could be.
package core

import (
	"context"
	"errors"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// ErrSatisfiable says that there is nothing to explain: there is a solution.
var ErrSatisfiable = errors.New("a set of versions fits")

// An Explanation derives a contradiction from facts. Nodes come after their
// premises, each is a premise of a later one, and the last one has no terms.
//
// Roots are the indices of the roots that it uses, ascending. Core are roots none
// of which can be left out. They are nearly always the same; but if Core takes long
// to explain, and with other roots it is soon said that there is no solution, then
// that is what the nodes say, and Core what cannot be helped by changing these.
type Explanation struct {
	Nodes []Node
	Roots []int
	Core  []int
}

// A Node says that its terms, in ascending order of packages, are not all true
// in any solution.
//
//   - Root: what root Root does not allow, package Target cannot be.
//   - Dependency: versions of Pkg, of which a term tells, need Target not to be
//     what the other term tells. If that other term is missing they cannot be
//     chosen at all: nothing they allow exists or, if Target is Pkg, they rule
//     themselves out. Several dependencies of a version may take part.
//   - External: versions of Pkg are excluded for Reason.
//   - Derived: follows from two Premises. Resolve is the package they disagree
//     about.
type Node struct {
	Kind  pubgrub.Kind
	Terms []pubgrub.Term

	Root     int
	Pkg      int32
	Target   int32
	Reason   int32
	Premises []int // ascending
	Resolve  int32
}

// Derived returns the number of derived nodes, which is how many lines it takes
// to tell the explanation.
func (ex *Explanation) Derived() int {
	n := 0
	for i := range ex.Nodes {
		if ex.Nodes[i].Kind == pubgrub.Derived {
			n++
		}
	}
	return n
}

// Limits on effort. Conflicts are those that pubgrub analyses.
const (
	patience   = 1000    // conflicts while finding out whether a root is needed, over twice what the query took
	total      = 10_000  // conflicts in all other searches
	trial      = 200     // conflicts while trying to leave out a fact
	splits     = 300     // of classes
	manyFacts  = 200     // are not left out one by one
	manyLemmas = 40      // as well
	someFacts  = 50      // are explained in more than one way
	screen     = 12      // derived nodes are few enough to read
	manyVisits = 100_000 // of clauses while searching for a short derivation
)

// Explain says why q has no solution. It asks reg what queries with some of the
// roots ask; if reg cannot answer one of these, a root too many may be named. Its
// errors are [ErrSatisfiable], and the context's, the registry's and a
// *[pubgrub.BudgetError] if q itself meets them.
func Explain(ctx context.Context, reg pubgrub.Registry, q pubgrub.Query) (*Explanation, error) {
	r := &record{reg: reg, packages: make(map[int32]*known)}
	all, err := r.solve(ctx, q)
	if err != nil {
		return nil, err
	}
	var best *derivation
	var roots []int
	for _, last := range []bool{true, false} {
		c, err := r.core(ctx, q, all, last)
		if err != nil {
			return nil, err
		}
		if slices.Equal(c.roots, roots) {
			break
		}
		roots = c.roots
		d, err := c.derive(ctx, r, &q)
		if err != nil {
			return nil, err
		}
		if best == nil || d.better(best) {
			best = d
		}
		if best.steps <= all.derived() {
			break
		}
	}
	ex := best.explanation()
	if best.steps <= screen {
		return ex, nil
	}
	d, err := all.derive(ctx, r, &q)
	if err != nil || 2*d.steps > best.steps {
		return ex, err
	}
	short := d.explanation()
	short.Core = ex.Core
	return short, nil
}

// derive looks for the best derivation from the roots of c.
func (c *conflict) derive(ctx context.Context, r *record, q *pubgrub.Query) (*derivation, error) {
	w := newWorld(r, q, c.roots, c.proof)
	e := &explainer{ctx: ctx, w: w, left: total}
	facts, err := e.abstract()
	if err != nil {
		return nil, err
	}
	var best *derivation
	if facts != nil {
		if best, err = e.best(facts); err != nil {
			return nil, err
		}
	}
	if best != nil && best.steps <= c.derived() {
		return best, nil
	}
	said := w.literally(c.proof)
	if best == nil || said.better(best) {
		best = said
	}
	if d, err := e.best(w.whole(w.facts(c.proof))); err != nil {
		return nil, err
	} else if d != nil && d.better(best) {
		best = d
	}
	return best, nil
}

// explainer looks for explanations of one conflict.
type explainer struct {
	ctx  context.Context // of one Explain
	w    *world
	left int // conflicts
}
