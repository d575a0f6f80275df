package pubgrub

import "context"

// entry says how the domain of a package changed. It has no pointers, for these
// are written most of all.
type entry struct {
	p      int32
	before int32 // previous entry of the package, -1 if there is none
	cause  int32 // incompatibility it follows from, or decision
	level  int32
	word   uint64 // the first of the domain before
	tail   int32  // the others in Solver.tails, -1 if there are none
}

// was returns the domain before an entry.
func (s *Solver) was(e *entry) set {
	if e.tail < 0 {
		return set{word: e.word}
	}
	return set{e.word, s.tails[e.tail]}
}

const decision = -1

// level is where the trail stood when a version was chosen freely.
type level struct {
	trail int
	sets  setsMark
}

// redo is a package for which something happened at a level that may hold at a
// lower one too: it has to be looked at again when the search jumps back.
type redo struct{ p, level int32 }

// height returns the number of the present level.
func (s *Solver) height() int32 { return count(len(s.levels)) }

// again makes the next jump back look at p again.
func (s *Solver) again(p int32) {
	if len(s.levels) > 0 {
		s.redo = append(s.redo, redo{p, s.height()})
	}
}

// assign narrows the domain of a package.
func (s *Solver) assign(p int32, domain set, cause int32) {
	v := &s.vars[p]
	tail := int32(-1)
	if !domain.narrow() {
		tail = count(len(s.tails))
		s.tails = append(s.tails, v.domain.more)
		v.domain.more = domain.more
	}
	s.trail = append(s.trail, entry{p, v.last, cause, s.height(), v.domain.word, tail})
	v.last, v.domain.word = count(len(s.trail)-1), domain.word
	if cause != decision && v.present() {
		s.prioritise(p)
	}
	s.enqueue(p)
}

func (s *Solver) enqueue(p int32) {
	if v := &s.vars[p]; !v.queued {
		v.queued = true
		s.queue = append(s.queue, p)
	}
}

// derive rules a term out.
func (s *Solver) derive(t term, cause int32) {
	s.assign(t.p, s.sets.minus(s.vars[t.p].domain, t.set), cause)
}

// decide chooses a version of p, or finds that the version it would choose
// cannot be. It returns a conflict or -1.
func (s *Solver) decide(ctx context.Context, p int32) (int32, error) {
	version := s.vars[p].best()
	groups, err := s.wanted(ctx, p, version)
	if err != nil {
		return -1, err
	}
	v := &s.vars[p]
	for _, i := range groups {
		g := &v.groups[i]
		if g.incompat < 0 {
			s.depend(p, i)
		}
		not := s.nots[g.not]
		own := g.dep.Pkg == p && not.has(version)
		if own || g.dep.Pkg != p && subset(s.vars[g.dep.Pkg].domain, not) {
			s.prioritise(p)
			return s.check(g.incompat), nil
		}
	}
	if single(v.domain) {
		s.again(p)
		s.enqueue(p)
		return -1, nil
	}
	s.stats.Decisions++
	s.levels = append(s.levels, level{len(s.trail), s.sets.mark()})
	domain := s.sets.none(v.full)
	domain.add(version)
	s.assign(p, domain, decision)
	return -1, nil
}

// depend makes the incompatibility of a group of p known.
func (s *Solver) depend(p, i int32) {
	v := &s.vars[p]
	g, mine := &v.groups[i], s.learned.of(v.having(i))
	if not := s.nots[g.not]; g.dep.Pkg == p {
		s.say(p, s.learned.both(mine, not))
	} else {
		s.say(p, mine)
		s.say(g.dep.Pkg, not)
	}
	g.incompat = s.add(Dependency, p, i)
	s.attach(g.incompat)
}

// satisfier returns the entry of the trail that satisfied a term, -1 if it always
// is. The term must be satisfied.
func (s *Solver) satisfier(t term) int32 {
	at := s.vars[t.p].last
	for at >= 0 {
		e := &s.trail[at]
		if !subset(s.was(e), t.set) {
			return at
		}
		at = e.before
	}
	return -1
}

// backjump undoes all levels above to.
func (s *Solver) backjump(to int32) {
	l := s.levels[to]
	for i := len(s.trail) - 1; i >= l.trail; i-- {
		e := &s.trail[i]
		v := &s.vars[e.p]
		v.last, v.domain.word = e.before, e.word
		if e.tail >= 0 {
			v.domain.more = s.tails[e.tail]
			s.tails = s.tails[:e.tail]
		}
		if int(e.before) < l.trail && v.present() {
			s.prioritise(e.p)
		}
	}
	s.trail, s.levels = s.trail[:l.trail], s.levels[:to]
	s.sets.back(l.sets)
	for _, p := range s.queue {
		s.vars[p].queued = false
	}
	s.queue = s.queue[:0]
	s.repeat(to)
}

// repeat looks again at what happened above a level.
func (s *Solver) repeat(to int32) {
	first := len(s.redo)
	for first > 0 && s.redo[first-1].level > to {
		first--
	}
	late := s.redo[first:]
	s.redo = s.redo[:first]
	for _, r := range late { // again overwrites only what was read
		if v := &s.vars[r.p]; v.last < 0 {
			s.bar(r.p)
		} else if single(v.domain) && v.present() && !s.order.has(r.p) {
			s.again(r.p)
			s.enqueue(r.p)
		}
	}
}

// choices returns the solution.
func (s *Solver) choices() []Choice {
	out := make([]Choice, 0, len(s.discovered))
	for _, p := range s.discovered {
		if v := &s.vars[p]; v.present() {
			out = append(out, Choice{p, highest(v.domain)})
		}
	}
	sortChoices(out)
	return out
}
