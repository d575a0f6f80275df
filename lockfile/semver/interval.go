package semver

import (
	"math"
	"slices"
)

// A bound is a place between versions: just before v, or above everything.
type bound struct {
	v   Version
	inf bool
}

// An interval holds the versions from lo up to but not including hi.
type interval struct{ lo, hi bound }

// bottom is the bound below every version: 0.0.0-0 is the lowest there is.
func bottom() bound { return bound{v: Version{pre: "0"}} }

func top() bound { return bound{inf: true} }

func at(v Version) bound { return bound{v: v} }

func (b bound) compare(c bound) int {
	switch {
	case b.inf && c.inf:
		return 0
	case b.inf:
		return 1
	case c.inf:
		return -1
	}
	return b.v.order(c.v)
}

// above is the bound just after v. After a release comes the lowest
// pre-release of the next patch; after a pre-release, the same with one more
// identifier, the lowest one.
func above(v Version) bound {
	if v.pre != "" {
		v.pre += ".0"
		return at(v)
	}
	return floor(nextPatch(v))
}

// floor moves a bound at a release below all its pre-releases.
func floor(b bound) bound {
	if !b.inf && b.v.pre == "" {
		b.v.pre = "0"
	}
	return b
}

// nextPatch is the release after v's, or the top if there is none.
func nextPatch(v Version) bound {
	if v.patch == math.MaxUint64 {
		return nextMinor(v)
	}
	return at(Version{major: v.major, minor: v.minor, patch: v.patch + 1})
}

func nextMinor(v Version) bound {
	if v.minor == math.MaxUint64 {
		return nextMajor(v)
	}
	return at(Version{major: v.major, minor: v.minor + 1})
}

func nextMajor(v Version) bound {
	if v.major == math.MaxUint64 {
		return top()
	}
	return at(Version{major: v.major + 1})
}

// siblings holds the pre-releases of v's major.minor.patch.
func siblings(v Version) interval {
	release := at(Version{major: v.major, minor: v.minor, patch: v.patch})
	return interval{floor(release), release}
}

func (i interval) has(v Version) bool {
	return i.lo.compare(at(v)) <= 0 && i.hi.compare(at(v)) > 0
}

// indexes returns the half-open range of positions in ascending versions.
func (i interval) indexes(sorted []Version) (from, to int) {
	find := func(b bound) int {
		switch {
		case b.inf:
			return len(sorted)
		case b == bottom():
			return 0
		}
		n, _ := slices.BinarySearchFunc(sorted, b.v, Version.order)
		return n
	}
	from = find(i.lo)
	return from, max(from, find(i.hi))
}

// intersect returns what both lists hold. Both are ascending and disjoint, and
// so is the result.
func intersect(a, b []interval) []interval {
	out := make([]interval, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		i := interval{a[0].lo, a[0].hi}
		if b[0].lo.compare(i.lo) > 0 {
			i.lo = b[0].lo
		}
		if b[0].hi.compare(i.hi) < 0 {
			i.hi = b[0].hi
		}
		if i.lo.compare(i.hi) < 0 {
			out = append(out, i)
		}
		if a[0].hi.compare(b[0].hi) < 0 {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}
