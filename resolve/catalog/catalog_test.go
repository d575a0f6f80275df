package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/resolve"
	"pkg/resolve/catalog"
)

// standard is a registry with a few packages.
func standard(tb testing.TB) *fake {
	tb.Helper()
	f := newFake(tb, "registry.test")
	f.release("a 1.0.0", "b ^1")
	f.release("b 1.0.0", "")
	f.commit()
	f.now += 10
	f.release("a 1.1.0", "b ^1; c ^2")
	f.release("c 2.0.0", "")
	f.commit()
	return f
}

func TestPackageIsProved(t *testing.T) {
	t.Parallel()
	f := standard(t)
	for what, s := range map[string]*source{"static": f.source(), "lookup": f.source().withLookup()} {
		c := newClient(t)
		r := c.open(s)
		if got := versions(t, r, "a"); got != "1.0.0 1.1.0" {
			t.Errorf("%s: a has %s, want 1.0.0 1.1.0", what, got)
		}
		p, err := r.Package(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		rel := p.Releases[1]
		if rel.Entry != 2 || rel.Commit != 2 || rel.T != start+10 || rel.Author != testKey(200).Author() || rel.Signer != "" || len(rel.Deps) != 2 || rel.Deps[0].Registry != f.id {
			t.Errorf("%s: release %+v", what, rel)
		}
		_, err = r.Package(t.Context(), "gone")
		if _, ok := errors.AsType[*resolve.NotFoundError](err); !ok {
			t.Errorf("%s: an absent name gives %v", what, err)
		}
		if !r.Pinned() || r.ID() != f.id || r.Origin() != "registry.test" {
			t.Errorf("%s: pinned %v, id %s, origin %s", what, r.Pinned(), r.ID(), r.Origin())
		}
	}
}

func TestResolveThroughTheCatalog(t *testing.T) {
	t.Parallel()
	f := standard(t)
	c := newClient(t)
	s := f.source().withLookup()
	r := c.open(s)
	if _, _, err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	req := resolve.Request{Roots: []resolve.Dep{{Key: resolve.Key{Registry: f.id, Name: "a"}}}}
	res, err := resolve.Resolve(t.Context(), catalog.New(r), req)
	if err != nil {
		t.Fatal(err)
	}
	l := resolve.Lock(res, r.Row())
	if len(l.Packages) != 3 || l.Packages[0].Version.String() != "1.1.0" {
		t.Fatalf("locked %+v", l.Packages)
	}
	if len(s.posts) != 1 || !s.posts[0].Closure {
		t.Errorf("%d lookups, want one with the closure: %+v", len(s.posts), s.posts)
	}
	if n := s.count("ipfs/"); n != 0 {
		t.Errorf("%d blocks were read one by one after a whole answer", n)
	}
	if err := r.ProveAll(t.Context(), l.Packages); err != nil {
		t.Errorf("ProveAll of what was just resolved: %v", err)
	}

	// Without a network, the same project resolves and proves from what is at hand.
	c.cfg.Offline = true
	off := c.open(nil)
	again, err := resolve.Resolve(t.Context(), catalog.New(off), req)
	if err != nil || len(again.Packages) != 3 {
		t.Errorf("offline: %v, %v", again, err)
	}
	if err := off.ProveAll(t.Context(), l.Packages); err != nil {
		t.Errorf("offline ProveAll: %v", err)
	}
	_, err = off.Package(t.Context(), "gone")
	if e, ok := errors.AsType[*resolve.UnavailableError](err); !ok || !e.Offline {
		t.Errorf("offline, a name never seen gives %v, want unavailable and not absent", err)
	}
}

func TestANewRunReadsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	f := standard(t)
	for i := range 70 {
		f.release(fmt.Sprintf("big 1.%d.0", i), "")
	}
	f.commit()
	c := newClient(t)
	s := f.source()
	versions(t, c.open(s), "big")
	if n := s.count("ipfs/"); n < 3 {
		t.Fatalf("%d blocks read, want index, two pages and the map", n)
	}

	s = f.source() // nothing new
	versions(t, c.open(s), "big")
	if n := s.count("ipfs/"); n != 0 {
		t.Errorf("%d blocks read with nothing new", n)
	}

	f.release("big 2.0.0", "")
	f.commit()
	s = f.source()
	r := c.open(s)
	if got := versions(t, r, "big"); !strings.HasSuffix(got, " 2.0.0") {
		t.Errorf("big has %s", got)
	}
	if n := s.count("ipfs/"); n != 3 { // map, index, last page
		t.Errorf("%d blocks read for one new entry, want 3", n)
	}
	if s.count("tile/") == 0 {
		t.Error("consistency was proved without a tile")
	}
	if p := s.posts; len(p) != 1 || p[0].Size != 4 || p[0].Known["big"] != 71 {
		t.Errorf("lookup asked %+v, want size 4 and 71 known entries", p)
	}
}

func TestUnavailableIsNotAbsent(t *testing.T) {
	t.Parallel()
	f := standard(t)
	broken := errors.New("connection reset")
	for what, read := range map[string]func(string) ([]byte, error, bool){
		"nothing answers":             func(string) ([]byte, error, bool) { return nil, broken, true },
		"no head":                     func(p string) ([]byte, error, bool) { return nil, broken, p == "head" },
		"blocks that cannot be read":  func(p string) ([]byte, error, bool) { return nil, broken, strings.HasPrefix(p, "ipfs/") },
		"blocks that are not there":   func(p string) ([]byte, error, bool) { return nil, fs.ErrNotExist, strings.HasPrefix(p, "ipfs/") },
		"a head that is not there":    func(p string) ([]byte, error, bool) { return nil, fs.ErrNotExist, p == "head" },
		"a head that is no head":      func(p string) ([]byte, error, bool) { return []byte("<html>"), nil, p == "head" },
		"a site that is no registry":  func(string) ([]byte, error, bool) { return nil, fs.ErrNotExist, true },
		"a trust root that cannot be": func(p string) ([]byte, error, bool) { return nil, broken, p == "trust/1" },
	} {
		c := newClient(t)
		s := f.source()
		s.read = read
		for _, n := range []name.Name{"a", "gone"} {
			_, err := c.open(s).Package(t.Context(), n)
			if _, ok := errors.AsType[*resolve.UnavailableError](err); !ok {
				t.Errorf("%s: Package(%s) = %v, want unavailable", what, n, err)
			}
		}
		if len(c.evidence) > 0 {
			t.Errorf("%s: accused %v", what, c.evidence)
		}
	}
}

func TestFreshness(t *testing.T) {
	t.Parallel()
	f := standard(t)
	const day = 24 * 60 * 60
	for _, tc := range []struct {
		age   int64
		local bool
		want  namespace.Freshness
		fails bool
	}{
		{day / 2, false, namespace.Fresh, false},
		{2 * day, false, namespace.Stale, false},
		{8 * day, false, namespace.Expired, true},
		{800 * day, true, namespace.Fresh, false},
		{-day, true, namespace.Fresh, false},
	} {
		c := newClient(t)
		c.now = start + 10 + tc.age
		c.cfg.Local = tc.local
		r := c.open(f.source())
		_, fresh, err := r.Refresh(t.Context())
		if err != nil || fresh != tc.want {
			t.Errorf("a head %d s old: %v, %v; want %v", tc.age, fresh, err, tc.want)
		}
		_, err = r.Package(t.Context(), "a")
		if _, stale := errors.AsType[*catalog.StaleError](err); stale != tc.fails {
			t.Errorf("a head %d s old: Package = %v, want refused: %v", tc.age, err, tc.fails)
		}
		if err := r.Prove(t.Context(), row(t, f, "a", "1.0.0")); err != nil {
			t.Errorf("a head %d s old: a locked row is not proved: %v", tc.age, err)
		}
	}
}

// transfer gives a name to the owner of key, who releases these versions.
func transfer(f *fake, n name.Name, key keys.Key, root cid.Cid, versions ...string) {
	old := f.logs[n]
	x := author.Index{At: old.at, Pages: []cid.Cid{f.put(author.EncodePage(old.raws))}}
	delete(f.logs, n)
	l := f.log(n, key)
	l.epoch = old.epoch + 1
	l.former = append(slices.Clone(old.former), namespace.Former{
		ID: old.state.ID, Size: old.state.Size, Log: old.state.LogRoot(), Index: f.put(x.Encode()),
	})
	for _, v := range versions {
		f.append(l, author.Body{Kind: author.KindRelease, Release: &author.Release{Version: v, Root: root, Size: 1, Files: 1}})
	}
	f.commit()
}

func TestFormerLogsStay(t *testing.T) {
	t.Parallel()
	other := standard(t).logs["b"]
	for what, change := range map[string]func(*namespace.Record){
		"hides": func(r *namespace.Record) { r.Former = nil },
		"adds": func(r *namespace.Record) {
			r.Former = append(r.Former, namespace.Former{ID: other.state.ID, Size: other.state.Size, Log: other.state.LogRoot(), Index: r.Index})
		},
		"replaces": func(r *namespace.Record) { r.Former[0].ID = other.state.ID },
		"hides after a transfer": func(r *namespace.Record) {
			r.Epoch, r.Former = 2, []namespace.Former{{ID: r.ID, Size: r.Size, Log: r.Log, Index: r.Index}}
			r.ID = other.state.ID
		},
	} {
		f := standard(t)
		transfer(f, "a", testKey(9), row(t, f, "a", "1.0.0").Root, "2.0.0")
		c := newClient(t)
		versions(t, c.open(f.source()), "a")
		f.logs["a"].former = slices.Clone(f.logs["a"].former)
		f.extra["a"] = change
		f.commit()
		_, err := c.open(f.source()).Package(t.Context(), "a")
		if _, ok := errors.AsType[*keys.TrustError](err); !ok || !strings.Contains(err.Error(), "held the name before") {
			t.Errorf("a record that %s a former log: %v", what, err)
		}
	}
}

func TestVersionsOfAFormerOwnerAreNotReleasedAgain(t *testing.T) {
	t.Parallel()
	f := standard(t)
	was := row(t, f, "a", "1.0.0")
	transfer(f, "a", testKey(9), row(t, f, "b", "1.0.0").Root, "1.0.0", "2.0.0")
	p, err := newClient(t).open(f.source()).Package(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if rel := p.Releases[0]; len(p.Releases) != 3 || !rel.Root.Equals(was.Root) || rel.Author != was.Author {
		t.Errorf("1.0.0 is %s by %s, want %s by %s", rel.Root, rel.Author, was.Root, was.Author)
	}
}

// TestAnotherRunIsAhead: what another process proved meanwhile, under a later
// head, contradicts nothing; without that head it is a rollback.
func TestAnotherRunIsAhead(t *testing.T) {
	t.Parallel()
	f := standard(t)
	old := f.fork()
	f.release("a 1.2.0", "")
	f.commit()
	c := newClient(t)
	slow := c.open(old.source())
	if _, _, err := slow.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := versions(t, c.open(f.source()), "a"); got != "1.0.0 1.1.0 1.2.0" {
		t.Fatalf("a has %s", got)
	}
	if got := versions(t, slow, "a"); got != "1.0.0 1.1.0" {
		t.Errorf("a has %s, want what the head of this run says", got)
	}
	if got := versions(t, c.open(f.source()), "a"); got != "1.0.0 1.1.0 1.2.0" {
		t.Errorf("a has %s: what was proved later was forgotten", got)
	}
	clear(c.memory.seen)
	_, err := c.open(old.source()).Package(t.Context(), "a")
	wantTrust(t, err, "hidden")
}

func TestTransferredNames(t *testing.T) {
	t.Parallel()
	f := standard(t)
	locked := row(t, f, "a", "1.0.0")
	c := newClient(t)
	versions(t, c.open(f.source()), "a")
	l := f.logs["a"]
	former := namespace.Former{ID: l.state.ID, Size: l.state.Size, Log: l.state.LogRoot()}
	x := author.Index{At: l.at}
	x.Pages = append(x.Pages, f.put(author.EncodePage(l.raws)))
	former.Index = f.put(x.Encode())
	delete(f.logs, "a")
	n := f.log("a", testKey(9))
	n.former, n.epoch = []namespace.Former{former}, 1
	f.append(n, author.Body{Kind: author.KindRelease, Release: &author.Release{Version: "2.0.0", Root: locked.Root, Size: 1, Files: 1}})
	f.commit()

	r := c.open(f.source())
	if got := versions(t, r, "a"); got != "1.0.0 1.1.0 2.0.0" {
		t.Errorf("a has %s, want the releases of both owners", got)
	}
	p, err := r.Package(t.Context(), "a")
	if err != nil || p.Author != testKey(9).Author() || p.Releases[0].Author != testKey(200).Author() || p.Epoch != 1 {
		t.Errorf("package %+v, %v", p, err)
	}
	if err := r.Prove(t.Context(), locked); err != nil {
		t.Errorf("a locked release of the former owner: %v", err)
	}
	var req resolve.Request
	req.Keep(&lockfile.Lock{Registries: []lockfile.Registry{r.Row()}, Packages: []lockfile.Package{locked}})
	req.Roots = []resolve.Dep{{Key: resolve.Key{Registry: f.id, Name: "a"}}}
	_, err = resolve.Resolve(t.Context(), catalog.New(r), req)
	wantTrust(t, err, "another author")
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	f := standard(t)
	f.extra["b"] = func(r *namespace.Record) { r.Status = namespace.Removed }
	f.extra["c"] = func(r *namespace.Record) { *r = namespace.Record{Status: namespace.Reserved} }
	f.commit()
	r := newClient(t).open(f.source())
	p, err := r.Package(t.Context(), "b")
	if err != nil || p.Status != resolve.Removed || len(p.Releases) != 1 {
		t.Errorf("removed: %+v, %v", p, err)
	}
	_, err = r.Package(t.Context(), "c")
	if _, ok := errors.AsType[*resolve.NotFoundError](err); !ok {
		t.Errorf("reserved: %v, want not found", err)
	}
	s, rec, err := r.State(t.Context(), "c")
	if s != nil || rec == nil || err != nil {
		t.Errorf("State of a reserved name = %v, %v, %v", s, rec, err)
	}
	s, rec, err = r.State(t.Context(), "gone")
	if s != nil || rec != nil || err != nil {
		t.Errorf("State of an absent name = %v, %v, %v", s, rec, err)
	}
}

func TestNearNames(t *testing.T) {
	t.Parallel()
	f := standard(t)
	f.release("left-pad 1.0.0", "")
	f.release("lodash 1.0.0", "")
	f.commit()
	r := newClient(t).open(f.source())
	versions(t, r, "left-pad")
	versions(t, r, "lodash")
	_, err := r.Package(t.Context(), "leftpad")
	if got := err.Error(); got != "leftpad is not in registry registry.test; did you mean left-pad?" {
		t.Errorf("got %q", got)
	}
}

func TestTrustRootsRotate(t *testing.T) {
	t.Parallel()
	f := standard(t)
	c := newClient(t)
	versions(t, c.open(f.source()), "a")
	next := f.trust
	next.N, next.Keys = 1, author.Single(testKey(77).Public())
	f.files["trust/1"] = namespace.SignTrust(next, f.root, testKey(77))
	f.commit()
	if got := versions(t, c.open(f.source()), "a"); got != "1.0.0 1.1.0" {
		t.Errorf("a has %s", got)
	}
	if n := len(c.memory.seen[f.id].Trust); n != 2 {
		t.Errorf("%d trust roots remembered, want 2", n)
	}
	versions(t, newClient(t).open(f.source()), "a") // from nothing, through both

	bad := next
	bad.N, bad.Keys = 2, author.Single(testKey(78).Public())
	f.files["trust/2"] = namespace.SignTrust(bad, testKey(78)) // not signed by the root before
	_, err := c.open(f.source()).Package(t.Context(), "a")
	wantTrust(t, err, "")

	reset := next
	reset.N, reset.Reset = 2, &namespace.Reset{}
	f.files["trust/2"] = namespace.SignTrust(reset, testKey(77))
	_, err = c.open(f.source()).Package(t.Context(), "a")
	if _, ok := errors.AsType[*namespace.ResetError](err); !ok {
		t.Errorf("a reset gives %v", err)
	}
}

// TestAnotherProcess lets another process get in between reading and writing
// what was seen.
func TestAnotherProcess(t *testing.T) {
	t.Parallel()
	f := standard(t)
	c := newClient(t)
	versions(t, c.open(f.source()), "a")
	f.release("a 1.2.0", "")
	f.commit()
	late := f.fork()
	late.release("a 1.3.0", "")
	late.commit()
	s := f.source().withLookup()
	other := true
	c.memory.onSwap = func() error {
		if other {
			other = false
			s.f = late // the log has grown, and the other process has seen it
			versions(t, c.open(late.source()), "a")
		}
		return nil
	}
	if got := versions(t, c.open(s), "a"); got != "1.0.0 1.1.0 1.2.0 1.3.0" {
		t.Errorf("a has %s", got)
	}
	c.memory.onSwap = func() error { return errors.New("disk full") }
	late.commit()
	r := c.open(late.source())
	if _, err := r.Package(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("a head that could not be persisted was used: %v", err)
	}
}

func TestPublisherSeesItsOwnCommit(t *testing.T) {
	t.Parallel()
	f := standard(t)
	c := newClient(t)
	r := c.open(f.source())
	s, rec, err := r.State(t.Context(), "a")
	if err != nil || s.Size != 3 || rec.Size != 3 {
		t.Fatalf("State = %v, %v, %v", s, rec, err)
	}
	f.release("a 1.2.0", "")
	f.commit()
	if err := r.Prove(t.Context(), row(t, f, "a", "1.2.0")); err == nil {
		t.Fatal("the run went on to a new head by itself")
	}
	if _, _, err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Prove(t.Context(), row(t, f, "a", "1.2.0")); err != nil {
		t.Errorf("after Refresh: %v", err)
	}
}

func TestSeveralRegistries(t *testing.T) {
	t.Parallel()
	f, g := standard(t), newFake(t, "other.test")
	g.release("x 1.0.0", "")
	g.commit()
	c, d := newClient(t), newClient(t)
	rf, rg := c.open(f.source()), d.open(g.source())
	for _, r := range []*catalog.Registry{rf, rg} {
		if _, _, err := r.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cat := catalog.New(rf, rg)
	keys := []resolve.Key{{Registry: f.id, Name: "a"}, {Registry: g.id, Name: "x"}, {Registry: "unknown", Name: "y"}}
	if err := cat.Prefetch(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		_, err := cat.Package(t.Context(), k)
		if k.Registry != "unknown" {
			if err != nil {
				t.Errorf("%v: %v", k, err)
			}
			continue
		}
		if _, ok := errors.AsType[*resolve.UnavailableError](err); !ok {
			t.Errorf("a registry nobody knows: %v, want unavailable", err)
		}
	}
	if rows := cat.Rows(); len(rows) != 2 || rows[1].ID != g.id || rows[1].Origin != "other.test" {
		t.Errorf("rows %+v", rows)
	}
}

func TestCancelledReads(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := newClient(t).open(standard(t).source()).Package(ctx, "a")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// BenchmarkColdResolve proves and resolves 300 packages from one lookup answer.
func BenchmarkColdResolve(b *testing.B) {
	f := newFake(b, "registry.test")
	for i := range 300 {
		deps := ""
		if i < 299 {
			deps = fmt.Sprintf("p%d ^1", i+1)
		}
		for v := range 10 {
			f.release(fmt.Sprintf("p%d 1.%d.0", i, v), deps)
		}
	}
	f.commit()
	answer := f.answer(catalog.LookupRequest{})
	b.SetBytes(int64(len(answer)))
	b.ReportAllocs()
	for b.Loop() {
		c := newClient(b)
		c.cfg.ID = f.id
		s := f.source()
		s.lookup = func(catalog.LookupRequest) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(answer)), nil
		}
		req := resolve.Request{Roots: []resolve.Dep{{Key: resolve.Key{Registry: f.id, Name: "p0"}}}, Now: time.Unix(start, 0)}
		res, err := resolve.Resolve(b.Context(), catalog.New(c.open(s)), req)
		if err != nil || len(res.Packages) != 300 {
			b.Fatal(err)
		}
	}
}
