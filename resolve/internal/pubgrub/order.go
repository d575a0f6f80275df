package pubgrub

import (
	"cmp"
	"slices"
)

// heap holds packages that are to be decided, and some that no longer are, with
// the one to decide first at the front.
type heap struct {
	items []item
	place []int32 // by package: in items plus 1, 0 if it is not there
}

type item struct {
	key uint64 // the smallest comes first
	p   int32
}

// grow makes room for packages below n.
func (h *heap) grow(n int) {
	h.place = slices.Grow(h.place, n-len(h.place))[:n]
}

func (h *heap) reset() {
	for _, x := range h.items {
		h.place[x.p] = 0
	}
	h.items = h.items[:0]
}

func (h *heap) has(p int32) bool { return h.place[p] > 0 }

// set puts a package where a key belongs.
func (h *heap) set(p int32, key uint64) {
	x, at := item{key, p}, int(h.place[p])-1
	switch {
	case at < 0:
		h.items = append(h.items, item{})
		h.sift(len(h.items)-1, x)
	case key < h.items[at].key:
		h.sift(at, x)
	case key > h.items[at].key:
		h.sink(at, x)
	}
}

// pop takes the first package out.
func (h *heap) pop() int32 {
	p := h.items[0].p
	h.place[p] = 0
	n := len(h.items) - 1
	x := h.items[n]
	h.items = h.items[:n]
	if n > 0 {
		h.sink(0, x)
	}
	return p
}

// sift moves an item towards the front from place i.
func (h *heap) sift(i int, x item) {
	for i > 0 {
		up := (i - 1) / 2
		if h.items[up].key <= x.key {
			break
		}
		h.put(i, h.items[up])
		i = up
	}
	h.put(i, x)
}

// sink moves an item towards the end from place i.
func (h *heap) sink(i int, x item) {
	for {
		down := 2*i + 1
		if down >= len(h.items) {
			break
		}
		if down+1 < len(h.items) && h.items[down+1].key < h.items[down].key {
			down++
		}
		if h.items[down].key >= x.key {
			break
		}
		h.put(i, h.items[down])
		i = down
	}
	h.put(i, x)
}

func (h *heap) put(i int, x item) {
	h.items[i] = x
	h.place[x.p] = count(i + 1)
}

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
func (s *Solver) prioritise(p int32) { s.order.set(p, s.vars[p].priority()) }

// next takes the package to decide next from the order.
func (s *Solver) next() (int32, bool) {
	for len(s.order.items) > 0 {
		if p := s.order.pop(); s.vars[p].present() {
			return p, true
		}
	}
	return -1, false
}

func sortChoices(cs []Choice) {
	slices.SortFunc(cs, func(a, b Choice) int { return cmp.Compare(a.Pkg, b.Pkg) })
}
