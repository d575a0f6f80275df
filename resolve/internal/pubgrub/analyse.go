package pubgrub

import "context"

// literal is a term of the clause under analysis and the entry of the trail that
// satisfied it.
type literal struct {
	term
	at int32
}

// analyse learns from a conflict and jumps back. It returns [ErrUnsatisfiable],
// and keeps the incompatibility without terms, if there is no solution.
//
// Every incompatibility here is satisfied. As long as two of its terms were
// satisfied at the latest level that matters, the one satisfied last is replaced
// by the reasons why: resolution with the incompatibility it was derived from.
func (s *Solver) analyse(ctx context.Context, conflict int32) error {
	s.stats.Conflicts++
	s.scratch.reset()
	s.clause = s.clause[:0]
	first := count(len(s.steps))
	s.steps = append(s.steps, step{conflict, -1})
	for _, t := range s.termsOf(&s.incompats[conflict]) {
		s.include(t)
	}
	for len(s.clause) > 0 {
		top, before := s.latest()
		l := s.clause[top]
		e := &s.trail[l.at]
		s.bump(e.p)
		if e.cause == decision || e.level > before {
			id, fresh := s.learn(conflict, first)
			s.backjump(before)
			if fresh {
				s.attach(id)
			}
			s.check(id) // derives the opposite of l
			return nil
		}
		s.resolve(top, e.cause)
		if err := s.poll(ctx, len(s.clause)); err != nil {
			return err
		}
	}
	s.failed, _ = s.learn(conflict, first)
	return ErrUnsatisfiable
}

// latest returns the literal satisfied last and the highest level at which any
// of the others, or what its cause leaves of it, was satisfied.
func (s *Solver) latest() (int, int32) {
	top, second := 0, int32(-1)
	for i := 1; i < len(s.clause); i++ {
		if at := s.clause[i].at; at > s.clause[top].at {
			top, second = i, s.clause[top].at
		} else if at > second {
			second = at
		}
	}
	if second < 0 {
		return top, 0
	}
	return top, s.trail[second].level
}

// include adds a term, which must be satisfied, to the clause. Terms of one
// package become one.
func (s *Solver) include(t term) {
	v := &s.vars[t.p]
	if v.slot == 0 {
		s.clause = append(s.clause, literal{t, s.satisfier(t)})
		v.slot = count(len(s.clause))
		return
	}
	l := &s.clause[v.slot-1]
	l.at = max(l.at, s.satisfier(t))
	l.set = s.scratch.both(t.set, l.set)
}

// resolve replaces a literal by the terms of the incompatibility that its
// satisfier was derived from.
func (s *Solver) resolve(top int, cause int32) {
	s.stats.Steps++
	l := s.clause[top]
	s.steps = append(s.steps, step{cause, l.p})
	n := len(s.clause) - 1
	s.clause[top] = s.clause[n]
	s.vars[s.clause[top].p].slot = count(top + 1)
	s.clause = s.clause[:n]
	s.vars[l.p].slot = 0
	for _, t := range s.termsOf(&s.incompats[cause]) {
		if t.p != l.p {
			s.include(t)
			continue
		}
		either := s.scratch.either(t.set, l.set)
		if !subset(s.vars[l.p].full, either) {
			s.include(term{either, l.p})
		}
	}
}

// learn keeps the clause as an incompatibility and reports that it is a new one,
// which it is unless it is the conflict itself.
func (s *Solver) learn(conflict, first int32) (int32, bool) {
	for _, l := range s.clause {
		s.vars[l.p].slot = 0
	}
	if int(first)+1 == len(s.steps) {
		s.steps = s.steps[:first]
		return conflict, false
	}
	for _, l := range s.clause {
		s.say(l.p, s.learned.clone(l.set))
	}
	return s.add(Derived, first, count(len(s.steps))), true
}

// bump notes that p took part in a conflict.
func (s *Solver) bump(p int32) {
	s.vars[p].conflicts++
	if s.order.has(p) {
		s.prioritise(p)
	}
}
