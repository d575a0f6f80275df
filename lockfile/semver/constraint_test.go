package semver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	masterminds "github.com/Masterminds/semver/v3"
	"pgregory.net/rapid"
)

func constraint(tb testing.TB, s string) Constraint {
	tb.Helper()
	c, err := ParseConstraint(s)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestConstraintSelects(t *testing.T) {
	t.Parallel()
	const all = "0.0.0 0.0.1 0.0.2 0.1.0 0.1.1 0.2.0 1.0.0 1.1.0 1.2.0 1.2.3 1.2.4 1.3.0 2.0.0 2.1.0 3.0.0"
	tests := []struct{ in, want string }{
		{"*", all},
		{"x", all},
		{">=0", all},
		{"=*", all},
		{"~*", all},
		{"1.2.3", "1.2.3"},
		{"v1.2.3", "1.2.3"},
		{"=1.2.3", "1.2.3"},
		{"1.2", "1.2.0 1.2.3 1.2.4"},
		{"1.2.x", "1.2.0 1.2.3 1.2.4"},
		{"1.X.9", "1.0.0 1.1.0 1.2.0 1.2.3 1.2.4 1.3.0"},
		{"^1.2.3", "1.2.3 1.2.4 1.3.0"},
		{"^0.1.0", "0.1.0 0.1.1"},
		{"^0.0.1", "0.0.1"},
		{"^0.0.0", "0.0.0"},
		{"^0.0", "0.0.0 0.0.1 0.0.2"},
		{"^0", "0.0.0 0.0.1 0.0.2 0.1.0 0.1.1 0.2.0"},
		{"~1.2.3", "1.2.3 1.2.4"},
		{"~>1.2", "1.2.0 1.2.3 1.2.4"},
		{"~0.0.1", "0.0.1 0.0.2"},
		{"~0.0", "0.0.0 0.0.1 0.0.2"},
		{"~1", "1.0.0 1.1.0 1.2.0 1.2.3 1.2.4 1.3.0"},
		{">1.2", "1.3.0 2.0.0 2.1.0 3.0.0"},
		{">1", "2.0.0 2.1.0 3.0.0"},
		{"<=1.2", "0.0.0 0.0.1 0.0.2 0.1.0 0.1.1 0.2.0 1.0.0 1.1.0 1.2.0 1.2.3 1.2.4"},
		{"<1.2", "0.0.0 0.0.1 0.0.2 0.1.0 0.1.1 0.2.0 1.0.0 1.1.0"},
		{">=1.2.4 <2", "1.2.4 1.3.0"},
		{">=1.2.4, <2", "1.2.4 1.3.0"},
		{"=>1.2.4,=<1.3.0", "1.2.4 1.3.0"},
		{"1.1 - 1.2", "1.1.0 1.2.0 1.2.3 1.2.4"},
		{"1.1.0 - 1.2.3", "1.1.0 1.2.0 1.2.3"},
		{"^0.1 || ^2", "0.1.0 0.1.1 2.0.0 2.1.0"},
		{"!=1.2.x >=1 <2", "1.0.0 1.1.0 1.3.0"},
		{"!=1.2.3 ~1.2", "1.2.0 1.2.4"},
		{"!=1 !=0", "2.0.0 2.1.0 3.0.0"},
		{">2 <1", ""},
		{"<0", ""},
	}
	vs := versions(t, all)
	for _, tt := range tests {
		c := constraint(t, tt.in)
		var got []string
		for i := range c.Mask(NewDomain(vs)).All() {
			got = append(got, vs[i].String())
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s selects\n got %s\nwant %s", tt.in, s, tt.want)
		}
	}
}

func TestLockedPrereleaseNeedsOnlyTheBounds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, version  string
		check, names bool
		locked       bool
	}{
		{"^1.2", "1.3.0-beta", false, false, true},
		{"^1.2", "2.0.0-beta", false, false, false},
		{"^1.2", "1.2.0-beta", false, false, false},
		{"*", "0.0.0-0", false, false, true},
		{"^1.2.0-0", "1.2.0-beta", true, true, true},
		{"1.2.3", "1.2.3", true, false, true},
	}
	for _, tt := range tests {
		c, v := constraint(t, tt.in), version(t, tt.version)
		if c.Check(v) != tt.check || c.CheckLocked(v) != tt.locked || c.AllowsPrerelease(v) != tt.names {
			t.Errorf("%s and %s: check %v, locked %v, allows pre-release %v", c, v, c.Check(v), c.CheckLocked(v), c.AllowsPrerelease(v))
		}
	}
}

func TestMisleadingConstraintsAreRefused(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, suggestion string }{
		{"", "*"},
		{"  ", "*"},
		{"^*", "*"},
		{"^x", "*"},
		{">*", "*"},
		{"<*", "*"},
		{"<=*", "*"},
		{"!=*", "*"},
		{"> x.1.2", "*"},
		{"~0.0.0", "0.0.x"},
		{"~> 0.0.0", "0.0.x"},
		{"^1.2 || ~0.0.0", "^1.2 || 0.0.x"},
		{">=1 ^*", ">=1 *"},
		{"1.2-beta", "~1.2.0-beta"},
		{"1.2.x-beta.3", "~1.2.0-beta.3"},
		{"=1-rc", "^1.0.0-rc"},
		{"~1.x.4-rc", "^1.0.0-rc"},
		{">=1.2-0 <2", ">=1.2.0-0 <2"},
		{"!=1.2-beta", "!=1.2.0-beta"},
		{"*-beta", "*"},
		{"^x.1.2-beta || ^1", "* || ^1"},
		{"latest", "*"},
		{"==1.2.3", "=1.2.3"},
		{"~=1.2", "~1.2"},
		{">=1 && <2", ">=1 <2"},
		{"^1 | ^2", "^1 || ^2"},
		{"^1 or ^2", "^1 || ^2"},
		{"==*", "=*"},
		{"git+https://example.org", ""},
		{"1.2.3.4", ""},
		{"1,2,", ""},
		{"^^1", ""},
		{strings.Repeat("1", 600), ""},
		{strings.Repeat("1||", 40) + "1", ""},
		{"99999999999999999999", ""},
		{"1.2.3-01", ""},
	}
	for _, tt := range tests {
		c, err := ParseConstraint(tt.in)
		var e *ConstraintError
		if !errors.As(err, &e) {
			t.Errorf("ParseConstraint(%.60q) = %s, %v", tt.in, c, err)
			continue
		}
		if e.Suggestion != tt.suggestion || e.Why == "" || len(e.Error()) > 300 {
			t.Errorf("ParseConstraint(%.60q): %v; want the suggestion %q", tt.in, e, tt.suggestion)
		}
	}
}

func TestNumbersAtTheEndOfTheirRange(t *testing.T) {
	t.Parallel()
	const huge = math.MaxUint64
	v := version(t, fmt.Sprintf("%d.%d.%d", uint64(huge), uint64(huge), uint64(huge)))
	for in, want := range map[string]bool{
		"^%d.0.0": true, "~%d": true, "<=%d": true, ">%d": false, "%d.x": true, ">=%d": true, "!=%d": false, "<%d": false,
	} {
		c := constraint(t, fmt.Sprintf(in, uint64(huge)))
		if c.Check(v) != want {
			t.Errorf("%s matches %s: %v", c, v, !want)
		}
	}
	for _, in := range []string{"<=" + v.String(), "^" + v.String(), "=" + v.String()} {
		if !constraint(t, in).Check(v) {
			t.Errorf("%s does not match", in)
		}
	}
	if constraint(t, ">"+v.String()).Check(v) || constraint(t, "!="+v.String()).Check(v) {
		t.Error("nothing is above the highest version")
	}
}

func TestExactAndCaretReadBack(t *testing.T) {
	t.Parallel()
	gen := rapid.Custom(drawVersion)
	rapid.Check(t, func(t *rapid.T) {
		v, w := gen.Draw(t, "v"), gen.Draw(t, "w")
		for _, c := range []Constraint{Exact(v), Caret(v)} {
			again, err := ParseConstraint(c.String())
			if err != nil {
				t.Fatal(err)
			}
			if !again.Equal(c) || again.Check(w) != c.Check(w) {
				t.Fatalf("%s and itself read back differ on %s", c, w)
			}
		}
		if Exact(v).Check(w) != v.Equal(w) {
			t.Fatalf("%s matches %s: %v", Exact(v), w, Exact(v).Check(w))
		}
	})
}

// operators and parts make texts in and around the grammar.
func drawConstraint(t *rapid.T) string {
	comparator := rapid.Custom(func(t *rapid.T) string {
		op := rapid.SampledFrom([]string{"", "", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^", "^"}).Draw(t, "op")
		return op + rapid.StringMatching(`[ ]?v?(([0-3]|x|\*)(\.([0-3]|x|X))?(\.([0-3]|\*))?|[0-3]\.[0-3]\.[0-3](-(alpha|beta|rc|0)(\.[0-2])?)?(\+b)?)`).Draw(t, "version")
	})
	group := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 5).Draw(t, "hyphen") == 0 {
			return rapid.StringMatching(`[0-3](\.[0-3]){0,2} - [0-3](\.[0-3]){0,2}`).Draw(t, "range")
		}
		cs := rapid.SliceOfN(comparator, 1, 3).Draw(t, "comparators")
		return strings.Join(cs, rapid.SampledFrom([]string{" ", ", ", ","}).Draw(t, "separator"))
	})
	return strings.Join(rapid.SliceOfN(group, 1, 3).Draw(t, "groups"), " || ")
}

// both is a version read by us and by Masterminds.
type both struct {
	Version
	oracle *masterminds.Version
}

// allReleases is every version that the generators above can tell apart.
func allReleases() []both {
	var out []both
	for i := range uint64(5 * 5 * 5) {
		v := Version{major: i / 25, minor: i / 5 % 5, patch: i % 5}
		v.text = fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
		out = append(out, both{v, masterminds.New(v.major, v.minor, v.patch, "", "")})
	}
	return out
}

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// agree holds a constraint against Masterminds on releases, and Mask against
// Check on everything. It returns false if both refuse.
func agree(t fataler, s string, releases []both, others []Version) {
	t.Helper()
	c, err := ParseConstraint(s)
	m, mErr := masterminds.NewConstraint(strings.TrimSpace(s))
	if mErr == nil && err != nil {
		refusalOf(t, s, err)
	}
	if err != nil {
		var e *ConstraintError
		if !errors.As(err, &e) {
			t.Fatalf("%q: error is a %T", s, err)
		}
		if e.Suggestion != "" {
			if _, err := ParseConstraint(e.Suggestion); err != nil {
				t.Fatalf("%q: suggests %v", s, err)
			}
		}
		return
	}
	if mErr != nil {
		t.Fatalf("%q: Masterminds refuses: %v", s, mErr)
	}
	if plain(s) && m.String() != s {
		t.Fatalf("%q is plain, but Masterminds prints %q", s, m)
	}
	all := slices.Clone(others)
	for _, r := range releases {
		v := r.Version
		all = append(all, v)
		if got := c.Check(v); got != m.Check(r.oracle) || got != c.CheckLocked(v) {
			t.Fatalf("%q matches %s: %v, locked %v, Masterminds says %v", s, v, got, c.CheckLocked(v), m.Check(r.oracle))
		}
	}
	slices.SortFunc(all, Version.Compare)
	mask := c.Mask(NewDomain(all))
	for i, v := range all {
		if mask.Has(i) != c.Check(v) {
			t.Fatalf("%q: Mask says %v of %s, Check %v", s, mask.Has(i), v, c.Check(v))
		}
	}
	for _, v := range others {
		if c.Check(v) && !c.CheckLocked(v) {
			t.Fatalf("%q: Check accepts %s, CheckLocked does not", s, v)
		}
		if v.IsPrerelease() && c.Check(v) && !c.AllowsPrerelease(v) {
			t.Fatalf("%q: accepts %s, which nothing names", s, v)
		}
		// npm's and cargo's rule only takes away.
		if w := masterminds.MustParse(v.String()); c.Check(v) && !m.Check(w) && !strings.ContainsAny(s, "xX*") {
			t.Fatalf("%q matches %s, Masterminds does not", s, v)
		}
	}
}

func TestReleasesAgreeWithMasterminds(t *testing.T) {
	t.Parallel()
	releases := allReleases()
	gen := rapid.SliceOfN(rapid.Custom(drawVersion), 0, 10)
	rapid.Check(t, func(t *rapid.T) {
		agree(t, drawConstraint(t), releases, gen.Draw(t, "others"))
	})
}

// TestEveryComparatorAgreesWithMasterminds leaves no form to chance.
func TestEveryComparatorAgreesWithMasterminds(t *testing.T) {
	t.Parallel()
	releases := allReleases()
	for _, op := range []string{"", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^"} {
		for _, a := range []string{"0", "1", "2", "x"} {
			for _, b := range []string{"", ".0", ".1", ".x"} {
				for _, c := range []string{"", ".0", ".2", ".*"} {
					for _, pre := range []string{"", "-beta", "-0", "+b"} {
						if b != "" || c == "" {
							agree(t, op+a+b+c+pre, releases, nil)
						}
					}
				}
			}
		}
	}
}

func FuzzParseConstraint(f *testing.F) {
	for _, s := range []string{
		"^1.2.3", "~>1.2 || 2.x", ">=1, <2 !=1.5.*", "1.2 - 1.4", "^1.2.3-beta.2", "*", "x.|1", "~0.0.0", "v1", "=>1-a+b",
		"1.2.3 - 2.3.4 || =<0", "1 2 3", ">= 1.2.3, < 2", "18446744073709551615",
	} {
		f.Add(s)
	}
	releases := allReleases()
	f.Fuzz(func(t *testing.T, s string) {
		agree(t, s, releases, nil)
	})
}

func BenchmarkParseConstraint(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseConstraint("^1.2.3"); err != nil {
			b.Fatal(err)
		}
	}
}
