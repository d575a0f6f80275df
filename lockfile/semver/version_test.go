package semver

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	masterminds "github.com/Masterminds/semver/v3"
	"pgregory.net/rapid"
)

func version(tb testing.TB, s string) Version {
	tb.Helper()
	v, err := Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func versions(t *testing.T, list string) []Version {
	t.Helper()
	var out []Version
	for s := range strings.FieldsSeq(list) {
		out = append(out, version(t, s))
	}
	return out
}

// order is the example of SemVer 2.0.0 §11 with numbers too large for a
// machine word, ascending.
const order = `0.0.0-0 0.0.0-0.0 0.0.0-a 0.0.0 0.0.1 1.0.0-0 1.0.0-0.0
	1.0.0-99999999999999999999 1.0.0-100000000000000000000
	1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.1.0 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 1.0.0-beta.11
	1.0.0-rc.1 1.0.0 1.0.1-- 1.0.1--1 1.0.1 2.0.0 2.1.0 2.1.1 10.0.0 18446744073709551615.0.0`

func TestOrderOfTheSpecification(t *testing.T) {
	t.Parallel()
	vs := versions(t, order)
	for i, v := range vs {
		for j, w := range vs {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := v.Compare(w); got != want {
				t.Errorf("%s compared with %s = %d, want %d", v, w, got, want)
			}
		}
	}
	if (Version{}).Compare(vs[0]) != -1 || vs[0].Compare(Version{}) != 1 || (Version{}).Compare(Version{}) != 0 {
		t.Error("no version is not lowest")
	}
}

func TestBuildMetadataHasNoPrecedence(t *testing.T) {
	t.Parallel()
	a, b := version(t, "1.2.3+linux"), version(t, "1.2.3+darwin.2")
	if a.Compare(b) != 0 || !a.Equal(b) || a == b {
		t.Errorf("%s and %s: compare %d, equal %v, same %v", a, b, a.Compare(b), a.Equal(b), a == b)
	}
	if a.Core() != "1.2.3" || a.String() != "1.2.3+linux" {
		t.Errorf("Core %q, String %q", a.Core(), a)
	}
	if v := version(t, "1.2.3-rc.1+x-y"); v.Core() != "1.2.3-rc.1" || v.Prerelease() != "rc.1" || !v.SameRelease(a) {
		t.Errorf("%s: core %q, pre-release %q", v, v.Core(), v.Prerelease())
	}
}

func TestVersionsAreStrict(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "1", "1.2", "v1.2.3", "=1.2.3", "1.2.3.4", "01.2.3", "1.02.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b", "1.2.3+",
		"1.2.3 ", " 1.2.3", "1.2.x", "1.2.3-ä", "18446744073709551616.0.0", "1.2.3-" + strings.Repeat("a", 300), "1.2.3\n",
	} {
		if v, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %s", s, v)
		}
	}
}

func TestCompareAgreesWithMasterminds(t *testing.T) {
	t.Parallel()
	gen := rapid.Custom(drawVersion)
	rapid.Check(t, func(t *rapid.T) {
		a, b := gen.Draw(t, "a"), gen.Draw(t, "b")
		want := masterminds.MustParse(a.String()).Compare(masterminds.MustParse(b.String()))
		if got := a.Compare(b); got != want {
			t.Fatalf("%s compared with %s = %d, Masterminds says %d", a, b, got, want)
		}
	})
}

func TestSortIsStableUnderShuffle(t *testing.T) {
	t.Parallel()
	vs := versions(t, order)
	rapid.Check(t, func(t *rapid.T) {
		got := rapid.Permutation(vs).Draw(t, "order")
		slices.SortFunc(got, Version.Compare)
		if !slices.Equal(got, vs) {
			t.Fatalf("sorted to %v", got)
		}
	})
}

// drawVersion draws from few numbers, so that versions meet.
func drawVersion(t *rapid.T) Version {
	s := rapid.StringMatching(`[0-3]\.[0-3]\.[0-3](-(alpha|beta|rc|0|1|10)(\.(0|1|2|x))?)?(\+b[0-9])?`).Draw(t, "version")
	v, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func FuzzParse(f *testing.F) {
	for s := range strings.FieldsSeq(order) {
		f.Add(s)
	}
	f.Add("1.2.3-rc.1+build")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err != nil {
			return
		}
		if v.String() != s || v.IsZero() || v.Compare(v) != 0 {
			t.Fatalf("Parse(%q) = %s", s, v)
		}
		if !Exact(v).Check(v) || !Caret(v).Check(v) {
			t.Fatalf("%s is not matched by %s and %s", v, Exact(v), Caret(v))
		}
		for _, c := range []Constraint{Exact(v), Caret(v)} {
			again, err := ParseConstraint(c.String())
			if err != nil && len(c.String()) < 256 {
				t.Fatalf("ParseConstraint(%q): %v", c, err)
			}
			if err == nil && !reflect.DeepEqual(again, c) {
				t.Fatalf("%s is %v, and %v when read again", c, c, again)
			}
		}
	})
}
