package resolve_test

import (
	"context"
	"fmt"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

// shelf is the smallest Catalog: what it holds, of one registry.
type shelf map[name.Name]*resolve.Package

// Package implements resolve.Catalog.
func (s shelf) Package(_ context.Context, k resolve.Key) (*resolve.Package, error) {
	if p := s[k.Name]; p != nil {
		return p, nil
	}
	return nil, &resolve.NotFoundError{Key: k}
}

// Prefetch implements resolve.Catalog.
func (s shelf) Prefetch(context.Context, []resolve.Key) error { return nil }

func Example() {
	parse := func(s string) semver.Version {
		v, err := semver.Parse(s)
		if err != nil {
			panic(err)
		}
		return v
	}
	pad := resolve.Key{Registry: "main", Name: "left-pad"}
	there := shelf{"left-pad": {Key: pad, Releases: []resolve.Release{{Version: parse("1.2.0")}, {Version: parse("1.3.0")}, {Version: parse("2.0.0")}}}}

	req := resolve.Request{Roots: []resolve.Dep{{Key: pad, Constraint: semver.Caret(parse("1.0.0")), From: "pkg.toml"}}}
	res, err := resolve.Resolve(context.Background(), there, req)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range res.Packages {
		fmt.Println(p.Name, p.Release.Version)
	}

	req.Roots[0].Constraint = semver.Caret(parse("3.0.0"))
	_, err = resolve.Resolve(context.Background(), there, req)
	fmt.Println(resolve.Explain(context.Background(), err))
	// Output:
	// left-pad 1.3.0
	// pkg.toml needs left-pad ^3.0.0, but 3 versions exist, from 1.2.0 to 2.0.0
}
