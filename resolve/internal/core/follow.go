package core

import (
	"fmt"

	"pkg/resolve/internal/pubgrub"
)

// possible is what a package may still be: versions, then absence.
type possible []bool

// follows checks a node by reverse unit propagation: if all its terms are true,
// its premises, each looked at again and again, leave some package nothing to be
// or are themselves broken.
func follows(ex *Explanation, n *Node) error {
	left := make(map[int32]possible)
	for _, t := range n.Terms {
		left[t.Pkg] = all(t.N).only(t, true)
	}
	for _, p := range n.Premises {
		for _, t := range ex.Nodes[p].Terms {
			if left[t.Pkg] == nil {
				left[t.Pkg] = all(t.N)
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, p := range n.Premises {
			open, terms := -1, ex.Nodes[p].Terms
			for i, t := range terms {
				if left[t.Pkg].only(t, false).none() {
					continue
				}
				if open >= 0 {
					open = len(terms)
					break
				}
				open = i
			}
			if open < 0 {
				return nil
			}
			if open == len(terms) {
				continue
			}
			t := terms[open]
			rest := left[t.Pkg].only(t, false)
			if rest.size() < left[t.Pkg].size() {
				left[t.Pkg], changed = rest, true
			}
		}
	}
	return fmt.Errorf("does not follow from %v", n.Premises)
}

func all(n int32) possible {
	out := make(possible, n+1)
	for i := range out {
		out[i] = true
	}
	return out
}

// only returns what is left if a term is true, or if it is not.
func (ps possible) only(t pubgrub.Term, yes bool) possible {
	out := make(possible, len(ps))
	for i, may := range ps {
		v := count(i)
		out[i] = may && (t.Has(v) || v == t.N && t.Absent()) == yes
	}
	return out
}

func (ps possible) size() int {
	n := 0
	for _, may := range ps {
		if may {
			n++
		}
	}
	return n
}

func (ps possible) none() bool { return ps.size() == 0 }
