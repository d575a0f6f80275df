package pubgrub

// NewTerm returns the term that package p, which has n versions, is at one of
// versions or, if absent is set, not chosen. Bit v of versions is version v; the
// slice is not kept, and what lies beyond n is ignored.
func NewTerm(p, n int32, versions []uint64, absent bool) Term {
	t := Term{Pkg: p, N: n, set: make([]uint64, wordsFor(n))}
	full := make([]uint64, len(t.set))
	fill(full, n)
	copy(t.set, versions)
	for i := range t.set {
		t.set[i] &= full[i]
	}
	t.set[n>>6] &^= 1 << (n & 63)
	if absent {
		add(t.set, n)
	}
	return t
}
