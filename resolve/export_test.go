package resolve

import (
	"context"
	"errors"
	"fmt"
	mathbits "math/bits"
	"slices"

	"pkg/resolve/internal/pubgrub"
)

// A Repeater answers many requests that differ in their roots alone, with one
// solver: what Resolve does, without asking the catalog again.
type Repeater struct {
	p *problem
	s *pubgrub.Solver
}

// NewRepeater returns a Repeater for what c says.
func NewRepeater(c Catalog) *Repeater { return &Repeater{p: newProblem(c, new(Request))} }

// Resolve answers a request for roots.
func (r *Repeater) Resolve(ctx context.Context, roots []Dep) (*Result, error) {
	r.p.req.Roots = roots
	var res *Result
	err := r.p.again(func() (err error) {
		if r.s == nil {
			r.s = pubgrub.New(r.p)
		}
		if res, err = r.p.solve(ctx, r.s); errors.Is(err, errAgain) {
			r.s = nil
		}
		return err
	})
	return res, err
}

// Check checks an explanation: that every fact is one, by the rules of Verify,
// and that every line follows from its premises, by trying everything the
// packages they speak of could be.
func (e *Explanation) Check() error {
	w := e.words
	for i := range w.story.facts {
		if err := w.checkFact(&w.story.facts[i]); err != nil {
			return fmt.Errorf("%s: %w", w.facts([]int{i}), err)
		}
	}
	for i, l := range w.lines {
		if len(l.premises) > 2 {
			return fmt.Errorf("line %d has %d premises", i+1, len(l.premises))
		}
		var premises []clause
		for _, p := range l.premises {
			if p.line >= i {
				return fmt.Errorf("line %d cites line %d", i+1, p.line+1)
			}
			if p.line >= 0 {
				premises = append(premises, w.lines[p.line].clause)
			}
			for _, f := range p.facts {
				premises = append(premises, w.story.facts[f].clause)
			}
		}
		if err := l.entailed(premises); err != nil {
			return fmt.Errorf("line %d, %q: %w", i+1, w.conclusion(l.clause), err)
		}
	}
	if n := len(w.lines); n > 0 && len(w.lines[n-1].clause) > 0 {
		return fmt.Errorf("the last line is no contradiction")
	}
	return nil
}

// checkFact checks that nothing a fact rules out is allowed.
func (w *words) checkFact(f *fact) error {
	deps := [][]Dep{{}}
	if f.root >= 0 {
		deps[0] = append(deps[0], w.req.Roots[w.at[f.root]])
	} else {
		deps = nil
		k, set := w.packs[f.owner], f.having()
		for v, rel := range k.candidates {
			if set == nil || set[v>>6]>>(v&63)&1 == 1 {
				deps = append(deps, k.pkg.Releases[rel].Deps)
			}
		}
	}
	target := w.packs[f.target]
	out := term{f.target, number(len(target.versions)), make([]uint64, len(target.versions)/64+1)}
	for v := range out.n + 1 { // a target without a term is ruled out whatever it is
		out.set[v>>6] |= 1 << (v & 63)
	}
	for _, t := range f.clause {
		if t.pkg == f.target {
			out = t
		}
	}
	if f.root < 0 && f.owner == f.target {
		for v, rel := range target.candidates {
			if out.has(number(v)) && w.permits(target.pkg.Releases[rel].Deps, f, number(v)) {
				return fmt.Errorf("%s may be at %d", target.Name, v)
			}
		}
		return nil
	}
	for _, ds := range deps {
		for v := range out.n + 1 {
			if out.has(v) && w.permits(ds, f, v) {
				return fmt.Errorf("%s may be at %d", target.Name, v)
			}
		}
	}
	return nil
}

// permits reports whether dependencies let the target of a fact be at a version,
// or absent.
func (w *words) permits(ds []Dep, f *fact, v int32) bool {
	k := w.packs[f.target]
	for _, d := range ds {
		if w.req.key(d) != k.Key {
			continue
		}
		if v == number(len(k.versions)) {
			if !d.Optional {
				return false
			}
			continue
		}
		if !met(d, &Selected{Key: k.Key, Release: k.pkg.Releases[k.candidates[v]]}, *w.req) {
			return false
		}
	}
	return !w.rivals(f) || v == number(len(k.versions))
}

// entailed checks that whenever no premise is broken c is not either: that not
// all its terms are true. Versions that no clause tells apart are tried once.
func (c clause) entailed(premises []clause) error {
	kinds := make(map[int32]map[uint64]bool) // of packages: what the clauses say of a value, as bits
	var pkgs []int32
	all := append(slices.Clone(premises), c)
	for _, cl := range all {
		for _, t := range cl {
			if kinds[t.pkg] == nil {
				kinds[t.pkg] = make(map[uint64]bool)
				pkgs = append(pkgs, t.pkg)
				for v := range t.n + 1 {
					kinds[t.pkg][kind(all, t.pkg, v)] = true
				}
			}
		}
	}
	slices.Sort(pkgs)
	said := make([]uint64, len(pkgs))
	var try func(i int) bool
	try = func(i int) bool {
		if i < len(pkgs) {
			for k := range kinds[pkgs[i]] {
				if said[i] = k; try(i + 1) {
					return true
				}
			}
			return false
		}
		truth := ^uint64(0)
		for _, k := range said {
			truth &= k
		}
		broken := uint64(1)<<len(premises) - 1
		return truth&broken == 0 && truth>>len(premises)&1 == 1
	}
	if len(all) > mathbits.UintSize-1 {
		return fmt.Errorf("%d clauses are too many to check", len(all))
	}
	if try(0) {
		return fmt.Errorf("it does not follow")
	}
	return nil
}

// kind says which clauses have no term of p, or one that is true of v.
func kind(all []clause, p, v int32) uint64 {
	var out uint64
	for i, cl := range all {
		at := slices.IndexFunc(cl, func(t term) bool { return t.pkg == p })
		if at < 0 || cl[at].has(v) {
			out |= 1 << i
		}
	}
	return out
}
