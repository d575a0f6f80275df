package resolve_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

// world is a Catalog in memory.
type world struct {
	packages map[resolve.Key]*resolve.Package
	fails    map[resolve.Key]error
	asked    map[resolve.Key]int
}

func newWorld() *world {
	return &world{
		packages: make(map[resolve.Key]*resolve.Package),
		fails:    make(map[resolve.Key]error),
		asked:    make(map[resolve.Key]int),
	}
}

func (w *world) Package(_ context.Context, k resolve.Key) (*resolve.Package, error) {
	w.asked[k]++
	if err := w.fails[k]; err != nil {
		return nil, err
	}
	if p := w.packages[k]; p != nil {
		return p, nil
	}
	return nil, &resolve.NotFoundError{Key: k, Origin: k.Registry}
}

func (w *world) Prefetch(context.Context, []resolve.Key) error { return nil }

// key reads "name" or "registry:name"; the registry is "main" if not given.
func key(s string) resolve.Key {
	if g, n, ok := strings.Cut(s, ":"); ok {
		return resolve.Key{Registry: g, Name: name.Name(n)}
	}
	return resolve.Key{Registry: "main", Name: name.Name(s)}
}

// dep reads "name constraint", or "?name constraint" for an optional one.
func dep(tb testing.TB, s string) resolve.Dep {
	tb.Helper()
	s, optional := strings.CutPrefix(s, "?")
	n, c, _ := strings.Cut(s, " ")
	d := resolve.Dep{Key: key(n), Optional: optional}
	if c != "" {
		d.Constraint = constraint(tb, c)
	}
	return d
}

func deps(tb testing.TB, list string) []resolve.Dep {
	tb.Helper()
	var out []resolve.Dep
	for s := range strings.SplitSeq(list, ";") {
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, dep(tb, s))
		}
	}
	return out
}

func constraint(tb testing.TB, s string) semver.Constraint {
	tb.Helper()
	c, err := semver.ParseConstraint(s)
	if err != nil {
		tb.Fatalf("constraint %q: %v", s, err)
	}
	return c
}

func version(tb testing.TB, s string) semver.Version {
	tb.Helper()
	v, err := semver.Parse(s)
	if err != nil {
		tb.Fatalf("version %q: %v", s, err)
	}
	return v
}

// add adds a release: "name version", with dependencies separated by ";".
func (w *world) add(tb testing.TB, release, dependencies string) *resolve.Release {
	tb.Helper()
	n, v, _ := strings.Cut(release, " ")
	k := key(n)
	p := w.packages[k]
	if p == nil {
		p = &resolve.Package{Key: k, Author: "did:key:a"}
		w.packages[k] = p
	}
	r := resolve.Release{Version: version(tb, v), Deps: deps(tb, dependencies), Author: p.Author}
	at, _ := slices.BinarySearchFunc(p.Releases, r, func(a, b resolve.Release) int { return a.Version.Compare(b.Version) })
	p.Releases = slices.Insert(p.Releases, at, r)
	return &p.Releases[at]
}

// parseWorld reads lines "name version: dep; dep".
func parseWorld(tb testing.TB, text string) *world {
	tb.Helper()
	w := newWorld()
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			rel, ds, ok := cutLast(line)
			if !ok {
				tb.Fatalf("bad line %q", line)
			}
			w.add(tb, rel, ds)
		}
	}
	return w
}

// cutLast cuts at the ": " or final ":" that ends the release.
func cutLast(line string) (string, string, bool) {
	if rel, ok := strings.CutSuffix(line, ":"); ok {
		return rel, "", true
	}
	return strings.Cut(line, ": ")
}

// show writes a result as "a 1.0.0, b 2.0.0".
func show(res *resolve.Result) string {
	var out []string
	for _, p := range res.Packages {
		s := string(p.Name)
		if p.Registry != "main" && p.Registry != "" {
			s = p.Registry + ":" + s
		}
		out = append(out, s+" "+p.Release.Version.String())
	}
	return strings.Join(out, ", ")
}

// graph is a registry in the text format of the shared corpus.
type graph struct {
	*world
	labels map[string][]string // by name and rank
	names  []string
}

// exactly is a dependency on the version of a rank.
func (g *graph) exactly(p string, rank int) resolve.Dep {
	k := key(p)
	return resolve.Dep{Key: k, Constraint: semver.Exact(g.packages[k].Releases[rank].Version), From: "pkg.toml"}
}

// parseGraph reads the format: "P name n", "V label", "D name lo-hi,lo-hi". The
// version of rank r is r+1.0.0.
func parseGraph(tb testing.TB, b []byte) *graph {
	tb.Helper()
	g := &graph{world: newWorld(), labels: make(map[string][]string)}
	keys, constraints := make(map[string]resolve.Key), make(map[string][]semver.Constraint)
	var versions []semver.Version
	intern := func(n string) resolve.Key {
		k, ok := keys[n]
		if !ok {
			n = strings.Clone(n)
			k = key(n)
			keys[n] = k
		}
		return k
	}
	var p *resolve.Package
	for line := range strings.Lines(string(b)) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, arg, _ := strings.Cut(rest, " ")
		switch kind {
		case "P":
			p = &resolve.Package{Key: intern(n)}
			g.packages[p.Key] = p
			g.names = append(g.names, string(p.Name))
		case "V":
			rank := len(p.Releases)
			if rank == len(versions) {
				versions = append(versions, version(tb, fmt.Sprintf("%d.0.0", rank+1)))
			}
			g.labels[string(p.Name)] = append(g.labels[string(p.Name)], rest)
			p.Releases = append(p.Releases, resolve.Release{Version: versions[rank]})
		case "D":
			cs, ok := constraints[arg]
			if !ok {
				cs = ranges(tb, arg)
				constraints[strings.Clone(arg)] = cs
			}
			r := &p.Releases[len(p.Releases)-1]
			for _, c := range cs {
				r.Deps = append(r.Deps, resolve.Dep{Key: intern(n), Constraint: c})
			}
		default:
			tb.Fatalf("bad line %q", line)
		}
	}
	return g
}

// ranges writes ranges of ranks as constraints that hold together: the outer
// bounds, and one for each gap, for a union may be longer than a constraint.
func ranges(tb testing.TB, s string) []semver.Constraint {
	tb.Helper()
	if strings.TrimSpace(s) == "" {
		return []semver.Constraint{constraint(tb, "<1.0.0")}
	}
	var out []semver.Constraint
	first, last := -1, 0
	for r := range strings.SplitSeq(s, ",") {
		var lo, hi int
		if _, err := fmt.Sscanf(r, "%d-%d", &lo, &hi); err != nil {
			tb.Fatalf("bad range %q: %v", r, err)
		}
		if first < 0 {
			first = lo
		} else {
			out = append(out, constraint(tb, fmt.Sprintf("<%d.0.0 || >=%d.0.0", last+1, lo+1)))
		}
		last = hi
	}
	return append(out, constraint(tb, fmt.Sprintf(">=%d.0.0 <%d.0.0", first+1, last+1)))
}
