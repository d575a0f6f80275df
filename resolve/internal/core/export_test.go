package core

import (
	"context"

	"pkg/resolve/internal/pubgrub"
)

// Literally is what Explain falls back to: the solver's own proof, as it is and
// with its facts made fewer.
func Literally(ctx context.Context, reg pubgrub.Registry, q pubgrub.Query) ([]*Explanation, error) {
	r := &record{reg: reg, packages: make(map[int32]*known)}
	c, err := r.solve(ctx, q)
	if err != nil {
		return nil, err
	}
	w := newWorld(r, &q, c.roots, c.proof)
	out := []*Explanation{w.literally(c.proof).explanation()}
	d, err := (&explainer{ctx: ctx, w: w, left: total}).best(w.whole(w.facts(c.proof)))
	if err != nil {
		return nil, err
	}
	return append(out, d.explanation()), nil
}
