package pubgrub

// index maps dependencies to small numbers. It is a hash table with linear
// probing that is emptied in no time, for it is emptied for every package. The
// zero value is ready.
type index struct {
	slots []slot // a power of two, at most half of them full
	turn  uint32 // slots of other turns are empty
	full  int
}

type slot struct {
	dep  Dep
	n    int32
	turn uint32
}

// empty forgets everything.
func (x *index) empty() {
	x.full = 0
	x.turn++
	if x.turn == 0 || x.slots == nil {
		x.slots, x.turn = make([]slot, max(64, len(x.slots))), 1
	}
}

// number returns the number of d, which is n if d is new.
func (x *index) number(d Dep, n int32) (int32, bool) {
	if 2*x.full >= len(x.slots) {
		x.grow()
	}
	s := x.find(d)
	if s.turn == x.turn {
		return s.n, true
	}
	*s = slot{d, n, x.turn}
	x.full++
	return n, false
}

// find returns the slot that d is in or belongs in.
func (x *index) find(d Dep) *slot {
	key := uint64(d.Pkg)<<32 ^ uint64(d.Range) //nolint:gosec // any bits will do
	key *= 0x9e3779b97f4a7c15                  // 2^64 divided by the golden ratio
	//nolint:gosec // 24 bits
	for i := int(key>>40) & (len(x.slots) - 1); ; i = (i + 1) & (len(x.slots) - 1) {
		if s := &x.slots[i]; s.turn != x.turn || s.dep == d {
			return s
		}
	}
}

func (x *index) grow() {
	old := x.slots
	x.slots = make([]slot, 2*len(old))
	for _, s := range old {
		if s.turn == x.turn {
			*x.find(s.dep) = s
		}
	}
}
