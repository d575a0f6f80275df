package pubgrub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// propagated checks what propagate promises when it finds no conflict: every
// incompatibility has a term that is contradicted or two that are not satisfied.
// A dependency of a package that is still to be decided may be an exception: it
// became known when that package was tried before, and is looked at then again.
func (s *Solver) propagated() error {
	for id := range s.incompats {
		c := &s.incompats[id]
		free, later := 0, c.kind == Dependency && s.undecided(c.a)
		for _, t := range s.termsOf(c) {
			d := s.vars[t.p].domain
			if disjoint(d, t.set) {
				free = 2
				break
			}
			if !subset(d, t.set) {
				free++
			}
		}
		if len(s.termsOf(c)) > 0 && free < 2 && !later {
			return fmt.Errorf("incompatibility %d (kind %d, %v) has %d free terms", id, c.kind, s.termsOf(c), free)
		}
		if err := s.watched(int32(id)); err != nil {
			return err
		}
	}
	return nil
}

// undecided reports whether decide will look at p if p is to be chosen.
func (s *Solver) undecided(p int32) bool {
	v := &s.vars[p]
	return !v.present() || s.order.has(p)
}

// watched checks that an incompatibility watches two terms, if it has two.
func (s *Solver) watched(id int32) error {
	c := &s.incompats[id]
	if len(s.termsOf(c)) > 1 && c.w0 == c.w1 {
		return fmt.Errorf("incompatibility %d watches one term of %d", id, len(s.termsOf(c)))
	}
	for i, t := range s.termsOf(c) {
		want := 0
		if int32(i) == c.w0 || int32(i) == c.w1 {
			want = 1
		}
		got := 0
		for _, w := range s.vars[t.p].watches {
			if w.incompat == id && w.word == t.set.word {
				got++
			}
		}
		if got != want {
			return fmt.Errorf("incompatibility %d watches term %d %d times, want %d", id, i, got, want)
		}
	}
	return nil
}

// searchChecked is Solve with a check after each propagation.
func (s *Solver) searchChecked(ctx context.Context, roots []Dep) ([]Choice, error) {
	s.reset()
	conflict, err := s.require(ctx, roots)
	for err == nil {
		if conflict < 0 {
			conflict, err = s.propagate(ctx)
		}
		if err != nil {
			break
		}
		if conflict >= 0 {
			err, conflict = s.analyse(ctx, conflict), -1
			continue
		}
		if err := s.propagated(); err != nil {
			return nil, err
		}
		p, ok := s.next()
		if !ok {
			return s.choices(), nil
		}
		conflict, err = s.decide(ctx, p)
	}
	return nil, err
}

// TestPropagationMissesNothing looks at all incompatibilities after each
// propagation, and so also after each jump back, which is what the choice of the
// terms to watch is for.
func TestPropagationMissesNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, roots := drawDense(rt)
		want, wantErr := New(w).Solve(t.Context(), Query{Roots: roots})
		got, err := New(w).searchChecked(t.Context(), roots)
		if !errors.Is(err, wantErr) || !slices.Equal(got, want) {
			rt.Fatalf("%v, %v; want %v, %v", got, err, want, wantErr)
		}
	})
}
