package tracker

import (
	"math"
	"slices"
)

// linkAll links s to roots, as far as there is room, and returns to how many it is linked now.
func (t *table) linkAll(s *seed, roots []key, now, expires int64) (n int) {
	tried := false
	for _, k := range roots {
		if t.relink(s, k, expires) {
			n++
			continue
		}
		if s.links >= t.limits.PerPeer {
			continue
		}
		if t.links >= t.limits.Links && !tried { // once: no announcement may empty the table
			t.makeRoom(s, now)
			tried = true
		}
		if t.links >= t.limits.Links || !t.admit(s, k) {
			continue
		}
		if t.link(s, k, now, expires) {
			n++
		}
	}
	return n
}

// samples is among how many roots one is picked to go: enough to meet one of a network that invents many.
const samples = 8

// admit makes room for one more root of s, if k is one and there is none: of a few roots at random that one goes which
// only larger networks have. If that of s is larger than all of them, admit reports false.
func (t *table) admit(s *seed, k key) bool {
	if _, known := t.roots[k]; known || len(t.roots) < t.limits.Roots {
		return true
	}
	var victim key
	most, found, seen := s.network.links, false, 0
	for k, list := range t.roots { // begins anywhere
		least := math.MaxInt
		for _, l := range list {
			if !l.seed.gone {
				least = min(least, l.seed.network.links)
			}
		}
		if least >= most {
			victim, most, found = k, least, true
		}
		if seen++; seen == samples {
			break
		}
	}
	if found {
		for _, l := range t.roots[victim] {
			t.uncount(l.seed)
		}
		delete(t.roots, victim)
	}
	return found
}

// relink gives a link that is there a new time to expire.
func (t *table) relink(s *seed, k key, expires int64) bool {
	list := t.roots[k]
	i := slices.IndexFunc(list, func(l link) bool { return l.seed == s })
	if i < 0 {
		return false
	}
	list[i].expires = expires
	return true
}

// unlink takes one root from s.
func (t *table) unlink(s *seed, k key) bool {
	list := t.roots[k]
	i := slices.IndexFunc(list, func(l link) bool { return l.seed == s })
	if i < 0 {
		return false
	}
	t.uncount(s)
	t.put(k, slices.Delete(list, i, i+1))
	return true
}

// link links s to a root that it is not linked to. It reports false if the root has enough others.
func (t *table) link(s *seed, k key, now, expires int64) bool {
	list := t.roots[k]
	if len(list) >= t.limits.PerRoot {
		list = t.alive(list, now)
	}
	if len(list) >= t.limits.PerRoot {
		i := t.crowding(list, s)
		if i == len(list) {
			t.put(k, list)
			return false
		}
		t.uncount(list[i].seed)
		list = slices.Delete(list, i, i+1)
	}
	if len(list) == cap(list) { // by a quarter where append would double: there are many lists
		list = append(make([]link, 0, len(list)+len(list)/4+1), list...)
	}
	t.put(k, append(list, link{s, expires}))
	s.links++
	s.network.links++
	t.links++
	return true
}

// crowding picks who must go from a list that is full when s comes: a random one of the network that would have most in
// it. len(list) stands for s.
func (t *table) crowding(list []link, s *seed) int {
	most := 1
	s.network.count++
	for _, l := range list {
		l.seed.network.count++
		most = max(most, l.seed.network.count)
	}
	victim, n := len(list), 0
	pick := func(i int, w *network) {
		if w.count != most {
			return
		}
		if n++; t.intN(n) == 0 {
			victim = i
		}
	}
	pick(len(list), s.network)
	for i, l := range list {
		pick(i, l.seed.network)
	}
	s.network.count = 0
	for _, l := range list {
		l.seed.network.count = 0
	}
	return victim
}

// put writes a list back.
func (t *table) put(k key, list []link) {
	if len(list) == 0 {
		delete(t.roots, k)
		return
	}
	t.roots[k] = list
}

// uncount accounts for one link less.
func (t *table) uncount(s *seed) {
	t.links--
	s.links--
	if s.network != nil {
		s.network.links--
	}
}

// alive takes dead links out of a list, in place.
func (t *table) alive(list []link, now int64) []link {
	return slices.DeleteFunc(list, func(l link) bool {
		if l.live(now) {
			return false
		}
		t.uncount(l.seed)
		return true
	})
}

// sweep takes out what has expired: links, roots without links, and peers whose seq need not be remembered.
func (t *table) sweep(now int64) {
	t.swept = now
	for k, list := range t.roots {
		list = t.alive(list, now)
		if cap(list) > 4 && len(list) < cap(list)/2 {
			list = slices.Clip(slices.Clone(list))
		}
		t.put(k, list)
	}
	for _, s := range t.seeds {
		if s.until <= now {
			t.forget(s)
		}
	}
}

// makeRoom makes room for links: it drops what has expired, and if that is not much, peers of the networks with the most links, until a sixteenth
// of all links is free. It spares one peer.
func (t *table) makeRoom(spare *seed, now int64) {
	t.sweep(now)
	if t.links < t.limits.Links-t.limits.Links/16 {
		return
	}
	for want := t.links/16 + 1; want > 0; {
		freed, ok := t.evict(spare, func(w *network) int { return w.links })
		if !ok {
			break
		}
		want -= freed
	}
	t.sweep(now)
}

// evict forgets a random peer of the largest network, and returns how many links die with it. It spares one peer.
func (t *table) evict(spare *seed, size func(*network) int) (links int, ok bool) {
	var largest *network
	for _, w := range t.networks {
		if len(w.seeds) == 1 && w.seeds[0] == spare {
			continue
		}
		if largest == nil || size(w) > size(largest) {
			largest = w
		}
	}
	if largest == nil {
		return 0, false
	}
	i := t.intN(len(largest.seeds))
	if largest.seeds[i] == spare {
		i = (i + 1) % len(largest.seeds)
	}
	s := largest.seeds[i]
	t.forget(s)
	return s.links, true
}
