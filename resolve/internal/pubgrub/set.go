package pubgrub

import (
	"cmp"
	"math/bits"
	"slices"
)

// A set is a bitset over the domain of one package with n versions: bit v is
// version v and bit n is "absent". Nearly all packages have less than 64
// versions, so that the first word is here and most sets are all here. Nobody
// writes to a set that has another holder.
type set struct {
	word uint64
	more *tail // the other n/64 words, nil if there are none
}

// tail is the end of a set. All sets of one package have tails of one length.
type tail []uint64

// narrow reports whether a has no tail.
func (a set) narrow() bool { return a.more == nil }

// tail returns the words of a after the first.
func (a set) tail() tail {
	if a.more == nil {
		return nil
	}
	return *a.more
}

func (a set) has(i int32) bool {
	if i < 64 {
		return a.word>>(i&63)&1 != 0
	}
	return has(*a.more, i-64)
}

func (a *set) add(i int32) {
	if i < 64 {
		a.word |= 1 << (i & 63)
	} else {
		add(*a.more, i-64)
	}
}

func (a *set) remove(i int32) {
	if i < 64 {
		a.word &^= 1 << (i & 63)
	} else {
		(*a.more)[i>>6-1] &^= 1 << (i & 63)
	}
}

func (a *set) clear() {
	a.word = 0
	clear(a.tail())
}

// subset reports whether all members of a are members of b.
func subset(a, b set) bool {
	return a.word&^b.word == 0 && (a.more == nil || a.more.subset(*b.more))
}

func (a tail) subset(b tail) bool {
	b = b[:len(a)]
	for i, w := range a {
		if w&^b[i] != 0 {
			return false
		}
	}
	return true
}

func disjoint(a, b set) bool {
	return a.word&b.word == 0 && (a.more == nil || a.more.disjoint(*b.more))
}

func (a tail) disjoint(b tail) bool {
	b = b[:len(a)]
	for i, w := range a {
		if w&b[i] != 0 {
			return false
		}
	}
	return true
}

// single reports whether a has exactly one member.
func single(a set) bool {
	if a.more == nil {
		return a.word != 0 && a.word&(a.word-1) == 0
	}
	n := bits.OnesCount64(a.word)
	for _, w := range *a.more {
		n += bits.OnesCount64(w)
	}
	return n == 1
}

// highest returns the largest member of a, -1 if there is none.
func highest(a set) int32 {
	t := a.tail()
	for i := len(t) - 1; i >= 0; i-- {
		if t[i] != 0 {
			return count(64*i + 127 - bits.LeadingZeros64(t[i]))
		}
	}
	return count(63 - bits.LeadingZeros64(a.word))
}

// compare orders the sets of one package in some way.
func compare(a, b set) int {
	return cmp.Or(cmp.Compare(a.word, b.word), slices.Compare(a.tail(), b.tail()))
}

// words returns a as a bitset of its own.
func (a set) words() []uint64 {
	return append([]uint64{a.word}, a.tail()...)
}

// A bitset in a slice holds i in bit i%64 of word i/64.

func has(a []uint64, i int32) bool { return a[i>>6]>>(i&63)&1 != 0 }

func add(a []uint64, i int32) { a[i>>6] |= 1 << (i & 63) }

// fill makes a the domain of a package with n versions.
func fill(a []uint64, n int32) {
	for i := range a {
		a[i] = ^uint64(0)
	}
	a[len(a)-1] = 1<<(n&63)<<1 - 1
}

func wordsFor(n int32) int { return int(n)/64 + 1 }

// count makes an int32 of a length. What is counted takes at least eight bytes
// each, so that 2^31 of them do not fit into the memory of today.
func count(n int) int32 {
	return int32(n) //nolint:gosec // see above
}
