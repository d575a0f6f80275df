package pubgrub

import "math/bits"

// A set is a bitset over the domain of one package with n versions: bit v is
// version v and bit n is "absent". All sets of one package have n/64+1 words.

// count makes an int32 of a length. What is counted takes at least eight bytes
// each, so that 2^31 of them do not fit into the memory of today.
func count(n int) int32 {
	return int32(n) //nolint:gosec // see above
}

func wordsFor(n int32) int { return int(n)/64 + 1 }

func has(a []uint64, i int32) bool { return a[i>>6]>>(i&63)&1 != 0 }

func add(a []uint64, i int32) { a[i>>6] |= 1 << (i & 63) }

// subset reports whether all members of a are members of b.
func subset(a, b []uint64) bool {
	b = b[:len(a)]
	for i, w := range a {
		if w&^b[i] != 0 {
			return false
		}
	}
	return true
}

func disjoint(a, b []uint64) bool {
	b = b[:len(a)]
	for i, w := range a {
		if w&b[i] != 0 {
			return false
		}
	}
	return true
}

// single reports whether a has exactly one member.
func single(a []uint64) bool {
	seen := false
	for _, w := range a {
		if w == 0 {
			continue
		}
		if seen || w&(w-1) != 0 {
			return false
		}
		seen = true
	}
	return seen
}

// highest returns the largest member of a, -1 if there is none.
func highest(a []uint64) int32 {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != 0 {
			return count(64*i + 63 - bits.LeadingZeros64(a[i]))
		}
	}
	return -1
}

// fill makes a the domain of a package with n versions.
func fill(a []uint64, n int32) {
	for i := range a {
		a[i] = ^uint64(0)
	}
	a[len(a)-1] = 1<<(n&63)<<1 - 1
}

// words hands out sets that live until they are all taken back, or taken back to
// a mark. The zero value is ready.
type words struct {
	chunks [][]uint64
	at     mark
}

// mark is a position in words.
type mark struct{ chunk, word int }

const chunkWords = 1 << 13

// take returns n words of unknown content.
func (a *words) take(n int) []uint64 {
	for ; a.at.chunk < len(a.chunks); a.at = (mark{a.at.chunk + 1, 0}) {
		if c := a.chunks[a.at.chunk]; len(c)-a.at.word >= n {
			i := a.at.word
			a.at.word += n
			return c[i : i+n : i+n]
		}
	}
	a.chunks = append(a.chunks, make([]uint64, max(n, chunkWords)))
	a.at.word = n
	return a.chunks[a.at.chunk][:n:n]
}

// zero returns n words that are 0.
func (a *words) zero(n int) []uint64 {
	out := a.take(n)
	clear(out)
	return out
}

func (a *words) clone(b []uint64) []uint64 {
	out := a.take(len(b))
	copy(out, b)
	return out
}

func (a *words) reset() { a.at = mark{} }

// termArena hands out terms that live until they are all taken back.
type termArena struct {
	chunks [][]term
	chunk  int
	at     int
}

const chunkTerms = 1 << 10

// take returns n terms of unknown content.
func (a *termArena) take(n int) []term {
	for ; a.chunk < len(a.chunks); a.chunk, a.at = a.chunk+1, 0 {
		if c := a.chunks[a.chunk]; len(c)-a.at >= n {
			i := a.at
			a.at += n
			return c[i : i+n : i+n]
		}
	}
	a.chunks = append(a.chunks, make([]term, max(n, chunkTerms)))
	a.at = n
	return a.chunks[a.chunk][:n:n]
}

func (a *termArena) reset() { a.chunk, a.at = 0, 0 }
