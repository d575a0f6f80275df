package resolve

import (
	"cmp"
	"slices"

	"pkg/resolve/internal/core"
	"pkg/resolve/internal/pubgrub"
)

// story is a proof in the order it is told. Facts come from the project or from
// a package's releases; a line follows from at most two premises.
type story struct {
	facts []fact
	lines []line
}

// fact is something the project or some versions of a package need: its terms
// cannot all be true.
type fact struct {
	clause
	root   int   // index of the root, -1 if a package has the dependency
	owner  int32 // package, if root is -1
	target int32
}

// line says that its clause follows from its premises.
type line struct {
	clause
	premises []premise
	cited    int // by other lines
}

// premise is an earlier line, or facts about one owner.
type premise struct {
	line  int // -1 if it is facts
	facts []int
}

// clause is a set of terms that cannot all be true, in ascending order of
// packages.
type clause []term

// term says that a package is in a set of its versions or, bit n, absent.
type term struct {
	pkg, n int32
	set    []uint64
}

func (t term) has(v int32) bool { return t.set[v>>6]>>(v&63)&1 != 0 }

// absent reports whether the term is true if the package is not there.
func (t term) absent() bool { return t.has(t.n) }

// full reports whether the term is always true.
func (t term) full() bool {
	for v := range t.n + 1 {
		if !t.has(v) {
			return false
		}
	}
	return true
}

// clauseOf copies the terms of a node.
func clauseOf(ts []pubgrub.Term) clause {
	c := make(clause, len(ts))
	for i, t := range ts {
		c[i] = term{t.Pkg, t.N, make([]uint64, t.N/64+1)}
		copy(c[i].set, t.Versions())
		if t.Absent() {
			c[i].set[t.N>>6] |= 1 << (t.N & 63)
		}
	}
	return c
}

// resolve returns what follows from c and d: for the pivot that either term is
// true, for all others that both are.
func (c clause) resolve(d clause, pivot int32) clause {
	var out clause
	for len(c) > 0 || len(d) > 0 {
		switch {
		case len(d) == 0 || len(c) > 0 && c[0].pkg < d[0].pkg:
			out, c = append(out, c[0]), c[1:]
		case len(c) == 0 || d[0].pkg < c[0].pkg:
			out, d = append(out, d[0]), d[1:]
		default:
			t := term{c[0].pkg, c[0].n, slices.Clone(c[0].set)}
			for i, w := range d[0].set {
				if t.pkg == pivot {
					t.set[i] |= w
				} else {
					t.set[i] &= w
				}
			}
			if !t.full() {
				out = append(out, t)
			}
			c, d = c[1:], d[1:]
		}
	}
	return out
}

// follows reports whether c follows from the premises by looking at one of them
// at a time: whoever assumes that all terms of c are true is led to a
// contradiction by narrowing down, premise by premise, what each package can be.
func (c clause) follows(premises []clause) bool {
	domains := make(map[int32]term)
	for _, t := range c {
		domains[t.pkg] = t
	}
	for changed := true; changed; {
		changed = false
		for _, p := range premises {
			open, rest := p.open(domains)
			switch {
			case open < 0:
				return true
			case rest == nil || slices.Equal(rest, domains[p[open].pkg].set):
				continue
			}
			domains[p[open].pkg] = term{p[open].pkg, p[open].n, rest}
			changed = true
		}
	}
	return false
}

// open returns the only term of c that is not true for certain, and what it
// leaves of its package's domain: nil if there are more such terms. It returns
// -1 if there is none.
func (c clause) open(domains map[int32]term) (int, []uint64) {
	open := -1
	var rest []uint64
	for i, t := range c {
		d, known := domains[t.pkg]
		left := make([]uint64, len(t.set))
		certain := true
		for v := range t.n + 1 {
			if (!known || d.has(v)) && !t.has(v) {
				left[v>>6] |= 1 << (v & 63)
				certain = false
			}
		}
		if certain {
			continue
		}
		if open >= 0 {
			return open, nil
		}
		open, rest = i, left
	}
	return open, rest
}

// tell makes a story of a proof: of the proof as it is, or with what the project
// needs told last, whichever is easier to read. Compare orders packages.
func tell(nodes []core.Node, compare func(a, b int32) int) *story {
	plain := newTeller(nodes, compare).tell()
	t := newTeller(nodes, compare)
	if !t.postpone() {
		return plain
	}
	if late := t.tell(); late.weight() <= plain.weight() {
		return late
	}
	return plain
}

// weight is how much there is to read.
func (s *story) weight() int {
	n := 0
	for _, l := range s.lines {
		n += 10 + 3*max(0, len(l.clause)-1)
	}
	return n
}

// step is a node of a proof on its way to becoming a line.
type step struct {
	clause
	fact  int // index, -1 if the step is derived
	a, b  int // steps, if it is derived
	pivot int32
	uses  int // by other steps
}

// teller turns the steps of a proof into lines.
type teller struct {
	facts []fact
	steps []step
	last  int
	roots []int // facts to tell in the last line; nil if they are told where they are used
	place []int // of a fact among all, the nearest to the project first
	line  []int // of a step, -1 if it has none yet
	story *story
}

func newTeller(nodes []core.Node, compare func(a, b int32) int) *teller {
	t := &teller{last: len(nodes) - 1}
	for _, n := range nodes {
		s := step{clause: clauseOf(n.Terms), fact: -1, pivot: n.Resolve}
		if n.Kind == pubgrub.Derived {
			s.a, s.b = n.Premises[0], n.Premises[len(n.Premises)-1]
		} else {
			f := fact{clause: s.clause, root: -1, owner: n.Pkg, target: n.Target}
			if n.Kind == pubgrub.Root {
				f.root, f.owner = n.Root, -1
			}
			s.fact = len(t.facts)
			t.facts = append(t.facts, f)
		}
		t.steps = append(t.steps, s)
	}
	t.arrange(compare)
	return t
}

// arrange finds in which order facts are best told: from the project on, each
// package after those that need it.
func (t *teller) arrange(compare func(a, b int32) int) {
	order := make([]int, 0, len(t.facts))
	for i, f := range t.facts {
		if f.root >= 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(t.facts[a].root, t.facts[b].root) })
	reached := make(map[int32]bool)
	for at := 0; at < len(order); at++ {
		owner := t.facts[order[at]].target
		if reached[owner] {
			continue
		}
		reached[owner] = true
		from := len(order)
		for i, f := range t.facts {
			if f.root < 0 && f.owner == owner {
				order = append(order, i)
			}
		}
		slices.SortStableFunc(order[from:], func(a, b int) int { return compare(t.facts[a].target, t.facts[b].target) })
	}
	t.place = slices.Repeat([]int{len(order)}, len(t.facts))
	for at, i := range order {
		t.place[i] = at
	}
}

// isRoot reports whether a step is what the project needs.
func (t *teller) isRoot(i int) bool {
	return t.steps[i].fact >= 0 && t.facts[t.steps[i].fact].root >= 0
}

// postpone takes what the project needs out of all steps and uses it at the end
// alone. It reports false if the end does not follow then.
func (t *teller) postpone() bool {
	at := make([]int, len(t.steps))
	seen := make(map[int]bool)
	for i := range t.steps {
		s := &t.steps[i]
		at[i] = i
		if s.fact >= 0 {
			continue
		}
		a, b := at[s.a], at[s.b]
		switch {
		case t.isRoot(a):
			at[i], seen[t.steps[a].fact] = b, true
		case t.isRoot(b):
			at[i], seen[t.steps[b].fact] = a, true
		default:
			s.a, s.b = a, b
			s.clause = t.steps[a].resolve(t.steps[b].clause, s.pivot)
		}
	}
	t.last = at[t.last]
	if len(t.steps[t.last].clause) == 0 || t.isRoot(t.last) {
		return false
	}
	premises := []clause{t.steps[t.last].clause}
	for f := range seen {
		t.roots = append(t.roots, f)
		premises = append(premises, t.facts[f].clause)
	}
	slices.Sort(t.roots)
	return clause(nil).follows(premises)
}

// tell orders the steps into lines, each after those it cites.
func (t *teller) tell() *story {
	t.story = &story{facts: t.facts}
	t.line = slices.Repeat([]int{-1}, len(t.steps))
	t.count()
	t.walk()
	if t.roots != nil {
		t.story.lines = append(t.story.lines, line{premises: t.premises(premise{line: -1, facts: t.roots}, t.premise(t.last))})
	}
	for _, l := range t.story.lines {
		for _, p := range l.premises {
			if p.line >= 0 {
				t.story.lines[p.line].cited++
			}
		}
	}
	return t.story
}

// count counts how often each step that matters is used.
func (t *teller) count() {
	need := make([]bool, len(t.steps))
	need[t.last] = true
	for i := t.last; i >= 0; i-- {
		if s := t.steps[i]; need[i] && s.fact < 0 {
			need[s.a], need[s.b] = true, true
			t.steps[s.a].uses++
			t.steps[s.b].uses++
		}
	}
}

// walk makes a line of every derived step that is needed, premises first; of two
// premises the one with the longer way to it.
func (t *teller) walk() {
	depth := make([]int, len(t.steps))
	for i, s := range t.steps {
		if s.fact < 0 && i <= t.last {
			depth[i] = 1 + max(depth[s.a], depth[s.b])
		}
	}
	stack := []int{t.last}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		if t.steps[i].fact >= 0 || t.line[i] >= 0 {
			stack = stack[:len(stack)-1]
			continue
		}
		p, q := t.merge(i)
		var wait []int
		for _, x := range []premise{p, q} {
			if x.facts == nil && t.line[x.line] < 0 {
				wait = append(wait, x.line)
			}
		}
		if len(wait) == 0 {
			stack = stack[:len(stack)-1]
			t.line[i] = len(t.story.lines)
			t.story.lines = append(t.story.lines, line{clause: t.steps[i].clause, premises: t.premises(t.placed(p), t.placed(q))})
			continue
		}
		slices.SortFunc(wait, func(a, b int) int { return cmp.Compare(depth[a], depth[b]) })
		stack = append(stack, wait...)
	}
}

// premise returns a step as the premise of a line.
func (t *teller) premise(i int) premise {
	if f := t.steps[i].fact; f >= 0 {
		return premise{line: -1, facts: []int{f}}
	}
	return premise{line: t.line[i]}
}

// placed turns the step that a premise names into its line.
func (t *teller) placed(p premise) premise {
	if p.facts == nil {
		p.line = t.line[p.line]
	}
	return p
}

// raw returns a step as a premise that names the step, if it is no fact.
func (t *teller) raw(i int) premise {
	if f := t.steps[i].fact; f >= 0 {
		return premise{line: -1, facts: []int{f}}
	}
	return premise{line: i}
}

// merge returns the premises of a step. A fact that is used right after another
// about the same versions of the same package is told together with it.
func (t *teller) merge(i int) (premise, premise) {
	p, q := t.raw(t.steps[i].a), t.raw(t.steps[i].b)
	for {
		if p.facts == nil {
			p, q = q, p
		}
		if p.facts == nil || q.facts != nil || t.steps[q.line].uses > 1 {
			return p, q
		}
		d := t.steps[q.line]
		a, b := t.raw(d.a), t.raw(d.b)
		if a.facts == nil || b.facts != nil && !t.alike(p, a) {
			a, b = b, a
		}
		if a.facts == nil || !t.alike(p, a) {
			return p, q
		}
		p.facts, q = append(slices.Clone(p.facts), a.facts...), b
	}
}

// alike reports whether facts are about the same versions of one owner.
func (t *teller) alike(p, q premise) bool {
	a, b := t.facts[p.facts[0]], t.facts[q.facts[0]]
	if a.root >= 0 || b.root >= 0 {
		return a.root >= 0 && b.root >= 0
	}
	return a.owner == b.owner && slices.Equal(a.having(), b.having())
}

// having returns the versions of the owner that a fact is about.
func (f fact) having() []uint64 {
	for _, t := range f.clause {
		if t.pkg == f.owner && t.pkg != f.target {
			return t.set
		}
	}
	return nil
}

// premises orders the premises of a line: facts first, then lines as they were
// told.
func (t *teller) premises(p, q premise) []premise {
	for _, x := range []*premise{&p, &q} {
		slices.SortFunc(x.facts, func(a, b int) int { return cmp.Or(cmp.Compare(t.place[a], t.place[b]), cmp.Compare(a, b)) })
	}
	ps := []premise{p, q}
	slices.SortStableFunc(ps, func(a, b premise) int {
		if a.facts != nil && b.facts != nil {
			return cmp.Compare(t.place[a.facts[0]], t.place[b.facts[0]])
		}
		return cmp.Compare(a.line, b.line)
	})
	return ps
}
