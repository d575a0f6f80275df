package semver

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	masterminds "github.com/Masterminds/semver/v3"
	"pgregory.net/rapid"
)

// A domain is all versions of one package, read by us and by Masterminds.
type domain struct {
	Domain
	oracle []*masterminds.Version
}

// newDomain is a package of 5,000 releases: a long time before 1.0.0, majors
// with many minors and patches, then dates and numbers at the edges of machine
// words.
func newDomain(tb testing.TB) domain {
	tb.Helper()
	var d domain
	add := func(major, minor, patch uint64) {
		s := fmt.Sprintf("%d.%d.%d", major, minor, patch)
		d.sorted = append(d.sorted, version(tb, s))
		d.oracle = append(d.oracle, masterminds.MustParse(s))
	}
	for i := range uint64(40) {
		add(0, 0, i)
	}
	for i := range uint64(1000) {
		add(0, 1+i/25, i%25)
	}
	for i := range uint64(3600) {
		add(1+i/600, i/20%30, i%20)
	}
	for i := range uint64(256) {
		add(20240101+i/16*100, i/4%4, i%4)
	}
	edges := []uint64{0, math.MaxUint32, math.MaxInt64, math.MaxUint64}
	for i := range uint64(104) {
		major := []uint64{math.MaxUint32, 1 << 32, 1 << 53, math.MaxInt64, 1 << 63, math.MaxUint64 - 1, math.MaxUint64}[i/16]
		add(major, edges[i/4%4], edges[i%4])
	}
	return d.prepared(tb)
}

// newNightlies is a package of 5,000 versions, 3,750 of them pre-releases.
func newNightlies(tb testing.TB) domain {
	tb.Helper()
	var d domain
	for i := range 1250 {
		s := fmt.Sprintf("%d.%d.%d", i/250, i/10%25, i%10)
		for _, pre := range []string{"-alpha.2", "-alpha.10", "-rc.1", ""} {
			d.sorted = append(d.sorted, version(tb, s+pre))
			d.oracle = append(d.oracle, masterminds.MustParse(s+pre))
		}
	}
	return d.prepared(tb)
}

func (d domain) prepared(tb testing.TB) domain {
	tb.Helper()
	if len(d.sorted) != 5000 || !slices.IsSortedFunc(d.sorted, Version.Compare) {
		tb.Fatalf("%d versions", len(d.sorted))
	}
	d.Domain = NewDomain(d.sorted)
	return d
}

// drawWide is drawConstraint with numbers that fall on, between and beyond
// those of newDomain.
func drawWide(t *rapid.T) string {
	number := rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{
			"0", "0", "0", "1", "1", "2", "3", "4", "5", "6", "7", "12", "19", "20", "24", "25", "29", "30", "39", "40", "41",
			"20240101", "20240601", "4294967295", "4294967296", "9007199254740993", "9223372036854775808",
			"18446744073709551614", "18446744073709551615",
		}).Draw(t, "number")
	})
	dotted := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(number, 1, 3).Draw(t, "numbers"), ".")
	})
	comparator := rapid.Custom(func(t *rapid.T) string {
		op := rapid.SampledFrom([]string{"", "=", "!=", ">", "<", ">=", "=>", "<=", "=<", "~", "~>", "^", "^", "^"}).Draw(t, "op")
		s := dotted.Draw(t, "version")
		switch strings.Count(s, ".") {
		case 0:
			s += rapid.SampledFrom([]string{"", ".x", ".*.*", "+b"}).Draw(t, "rest")
		case 1:
			s += rapid.SampledFrom([]string{"", ".x", ".*", "+b"}).Draw(t, "rest")
		case 2:
			s += rapid.SampledFrom([]string{"", "", "-beta", "-0", "-rc.1+b", "+b"}).Draw(t, "rest")
		}
		return op + rapid.SampledFrom([]string{"", "", " ", "v"}).Draw(t, "gap") + s
	})
	group := rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 7).Draw(t, "form") {
		case 0:
			return dotted.Draw(t, "from") + " - " + dotted.Draw(t, "to")
		case 1:
			return "*"
		}
		cs := rapid.SliceOfN(comparator, 1, 3).Draw(t, "comparators")
		return strings.Join(cs, rapid.SampledFrom([]string{" ", ", ", ","}).Draw(t, "separator"))
	})
	return strings.Join(rapid.SliceOfN(group, 1, 3).Draw(t, "groups"), rapid.SampledFrom([]string{" || ", "||"}).Draw(t, "or"))
}

// maskAgrees holds the mask of a text against Masterminds' Check of every
// version. A text that only we refuse must be one of the refusals.
func maskAgrees(t fataler, s string, d domain) {
	t.Helper()
	c, err := ParseConstraint(s)
	m, mErr := masterminds.NewConstraint(strings.TrimSpace(s))
	switch {
	case err == nil && mErr != nil:
		t.Fatalf("%q: Masterminds refuses: %v", s, mErr)
	case err != nil && mErr == nil:
		refusalOf(t, s, err)
		return
	case err != nil:
		return
	}
	mask := c.Mask(d.Domain)
	for i, v := range d.oracle {
		if mask.Has(i) != m.Check(v) {
			t.Fatalf("%q: the mask has %s: %v, Masterminds' Check says %v", s, v, mask.Has(i), m.Check(v))
		}
	}
	if mask.Has(-1) || len(mask) != len(NewSet(len(d.sorted))) || !mask.SubsetOf(FullSet(len(d.sorted))) {
		t.Fatalf("%q: the mask has more than the versions", s)
	}
}

// A refusal is a kind of text that Masterminds accepts and we do not.
type refusal struct {
	in    string                            // an example
	why   string                            // in the words of the error
	takes func(v *masterminds.Version) bool // the releases that Masterminds takes it to mean
}

// refusals are all of them.
func refusals() []refusal {
	first := func(v *masterminds.Version) bool { return v.String() == "0.0.0" }
	every := func(*masterminds.Version) bool { return true }
	return []refusal{
		{"^*", "matches only 0.0.0", first},
		{">*", "matches only versions above 0.0.0", func(v *masterminds.Version) bool { return !first(v) }},
		{"<*", "matches nothing", func(*masterminds.Version) bool { return false }},
		{"<=*", "matches only 0.0.x", func(v *masterminds.Version) bool { return v.Major() == 0 && v.Minor() == 0 }},
		{"!=*", "matches everything but 0.0.0", func(v *masterminds.Version) bool { return !first(v) }},
		{"~0.0.0", "matches every version", every},
		{"!=1.2-beta", "has a pre-release without three numbers before it", every},
	}
}

// refusalOf fails unless an error is one of the refusals.
func refusalOf(t fataler, s string, err error) {
	t.Helper()
	if !slices.ContainsFunc(refusals(), func(r refusal) bool { return strings.Contains(err.Error(), r.why) }) {
		t.Fatalf("%q: Masterminds accepts it, and we refuse for a reason that is not listed: %v", s, err)
	}
}

func TestRefusalsMatchOtherThanTheySay(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	for _, r := range refusals() {
		if _, err := ParseConstraint(r.in); err == nil || !strings.Contains(err.Error(), r.why) {
			t.Errorf("ParseConstraint(%q): %v, want: %s", r.in, err, r.why)
		}
		m, err := masterminds.NewConstraint(r.in)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range d.oracle {
			if m.Check(v) != r.takes(v) {
				t.Fatalf("%q: Masterminds says %v of %s", r.in, m.Check(v), v)
			}
		}
	}
}

func TestMaskOf5000ReleasesAgreesWithMasterminds(t *testing.T) {
	t.Parallel()
	d := newDomain(t)
	for _, s := range maskForms() {
		maskAgrees(t, s, d)
	}
	rapid.Check(t, func(t *rapid.T) {
		maskAgrees(t, drawWide(t), d)
	})
}

func FuzzMask(f *testing.F) {
	for _, s := range maskForms() {
		f.Add(s)
	}
	for _, s := range []string{
		"^1.2.3-beta.2 || ~0.9, !=0.9.4", "1.2 - 1.4", "0.0 - 18446744073709551615", ">=20240101 <20240601", "!=1 !=2.3 !=3.4.5",
		"^0.0.39||^0.40||~6.29.19", "=<6.29.19,=>6.29", "v1.X.*", "^18446744073709551615.18446744073709551615.18446744073709551615",
		"!=18446744073709551615", ">9007199254740992.4294967295", "01.02.03 - 2", "~0.0.0", "1.2-beta", "18446744073709551616",
		strings.Repeat("^1 || ", 31) + "^1", strings.Repeat("!=1.2.3 ", 15) + "1",
	} {
		f.Add(s)
	}
	d := newDomain(f)
	f.Fuzz(func(t *testing.T, s string) {
		maskAgrees(t, s, d)
	})
}

// TestMaskOfNightliesAgreesWithCheck leaves pre-releases to Check, which the
// tables of the pre-release rule hold.
func TestMaskOfNightliesAgreesWithCheck(t *testing.T) {
	t.Parallel()
	d := newNightlies(t)
	check := func(t fataler, s string) {
		c, err := ParseConstraint(s)
		if err != nil {
			return
		}
		mask := c.Mask(d.Domain)
		for i, v := range d.sorted {
			if mask.Has(i) != c.Check(v) {
				t.Fatalf("%q: the mask has %s: %v, Check says %v", s, v, mask.Has(i), c.Check(v))
			}
		}
	}
	for _, s := range append(maskForms(), "^0.0.0-0", ">=1.0.0-alpha.3 !=1.0.0-rc.1", "<5.0.0-0", ">=4.24.9-rc.1", "~2.9.9-a || ~2.9.9-rc.1") {
		check(t, s)
	}
	rapid.Check(t, func(t *rapid.T) { check(t, drawConstraint(t)) })
}

func TestReleasesAreWhatTheZeroConstraintLeavesOpen(t *testing.T) {
	t.Parallel()
	d := NewDomain(versions(t, order))
	got := d.Releases()
	for i := range d.Len() {
		if got.Has(i) == d.sorted[i].IsPrerelease() {
			t.Errorf("%s is a release: %v", d.sorted[i], got.Has(i))
		}
	}
	got.Remove(got.Max())
	if got.Equal(d.Releases()) {
		t.Error("the caller does not own the releases")
	}
	if none := (Domain{}); none.Len() != 0 || len(none.Releases()) != 0 || len(constraint(t, "*").Mask(none)) != 0 {
		t.Error("the zero domain holds something")
	}
}

// TestMaskLeavesOutPrereleases mixes pre-releases into the releases, so that
// groups of a mask meet and overlap around them.
func TestMaskLeavesOutPrereleases(t *testing.T) {
	t.Parallel()
	gen := rapid.SliceOfN(rapid.Custom(drawVersion), 0, 300)
	rapid.Check(t, func(t *rapid.T) {
		vs := gen.Draw(t, "versions")
		slices.SortStableFunc(vs, Version.Compare)
		c, err := ParseConstraint(drawConstraint(t))
		if err != nil {
			return
		}
		mask := c.Mask(NewDomain(vs))
		for i, v := range vs {
			if mask.Has(i) != c.Check(v) {
				t.Fatalf("%s: the mask has %s: %v, Check says %v", c, v, mask.Has(i), c.Check(v))
			}
		}
	})
}

func TestHostileConstraints(t *testing.T) {
	t.Parallel()
	const huge = "18446744073709551616"
	for _, tt := range []struct{ in, why string }{
		{strings.Repeat("^1 || ", 40) + "^1", "more than 32 groups"},
		{strings.Repeat("||", 200), "more than 32 groups"},
		{strings.Repeat("|", 1<<20), "more than 512 bytes"},
		{strings.Repeat("^1 ", 1<<20), "more than 512 bytes"},
		{strings.Repeat("9", 1<<20), "more than 512 bytes"},
		{">=1.2.3-" + strings.Repeat("a", 300), "a version of more than 256 bytes"},
		{huge, huge + " is above 18446744073709551615, the highest number"},
		{"^1.2." + huge + "-rc", huge + " is above"},
		{">=1,<v1." + huge, huge + " is above"},
		{"1 - " + huge, huge + " is above"},
		{"^" + strings.Repeat("9", 400), "more than 256 bytes"},
		{"^" + strings.Repeat("9", 200), "999999999999999999999999 is above"},
		{strings.Repeat(" ", 1<<20), "it is empty"},
		{"\x00", "not a version constraint"},
		{"^1.2.3-\xff", "not a version constraint"},
		{"^1 ||", "not a version constraint"},
		{"|| ^1", "not a version constraint"},
	} {
		c, err := ParseConstraint(tt.in)
		if err == nil || !strings.Contains(err.Error(), tt.why) || len(err.Error()) > 512 {
			t.Errorf("ParseConstraint(%.40q) = %.40s, %.300v; want: %s", tt.in, c, err, tt.why)
		}
	}
}

func TestLargestConstraintsAreAccepted(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		strings.Repeat("* || ", 31) + "*",
		strings.Repeat("!=1.2.3 ", 63) + "!=1.2.3",
		strings.Repeat("^1,", 170) + "^1",
		"^1.2.3-99999999999999999999999999999999999999999999999",
		"1.2.3-" + strings.Repeat("a", 250),
		"18446744073709551615.18446744073709551615.18446744073709551615",
		strings.Repeat("0", 200) + "1.2.3",
	} {
		if _, err := ParseConstraint(in); err != nil {
			t.Error(err)
		}
	}
}

// TestPlainTexts keeps the short way from becoming the long one; agree holds it
// against Masterminds.
func TestPlainTexts(t *testing.T) {
	t.Parallel()
	for _, s := range maskForms() {
		if !plain(s) {
			t.Errorf("%q is not plain", s)
		}
	}
	for _, s := range []string{
		"", " ", "1  2", "^1||^2", "|| 1", "1 ||", "1 || || 2", "1 - 2", "1,2", "v1", "=>1", "~>1", "==1", "1.2.x", "1.2.3.4", "1.",
		".1", "01", "1.2.3+b", "1.2-beta", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3-ä", "-", "^", "18446744073709551616",
		strings.Repeat("* || ", 32) + "*", strings.Repeat("1 ", 130) + "1",
	} {
		if plain(s) {
			t.Errorf("%q is plain", s)
		}
	}
}

// maskForms are the constraints that packages are published with, the usual
// ones first.
func maskForms() []string {
	return []string{
		"^2.3.0", "~4.1.2", "1.2.3", ">=1.2.3 <4.0.0", "^2.3.0 || ^3.0.0", "^0.12.4", ">=2.0.0-rc.1 <3", "3", ">=1.2", "*", "!=1.2.3",
	}
}

// BenchmarkMask reads a constraint, compiles it and selects among 5,000
// releases, and says how much longer Masterminds' Check of each release takes,
// without any parsing. The first is all forms together. What selects nearly
// everything gains least: Masterminds builds no error there. The last are forms
// that meet pre-releases.
func BenchmarkMask(b *testing.B) {
	bench := func(name string, d domain, forms ...string) {
		b.Run(name, func(b *testing.B) {
			check := timeChecks(b, forms, d)
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range forms {
					c, err := ParseConstraint(s)
					if err != nil {
						b.Fatal(err)
					}
					c.Mask(d.Domain)
				}
			}
			b.ReportMetric(float64(check)*float64(b.N)/float64(b.Elapsed()), "x-faster")
		})
	}
	d := newDomain(b)
	bench("all", d, maskForms()...)
	for _, s := range maskForms() {
		bench(s, d, s)
	}
	d = newNightlies(b)
	for _, s := range []string{"*", "^2.3.0", "^2.3.0-alpha.5", "!=1.2.3-rc.1"} {
		bench("nightlies "+s, d, s)
	}
}

// BenchmarkNewDomain is what BenchmarkMask leaves out: once for a package.
func BenchmarkNewDomain(b *testing.B) {
	sorted := newDomain(b).sorted
	b.ReportAllocs()
	for b.Loop() {
		NewDomain(sorted)
	}
}

// timeChecks returns how long Masterminds takes to check all versions against
// all constraints.
func timeChecks(b *testing.B, forms []string, d domain) time.Duration {
	b.Helper()
	var constraints []*masterminds.Constraints
	for _, s := range forms {
		c, err := masterminds.NewConstraint(s)
		if err != nil {
			b.Fatal(err)
		}
		constraints = append(constraints, c)
	}
	const passes = 20
	begin := time.Now()
	for range passes {
		for _, c := range constraints {
			for _, v := range d.oracle {
				c.Check(v)
			}
		}
	}
	return time.Since(begin) / passes
}
