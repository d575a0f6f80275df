package cmd

import (
	"errors"
	"slices"
	"testing"

	"pkg/keys"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

func TestPackagesOfALockSatisfyEachOther(t *testing.T) {
	t.Parallel()
	const idA, idB = "bafyA", "bafyB"
	for _, c := range []struct {
		rule     string
		to       lockfile.Package // what the lock holds of base
		edge     string           // to it, of row a
		dep      resolve.Dep
		override string
		want     []string
		distrust bool
	}{
		{
			rule: "within the bounds", to: lockfile.Package{Version: version(t, "1.2.0"), Registry: "one"}, edge: "base",
			dep: resolve.Dep{Key: resolve.Key{Registry: idA}, Constraint: constraint(t, "^1")},
		},
		{
			rule: "out of bounds", to: lockfile.Package{Version: version(t, "2.0.0"), Registry: "one"}, edge: "base",
			dep:  resolve.Dep{Key: resolve.Key{Registry: idA}, Constraint: constraint(t, "^1")},
			want: []string{"a 1.0.0 needs base ^1, not 2.0.0"},
		},
		{
			rule: "a locked pre-release within the bounds", to: lockfile.Package{Version: version(t, "1.2.0-rc.1"), Registry: "one"}, edge: "base",
			dep: resolve.Dep{Key: resolve.Key{Registry: idA}, Constraint: constraint(t, "^1")},
		},
		{
			rule: "an override replaces the bounds", to: lockfile.Package{Version: version(t, "2.0.0"), Registry: "one"}, edge: "base",
			dep: resolve.Dep{Key: resolve.Key{Registry: idA}, Constraint: constraint(t, "^1")}, override: "2.0.0",
		},
		{
			rule: "an override replaces no registry", to: lockfile.Package{Version: version(t, "2.0.0"), Registry: "one"}, edge: "base",
			dep: resolve.Dep{Key: resolve.Key{Registry: idB}, Constraint: constraint(t, "^1")}, override: "2.0.0", distrust: true,
		},
		{
			rule: "a path stands in for every package", to: lockfile.Package{Version: version(t, "7.0.0"), Path: "../base"}, edge: ":base",
			dep: resolve.Dep{Key: resolve.Key{Registry: idB}, Constraint: constraint(t, "^1")},
		},
		{
			rule: "another registry, by id", to: lockfile.Package{Version: version(t, "1.0.0"), Registry: "two"}, edge: "two:base",
			dep: resolve.Dep{Key: resolve.Key{Registry: "bafyC"}, Constraint: constraint(t, "^1")}, distrust: true,
		},
		{
			rule: "the registry that the release names", to: lockfile.Package{Version: version(t, "1.0.0"), Registry: "two"}, edge: "two:base",
			dep: resolve.Dep{Key: resolve.Key{Registry: idB}, Constraint: constraint(t, "^1")},
		},
		{
			rule: "an optional one that is there constrains", to: lockfile.Package{Version: version(t, "2.0.0"), Registry: "one"},
			dep:  resolve.Dep{Key: resolve.Key{Registry: idA}, Constraint: constraint(t, "^1"), Optional: true},
			want: []string{"a 1.0.0 needs base ^1, not 2.0.0"},
		},
		{
			rule: "an optional one is not meant by its name alone", to: lockfile.Package{Version: version(t, "2.0.0"), Registry: "two"},
			dep: resolve.Dep{Key: resolve.Key{Registry: idA}, Constraint: constraint(t, "^1"), Optional: true},
		},
		{
			rule: "an optional one that the row takes from elsewhere", to: lockfile.Package{Version: version(t, "1.0.0"), Registry: "two"}, edge: "two:base",
			dep: resolve.Dep{Key: resolve.Key{Registry: idA}, Constraint: constraint(t, "^1"), Optional: true}, distrust: true,
		},
	} {
		c.to.Name, c.dep.Name = "base", "base"
		row := lockfile.Package{Name: "a", Version: version(t, "1.0.0"), Registry: "one"}
		if c.edge != "" {
			row.Dependencies = []string{c.edge}
		}
		l := &lockfile.Lock{Registries: []lockfile.Registry{{Name: "one", ID: idA}, {Name: "two", ID: idB}}, Packages: []lockfile.Package{row, c.to}}
		m := &manifest.Manifest{}
		if c.override != "" {
			m.Overrides = map[name.Name]manifest.Override{"base": {Constraint: constraint(t, c.override)}}
		}
		got, err := newFit(l, m).misfits(&row, &resolve.Release{Version: row.Version, Deps: []resolve.Dep{c.dep}})
		_, distrusted := errors.AsType[*keys.TrustError](err)
		if distrusted != c.distrust || !distrusted && err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v, want %q, distrust %v", c.rule, got, err, c.want, c.distrust)
		}
	}
}

func version(tb testing.TB, s string) semver.Version {
	tb.Helper()
	v, err := semver.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func constraint(tb testing.TB, s string) semver.Constraint {
	tb.Helper()
	c, err := semver.ParseConstraint(s)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
