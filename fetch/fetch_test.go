package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"

	"pkg/fetch"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

func newStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustName(t *testing.T, s string) name.Name {
	t.Helper()
	n, err := name.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// seed publishes packages into a store of its own, and locks them. Each has a command of its last name element.
func seed(t *testing.T, names ...string) (*swarm.Dir, *lockfile.Lock) {
	t.Helper()
	s := newStore(t)
	b := s.Batch()
	l := &lockfile.Lock{Registries: []lockfile.Registry{{Name: "main"}}}
	v, err := semver.Parse("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		cmd := n[strings.LastIndex(n, "/")+1:]
		var files []tree.File
		for path, content := range map[string]string{
			"pkg.toml":  fmt.Sprintf("[package]\nname = %q\nversion = \"1.2.3\"\n\n[bin]\n%s = \"run.sh\"\n", n, cmd),
			"run.sh":    "#!/bin/sh\necho " + n + "\n",
			"data/blob": strings.Repeat(n, 300_000),
		} {
			files = append(files, tree.File{Path: path, Size: int64(len(content)), Exec: path == "run.sh", Open: func() (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader(content)), nil
			}})
		}
		var pack bytes.Buffer
		sum, err := tree.Pack(t.Context(), files, tree.Default(), &pack)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), sum.Root, &pack); err != nil {
			t.Fatal(err)
		}
		l.Packages = append(l.Packages, lockfile.Package{Name: mustName(t, n), Version: v, Registry: "main", Root: sum.Root, Size: sum.Size})
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &swarm.Dir{Store: s}, l
}

func TestPlanFetchLinkAndAgain(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a", "b", "scope/c")
	s, project := newStore(t), t.TempDir()
	p := fetch.NewPlan(l, nil, s)
	if len(p.Want) != 3 || p.Have != 0 {
		t.Fatalf("plan %+v", p)
	}
	if some := fetch.NewPlan(l, func(n name.Name) bool { return n == "a" }, s); len(some.Want) != 1 {
		t.Errorf("plan of one: %+v", some)
	}
	if _, err := fetch.Link(t.Context(), project, l, s, fetch.LinkOptions{}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("linking before fetching: %v, want ErrNotFound", err)
	}
	var last fetch.Event
	r, err := fetch.Fetch(t.Context(), p, s, []swarm.Source{src}, func(e fetch.Event) { last = e })
	if err != nil || r.Packages != 3 || r.Bytes == 0 || r.BySource[src.Name()] != r.Bytes || len(r.Dropped) != 0 {
		t.Fatalf("report %+v, %v", r, err)
	}
	if last.Kind != "package" || last.Done != 3 || last.Of != 3 || last.Bytes != last.Total {
		t.Errorf("last event %+v", last)
	}
	if p := fetch.NewPlan(l, nil, s); len(p.Want) != 0 || p.Have != 3 {
		t.Errorf("plan after fetching %+v", p)
	}
	o := fetch.LinkOptions{Direct: func(n name.Name) bool { return n != "b" }}
	for i, want := range []fetch.LinkReport{{Linked: 3}, {Kept: 3}} {
		got, err := fetch.Link(t.Context(), project, l, s, o)
		if err != nil || got.Linked != want.Linked || got.Kept != want.Kept || strings.Join(got.Bins, " ") != "a c" {
			t.Errorf("run %d: %+v, %v", i+1, got, err)
		}
	}
	b, err := os.ReadFile(filepath.Join(project, "pkg_modules", "scope", "c", "run.sh"))
	if err != nil || string(b) != "#!/bin/sh\necho scope/c\n" {
		t.Errorf("%q, %v", b, err)
	}
	if projects, err := s.Recorded(); err != nil || len(projects) != 1 || len(projects[0].Roots) != 3 {
		t.Errorf("recorded %v, %v", projects, err)
	}
}

func TestClashOfCommandsNamesBothPackages(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a", "scope/a")
	s := newStore(t)
	if _, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{src}, nil); err != nil {
		t.Fatal(err)
	}
	var clash *fetch.ClashError
	_, err := fetch.Link(t.Context(), t.TempDir(), l, s, fetch.LinkOptions{Direct: func(name.Name) bool { return true }})
	if !errors.As(err, &clash) || clash.A != "a" || clash.B != "scope/a" {
		t.Errorf("got %v", err)
	}
}

// liar sends what it was asked for, but for one byte in the middle of each pack.
type liar struct{ swarm.Source }

func (liar) Name() string { return "liar" }

func (l liar) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	return l.Source.Content(ctx, r, func(w swarm.Want, size int64, pack io.Reader) error {
		b, err := io.ReadAll(pack)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		return each(w, size, bytes.NewReader(b))
	})
}

// turns lets first have its say before the second source gives anything, in one session.
func turns(first, second swarm.Source) []swarm.Source {
	done := make(chan struct{})
	return []swarm.Source{
		turn{Source: first, done: sync.OnceFunc(func() { close(done) })},
		turn{Source: second, after: done, done: func() {}},
	}
}

type turn struct {
	swarm.Source
	after chan struct{} // waited for, if there is one
	done  func()        // called at the end
}

func (s turn) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	defer s.done()
	if s.after != nil {
		select {
		case <-s.after:
		case <-ctx.Done():
		}
	}
	return s.Source.Content(ctx, r, each)
}

func TestLiarIsReportedAndHonestSourceServes(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a", "b")
	s := newStore(t)
	var dropped string
	r, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, turns(liar{src}, src), func(e fetch.Event) {
		if e.Kind == "dropped" {
			dropped = e.Source
		}
	})
	if err != nil || r.Packages != 2 || r.Dropped["liar"] == "" || dropped != "liar" {
		t.Errorf("report %+v, %v, dropped %q", r, err, dropped)
	}
	s = newStore(t)
	_, err = fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{liar{src}}, nil)
	var missing *swarm.MissingError
	if !errors.As(err, &missing) || s.Has(l.Packages[0].Root) {
		t.Errorf("from a liar alone: %v", err)
	}
}

func TestLockThatLiesAboutSizeIsRefused(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a")
	l.Packages[0].Size++
	s := newStore(t)
	var size *fetch.SizeError
	if _, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{src}, nil); !errors.As(err, &size) {
		t.Errorf("got %v, want a SizeError", err)
	}
}

func TestWhatArrivedBeforeAnErrorIsKept(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a", "b")
	if err := src.Store.Remove(l.Packages[1].Root); err != nil {
		t.Fatal(err)
	}
	s := newStore(t)
	r, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{src}, nil)
	var missing *swarm.MissingError
	if !errors.As(err, &missing) || r.Packages != 1 || !s.Has(l.Packages[0].Root) {
		t.Errorf("report %+v, %v", r, err)
	}
}

// recorder notes what it is asked for, and calls then before it gives the n-th pack.
type recorder struct {
	swarm.Source
	asked []cid.Cid
	given int
	n     int
	then  func()
}

func (r *recorder) Content(ctx context.Context, req swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	for _, w := range req.Wants {
		r.asked = append(r.asked, w.Root)
	}
	return r.Source.Content(ctx, req, func(w swarm.Want, size int64, pack io.Reader) error {
		if r.given++; r.given == r.n {
			r.then()
		}
		return each(w, size, pack)
	})
}

// TestInterruptedFetchGoesOnWhereItWas: what was verified before is not asked for again.
func TestInterruptedFetchGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a", "b", "c", "d", "e", "f")
	for n := 1; n <= len(l.Packages); n++ {
		s := newStore(t)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan struct{}, len(l.Packages))
		first := &recorder{Source: src, n: n, then: func() {
			for range n - 1 {
				<-got
			}
			cancel()
		}}
		r, err := fetch.Fetch(ctx, fetch.NewPlan(l, nil, s), s, []swarm.Source{first}, func(e fetch.Event) {
			if e.Kind == "package" {
				got <- struct{}{}
			}
		})
		if !errors.Is(err, context.Canceled) || r.Packages < n-1 {
			t.Fatalf("cancelled at %d: %+v, %v", n, r, err)
		}
		p := fetch.NewPlan(l, nil, s)
		if p.Have != r.Packages {
			t.Errorf("cancelled at %d: %d packages were verified, %d are there", n, r.Packages, p.Have)
		}
		second := &recorder{Source: src}
		if r, err = fetch.Fetch(t.Context(), p, s, []swarm.Source{second}, nil); err != nil || r.Packages != len(p.Want) || len(second.asked) != len(p.Want) {
			t.Errorf("cancelled at %d, again: asked for %d of %d, %+v, %v", n, len(second.asked), len(p.Want), r, err)
		}
	}
}

// TestReportNamesSources says what each is, what came from it and what became of it.
func TestReportNamesSources(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a", "b")
	s := newStore(t)
	r, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{dead{src}}, nil)
	var missing *swarm.MissingError
	if !errors.As(err, &missing) || r.Failed["dead"] == "" || r.Kinds["dead"] != swarm.Peer || len(r.BySource) != 0 {
		t.Errorf("from a dead source: %+v, %v", r, err)
	}
	r, err = fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{liar{src}, src}, nil)
	if err != nil || r.Kinds["liar"] != swarm.Peer || r.Kinds[src.Name()] != swarm.Disk {
		t.Errorf("report %+v, %v", r, err)
	}
	if r.Wasted < r.BySource["liar"] || r.Bytes != r.BySource["liar"]+r.BySource[src.Name()] {
		t.Errorf("%d bytes, %d of them wasted, by source %v", r.Bytes, r.Wasted, r.BySource)
	}
}

// dead cannot be reached.
type dead struct{ swarm.Source }

func (dead) Name() string { return "dead" }

func (dead) Content(context.Context, swarm.Request, swarm.Each) ([]swarm.Want, error) {
	return nil, errors.New("no route")
}

func TestPathDependencyIsLinkedWhereItLies(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	project, sibling := filepath.Join(base, "app"), filepath.Join(base, "sibling")
	for _, dir := range []string{project, sibling} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(sibling, "pkg.toml"), []byte("[package]\nname = \"sibling\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l := &lockfile.Lock{Packages: []lockfile.Package{{Name: "sibling", Path: "../sibling"}}}
	s := newStore(t)
	if p := fetch.NewPlan(l, nil, s); len(p.Want)+p.Have != 0 {
		t.Errorf("plan %+v", p)
	}
	if _, err := fetch.Link(t.Context(), project, l, s, fetch.LinkOptions{Direct: func(name.Name) bool { return true }}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(project, "pkg_modules", "sibling", "pkg.toml")); err != nil {
		t.Error(err)
	}
}

func TestPruneKeepsWhatALockStillNames(t *testing.T) {
	t.Parallel()
	src, l := seed(t, "a", "b")
	s, project := newStore(t), t.TempDir()
	if _, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{src}, nil); err != nil {
		t.Fatal(err)
	}
	onlyA := func(n name.Name) bool { return n == "a" }
	if _, err := fetch.Link(t.Context(), project, l, s, fetch.LinkOptions{Keep: onlyA}); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(project, lockfile.File)
	if err := os.WriteFile(lock, []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, n, err := fetch.Prune(t.Context(), s); err == nil || n != 0 {
		t.Errorf("with a lock that cannot be read: %d removed, %v", n, err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if _, n, err := fetch.Prune(t.Context(), s); err != nil || n != 1 || !s.Has(l.Packages[0].Root) {
		t.Errorf("%d removed, %v; want b", n, err)
	}
}
