package swarm

import (
	"cmp"
	"slices"
)

const (
	// lasting is how much of a pace is left after a heartbeat: at a steady speed it is the bytes of four heartbeats.
	lasting = 0.75
	// floor is the pace under which nobody is waited for, whatever the others do: 32 KiB/s.
	floor = 4 * 32 << 10 / 20
	// short is up to how many heartbeats a request takes that was too small to show what its source can.
	short = 4
	// young is after how many heartbeats without a byte a call counts as stalled, where others have nothing to do.
	young = 2
	// stale is the same for what a registry left to others, because it had sent it often: that is a crowd, and all are slow.
	stale = 20
)

// speed is u's pace: its bytes, counting less with each heartbeat that they are old. While it has no call it is that of
// its last. Paces are only compared with one another, so that no clock is needed.
func (u *runner) speed() float64 { return u.pace + u.recent }

// quick says whether c is worth waiting for; the caller holds mu, here and below.
func (r *race) quick(c *call) bool {
	if c.ended || c.from.out() {
		return false
	}
	return c.ours.Load() || c.age < young || c.quiet < young && c.from.speed() >= r.bar
}

// quicks counts the calls worth waiting for among those that have brought bytes of w, and those that will.
func (r *race) quicks(w *want) (under, asked int) {
	for _, d := range w.under {
		switch {
		case !r.quick(d.c) || d.long():
		case d.n == 0:
			asked++
		default:
			under++
		}
	}
	for _, c := range w.asked {
		if r.quick(c) {
			asked++
		}
	}
	return under, asked
}

// long says whether more has come than a pack of that root should have.
func (d *delivery) long() bool { return d.n > 2*d.w.size+smallPack }

// soon says whether w will be here before another source could answer: all of a call within half a heartbeat.
func (r *race) soon(w *want) bool {
	for _, c := range w.asked {
		if r.quick(c) && float64(c.rest()) <= c.from.speed()/8 {
			return true
		}
	}
	for _, d := range w.under {
		if rest := d.size - d.n; r.quick(d.c) && rest >= 0 && float64(rest) <= d.c.from.speed()/8 {
			return true
		}
	}
	return false
}

// rest is how many bytes c is still expected to bring.
func (c *call) rest() int64 {
	rest := c.bytes
	if c.now != nil {
		rest += c.now.size - c.now.n
	}
	return rest
}

// free says whether a source that does not cost, and that is as like says if that is not nil, may bring w.
func (r *race) free(w *want, like func(v *runner) bool) bool {
	return slices.ContainsFunc(r.runners, func(v *runner) bool {
		return !v.costly && !v.out() && !v.lacks[w] && (like == nil || like(v))
	})
}

// busy says whether u brings something and is worth waiting for.
func (r *race) busy(u *runner) bool { return u.call != nil && r.quick(u.call) }

// lively says whether u is not known to have stalled, or to drip.
func lively(u *runner) bool {
	c := u.call
	return c == nil || c.ours.Load() || c.quiet < stale && (c.age < stale || u.speed() >= floor)
}

// held says whether u is left in peace because it costs and those that do not are as fast.
func (r *race) held(u *runner) bool {
	if !u.costly {
		return false
	}
	var others float64
	for _, v := range r.runners {
		if !v.costly && v.call != nil && r.quick(v.call) {
			others += v.speed()
		}
	}
	return others > 0 && others >= u.speed()
}

// room says whether a root of which quick calls are in good time, out of all that were made for it, may be asked for
// once more: two are enough, unless others stalled before.
func room(quick, all int) bool { return quick < 1+max(1, all-quick) }

// pick decides what to ask u for next, if freshOnly only of what nobody was asked for. The call is empty if there is
// nothing.
func (r *race) pick(u *runner, freshOnly bool) *call {
	c := &call{from: u, left: map[*want]mode{}}
	held := r.held(u)
	var fresh, late []*want
	var last *want
	for _, w := range r.wants {
		if w.done || w.settle != nil || u.lacks[w] {
			continue
		}
		under, asked := r.quicks(w)
		all := len(w.under) + len(w.asked)
		switch abandoned := all > 0 && under+asked == 0; {
		case held && !abandoned && r.free(w, r.busy), u.spared[w] && r.free(w, lively): // a peer brings it
		case all == 0:
			fresh = append(fresh, w)
		case abandoned:
			late = append(late, w)
		case !room(under+asked, all) || r.soon(w): // it is coming
		case under == 0:
			late = append(late, w)
		case last == nil || last.left() < w.left():
			last = w
		}
	}
	switch {
	case freshOnly && len(fresh) == 0:
	case len(fresh) > 0:
		c.take(fresh, r.fraction(u), u.atLeast)
		if u.costly && !u.begun && r.alive() > 1 {
			r.takeSpare(c)
		}
	case len(late) > 0:
		late = r.towards(late)
		c.take(late, r.against(u, late), 0)
	case last != nil:
		c.take([]*want{last}, 1, 0)
	}
	c.shared = u.costly && !slices.ContainsFunc(c.order, func(w *want) bool { return u.spared[w] || !r.free(w, nil) })
	return c
}

// towards puts what others were asked for in an order that runs towards them: each share from its far end, those of
// stalled sources first, then that of which most is to come.
func (r *race) towards(late []*want) []*want {
	owned := map[*call][]*want{}
	var calls []*call
	sorted := make([]*want, 0, len(late))
	for _, w := range late {
		i := slices.IndexFunc(w.asked, r.quick)
		if i < 0 {
			sorted = append(sorted, w)
			continue
		}
		c := w.asked[i]
		if owned[c] == nil {
			calls = append(calls, c)
		}
		owned[c] = append(owned[c], w)
	}
	slices.Reverse(sorted)
	slices.SortStableFunc(calls, func(a, b *call) int { return cmp.Compare(b.rest(), a.rest()) })
	for _, c := range calls {
		at := make(map[*want]int, len(c.order))
		for i, w := range c.order {
			at[w] = i
		}
		slices.SortFunc(owned[c], func(a, b *want) int { return at[b] - at[a] })
		sorted = append(sorted, owned[c]...)
	}
	return sorted
}

// left is how many bytes of w are to come from who has most of it.
func (w *want) left() int64 {
	left := w.size
	for _, d := range w.under {
		left = min(left, d.size-d.n)
	}
	return left
}

// take puts wants into c up to a fraction of their bytes or so many, but at least one.
func (c *call) take(from []*want, fraction float64, atLeast int64) {
	var total, sum int64
	for _, w := range from {
		total += w.size
	}
	for _, w := range from {
		m := given
		if len(w.under) > 0 {
			m = again
		}
		if len(c.order) > 0 && float64(sum+w.size/2) > max(fraction*float64(total), float64(atLeast)) {
			break
		}
		sum += w.size
		c.order = append(c.order, w)
		c.left[w] = m
	}
}

// takeSpare lets the first request to a registry name all roots: if no peer answers, it has cost nothing to hope for
// them. It goes through the others' shares from the far end; of two registries, the second goes on behind its own.
func (r *race) takeSpare(c *call) {
	ring := slices.Clone(r.wants)
	if c.from.odd {
		i := slices.Index(ring, c.order[len(c.order)-1])
		ring = append(ring[i+1:], r.wants[:i+1]...)
	} else {
		slices.Reverse(ring)
	}
	for _, w := range ring {
		if _, own := c.left[w]; own || w.done || w.settle != nil || c.from.lacks[w] {
			continue
		}
		c.order = append(c.order, w)
		c.left[w] = spare
	}
}

// alive counts the sources that are still asked.
func (r *race) alive() (n int) {
	for _, u := range r.runners {
		if !u.out() {
			n++
		}
	}
	return n
}

// fraction is how much u gets of what nobody was asked for yet: as much as it has of the speed of all. While nothing
// was measured, equal shares of half of it, and a quarter of one for who costs.
func (r *race) fraction(u *runner) float64 {
	n := float64(r.alive())
	if n <= 1 {
		return 1
	}
	var all float64
	free := false
	for _, v := range r.runners {
		if !v.out() {
			all += v.speed()
			free = free || !v.costly
		}
	}
	switch {
	case all == 0 && u.costly && free:
		return 1 / (8 * n)
	case all == 0:
		return 1 / (2 * n)
	}
	own := u.speed()
	if !u.begun {
		own = max(own, all/n)
	}
	return own / max(all, own)
}

// against is how much u gets of what others were asked for: as much as makes both end together.
func (r *race) against(u *runner, late []*want) float64 {
	var theirs float64
	seen := map[*runner]bool{u: true}
	for _, w := range late {
		for _, c := range w.asked {
			if !seen[c.from] {
				seen[c.from] = true
				theirs += c.from.speed()
			}
		}
	}
	own := u.speed()
	if own == 0 {
		own = max(1, theirs/float64(len(seen)))
	}
	return own / (own + theirs)
}
