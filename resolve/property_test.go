package resolve_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pkg/lockfile/semver"
	"pkg/resolve"
)

// TestResolveAgreesWithBruteForce compares existence with trying everything, on
// registries with optional dependencies, cycles, yanked releases, two registries
// and missing packages; Resolve itself verifies what it returns.
func TestResolveAgreesWithBruteForce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, req := drawWorld(t, rt)
		res, err := resolve.Resolve(t.Context(), w, req)
		want := bruteForce(w, req)
		switch {
		case err != nil && !isConflict(err):
			rt.Fatalf("Resolve: %v", err)
		case err == nil != want:
			rt.Fatalf("Resolve = %v, %v; a solution exists: %v", res, err, want)
		case err == nil:
			again, err := resolve.Resolve(t.Context(), w, req)
			if err != nil || show(again) != show(res) {
				rt.Fatalf("second answer %v, %v; first %s", again, err, show(res))
			}
			checkKept(t, rt, w, req, res)
		}
	})
}

// checkKept solves again with the answer as the lock, from the other end.
func checkKept(t *testing.T, rt *rapid.T, w *world, req resolve.Request, res *resolve.Result) {
	t.Helper()
	kept := req
	kept.Strategy = resolve.Lowest
	kept.Locked = make(map[resolve.Key]semver.Version)
	for _, p := range res.Packages {
		kept.Locked[p.Key] = p.Release.Version
	}
	again, err := resolve.Resolve(t.Context(), w, kept)
	if err != nil || show(again) != show(res) {
		rt.Fatalf("a lock that satisfies is changed: %v, %v; want %s", again, err, show(res))
	}
}

func isConflict(err error) bool {
	var c *resolve.ConflictError
	var n *resolve.NotFoundError
	return errors.As(err, &c) || errors.As(err, &n)
}

func drawWorld(t *testing.T, rt *rapid.T) (*world, resolve.Request) {
	t.Helper()
	w := newWorld()
	names := []string{"a", "b", "c", "d", "e", "x:a", "gone"}
	drawDeps := func(what string) string {
		var out []string
		for range rapid.IntRange(0, 3).Draw(rt, what+" deps") {
			n := rapid.SampledFrom(names).Draw(rt, "dep")
			if rapid.IntRange(0, 4).Draw(rt, "optional") == 0 {
				n = "?" + n
			}
			lo := rapid.IntRange(1, 4).Draw(rt, "lo")
			hi := rapid.IntRange(lo, 5).Draw(rt, "hi")
			out = append(out, fmt.Sprintf("%s >=%d.0.0 <%d.0.0", n, lo, hi))
		}
		return strings.Join(out, ";")
	}
	for _, n := range names[:6] {
		for v := range rapid.IntRange(1, 4).Draw(rt, n+" versions") {
			r := w.add(t, fmt.Sprintf("%s %d.0.0", n, v+1), drawDeps(n))
			if rapid.IntRange(0, 9).Draw(rt, "yanked") == 0 {
				r.Yanked = "bad"
			}
		}
	}
	return w, resolve.Request{Roots: deps(t, drawDeps("root"))}
}

// bruteForce tries every set of releases.
func bruteForce(w *world, req resolve.Request) bool {
	var ks []resolve.Key
	for k := range w.packages {
		ks = append(ks, k)
	}
	slices.SortFunc(ks, func(a, b resolve.Key) int {
		return strings.Compare(a.Registry+string(a.Name), b.Registry+string(b.Name))
	})
	chosen := make(map[resolve.Key]*resolve.Release)
	met := func(ds []resolve.Dep) bool {
		for _, d := range ds {
			r := chosen[d.Key]
			if r == nil && !d.Optional || r != nil && !d.Constraint.Check(r.Version) {
				return false
			}
		}
		return true
	}
	ok := func() bool {
		if chosen[key("a")] != nil && chosen[key("x:a")] != nil || !met(req.Roots) {
			return false
		}
		for _, r := range chosen {
			if r != nil && !met(r.Deps) {
				return false
			}
		}
		return true
	}
	var try func(i int) bool
	try = func(i int) bool {
		if i == len(ks) {
			return ok()
		}
		chosen[ks[i]] = nil
		if try(i + 1) {
			return true
		}
		for j := range w.packages[ks[i]].Releases {
			if r := &w.packages[ks[i]].Releases[j]; r.Yanked == "" {
				chosen[ks[i]] = r
				if try(i + 1) {
					return true
				}
			}
		}
		chosen[ks[i]] = nil
		return false
	}
	return try(0)
}
