package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pkg/keys"
	"pkg/resolve/internal/core"
	"pkg/resolve/internal/pubgrub"
)

// again calls do until what it was told stays true.
func (p *problem) again(do func() error) error {
	for {
		p.stale = false
		if err := do(); !errors.Is(err, errAgain) {
			return err
		}
	}
}

// failure turns an error of the solver into one of this package.
func (p *problem) failure(err error) error {
	if b, ok := errors.AsType[*pubgrub.BudgetError](err); ok {
		e := &BudgetError{Conflicts: b.Conflicts}
		if b.Package >= 0 {
			e.Package = p.packs[b.Package].Key
		}
		return e
	}
	return err
}

// Explain finds the shortest reason for a *[ConflictError] of [Resolve], and
// returns that error with its Explanation set, or *keys.TrustError if the reason
// is that somebody pins another author than a package has. It may ask the
// catalog again. Other errors it returns as they are.
func Explain(ctx context.Context, err error) error {
	c, ok := errors.AsType[*ConflictError](err)
	if !ok || c.Explanation != nil {
		return err
	}
	var ex *core.Explanation
	var at []int
	if err := c.problem.again(func() error {
		var q pubgrub.Query
		q, at = c.problem.query(c.problem.req.Budget)
		var err error
		if ex, err = core.Explain(ctx, c.problem, q); err == nil && c.problem.stale {
			err = errAgain
		}
		return err
	}); err != nil {
		return c.problem.failure(err)
	}
	w := &words{problem: c.problem, story: tell(ex.Nodes, c.problem.compare), at: at}
	if err := w.distrust(); err != nil {
		return err
	}
	e := *c
	e.Explanation = w.explanation()
	for _, i := range ex.Core {
		e.Roots = append(e.Roots, at[i])
	}
	slices.Sort(e.Roots)
	return &e
}

// explanation says the story.
func (w *words) explanation() *Explanation {
	e := &Explanation{Sentence: w.headline(), Notes: w.notes(), Graph: w.graph(), Missing: w.missing(), words: w}
	e.Package, e.From = w.center()
	if len(w.lines) > 1 || len(w.story.facts) > 2 {
		e.Lines = w.sentences()
	}
	return e
}

// distrust returns the error of a story in which somebody pins another author
// than the one a package has.
func (w *words) distrust() error {
	for i := range w.story.facts {
		f := &w.story.facts[i]
		k := w.packs[f.target]
		for _, d := range w.deps(f) {
			if d.Author != "" && k.missing == nil && len(k.pkg.Releases) > 0 && k.Registry != "" && d.Author != k.pkg.Author {
				who, _ := w.owner(f)
				return &keys.TrustError{
					Subject: string(k.Name), What: who + " pins another author", Ours: string(d.Author), Theirs: string(k.pkg.Author),
				}
			}
		}
	}
	return nil
}

// missing returns the error of a package in the story that could not be had.
func (w *words) missing() error {
	for i := range w.story.facts {
		f := &w.story.facts[i]
		who, _ := w.owner(f)
		switch m := w.packs[f.target].missing.(type) { //nolint:errorlint // load stores just these
		case *NotFoundError:
			e := *m
			e.From = who
			return &e
		case *UnavailableError:
			e := *m
			e.From = who
			return &e
		}
	}
	return nil
}

// center returns the package that most facts are about, and who asks for it.
func (w *words) center() (Key, []string) {
	asked := make(map[int32][]string)
	best := int32(-1)
	for i := range w.story.facts {
		f := &w.story.facts[i]
		who, _ := w.owner(f)
		if !slices.Contains(asked[f.target], who) {
			asked[f.target] = append(asked[f.target], who)
		}
		if best < 0 || len(asked[f.target]) > len(asked[best]) || len(asked[f.target]) == len(asked[best]) && w.empty(f) {
			best = f.target
		}
	}
	if best < 0 {
		return Key{}, nil
	}
	return w.packs[best].Key, asked[best]
}

// headline says the story in one sentence.
func (w *words) headline() string {
	var roots, others []*fact
	for i := range w.story.facts {
		if f := &w.story.facts[i]; f.root >= 0 {
			roots = append(roots, f)
		} else {
			others = append(others, f)
		}
	}
	slices.SortFunc(roots, func(a, b *fact) int { return cmp.Compare(a.root, b.root) })
	needs := func(f *fact) string {
		who, verb := w.owner(f)
		return who + " " + verb + " " + w.need(f)
	}
	lacks := func(f *fact, why string) string {
		who, verb := w.owner(f)
		if which, ok := strings.CutPrefix(why, "it is"); ok {
			why = "which is" + which
		} else {
			why = "but " + why
		}
		return fmt.Sprintf("%s %s %s, %s", who, verb, w.wanted(f, w.deps(f)), why)
	}
	switch {
	case len(roots) == 1 && len(others) == 0:
		return lacks(roots[0], w.lack(roots[0]))
	case len(roots) == 1 && len(others) == 1 && w.lack(others[0]) != "":
		return lacks(others[0], w.lack(others[0]))
	case len(roots) == 1 && len(others) == 1:
		return needs(others[0])
	case len(roots) == 2 && len(others) == 1:
		for _, r := range roots {
			if r.target == others[0].target {
				return needs(others[0]) + ", but " + needs(r)
			}
		}
	case len(others) == 2 && others[0].target == others[1].target:
		return needs(others[0]) + ", but " + needs(others[1])
	}
	var names []string
	for _, r := range roots {
		names = append(names, w.wanted(r, w.deps(r)))
	}
	if len(names) == 1 {
		return names[0] + " cannot be used: what it needs does not fit together"
	}
	if len(names) > 4 {
		names = append(names[:3:3], fmt.Sprintf("%d more", len(names)-3))
	}
	return join(names, "and") + " cannot be used together"
}

// graph returns the story as data.
func (w *words) graph() []Fact {
	var out []Fact
	for i := range w.story.facts {
		f := &w.story.facts[i]
		who, _ := w.owner(f)
		out = append(out, Fact{
			Text: w.facts([]int{i}), From: who, Package: w.packs[f.target].Key, Asks: w.wanted(f, w.deps(f)), Lack: w.lack(f), Terms: w.terms(f.clause),
		})
	}
	n := len(out)
	for _, l := range w.lines {
		d := Fact{Text: w.conclusion(l.clause), Terms: w.terms(l.clause)}
		for _, p := range l.premises {
			if p.line >= 0 {
				d.Premises = append(d.Premises, n+p.line)
			}
			d.Premises = append(d.Premises, p.facts...)
		}
		out = append(out, d)
	}
	return out
}

func (w *words) terms(c clause) []Term {
	var out []Term
	for _, t := range c {
		k := w.packs[t.pkg]
		x := Term{Key: k.Key, Absent: t.absent()}
		for v, version := range k.versions {
			if t.has(number(v)) {
				x.Versions = append(x.Versions, version)
			}
		}
		out = append(out, x)
	}
	return out
}
