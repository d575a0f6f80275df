package pubgrub

import (
	"context"
	"fmt"
)

// Verify checks that choices, in ascending order of packages, answer a query:
// every choice exists and is not excluded, every root and every dependency of a
// choice is met, and nothing is chosen that nobody needs. It asks the registry
// once more and shares nothing with the search.
func Verify(ctx context.Context, reg Registry, roots []Dep, choices []Choice) error {
	v := verifier{ctx: ctx, reg: reg, versions: make(map[int32]int32, len(choices)), needed: make(map[int32]bool, len(choices))}
	for i, c := range choices {
		if i > 0 && choices[i-1].Pkg >= c.Pkg {
			return fmt.Errorf("package %d comes after package %d", c.Pkg, choices[i-1].Pkg)
		}
		if err := v.exists(c); err != nil {
			return err
		}
		v.versions[c.Pkg] = c.Version
	}
	if err := v.met("the query", roots); err != nil {
		return err
	}
	for len(v.queue) > 0 {
		p := v.queue[len(v.queue)-1]
		v.queue = v.queue[:len(v.queue)-1]
		deps, err := reg.Deps(ctx, p, v.versions[p])
		if err != nil {
			return err
		}
		if err := v.met(fmt.Sprintf("package %d", p), deps); err != nil {
			return err
		}
	}
	for _, c := range choices {
		if !v.needed[c.Pkg] {
			return fmt.Errorf("nothing needs package %d", c.Pkg)
		}
	}
	return nil
}

// verifier walks a solution from its roots.
type verifier struct {
	ctx      context.Context // of one Verify
	reg      Registry
	versions map[int32]int32
	needed   map[int32]bool
	queue    []int32 // needed, with dependencies not yet looked at
}

// exists checks what holds of a choice whoever needs it.
func (v *verifier) exists(c Choice) error {
	pk, err := v.reg.Package(v.ctx, c.Pkg)
	if err != nil {
		return err
	}
	if c.Version < 0 || c.Version >= pk.N {
		return fmt.Errorf("package %d has no version %d", c.Pkg, c.Version)
	}
	for _, e := range pk.Excluded {
		if member(e.Versions, c.Version) {
			return fmt.Errorf("version %d of package %d is excluded", c.Version, c.Pkg)
		}
	}
	return nil
}

// met checks that dependencies are met and notes what they need.
func (v *verifier) met(who string, deps []Dep) error {
	for _, d := range deps {
		got, ok := v.versions[d.Pkg]
		switch {
		case !ok && d.Optional:
			continue
		case !ok:
			return fmt.Errorf("%s needs package %d, which is not chosen", who, d.Pkg)
		case !member(v.reg.Allowed(d.Pkg, d.Range), got):
			return fmt.Errorf("%s does not allow version %d of package %d", who, got, d.Pkg)
		}
		if !d.Optional && !v.needed[d.Pkg] {
			v.needed[d.Pkg] = true
			v.queue = append(v.queue, d.Pkg)
		}
	}
	return nil
}

// member reports whether v is in a set of any length.
func member(set []uint64, v int32) bool {
	return int(v/64) < len(set) && set[v/64]>>(v%64)&1 == 1
}
