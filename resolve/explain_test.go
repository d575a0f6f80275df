package resolve_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

var update = flag.Bool("update", false, "write the screens of testdata/conflicts anew")

// TestConflictScreens shows what people read where there is no solution. Each
// file of testdata/conflicts is a situation: its comment says what to look at,
// world is what exists, request what is asked for, screen what is said.
func TestConflictScreens(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/conflicts/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d situations, %v; want at least 20", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			a, err := txtar.ParseFile(file)
			if err != nil || len(a.Files) != 3 {
				t.Fatalf("%d sections, %v", len(a.Files), err)
			}
			w, req := situation(t, string(a.Files[0].Data), string(a.Files[1].Data))
			got := screen(t, w, req)
			if *update {
				a.Files[2].Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(a), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(a.Files[2].Data), got); d != "" {
				t.Errorf("screen (-want +got):\n%s", d)
			}
		})
	}
}

// screen resolves and explains.
func screen(t *testing.T, w *world, req resolve.Request) string {
	t.Helper()
	res, err := resolve.Resolve(t.Context(), w, req)
	if err == nil {
		t.Fatalf("there is a solution: %s", show(res))
	}
	err = resolve.Explain(t.Context(), err)
	c, ok := errors.AsType[*resolve.ConflictError](err)
	if !ok {
		return err.Error() + "\n"
	}
	out := []string{c.Sentence}
	out = append(out, c.Lines...)
	out = append(out, c.Notes...)
	return strings.Join(out, "\n  ") + "\n"
}

// situation reads a world and a request. A line of the world is "name version:
// dependencies ! state", where state is yanked, broken, young or removed (the
// whole package). A line of the request is a root, or a word and its argument:
// override, offline, away (a package that cannot be looked up), near (names like
// one that is not there), path, author.
func situation(t *testing.T, world, request string) (*world, resolve.Request) {
	t.Helper()
	w := newWorld()
	for line := range strings.Lines(world) {
		line, state, _ := strings.Cut(strings.TrimSpace(line), " ! ")
		rel, ds, ok := cutLast(strings.TrimSpace(line))
		if !ok {
			t.Fatalf("bad line %q", line)
		}
		r := w.add(t, rel, ds)
		switch what, why, _ := strings.Cut(state, " "); what {
		case "yanked":
			r.Yanked = why
		case "broken":
			r.Broken = why
		case "young":
			r.T = now().Unix() - 3600
		case "removed":
			n, _, _ := strings.Cut(rel, " ")
			w.packages[key(n)].Status = resolve.Removed
		}
	}
	req := resolve.Request{Now: now()}
	for line := range strings.Lines(request) {
		line = strings.TrimSpace(line)
		word, rest, _ := strings.Cut(line, " ")
		n, arg, _ := strings.Cut(rest, " ")
		switch word {
		case "need":
			d := dep(t, rest)
			d.From = "pkg.toml"
			req.Roots = append(req.Roots, d)
		case "author":
			d := dep(t, n+" *")
			d.From, d.Author = "pkg.toml", name.Author(arg)
			req.Roots = append(req.Roots, d)
		case "override":
			if req.Overrides == nil {
				req.Overrides = make(map[name.Name]semver.Constraint)
			}
			arg, why, _ := strings.Cut(arg, " because ")
			req.Overrides[name.Name(n)] = constraint(t, arg)
			req.Reasons = map[name.Name]string{name.Name(n): why}
		case "path":
			req.Paths = map[name.Name]resolve.Release{name.Name(n): {Version: version(t, arg), Path: "../" + n}}
		case "min-age":
			age, err := time.ParseDuration(n)
			if err != nil {
				t.Fatal(err)
			}
			req.MinAge = age
		case "offline":
			req.Offline = true
		case "away":
			w.fails[key(n)] = &resolve.UnavailableError{Key: key(n), Offline: true}
		case "near":
			w.fails[key(n)] = &resolve.NotFoundError{Key: key(n), Origin: "main", Near: strings.Fields(arg)}
		default:
			t.Fatalf("bad line %q", line)
		}
	}
	return w, req
}

func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
