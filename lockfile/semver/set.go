package semver

import (
	"iter"
	"math/bits"
	"slices"
)

// Set is a set of small numbers, positions in a sorted list of versions, as a
// bitmap. Sets that meet in one operation have the same length. It is not safe
// for concurrent writes.
type Set []uint64

// NewSet returns an empty set with room for 0 to n-1.
func NewSet(n int) Set { return make(Set, (n+63)/64) }

// FullSet returns the set of 0 to n-1.
func FullSet(n int) Set {
	s := NewSet(n)
	for i := range s {
		s[i] = ^uint64(0)
	}
	if n%64 != 0 {
		s[len(s)-1] = 1<<(n%64) - 1
	}
	return s
}

// Has reports whether i is in the set; it is false for any i without room.
func (s Set) Has(i int) bool {
	return i >= 0 && i/64 < len(s) && s[i/64]&(1<<(i%64)) != 0
}

// Add puts i into the set. It panics if there is no room for i.
func (s Set) Add(i int) { s[i/64] |= 1 << (i % 64) }

// addRange puts from to to-1 into the set, whole words at a time.
func (s Set) addRange(from, to int) {
	if from >= to {
		return
	}
	first, last := from/64, (to-1)/64
	low, high := edges(from, to)
	if first == last {
		s[first] |= low & high
		return
	}
	s[first] |= low
	for i := first + 1; i < last; i++ {
		s[i] = ^uint64(0)
	}
	s[last] |= high
}

// addFrom puts the members of t that are from to to-1 into the set.
func (s Set) addFrom(t Set, from, to int) {
	if from >= to {
		return
	}
	first, last := from/64, (to-1)/64
	low, high := edges(from, to)
	if first == last {
		s[first] |= t[first] & low & high
		return
	}
	s[first] |= t[first] & low
	for i := first + 1; i < last; i++ {
		s[i] |= t[i]
	}
	s[last] |= t[last] & high
}

// edges returns which bits of the first and of the last word of a range that
// is not empty lie in it.
func edges(from, to int) (low, high uint64) {
	return ^uint64(0) << (from % 64), ^uint64(0) >> (63 - (to-1)%64)
}

// Remove takes i out of the set. It panics if there is no room for i.
func (s Set) Remove(i int) { s[i/64] &^= 1 << (i % 64) }

// Count returns the number of members.
func (s Set) Count() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// Empty reports whether the set has no member.
func (s Set) Empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

// Min returns the lowest member, or -1.
func (s Set) Min() int {
	for i, w := range s {
		if w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// Max returns the highest member, or -1.
func (s Set) Max() int {
	for i, w := range slices.Backward(s) {
		if w != 0 {
			return i*64 + 63 - bits.LeadingZeros64(w)
		}
	}
	return -1
}

// All yields the members, ascending.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// Clone returns a copy.
func (s Set) Clone() Set { return slices.Clone(s) }

// Equal reports whether both sets have the same members and room.
func (s Set) Equal(t Set) bool { return slices.Equal(s, t) }

// Or adds the members of t to s.
func (s Set) Or(t Set) {
	for i, w := range t {
		s[i] |= w
	}
}

// And keeps in s only members of t.
func (s Set) And(t Set) {
	for i := range s {
		s[i] &= t[i]
	}
}

// AndNot takes the members of t out of s.
func (s Set) AndNot(t Set) {
	for i, w := range t {
		s[i] &^= w
	}
}

// Not turns s into its complement within 0 to n-1, the n of NewSet.
func (s Set) Not(n int) {
	full := FullSet(n)
	for i := range s {
		s[i] = full[i] &^ s[i]
	}
}

// Intersects reports whether s and t share a member.
func (s Set) Intersects(t Set) bool {
	for i, w := range s {
		if w&t[i] != 0 {
			return true
		}
	}
	return false
}

// SubsetOf reports whether t holds all members of s.
func (s Set) SubsetOf(t Set) bool {
	for i, w := range s {
		if w&^t[i] != 0 {
			return false
		}
	}
	return true
}
