package resolve

import mathbits "math/bits"

// bits is a set of small numbers. The zero value is empty.
type bits []uint64

func (b *bits) add(n int) {
	for len(*b) <= n/64 {
		*b = append(*b, 0)
	}
	(*b)[n/64] |= 1 << (n % 64)
}

func (b *bits) remove(n int) {
	if n/64 < len(*b) {
		(*b)[n/64] &^= 1 << (n % 64)
	}
}

func (b *bits) or(o bits) {
	for len(*b) < len(o) {
		*b = append(*b, 0)
	}
	for i, w := range o {
		(*b)[i] |= w
	}
}

// max returns the largest member, -1 if there is none.
func (b *bits) max() int {
	for i := len(*b) - 1; i >= 0; i-- {
		if w := (*b)[i]; w != 0 {
			return 64*i + 63 - mathbits.LeadingZeros64(w)
		}
	}
	return -1
}
