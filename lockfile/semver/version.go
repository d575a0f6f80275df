// Package semver holds versions, the constraints that select among them, and
// sets of them.
//
// # Versions
//
// A version is what Semantic Versioning 2.0.0 says, strictly: three numbers,
// then perhaps a pre-release and build metadata. Precedence ignores build
// metadata (§10), and numeric pre-release identifiers compare as numbers of any
// length (§11.4.1).
//
// # Constraints
//
// A constraint is one or more groups separated by "||"; a version matches when
// it matches all comparators of one group. Comparators are separated by spaces
// or commas:
//
//	1.2.3  =1.2.3      that version (a bare version is exact)
//	!=1.2.3            every other version
//	>1.2.3 >=1.2.3     above; from (also =>)
//	<1.2.3 <=1.2.3     below; up to (also =<)
//	~1.2.3             >=1.2.3 <1.3.0       (also ~>)
//	^1.2.3             >=1.2.3 <2.0.0; ^0.2.3 is <0.3.0; ^0.0.3 is <0.0.4
//	1.2  1.2.x  1.2.*  >=1.2.0 <1.3.0
//	*                  every release
//	1.2 - 1.4          >=1.2.0 <1.5.0
//
// github.com/Masterminds/semver/v3 decides which texts are constraints, and on
// releases both agree on every version. Some texts it accepts match something
// else than they seem to say; ParseConstraint refuses these with a suggestion.
//
// # Pre-releases
//
// A pre-release matches a group only if it lies within the group's bounds and
// one comparator of that group (other than !=) names a pre-release of the same
// major.minor.patch: npm's and cargo's rule. So ^1.2.3-beta.2 matches
// 1.2.3-beta.4 but not 1.3.0-beta, and ^1.2.3 matches no pre-release.
// A pre-release needs all three numbers before it: 1.2-beta and 1.2.x-beta are
// refused. Unlike npm, a group stands for itself even beside "*", and numbers
// reach to 2^64-1.
//
// A constraint compiles once to half-open intervals over the semver order; the
// upper bound of ^1.2.3 is 2.0.0-0, the lowest pre-release of 2.0.0.
//
// All types are values, immutable except Set, and safe for concurrent use.
package semver

import (
	"cmp"
	"fmt"
	"strings"

	masterminds "github.com/Masterminds/semver/v3"
)

// Version is a version as written. The zero value is no version, and lower
// than every version. Versions compare with == by their text, so they serve as
// map keys; use Compare for precedence.
type Version struct {
	major, minor, patch uint64
	pre                 string // without the hyphen
	text                string // as written; empty only in the zero value and in bounds
}

// Parse reads a strict semantic version, at most 256 bytes: no leading v, no
// missing parts.
func Parse(s string) (Version, error) {
	m, err := masterminds.StrictNewVersion(s)
	if err != nil {
		if len(s) > masterminds.MaxVersionLen {
			s = s[:32] + "…"
		}
		return Version{}, fmt.Errorf("invalid version %q: %w", s, err)
	}
	return Version{m.Major(), m.Minor(), m.Patch(), m.Prerelease(), s}, nil
}

// String returns the version as written.
func (v Version) String() string { return v.text }

// IsZero reports whether v is no version.
func (v Version) IsZero() bool { return v.text == "" }

// Major returns the first number.
func (v Version) Major() uint64 { return v.major }

// Minor returns the second number.
func (v Version) Minor() uint64 { return v.minor }

// Patch returns the third number.
func (v Version) Patch() uint64 { return v.patch }

// Prerelease returns the text after the hyphen, without build metadata.
func (v Version) Prerelease() string { return v.pre }

// IsPrerelease reports whether v comes before its release.
func (v Version) IsPrerelease() bool { return v.pre != "" }

// SameRelease reports whether v and w share major.minor.patch.
func (v Version) SameRelease(w Version) bool {
	return v.major == w.major && v.minor == w.minor && v.patch == w.patch
}

// Core returns the version without build metadata: what precedence sees.
func (v Version) Core() string {
	core, _, _ := strings.Cut(v.text, "+")
	return core
}

// Equal reports whether v and w have the same precedence: they may differ in
// build metadata.
func (v Version) Equal(w Version) bool { return v.Compare(w) == 0 }

// Compare orders by precedence (SemVer 2.0.0 §11): -1, 0 or 1. The zero value
// comes before every version.
func (v Version) Compare(w Version) int {
	if v.IsZero() != w.IsZero() {
		if v.IsZero() {
			return -1
		}
		return 1
	}
	return v.order(w)
}

// MarshalText returns the version as written.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.text), nil }

// UnmarshalText accepts what Parse accepts, and the empty text as no version.
func (v *Version) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*v = Version{}
		return nil
	}
	w, err := Parse(string(b))
	if err != nil {
		return err
	}
	*v = w
	return nil
}

// order is Compare without a special place for the zero value; bounds of
// intervals are versions without text.
func (v Version) order(w Version) int {
	switch {
	case v.major != w.major:
		return cmp.Compare(v.major, w.major)
	case v.minor != w.minor:
		return cmp.Compare(v.minor, w.minor)
	case v.patch != w.patch:
		return cmp.Compare(v.patch, w.patch)
	case v.pre == w.pre:
		return 0
	case v.pre == "":
		return 1
	case w.pre == "":
		return -1
	}
	return comparePre(v.pre, w.pre)
}

// comparePre orders two pre-releases that are not empty.
func comparePre(a, b string) int {
	for {
		x, restA, moreA := strings.Cut(a, ".")
		y, restB, moreB := strings.Cut(b, ".")
		if c := compareIdent(x, y); c != 0 {
			return c
		}
		if !moreA || !moreB {
			switch {
			case moreB:
				return -1
			case moreA:
				return 1
			}
			return 0
		}
		a, b = restA, restB
	}
}

// compareIdent orders two identifiers: numbers by value and before words,
// words by their bytes. Numbers have no leading zeros, so length decides first.
func compareIdent(x, y string) int {
	nx, ny := isNumber(x), isNumber(y)
	switch {
	case nx && ny:
		if c := cmp.Compare(len(x), len(y)); c != 0 {
			return c
		}
	case nx:
		return -1
	case ny:
		return 1
	}
	return strings.Compare(x, y)
}

func isNumber(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
