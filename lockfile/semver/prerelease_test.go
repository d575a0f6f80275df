package semver

import "testing"

// A prerelease says whether a constraint admits a version.
type prerelease struct {
	in, version string
	want        bool
}

// prereleases pin npm's rule (node-semver README, "Prerelease Tags"), which
// cargo has too. TestNpmAgrees asks npm about each.
func prereleases() []prerelease {
	return []prerelease{
		{"*", "1.0.0-beta", false},
		{"^1.2.3", "1.2.3-beta", false},
		{"^1.2.3", "1.3.0-beta", false},
		{"^1.2.3", "2.0.0-beta", false},
		{">1.2.3", "2.0.0-beta", false},
		{"1.2.3", "1.2.3-beta", false},
		{"^1.2.3-beta.2", "1.2.3-beta.2", true},
		{"^1.2.3-beta.2", "1.2.3-beta.4", true},
		{"^1.2.3-beta.2", "1.2.3-beta.2.1", true},
		{"^1.2.3-beta.2", "1.2.3-rc", true},
		{"^1.2.3-beta.2", "1.2.3-beta.1", false},
		{"^1.2.3-beta.2", "1.2.3-alpha", false},
		{"^1.2.3-beta.2", "1.2.4-beta.2", false},
		{"^1.2.3-beta.2", "1.3.0-beta", false},
		{"^1.2.3-beta.2", "2.0.0-beta", false},
		{"^1.2.3-beta.2", "1.2.3", true},
		{"^1.2.3-beta.2", "1.9.0", true},
		{"~1.2.3-beta.2", "1.2.3-beta.4", true},
		{"~1.2.3-beta.2", "1.2.4-beta.2", false},
		{"^0.0.1-beta", "0.0.1-beta.1", true},
		{"^0.0.1-beta", "0.0.2-0", false},
		{"^0.0.0-beta", "0.0.0-rc", true},
		{">1.2.3-alpha.3", "1.2.3-alpha.7", true},
		{">1.2.3-alpha.3", "1.2.3-alpha.3", false},
		{">1.2.3-alpha.3", "1.2.3-alpha.3.0", true},
		{">1.2.3-alpha.3", "3.4.5-alpha.9", false},
		{">1.2.3-alpha.3", "3.4.5", true},
		{">=1.2.3-alpha <2", "1.2.3-alpha", true},
		{">=1.0.0 <2.0.0-rc", "2.0.0-beta", true},
		{">=1.0.0 <2.0.0-rc", "2.0.0-rc", false},
		{">=1.0.0 <2.0.0", "2.0.0-rc", false},
		{">=2.0.0-alpha <2.0.0", "2.0.0-rc", true},
		{"<=2.0.0-beta", "2.0.0-beta", true},
		{"<=2.0.0-beta", "2.0.0-beta.0", false},
		{"<=2.0.0-beta", "2.0.0-alpha", true},
		{"<=2.0.0-beta", "1.0.0-alpha", false},
		{"1.2.3-beta", "1.2.3-beta", true},
		{"=1.2.3-beta", "1.2.3-beta+build", true},
		{"1.2.3-beta", "1.2.3", false},
		{"1.2.3-alpha - 1.2.3-rc", "1.2.3-beta", true},
		{"1.2.3-alpha - 1.2.4", "1.2.4-beta", false},
		// The comparator counts only within its own group, and all of the
		// group must match.
		{"^1.2.3-beta || ^2.0.0", "2.0.0-beta", false},
		{"^1.2.3-beta || ^2.0.0-beta", "2.0.0-rc", true},
		{"^1.2.3 >=2.0.0-alpha", "2.0.0-beta", false},
		{"* >=2.0.0-alpha", "2.0.0-beta", true},
		{">1.2 >=1.3.0-alpha", "1.3.0-beta", false},

		// No pre-release matches what names none, whatever its bounds.
		{"*", "0.0.0-0", false},
		{"x", "1.2.3-rc.1", false},
		{">=0.0.0", "1.0.0-rc.1", false},
		{">=0.0.0", "0.0.0-rc.1", false},
		{"<2.0.0", "2.0.0-rc.1", false},
		{"<2.0.0", "1.9.9-rc.1", false},
		{"<=2.0.0", "2.0.0-rc.1", false},
		{"<=2", "2.5.0-rc.1", false},
		{">1.0.0", "1.0.1-0", false},
		{">1", "2.0.0-rc.1", false},
		{"1.2", "1.2.3-rc.1", false},
		{"1.2.x", "1.2.0-0", false},
		{"1.x", "1.2.0-rc.1", false},
		{"1 - 2", "2.0.0-rc.1", false},
		{"1.0.0 - 2.0.0", "2.0.0-rc.1", false},
		{"~1.2.3", "1.2.4-rc.1", false},
		{"~1.2", "1.3.0-0", false},
		{"~1", "1.0.0-rc.1", false},
		{"^1", "2.0.0-0", false},
		{"^0.2.3", "0.3.0-rc.1", false},
		{"^0.0.3", "0.0.4-rc.1", false},
		{"^0.0", "0.0.9-rc.1", false},
		{"^0", "0.9.0-rc.1", false},
		// Caret and tilde that name one: its siblings from there on, and
		// the releases up to the usual bound.
		{"^1.2.3-0", "1.2.3-0", true},
		{"^1.2.3-0", "1.2.3-alpha", true},
		{"^1.2.3-0", "1.2.4-0", false},
		{"^1.2.3-0", "2.0.0-0", false},
		{"^1.2.3-rc.1", "1.2.3-rc.10", true},
		{"^1.2.3-rc.2", "1.2.3-rc.10", true},
		{"^1.2.3-rc.a", "1.2.3-rc.10", false},
		{"^1.2.3-rc", "1.2.3-RC", false},
		{"^1.2.0-rc.1", "1.10.0", true},
		{"^0.2.3-beta", "0.2.3-rc", true},
		{"^0.2.3-beta", "0.2.4-rc", false},
		{"^0.2.3-beta", "0.2.9", true},
		{"^0.2.3-beta", "0.3.0-0", false},
		{"^0.2.0-0", "0.2.0-alpha", true},
		{"^0.0.3-beta", "0.0.3", true},
		{"^0.0.3-beta", "0.0.3-alpha", false},
		{"^0.0.3-beta", "0.0.4", false},
		{"^0.0.0-0", "0.0.0-0", true},
		{"^0.0.0-0", "0.0.1", false},
		{"~0.2.3-beta", "0.2.3-rc", true},
		{"~0.2.3-beta", "0.2.4-beta", false},
		{"~0.2.3-beta", "0.2.4", true},
		{"~1.2.3-beta", "1.3.0-beta", false},
		{"~1.2.3-beta", "1.3.0", false},
		{"~>1.2.3-beta", "1.2.3-beta", true},
		{"~1.2.0-0", "1.2.0-rc.1", true},
		{"~0.0.1-rc", "0.0.1-rc.1", true},
		// Comparators joined by spaces.
		{">=1.0.0-rc.1 <1.0.0", "1.0.0-rc.1", true},
		{">=1.0.0-rc.1 <1.0.0", "1.0.0-rc.2.1", true},
		{">=1.0.0-rc.1 <1.0.0", "1.0.0-beta", false},
		{">=1.0.0-rc.1 <1.0.0", "1.0.0", false},
		{">1.0.0-rc.1 <1.0.0-rc.3", "1.0.0-rc.2", true},
		{">1.0.0-rc.1 <1.0.0-rc.3", "1.0.0-rc.3", false},
		{">=1.0.0-rc.1 <2.0.0-rc.1", "2.0.0-beta", true},
		{">=1.0.0-rc.1 <2.0.0-rc.1", "1.5.0-beta", false},
		{">=1.0.0-rc.1 <2.0.0-0", "2.0.0-0", false},
		{">=1.0.0-rc.1 <2.0.0-0", "1.9.9", true},
		{">1.0.0-rc.1", "1.0.0", true},
		{"<1.0.0-rc.1", "1.0.0-beta", true},
		{"<1.0.0-rc.1", "1.0.0-rc.0", true},
		{"<1.0.0-rc.1", "0.9.0-rc.0", false},
		{"<1.0.0-0", "1.0.0-0", false},
		{"<=1.0.0-0", "1.0.0-0", true},
		{"<1.0.0-0", "0.9.9", true},
		{"^1.2 >=1.3.0-0", "1.3.0-rc.1", true},
		{"^1.2 >=1.2.0-0", "1.2.0-rc.1", false},
		{"1.x >=1.3.0-0", "1.3.0-rc.1", true},
		{"1.x <=1.0.0-rc", "1.0.0-beta", false},
		{"^1.2.3-rc ^1.2.3", "1.2.3-rc", false},
		{"~1.2.3-a ~1.2.3-b", "1.2.3-a", false},
		{"~1.2.3-a ~1.2.3-b", "1.2.3-c", true},
		// To name one does not move the bounds of another comparator.
		{"~1.2.3 >=1.3.0-alpha", "1.3.0-beta", false},
		{"~1.2 >=1.3.0-alpha", "1.3.0-beta", false},
		{"~1 >=2.0.0-alpha", "2.0.0-beta", false},
		{"1.2.x >=1.3.0-alpha", "1.3.0-beta", false},
		{"^0.2.3 >=0.3.0-alpha", "0.3.0-beta", false},
		{"^0.0.3 >=0.0.4-alpha", "0.0.4-beta", false},
		{"<=1.2 >=1.3.0-alpha", "1.3.0-beta", false},
		{"<=1 >=2.0.0-alpha", "2.0.0-beta", false},
		{"<1.2 >=1.2.0-alpha", "1.2.0-beta", false},
		{"<1.2.0 >=1.2.0-alpha", "1.2.0-beta", true},
		{"<=1.2.3 >=1.2.4-alpha", "1.2.4-beta", false},
		{">1.2.3 >=1.2.4-alpha", "1.2.4-beta", true},
		{">=1.2 >=1.2.0-alpha", "1.2.0-beta", false},
		{"1.2.3 >=1.2.3-alpha", "1.2.3-beta", false},
		// Hyphen ranges.
		{"1.2.3-rc - 2.0.0", "1.2.3-rc.1", true},
		{"1.2.3-rc - 2.0.0", "2.0.0-rc.1", false},
		{"1.2.3 - 2.0.0-rc.1", "2.0.0-rc.0", true},
		{"1.2.3 - 2.0.0-rc.1", "2.0.0-rc.1", true},
		{"1.2.3 - 2.0.0-rc.1", "2.0.0-rc.2", false},
		{"1.2.3 - 2.0.0-rc.1", "1.2.3-rc.1", false},
		{"1.2.3-rc - 2", "2.9.9", true},
		{"1.2.3-rc - 2", "3.0.0-0", false},
		{"1.2 - 2.0.0-rc", "1.2.0-rc", false},
		// Groups do not share what they name.
		{"1.0.0-rc.1 || 1.0.0-rc.3", "1.0.0-rc.2", false},
		{"1.0.0-rc.1 || 1.0.0-rc.3", "1.0.0-rc.3", true},
		{"^1.0.0-rc || ^2.0.0-rc", "2.0.0-rc", true},
		{"^1.0.0-rc || ^2.0.0-rc", "1.1.0-rc", false},
		{"^2.0.0-rc || <=2", "2.0.0-beta", false},
		{">=2.0.0-rc || <2.0.0", "2.0.0-beta", false},
		{"^1.0.0-rc||^2.0.0", "1.0.0-rc", true},
		// Exact.
		{"=1.2.3-rc.1", "1.2.3-rc.1", true},
		{"v1.2.3-rc.1", "1.2.3-rc.1", true},
		{"1.2.3-rc.1", "1.2.3-rc.10", false},
		{"1.2.3-0", "1.2.3-0", true},
		{"1.2.3-0", "1.2.3-0.0", false},
		{"1.2.3---", "1.2.3---", true},
		// Build metadata does not count, on either side.
		{"1.2.3-rc+a", "1.2.3-rc+b", true},
		{"1.2.3+a", "1.2.3-a", false},
		{"^1.2.3-rc+a", "1.2.3-rc", true},
		{"^1.2.3+rc", "1.2.4-rc", false},
		{">1.2.3-rc+a", "1.2.3-rc+b", false},
		{">=1.2.3-rc+a <1.2.3+b", "1.2.3-rc.1+c", true},
		{"^1.2.3", "1.2.3+rc.1", true},
	}
}

func TestPrereleaseRule(t *testing.T) {
	t.Parallel()
	for _, tt := range prereleases() {
		v := version(t, tt.version)
		c := constraint(t, tt.in)
		if got := c.Check(v); got != tt.want {
			t.Errorf("%s matches %s: %v, want %v", tt.in, tt.version, got, tt.want)
		}
		if got := c.Mask(NewDomain([]Version{v})).Has(0); got != tt.want {
			t.Errorf("the mask of %s has %s: %v, want %v", tt.in, tt.version, got, tt.want)
		}
	}
}

// An answer is what a tool says of a constraint and a version.
type answer string

const (
	yes     answer = "matches"
	no      answer = "does not match"
	refused answer = "is refused"
)

// A departure is where we and npm differ by design.
type departure struct {
	in, version string
	ours, npm   answer
	why         string
}

// departures are all of them, with the examples that make them clear.
func departures() []departure {
	const (
		unknown  = "npm does not know this way to write it"
		extra    = "npm reads no build metadata after an incomplete version"
		zeros    = "npm refuses leading zeros, Masterminds drops them"
		hyphen   = "npm takes a hyphen range only as a whole group"
		forgets  = "npm forgets all other groups beside one that is *; ours stand for themselves"
		safe     = "npm's numbers end at 2^53-1, ours at 2^64-1"
		rounds   = "npm rounds numbers above 2^53; SemVer 2.0.0 §11.4.1 compares them exactly"
		empty    = "nothing must not mean everything"
		surprise = "Masterminds takes it for something else than it says, so we refuse it"
		dropped  = "npm ignores a pre-release behind a wildcard; we refuse it and suggest another form"
	)
	return []departure{
		// To exclude a pre-release is not to ask for its siblings.
		{"!=1.2.3-alpha", "1.2.3-beta", no, refused, unknown},
		{"!=1.2.3-alpha >=1.2.3-0", "1.2.3-beta", yes, refused, unknown},
		{"!=1.2.3-alpha >=1.2.3-0", "1.2.3-alpha", no, refused, unknown},
		{"!=1.2.x ^1.0.0-rc", "1.0.0-rc", yes, refused, unknown},
		{"!=1.2.3", "2.0.0-rc", no, refused, unknown},
		{">=1.0.0-rc.1, <1.0.0", "1.0.0-rc.2", yes, refused, unknown},
		{">=1.0.0-rc.1,<2.0.0", "2.0.0-rc.1", no, refused, unknown},
		{"=>1.2.3-rc", "1.2.3-rc", yes, refused, unknown},
		{"=<1.2.3-rc", "1.2.2-rc", no, refused, unknown},
		{"1+b", "1.2.3-rc", no, refused, extra},
		{"^1.2+b", "1.2.3", yes, refused, extra},
		{"^01.2.3-rc", "1.2.3-rc", yes, refused, zeros},
		{"1.2.3-rc - 2 <1.9", "1.2.3-rc", yes, refused, hyphen},
		{">3.3.3-rc || *", "3.3.3-rc.2", yes, no, forgets},
		{"0.3.0-beta || x.1", "0.3.0-beta", yes, no, forgets},
		{"<=9007199254740992.0.0", "1.0.0", yes, refused, safe},
		{">=1.0.0-9007199254740993", "1.0.0-9007199254740992", no, yes, rounds},
		{"", "1.2.3", refused, yes, empty},
		{"", "1.2.3-rc", refused, no, empty},
		{" ", "1.2.3", refused, yes, empty},
		{"^1.2.3-rc ||", "1.2.3", refused, yes, empty},
		{"||", "1.2.3", refused, yes, empty},
		{"^*", "1.2.3", refused, yes, surprise},
		{"<=*", "1.2.3", refused, yes, surprise},
		{"<*", "1.2.3", refused, no, surprise},
		{">*", "1.2.3", refused, no, surprise},
		{"~0.0.0", "0.0.5", refused, yes, surprise},
		{"~0.0.0-beta", "0.0.0-rc", refused, yes, surprise},
		{"1.2.x-beta", "1.2.0-rc", refused, no, dropped},
		{">=1.x.x-0", "1.2.0", refused, yes, dropped},
		{"*-rc", "1.2.3-rc", refused, refused, "both refuse a pre-release of nothing"},
		{">=1.2-beta", "1.2.0-rc", refused, refused, "both refuse a pre-release of half a version"},
	}
}

func TestDeparturesFromNpm(t *testing.T) {
	t.Parallel()
	for _, d := range departures() {
		if got := answerOf(d.in, version(t, d.version)); got != d.ours {
			t.Errorf("%q and %s: %s, want: %s", d.in, d.version, got, d.ours)
		}
	}
}

func answerOf(s string, v Version) answer {
	c, err := ParseConstraint(s)
	switch {
	case err != nil:
		return refused
	case c.Check(v):
		return yes
	}
	return no
}
