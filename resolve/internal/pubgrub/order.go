package pubgrub

import (
	"cmp"
	"slices"
)

// heap holds packages that are to be decided, and some that no longer are, with
// the one to decide first at the front.
type heap struct{ items []item }

type item struct {
	key uint64
	p   int32
}

func (h *heap) reset() { h.items = h.items[:0] }

// priority returns the key of v: those to decide first; then conflicts in buckets
// of four, the most first; then a single candidate; then the order of discovery,
// in which no two packages are equal.
func (v *variable) priority() uint64 {
	const most = 1<<20 - 1
	key := (most-min(v.conflicts>>2, most))<<40 | uint64(v.rank) //nolint:gosec // a count is not negative
	if !single(v.domain) {
		key |= 1 << 32
	}
	if !v.first {
		key |= 1 << 60
	}
	return key
}

// prioritise puts p where it belongs in the order.
func (s *Solver) prioritise(p int32) {
	v := &s.vars[p]
	key := v.priority()
	h := &s.order
	if v.place == 0 {
		h.items = append(h.items, item{})
		s.sift(len(h.items)-1, item{key, p})
		return
	}
	if at := int(v.place - 1); key < h.items[at].key {
		s.sift(at, item{key, p})
	} else if key > h.items[at].key {
		s.sink(at, item{key, p})
	}
}

// sift moves an item towards the front from place i.
func (s *Solver) sift(i int, x item) {
	items := s.order.items
	for i > 0 {
		up := (i - 1) / 2
		if items[up].key <= x.key {
			break
		}
		s.place(i, items[up])
		i = up
	}
	s.place(i, x)
}

// sink moves an item towards the end from place i.
func (s *Solver) sink(i int, x item) {
	items := s.order.items
	for {
		down := 2*i + 1
		if down >= len(items) {
			break
		}
		if down+1 < len(items) && items[down+1].key < items[down].key {
			down++
		}
		if items[down].key >= x.key {
			break
		}
		s.place(i, items[down])
		i = down
	}
	s.place(i, x)
}

func (s *Solver) place(i int, x item) {
	s.order.items[i] = x
	s.vars[x.p].place = count(i + 1)
}

// next takes the package to decide next from the order.
func (s *Solver) next() (int32, bool) {
	for len(s.order.items) > 0 {
		top := s.order.items[0].p
		s.remove()
		if s.vars[top].present() {
			return top, true
		}
	}
	return -1, false
}

// remove takes the first item out.
func (s *Solver) remove() {
	h := &s.order
	s.vars[h.items[0].p].place = 0
	n := len(h.items) - 1
	x := h.items[n]
	h.items = h.items[:n]
	if n > 0 {
		s.sink(0, x)
	}
}

func sortChoices(cs []Choice) {
	slices.SortFunc(cs, func(a, b Choice) int { return cmp.Compare(a.Pkg, b.Pkg) })
}
