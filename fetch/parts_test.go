package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"testing/iotest"

	"pkg/fetch"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
	"pkg/lockfile"
	"pkg/lockfile/semver"
)

const (
	chunk = tree.ChunkSize
	large = 8*chunk + 77 // more than one source is asked for
)

// publish puts a version of the package big into a store, and locks it: size bytes of noise that all versions share, and a
// small file that is the version's own.
func publish(t *testing.T, s *store.Store, version string, size int) *lockfile.Lock {
	t.Helper()
	v, err := semver.Parse(version)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	var files []tree.File
	for path, content := range map[string][]byte{"data/noise": noise, "lib/version": []byte(version), "lib/empty": nil} {
		files = append(files, tree.File{Path: path, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}})
	}
	var pack bytes.Buffer
	sum, err := tree.Pack(t.Context(), files, tree.Default(), &pack)
	if err != nil {
		t.Fatal(err)
	}
	b := s.Batch()
	if _, err := b.Put(t.Context(), sum.Root, &pack); err != nil {
		t.Fatal(err)
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &lockfile.Lock{
		Registries: []lockfile.Registry{{Name: "main"}},
		Packages:   []lockfile.Package{{Name: "big", Version: v, Registry: "main", Root: sum.Root, Size: sum.Size}},
	}
}

// shop is a source that notes what it is asked for and gives.
type shop struct {
	swarm.Source
	name   string
	lacks  func(w swarm.Want) bool
	spoils func(w swarm.Want) bool
	lied   func()
	gone   bool
	given  func()

	mu    sync.Mutex // guards what follows
	asked map[swarm.Scope]int
	gave  map[swarm.Scope]int
}

func (s *shop) Name() string { return s.name }

func (s *shop) Absent() bool { return s.gone }

func (s *shop) count(m *map[swarm.Scope]int, w swarm.Want) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *m == nil {
		*m = map[swarm.Scope]int{}
	}
	(*m)[w.Scope]++
}

func (s *shop) Content(ctx context.Context, r swarm.Request, each swarm.Each) (missing []swarm.Want, err error) {
	if s.gone {
		return r.Wants, nil
	}
	ask := swarm.Request{Shared: r.Shared}
	for _, w := range r.Wants {
		s.count(&s.asked, w)
		if s.lacks != nil && s.lacks(w) {
			missing = append(missing, w)
		} else {
			ask.Wants = append(ask.Wants, w)
		}
	}
	lacks, err := s.Source.Content(ctx, ask, func(w swarm.Want, size int64, pack io.Reader) error {
		s.count(&s.gave, w)
		if s.spoils != nil && s.spoils(w) {
			b, err := io.ReadAll(pack)
			if err != nil {
				return err
			}
			b[len(b)/2] ^= 1
			defer s.lied() // then it is found out
			pack = bytes.NewReader(b)
		}
		err := each(w, size, pack)
		if s.given != nil && w.Scope == swarm.Leaves {
			s.given()
		}
		return err
	})
	return append(missing, lacks...), err
}

// bring fetches a lock and holds what came to it.
func bring(t *testing.T, l *lockfile.Lock, s *store.Store, sources ...swarm.Source) fetch.Report {
	t.Helper()
	var last fetch.Event
	r, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, sources, func(e fetch.Event) { last = e })
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Verify(t.Context(), l.Packages[0].Root); err != nil {
		t.Error(err)
	}
	if last.Done != 1 || last.Bytes != last.Total || r.Packages != 1 {
		t.Errorf("report %+v, last event %+v", r, last)
	}
	if s.Interrupted(l.Packages[0].Root) {
		t.Error("parts are left of what is there")
	}
	return r
}

// TestOnlyWhatDiffersIsFetched: of a new version, what an old one in the store has is not moved.
func TestOnlyWhatDiffersIsFetched(t *testing.T) {
	t.Parallel()
	src, s := newStore(t), newStore(t)
	old, updated := publish(t, src, "4.17.20", 3*chunk+1), publish(t, src, "4.17.21", 3*chunk+1)
	if r := bring(t, old, s, &swarm.Dir{Store: src}); r.Reused != 0 || r.Bytes < 3*chunk {
		t.Errorf("the first version: %+v", r)
	}
	if r := bring(t, updated, s, &swarm.Dir{Store: src}); r.Reused != 3*chunk+1 || r.Bytes > 2000 {
		t.Errorf("the second version moved %d bytes and used %d again", r.Bytes, r.Reused)
	}
}

// TestDamagedKinAreNotUsed: what an old version should have, but has not, is fetched.
func TestDamagedKinAreNotUsed(t *testing.T) {
	t.Parallel()
	src, s := newStore(t), newStore(t)
	old, updated := publish(t, src, "1.0.0", 2*chunk), publish(t, src, "2.0.0", 2*chunk)
	bring(t, old, s, &swarm.Dir{Store: src})
	path, _ := s.Tree(old.Packages[0].Root)
	change(t, path+"/data/noise")
	if r := bring(t, updated, s, &swarm.Dir{Store: src}); r.Reused != chunk {
		t.Errorf("%d bytes were used again, want those of the leaf that is whole", r.Reused)
	}
}

// TestLargePackageComesFromSeveral: what no source has alone, two make whole.
func TestLargePackageComesFromSeveral(t *testing.T) {
	t.Parallel()
	src := newStore(t)
	l := publish(t, src, "1.0.0", large)
	odd := &shop{Source: &swarm.Dir{Store: src}, name: "odd", lacks: func(w swarm.Want) bool { return w.Scope == swarm.Leaves && w.From%2 == 0 }}
	even := &shop{Source: &swarm.Dir{Store: src}, name: "even", lacks: func(w swarm.Want) bool { return w.Scope == swarm.Leaves && w.From%2 == 1 }}
	r := bring(t, l, newStore(t), odd, even)
	if odd.gave[swarm.Leaves] == 0 || even.gave[swarm.Leaves] == 0 || odd.gave[swarm.All]+even.gave[swarm.All] != 0 {
		t.Errorf("odd gave %v, even %v", odd.gave, even.gave)
	}
	if r.Bytes > large+large/10 {
		t.Errorf("%d bytes came for %d", r.Bytes, large)
	}
}

// TestLiarOfPartsIsNamed: a wrong leaf costs its source the rest, and nothing else.
func TestLiarOfPartsIsNamed(t *testing.T) {
	t.Parallel()
	src := newStore(t)
	l := publish(t, src, "1.0.0", large)
	for _, scope := range []swarm.Scope{swarm.Nodes, swarm.Leaves} {
		lied := make(chan struct{})
		liar := &shop{Source: &swarm.Dir{Store: src}, name: "liar", lied: sync.OnceFunc(func() { close(lied) })}
		liar.spoils = func(w swarm.Want) bool { return w.Scope == scope }
		honest := turnOn{&shop{Source: &swarm.Dir{Store: src}, name: "honest"}, scope, lied}
		if r := bring(t, l, newStore(t), liar, honest); r.Dropped["liar"] == "" || r.Dropped["honest"] != "" {
			t.Errorf("scope %d: dropped %v", scope, r.Dropped)
		}
	}
}

// turnOn is a source that gives nothing of a scope before a channel is closed.
type turnOn struct {
	*shop
	scope swarm.Scope
	after chan struct{}
}

func (s turnOn) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	for _, w := range r.Wants {
		if w.Scope == s.scope {
			select {
			case <-s.after:
			case <-ctx.Done():
			}
		}
	}
	return s.shop.Content(ctx, r, each)
}

// TestInterruptedPartsAreNotFetchedAgain: what was verified of a large package is kept when its fetch ends.
func TestInterruptedPartsAreNotFetchedAgain(t *testing.T) {
	t.Parallel()
	src, s := newStore(t), newStore(t)
	l := publish(t, src, "1.0.0", large)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n, came := 0, make(chan struct{}, 1)
	first := &shop{Source: &swarm.Dir{Store: src}, name: "first", given: func() {
		if n++; n == 5 {
			<-came
			cancel()
		}
	}}
	leaves := 0
	_, err := fetch.Fetch(ctx, fetch.NewPlan(l, nil, s), s, []swarm.Source{first, idle{}}, func(e fetch.Event) {
		if e.Kind == "bytes" {
			if leaves++; leaves == 4 {
				came <- struct{}{}
			}
		}
	})
	if !errors.Is(err, context.Canceled) || s.Has(l.Packages[0].Root) {
		t.Fatalf("interrupted: %v", err)
	}
	second := &shop{Source: &swarm.Dir{Store: src}, name: "second"}
	if r := bring(t, l, s, second); r.Reused < 3*chunk || second.asked[swarm.All] != 0 || second.asked[swarm.Leaves] > 10-4 {
		t.Errorf("asked again for %v, used %d bytes again", second.asked, r.Reused)
	}
}

// TestBrokenPackIsNotFetchedAgain: of a whole pack that breaks off, only what did not come is asked for.
func TestBrokenPackIsNotFetchedAgain(t *testing.T) {
	t.Parallel()
	src, s := newStore(t), newStore(t)
	l := publish(t, src, "1.0.0", large)
	broken := cut{&swarm.Dir{Store: src}, 5*chunk + chunk/2}
	if _, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{broken}, nil); err == nil {
		t.Fatal("half a pack was enough")
	}
	second := &shop{Source: &swarm.Dir{Store: src}, name: "second"}
	if r := bring(t, l, s, second); r.Reused < 4*chunk || r.Bytes > large-4*chunk || second.asked[swarm.All] != 0 {
		t.Errorf("asked again for %v: %+v", second.asked, r)
	}
}

// TestPackThatWasLeftIsNotFetched: what an ended process had whole is asked of nobody.
func TestPackThatWasLeftIsNotFetched(t *testing.T) {
	t.Parallel()
	src, s := newStore(t), newStore(t)
	l := publish(t, src, "1.0.0", 100)
	pack, _, err := src.OpenPack(l.Packages[0].Root)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(pack)
	if err := errors.Join(err, pack.Close()); err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"", "x"} { // the second time it is spoiled
		dir := filepath.Join(s.Dir(), "parts")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, l.Packages[0].Root.String()+".pack"), append(b, tail...), 0o644)); err != nil {
			t.Fatal(err)
		}
		one := &shop{Source: &swarm.Dir{Store: src}, name: "one"}
		if bring(t, l, s, one); len(one.gave) > 0 != (tail != "") {
			t.Errorf("with %q at its end: it gave %v", tail, one.gave)
		}
		if err := s.Remove(l.Packages[0].Root); err != nil {
			t.Fatal(err)
		}
	}
}

// cut is a source whose packs break off.
type cut struct {
	swarm.Source
	after int64
}

func (c cut) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	return c.Source.Content(ctx, r, func(w swarm.Want, size int64, pack io.Reader) error {
		return each(w, size, io.MultiReader(io.LimitReader(pack, c.after), iotest.ErrReader(errors.New("connection lost"))))
	})
}

// TestDamagedSourceGivesThePack: a source whose files were changed has its packs still, and does not lie.
func TestDamagedSourceGivesThePack(t *testing.T) {
	t.Parallel()
	src := newStore(t)
	l := publish(t, src, "1.0.0", large)
	path, _ := src.Tree(l.Packages[0].Root)
	change(t, path+"/data/noise")
	a, b := &shop{Source: &swarm.Dir{Store: src}, name: "a"}, &shop{Source: &swarm.Dir{Store: src}, name: "b"}
	if r := bring(t, l, newStore(t), a, b); len(r.Dropped) > 0 || len(r.Failed) > 0 {
		t.Errorf("report %+v", r)
	}
}

// TestManyNewVersionsAtOnce: more packages than come in parts at a time are all updated, and each as a difference.
func TestManyNewVersionsAtOnce(t *testing.T) {
	t.Parallel()
	const n = 70
	src, s := newStore(t), newStore(t)
	var locks [2]*lockfile.Lock
	for v := range locks {
		locks[v] = &lockfile.Lock{Registries: []lockfile.Registry{{Name: "main"}}}
		for i := range n {
			l := publish(t, src, fmt.Sprintf("%d.0.%d", v+1, i), 20_000)
			l.Packages[0].Name = mustName(t, fmt.Sprintf("p%d", i))
			locks[v].Packages = append(locks[v].Packages, l.Packages[0])
		}
	}
	for v, l := range locks {
		r, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{&swarm.Dir{Store: src}}, nil)
		if err != nil || r.Packages != n || r.Reused != int64(v*n*20_000) {
			t.Errorf("version %d: %+v, %v", v+1, r, err)
		}
	}
}

// TestTreesWithoutLeavesEnd: more trees than are assembled at a time, none of which gets all its leaves, are all given up.
func TestTreesWithoutLeavesEnd(t *testing.T) {
	t.Parallel()
	src, s := newStore(t), newStore(t)
	var locks [2]*lockfile.Lock
	for v := range locks {
		locks[v] = &lockfile.Lock{Registries: []lockfile.Registry{{Name: "main"}}}
		for i := range 4*runtime.GOMAXPROCS(0) + 1 {
			l := publish(t, src, fmt.Sprintf("%d.0.%d", v+1, i), 20_000)
			l.Packages[0].Name = mustName(t, fmt.Sprintf("p%d", i))
			locks[v].Packages = append(locks[v].Packages, l.Packages[0])
		}
	}
	if _, err := fetch.Fetch(t.Context(), fetch.NewPlan(locks[0], nil, s), s, []swarm.Source{&swarm.Dir{Store: src}}, nil); err != nil {
		t.Fatal(err)
	}
	nodes := &shop{Source: &swarm.Dir{Store: src}, name: "nodes", lacks: func(w swarm.Want) bool { return w.Scope != swarm.Nodes }}
	var missing *swarm.MissingError
	if r, err := fetch.Fetch(t.Context(), fetch.NewPlan(locks[1], nil, s), s, []swarm.Source{nodes}, nil); !errors.As(err, &missing) || r.Packages != 0 {
		t.Errorf("got %v, %+v", err, r)
	}
}

// TestLockThatLiesIsFoundBesideWhatIsMissing: an error of one package is not lost when another is asked for again.
func TestLockThatLiesIsFoundBesideWhatIsMissing(t *testing.T) {
	t.Parallel()
	src := newStore(t)
	a, b := publish(t, src, "1.0.0", large), publish(t, src, "2.0.0", large+chunk)
	b.Packages[0].Size++
	b.Packages[0].Name = "other"
	l := &lockfile.Lock{Registries: a.Registries, Packages: append(a.Packages, b.Packages...)}
	lacks := func(w swarm.Want) bool { return w.Scope == swarm.Leaves && w.Root == a.Packages[0].Root }
	s := newStore(t)
	var size *fetch.SizeError
	_, err := fetch.Fetch(t.Context(), fetch.NewPlan(l, nil, s), s, []swarm.Source{
		&shop{Source: &swarm.Dir{Store: src}, name: "a", lacks: lacks}, &shop{Source: &swarm.Dir{Store: src}, name: "b", lacks: lacks},
	}, nil)
	if !errors.As(err, &size) {
		t.Errorf("got %v, want a SizeError", err)
	}
}

// idle is a source of which nobody knows what it has.
type idle struct{}

func (idle) Name() string { return "idle" }

func (idle) Content(ctx context.Context, _ swarm.Request, _ swarm.Each) ([]swarm.Want, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestWholeWhereNobodyGivesParts: a mirror that is only files is asked for the pack.
func TestWholeWhereNobodyGivesParts(t *testing.T) {
	t.Parallel()
	src := newStore(t)
	l := publish(t, src, "1.0.0", large)
	whole := func(w swarm.Want) bool { return w.Scope != swarm.All }
	nodes := func(w swarm.Want) bool { return w.Scope == swarm.Leaves }
	for i, lacks := range []func(swarm.Want) bool{whole, nodes} {
		var sources []swarm.Source
		for n := range 2 {
			sources = append(sources, &shop{Source: &swarm.Dir{Store: src}, name: fmt.Sprint("mirror ", n), lacks: lacks})
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) { bring(t, l, newStore(t), sources...) })
	}
}

// TestAloneIsAskedForTheWhole: where only one source can have it, a large package comes as it is stored.
func TestAloneIsAskedForTheWhole(t *testing.T) {
	t.Parallel()
	src := newStore(t)
	l := publish(t, src, "1.0.0", large)
	one, nobody := &shop{Source: &swarm.Dir{Store: src}, name: "one"}, &shop{name: "nobody", gone: true}
	if bring(t, l, newStore(t), one, nobody); one.gave[swarm.All] != 1 || one.gave[swarm.Leaves] != 0 {
		t.Errorf("it gave %v", one.gave)
	}
	one.gave = nil
	if bring(t, l, newStore(t), one); one.gave[swarm.All] != 1 || one.gave[swarm.Nodes] != 0 {
		t.Errorf("without any other it gave %v", one.gave)
	}
}

// change spoils the last byte of a file.
func change(t *testing.T, path string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	last := []byte{0}
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	last[0] ^= 1
	if _, err := f.WriteAt(last, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
