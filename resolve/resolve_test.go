package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pkg/keys"
	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

// TestResolveChooses says which versions are chosen, rule by rule.
func TestResolveChooses(t *testing.T) {
	t.Parallel()
	const plain = `
		a 1.0.0: c ^1
		a 1.1.0: c ^1
		a 2.0.0: c ^2
		b 1.0.0: c ^1
		b 1.2.0: c ^1.1
		c 1.0.0:
		c 1.1.0:
		c 2.0.0:
		p 1.0.0:
		p 1.1.0-rc.1:
		p 1.1.0-rc.2:
		peer 1.0.0: ?c <2; a *
		self 1.0.0: self ^1
		self 1.1.0: self ^2
		x 1.0.0: y *
		y 1.0.0: x *
	`
	for _, tc := range []struct {
		rule, roots, want string
		change            func(*world, *resolve.Request)
	}{
		{rule: "the highest version that fits", roots: "a *", want: "a 2.0.0, c 2.0.0"},
		{rule: "a lower version where the highest does not go with the rest", roots: "a *; b *", want: "a 1.1.0, b 1.2.0, c 1.1.0"},
		{rule: "nothing needed, nothing chosen", roots: "", want: ""},
		{rule: "the lowest versions", roots: "a ^1; b ^1", want: "a 1.0.0, b 1.0.0, c 1.0.0", change: func(_ *world, r *resolve.Request) { r.Strategy = resolve.Lowest }},
		{rule: "the lowest direct and the highest other versions", roots: "a ^1; b ^1", want: "a 1.0.0, b 1.0.0, c 1.1.0", change: func(_ *world, r *resolve.Request) { r.Strategy = resolve.LowestDirect }},
		{rule: "a locked version is kept", roots: "a ^1", want: "a 1.0.0, c 1.0.0", change: lock("a 1.0.0", "c 1.0.0")},
		{rule: "a locked version that does not fit is not kept", roots: "a ^2", want: "a 2.0.0, c 2.0.0", change: lock("a 1.0.0", "c 1.0.0")},
		{rule: "a freed name moves, the others stay", roots: "a ^1", want: "a 1.1.0, c 1.0.0", change: func(w *world, r *resolve.Request) {
			lock("a 1.0.0", "c 1.0.0")(w, r)
			r.Free = map[name.Name]bool{"a": true}
		}},
		{rule: "no pre-release unless asked for", roots: "p *", want: "p 1.0.0"},
		{rule: "a pre-release of the version named", roots: "p ^1.1.0-rc.1", want: "p 1.1.0-rc.2"},
		{rule: "a pre-release in the lock", roots: "p >=1.0.0", want: "p 1.1.0-rc.1", change: lock("p 1.1.0-rc.1")},
		{rule: "a yanked release is passed over", roots: "a *", want: "a 1.1.0, c 1.1.0", change: yank("a 2.0.0")},
		{rule: "a yanked release in the lock stays", roots: "a *", want: "a 2.0.0, c 2.0.0", change: func(w *world, r *resolve.Request) {
			yank("a 2.0.0")(w, r)
			lock("a 2.0.0")(w, r)
		}},
		{rule: "a yanked release that is admitted is the last choice", roots: "a *", want: "a 1.1.0, c 1.1.0", change: func(w *world, r *resolve.Request) {
			yank("a 2.0.0")(w, r)
			admit("a 2.0.0")(w, r)
		}},
		{rule: "where nothing else fits it is chosen", roots: "a ^2", want: "a 2.0.0, c 2.0.0", change: func(w *world, r *resolve.Request) {
			yank("a 2.0.0")(w, r)
			admit("a 2.0.0")(w, r)
		}},
		{rule: "what is admitted and can be chosen anyway is not preferred", roots: "a ^1; c *", want: "a 1.1.0, c 1.1.0", change: admit("a 1.0.0", "c 1.0.0")},
		{rule: "a pre-release that is admitted", roots: "p >=1.0.1", want: "p 1.1.0-rc.1", change: admit("p 1.1.0-rc.1")},
		{rule: "a release too young is passed over", roots: "c *", want: "c 1.1.0", change: func(w *world, r *resolve.Request) {
			release(w, "c 2.0.0").T = 1000
			r.MinAge, r.Now = time.Hour, time.Unix(2000, 0)
			release(w, "c 1.1.0").T = -5000
			release(w, "c 1.0.0").T = -5000
		}},
		{rule: "an override replaces every constraint", roots: "a ^2; b ^1.2", want: "a 2.0.0, b 1.2.0, c 1.0.0", change: func(_ *world, r *resolve.Request) {
			r.Overrides = map[name.Name]semver.Constraint{"c": constraint(t, "1.0.0")}
		}},
		{rule: "an optional dependency constrains what is present", roots: "peer *", want: "a 1.1.0, c 1.1.0, peer 1.0.0"},
		{rule: "an optional dependency brings nothing", roots: "?a *; b *", want: "b 1.2.0, c 1.1.0"},
		{rule: "a cycle is no conflict", roots: "x *", want: "x 1.0.0, y 1.0.0"},
		{rule: "a release that needs another version of itself never fits", roots: "self *", want: "self 1.0.0"},
		{rule: "no constraint admits every release", roots: "p", want: "p 1.0.0"},
		{rule: "a removed package stays where it is locked", roots: "c *", want: "c 1.0.0", change: func(w *world, r *resolve.Request) {
			w.packages[key("c")].Status = resolve.Removed
			lock("c 1.0.0")(w, r)
		}},
		{rule: "a path dependency stands in for its name everywhere", roots: "a ^1", want: "a 1.1.0, c 1.0.5", change: func(_ *world, r *resolve.Request) {
			r.Paths = map[name.Name]resolve.Release{"c": {Version: version(t, "1.0.5"), Path: "../c"}}
		}},
		{rule: "a path dependency without a version fits everything", roots: "a ^1", want: "a 1.1.0, b 1.2.0, c ", change: func(_ *world, r *resolve.Request) {
			r.Paths = map[name.Name]resolve.Release{"c": {Path: "../c", Deps: deps(t, "b *")}}
		}},
		{rule: "one registry's package where both would do", roots: "m:q *; a *", want: "a 2.0.0, c 2.0.0, m:q 1.0.0", change: func(w *world, _ *resolve.Request) {
			w.add(t, "m:q 1.0.0", "")
			w.add(t, "m:q 2.0.0", "m:a *")
			w.add(t, "m:a 1.0.0", "")
		}},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			t.Parallel()
			w := parseWorld(t, plain)
			req := resolve.Request{Roots: deps(t, tc.roots)}
			if tc.change != nil {
				tc.change(w, &req)
			}
			res, err := resolve.Resolve(t.Context(), w, req)
			if err != nil {
				t.Fatalf("Resolve(%q): %v", tc.roots, err)
			}
			if got := show(res); got != tc.want {
				t.Errorf("Resolve(%q) = %s, want %s", tc.roots, got, tc.want)
			}
			for k, n := range w.asked {
				if n > 1 {
					t.Errorf("%s was asked for %d times", k.Name, n)
				}
			}
		})
	}
}

func lock(rows ...string) func(*world, *resolve.Request) {
	return func(_ *world, r *resolve.Request) {
		r.Locked = make(map[resolve.Key]semver.Version)
		for _, row := range rows {
			n, v, _ := strings.Cut(row, " ")
			r.Locked[key(n)], _ = semver.Parse(v)
		}
	}
}

func admit(rows ...string) func(*world, *resolve.Request) {
	return func(w *world, r *resolve.Request) {
		lock(rows...)(w, r)
		r.Admit, r.Locked = r.Locked, nil
	}
}

func yank(row string) func(*world, *resolve.Request) {
	return func(w *world, _ *resolve.Request) { release(w, row).Yanked = "it burns" }
}

func release(w *world, row string) *resolve.Release {
	n, v, _ := strings.Cut(row, " ")
	for i := range w.packages[key(n)].Releases {
		if r := &w.packages[key(n)].Releases[i]; r.Version.String() == v {
			return r
		}
	}
	return nil
}

func TestResolveStopsAtAnotherOwner(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "a 1.0.0:")
	for what, req := range map[string]resolve.Request{
		"than the lock says": {Roots: deps(t, "a *"), Known: map[resolve.Key]resolve.Identity{key("a"): {ID: [32]byte{1}, Author: "did:key:b"}}},
		"than the pin says":  {Roots: []resolve.Dep{{Key: key("a"), Author: "did:key:b"}}},
	} {
		_, err := resolve.Resolve(t.Context(), w, req)
		err = resolve.Explain(t.Context(), err)
		var te *keys.TrustError
		if !errors.As(err, &te) || te.Ours != "did:key:b" || te.Theirs != "did:key:a" {
			t.Errorf("another owner %s: %v, want a trust failure with both keys", what, err)
		}
	}
}

func TestResolveEndsAtWhatTheCatalogCannotTell(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "a 1.0.0: b *\na 0.9.0:")
	un := &resolve.UnavailableError{Key: key("b")}
	w.fails[key("b")] = un
	_, err := resolve.Resolve(t.Context(), w, resolve.Request{Roots: deps(t, "a *")})
	if !errors.Is(err, error(un)) {
		t.Errorf("online: %v, want %v", err, un)
	}
	res, err := resolve.Resolve(t.Context(), w, resolve.Request{Roots: deps(t, "a *"), Offline: true})
	if err != nil || show(res) != "a 0.9.0" {
		t.Errorf("offline: %v, %v; want what can be had with what is at hand: a 0.9.0", res, err)
	}
}

func TestResolveGivesUpAtItsBudget(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "a 1.0.0: c ^1\na 1.1.0: c ^1\nb 1.0.0: c ^2\nb 1.1.0: c ^2\nc 1.0.0:\nc 2.0.0:")
	_, err := resolve.Resolve(t.Context(), w, resolve.Request{Roots: deps(t, "a *; b *"), Budget: 1})
	var be *resolve.BudgetError
	if !errors.As(err, &be) || be.Conflicts != 1 {
		t.Errorf("Resolve = %v, want to give up after 1 conflict", err)
	}
}

func TestResolveHeedsItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := resolve.Resolve(ctx, chain(t, 1000), resolve.Request{Roots: deps(t, "p0 *")})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve = %v, want %v", err, context.Canceled)
	}
}

// chain is a registry in which each package needs the next.
func chain(tb testing.TB, n int) *world {
	tb.Helper()
	w := newWorld()
	any, v := constraint(tb, "*"), version(tb, "1.0.0")
	for i := range n {
		p := &resolve.Package{Key: key(fmt.Sprintf("p%d", i)), Releases: []resolve.Release{{Version: v}}}
		if i+1 < n {
			p.Releases[0].Deps = []resolve.Dep{{Key: key(fmt.Sprintf("p%d", i+1)), Constraint: any}}
		}
		w.packages[p.Key] = p
	}
	return w
}

// TestResolveDeepGraphs finds a stack that grows with the depth of a graph.
func TestResolveDeepGraphs(t *testing.T) {
	t.Parallel()
	n := 100_000
	if slow || testing.Short() {
		n = 10_000
	}
	res, err := resolve.Resolve(t.Context(), chain(t, n), resolve.Request{Roots: deps(t, "p0 *")})
	if err != nil || len(res.Packages) != n {
		t.Fatalf("a chain of %d packages: %v", n, err)
	}
}

// realistic is a registry of n packages with a few to many versions. Releases
// depend on what was current when they were made or somewhat older: caret ranges
// mostly, a few that keep to a minor version.
func realistic(tb testing.TB, n int) *world {
	tb.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	counts := make([]int, n)
	for i := range counts {
		counts[i] = 1 + rnd.IntN(20)
	}
	w := newWorld()
	parsed := make(map[string]semver.Constraint)
	for i := range n {
		p := &resolve.Package{Key: key(fmt.Sprintf("p%d", i))}
		w.packages[p.Key] = p
		for v := range counts[i] {
			r := resolve.Release{Version: version(tb, fmt.Sprintf("1.%d.0", v))}
			need := func(j int) {
				current := v * counts[j] / counts[i]
				op, least := "^", rnd.IntN(current+1)
				if rnd.IntN(1000) < 5 {
					op, least = "~", current
				}
				text := fmt.Sprintf("%s1.%d.0", op, least)
				if parsed[text].IsZero() {
					parsed[text] = constraint(tb, text)
				}
				r.Deps = append(r.Deps, resolve.Dep{Key: key(fmt.Sprintf("p%d", j)), Constraint: parsed[text]})
			}
			for range rnd.IntN(6) {
				if i+1 < n {
					need(min(n-1, i+1+rnd.IntN(1+(n-i)/3)))
				}
			}
			if i+1 < n {
				need(i + 1)
			}
			p.Releases = append(p.Releases, r)
		}
	}
	return w
}

func TestResolveLargeTrees(t *testing.T) {
	t.Parallel()
	res, err := resolve.Resolve(t.Context(), realistic(t, 2000), resolve.Request{Roots: deps(t, "p0 *")})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Packages) != 2000 {
		t.Errorf("%d packages, want 2000", len(res.Packages))
	}
}

func BenchmarkResolve2000(b *testing.B) {
	w := realistic(b, 2000)
	req := resolve.Request{Roots: deps(b, "p0 *")}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := resolve.Resolve(b.Context(), w, req); err != nil {
			b.Fatal(err)
		}
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "a 1.0.0: m:b *; c *\nm:b 1.0.0: main:d *\nd 1.0.0:\nunused 1.0.0:")
	req := resolve.Request{
		Roots: deps(t, "a *"),
		Paths: map[name.Name]resolve.Release{"c": {Version: version(t, "0.1.0"), Path: "../c", Deps: deps(t, "d *")}},
	}
	res, err := resolve.Resolve(t.Context(), w, req)
	if err != nil {
		t.Fatal(err)
	}
	l := resolve.Lock(res, lockfile.Registry{Name: "other", ID: "x"}, lockfile.Registry{Name: "default", ID: "main"}, lockfile.Registry{Name: "mine", ID: "m"})
	var got []string
	for _, g := range l.Registries {
		got = append(got, g.Name)
	}
	for _, p := range l.Packages {
		got = append(got, fmt.Sprintf("%s/%s %s %v %s", p.Registry, p.Name, p.Version, p.Dependencies, p.Path))
	}
	want := []string{
		"default", "mine",
		"default/a 1.0.0 [:c mine:b] ", "mine/b 1.0.0 [default:d] ", "/c 0.1.0 [default:d] ../c", "default/d 1.0.0 [] ",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Lock (-want +got):\n%s", d)
	}
	for _, p := range l.Packages {
		for _, e := range p.Dependencies {
			from, n := p.Edge(e)
			if to, ok := l.Get(n); !ok || to.Registry != from || p.EdgeTo(from, n) != e {
				t.Errorf("%s has the edge %q, which leads to no row", p.Name, e)
			}
		}
	}
	var again resolve.Request
	again.Keep(l)
	if len(again.Locked) != 3 || again.Locked[key("m:b")].String() != "1.0.0" {
		t.Errorf("Keep took %v of %v", again.Locked, got)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	w := parseWorld(t, "a 1.0.0: b ^1\nb 1.0.0:\nb 2.0.0:\nc 1.0.0:")
	req := resolve.Request{Roots: deps(t, "a *")}
	sel := func(n, v string, edges ...string) resolve.Selected {
		s := resolve.Selected{Key: key(n), Release: *release(w, n+" "+v)}
		for _, e := range edges {
			s.Edges = append(s.Edges, key(e))
		}
		return s
	}
	yanked := sel("b", "1.0.0")
	yanked.Release.Yanked = "bad"
	for what, packages := range map[string][]resolve.Selected{
		"a dependency that is missing":  {sel("a", "1.0.0", "b")},
		"a root that is missing":        {},
		"a version that does not fit":   {sel("a", "1.0.0", "b"), sel("b", "2.0.0")},
		"a package nobody needs":        {sel("a", "1.0.0", "b"), sel("b", "1.0.0"), sel("c", "1.0.0")},
		"a package that is there twice": {sel("a", "1.0.0", "b"), sel("b", "1.0.0"), sel("b", "1.0.0")},
		"a yanked release":              {sel("a", "1.0.0", "b"), yanked},
		"an edge that is missing":       {sel("a", "1.0.0"), sel("b", "1.0.0")},
		"an edge that is no dependency": {sel("a", "1.0.0", "b"), sel("b", "1.0.0", "a")},
	} {
		if err := resolve.Verify(&resolve.Result{Packages: packages}, req); err == nil {
			t.Errorf("Verify accepts %s", what)
		}
	}
	good := []resolve.Selected{sel("a", "1.0.0", "b"), sel("b", "1.0.0")}
	if err := resolve.Verify(&resolve.Result{Packages: good}, req); err != nil {
		t.Errorf("Verify refuses a solution: %v", err)
	}
}
