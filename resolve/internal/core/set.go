package core

import "math/bits"

// A set is a bitset over the domain of one package with n versions: bit v is
// version v and bit n is "absent". All sets of one package have n/64+1 words.
type set []uint64

// count makes a number of a length; what is counted takes more than a byte each.
func count(n int) int32 { return int32(n) } //nolint:gosec // see above

func empty(n int32) set { return make(set, n/64+1) }

// versions returns the set of all n versions.
func versions(n int32) set {
	s := empty(n)
	for i := range s {
		s[i] = ^uint64(0)
	}
	s[len(s)-1] = 1<<(n&63) - 1
	return s
}

// domain returns all versions and absence.
func domain(n int32) set {
	s := versions(n)
	s.add(n)
	return s
}

// copyOf returns a set of a package with n versions from a bitset of any length.
func copyOf(bs []uint64, n int32) set {
	s := empty(n)
	copy(s, bs)
	return s.and(versions(n))
}

func (s set) has(i int32) bool { return int(i>>6) < len(s) && s[i>>6]>>(i&63)&1 != 0 }

func (s set) add(i int32) { s[i>>6] |= 1 << (i & 63) }

func (s set) and(t set) set {
	out := make(set, len(s))
	for i, w := range s {
		out[i] = w & t[i]
	}
	return out
}

func (s set) or(t set) set {
	out := make(set, len(s))
	for i, w := range s {
		out[i] = w | t[i]
	}
	return out
}

func (s set) minus(t set) set {
	out := make(set, len(s))
	for i, w := range s {
		out[i] = w &^ t[i]
	}
	return out
}

func (s set) within(t set) bool {
	for i, w := range s {
		if w&^t[i] != 0 {
			return false
		}
	}
	return true
}

func (s set) disjoint(t set) bool {
	for i, w := range s {
		if w&t[i] != 0 {
			return false
		}
	}
	return true
}

func (s set) none() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

func (s set) size() int {
	n := 0
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}

// lowest returns the least member, -1 if there is none.
func (s set) lowest() int32 {
	for i, w := range s {
		if w != 0 {
			return count(64*i + bits.TrailingZeros64(w))
		}
	}
	return -1
}

// runs returns the maximal intervals of versions, ascending, as sets. Absence
// belongs to none of them.
func (s set) runs(n int32) []set {
	var out []set
	in := false
	for v := range n {
		if !s.has(v) {
			in = false
			continue
		}
		if !in {
			out, in = append(out, empty(n)), true
		}
		out[len(out)-1].add(v)
	}
	return out
}
