package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

// TestResolveAgreesWithBruteForce compares existence with trying everything and
// with the backtracking search, on registries with optional dependencies, cycles,
// yanked releases, two registries and missing packages; Resolve itself verifies
// what it returns.
func TestResolveAgreesWithBruteForce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, req := drawWorld(t, rt)
		res, err := resolve.Resolve(t.Context(), w, req)
		want := bruteForce(w, req)
		if _, other := resolve.Backtrack(t.Context(), w, req); other == nil != want {
			rt.Fatalf("the oracles disagree: %v, a solution exists: %v", other, want)
		}
		switch {
		case err != nil && !isConflict(err):
			rt.Fatalf("Resolve: %v", err)
		case err == nil != want:
			rt.Fatalf("Resolve = %v, %v; a solution exists: %v", res, err, want)
		case err == nil:
			checkKept(t, rt, w, req, res)
		}
	})
}

// TestResolveAgreesWithBacktracking compares existence where a request uses all
// it can.
func TestResolveAgreesWithBacktracking(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, req := drawWorld(t, rt)
		drawRequest(t, rt, w, &req)
		res, err := resolve.Resolve(t.Context(), w, req)
		other, want := resolve.Backtrack(t.Context(), w, req)
		if err != nil && !isConflict(err) || err == nil != (want == nil) {
			rt.Fatalf("Resolve = %v, %v; by backtracking %v, %v", res, err, other, want)
		}
	})
}

// TestExplanationsHold checks every conflict: the roots named are in conflict
// alone and each is needed for it, every fact is one, and every line follows from
// its premises.
func TestExplanationsHold(t *testing.T) {
	t.Parallel()
	longest, conflicts := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		w, req := drawWorld(t, rt)
		drawRequest(t, rt, w, &req)
		_, err := resolve.Resolve(t.Context(), w, req)
		if err == nil {
			return
		}
		err = resolve.Explain(t.Context(), err)
		c, ok := errors.AsType[*resolve.ConflictError](err)
		if !ok {
			rt.Fatalf("Explain: %v", err)
		}
		longest, conflicts = max(longest, len(c.Lines)), conflicts+1
		text := strings.Join(append([]string{c.Sentence}, c.Lines...), "\n")
		if err := c.Check(); err != nil {
			rt.Fatalf("%s\n%v", text, err)
		}
		checkCore(t.Context(), rt, w, req, c.Roots, text)
	})
	t.Logf("%d conflicts, at most %d lines", conflicts, longest)
}

// checkCore checks that roots alone have no solution, and one if any is left out.
func checkCore(ctx context.Context, rt *rapid.T, w *world, req resolve.Request, roots []int, text string) {
	for without := -1; without < len(roots); without++ {
		part := req
		part.Roots = nil
		for i, r := range roots {
			if i != without {
				part.Roots = append(part.Roots, req.Roots[r])
			}
		}
		if _, err := resolve.Backtrack(ctx, w, part); err == nil != (without >= 0) {
			rt.Fatalf("%s\nroots %v without the %d. of them: %v", text, roots, without+1, err)
		}
	}
}

// TestResolveHeedsOnlyWhatMatters changes what must not matter.
func TestResolveHeedsOnlyWhatMatters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, req := drawWorld(t, rt)
		drawRequest(t, rt, w, &req)
		want := answer(t.Context(), w, req)
		for what, change := range map[string]func(*world, *resolve.Request){
			"nothing":            func(*world, *resolve.Request) {},
			"the order of roots": func(_ *world, r *resolve.Request) { slices.Reverse(r.Roots) },
			"unrelated packages": func(w *world, _ *resolve.Request) { w.add(t, "aaa 1.0.0", "a *;zzz *"); w.add(t, "zzz 1.0.0", "e *") },
			"the order of what a release needs": func(w *world, _ *resolve.Request) {
				for _, p := range w.packages {
					for i := range p.Releases {
						slices.Reverse(p.Releases[i].Deps)
					}
				}
			},
		} {
			w2, req2 := clone(w), req
			req2.Roots = slices.Clone(req.Roots)
			change(w2, &req2)
			if got := answer(t.Context(), w2, req2); got != want {
				rt.Fatalf("with another %s: %s, was %s", what, got, want)
			}
		}
		w2, req2 := renamed(w, req)
		if got := strings.ReplaceAll(answer(t.Context(), w2, req2), "n-", ""); got != want {
			rt.Fatalf("renamed: %s, was %s", got, want)
		}
	})
}

// TestResolveNeedsLessForLess takes a dependency away: what had a solution has
// one still.
func TestResolveNeedsLessForLess(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w, req := drawWorld(t, rt)
		if _, err := resolve.Resolve(t.Context(), w, req); err != nil || len(req.Roots) == 0 {
			return
		}
		less := req
		less.Roots = slices.Delete(slices.Clone(req.Roots), 0, 1)
		if _, err := resolve.Resolve(t.Context(), w, less); err != nil {
			rt.Fatalf("without its first root: %v", err)
		}
		for _, p := range w.packages {
			for i := range p.Releases {
				if n := len(p.Releases[i].Deps); n > 0 {
					w2 := clone(w)
					r := &w2.packages[p.Key].Releases[i]
					r.Deps = r.Deps[:n-1]
					if _, err := resolve.Resolve(t.Context(), w2, req); err != nil {
						rt.Fatalf("%s %s without its last dependency: %v", p.Name, r.Version, err)
					}
				}
			}
		}
	})
}

// answer is a result, or that there is none.
func answer(ctx context.Context, w *world, req resolve.Request) string {
	res, err := resolve.Resolve(ctx, w, req)
	if err != nil {
		return err.Error()
	}
	return show(res)
}

// clone copies a world, but for the constraints.
func clone(w *world) *world {
	out := newWorld()
	for k, p := range w.packages {
		q := *p
		q.Releases = slices.Clone(p.Releases)
		for i := range q.Releases {
			q.Releases[i].Deps = slices.Clone(q.Releases[i].Deps)
		}
		out.packages[k] = &q
	}
	return out
}

// renamed puts "n-" before every name.
func renamed(w *world, req resolve.Request) (*world, resolve.Request) {
	key := func(k resolve.Key) resolve.Key { return resolve.Key{Registry: k.Registry, Name: "n-" + k.Name} }
	list := func(ds []resolve.Dep) []resolve.Dep {
		out := slices.Clone(ds)
		for i := range out {
			out[i].Key = key(out[i].Key)
		}
		return out
	}
	out := newWorld()
	for k, p := range clone(w).packages {
		p.Key = key(k)
		for i := range p.Releases {
			p.Releases[i].Deps = list(p.Releases[i].Deps)
		}
		out.packages[p.Key] = p
	}
	again := req
	again.Roots = list(req.Roots)
	again.Overrides, again.Free = make(map[name.Name]semver.Constraint), make(map[name.Name]bool)
	for n, c := range req.Overrides {
		again.Overrides["n-"+n] = c
	}
	for n := range req.Free {
		again.Free["n-"+n] = true
	}
	again.Locked = make(map[resolve.Key]semver.Version)
	for k, v := range req.Locked {
		again.Locked[key(k)] = v
	}
	return out, again
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
	_, ok := errors.AsType[*resolve.ConflictError](err)
	return ok
}

// drawWorld draws a small registry, and a request of it.
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

// drawRequest draws the rest of a request.
func drawRequest(t *testing.T, rt *rapid.T, w *world, req *resolve.Request) {
	t.Helper()
	req.Strategy = rapid.SampledFrom([]resolve.Strategy{resolve.Highest, resolve.Lowest, resolve.LowestDirect}).Draw(rt, "strategy")
	names := []name.Name{"a", "b", "c", "d", "e"}
	if rapid.Bool().Draw(rt, "override") {
		lo := rapid.IntRange(1, 3).Draw(rt, "least")
		req.Overrides = map[name.Name]semver.Constraint{
			rapid.SampledFrom(names).Draw(rt, "overridden"): constraint(t, fmt.Sprintf(">=%d.0.0", lo)),
		}
	}
	req.Locked = make(map[resolve.Key]semver.Version)
	for _, n := range names {
		if rapid.IntRange(0, 2).Draw(rt, "locked") == 0 {
			req.Locked[key(string(n))] = version(t, fmt.Sprintf("%d.0.0", rapid.IntRange(1, 4).Draw(rt, "version")))
		}
	}
	if rapid.Bool().Draw(rt, "free") {
		req.Free = map[name.Name]bool{rapid.SampledFrom(names).Draw(rt, "freed"): true}
	}
	if rapid.Bool().Draw(rt, "age") {
		req.MinAge, req.Now = time.Hour, time.Unix(10_000, 0)
		for _, n := range names {
			for i := range w.packages[key(string(n))].Releases {
				if rapid.IntRange(0, 3).Draw(rt, "young") == 0 {
					w.packages[key(string(n))].Releases[i].T = 9_000
				}
			}
		}
	}
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
