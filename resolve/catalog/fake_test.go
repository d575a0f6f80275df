package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	ktlog "pkg/keys/tlog"
	"pkg/keys/vmap"
	"pkg/lockfile/block"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve/catalog"
)

// start is when the registries of these tests begin.
const start = 1_700_000_000

// fake is a registry in memory, built from the same parts as a real one. It is a
// value to be copied (fork) and told to lie.
type fake struct {
	t      testing.TB
	origin string
	root   keys.Key
	signer note.Signer
	trust  namespace.Trust
	id     string

	now     int64
	files   map[string][]byte // by path
	heads   map[int64][]byte  // by size
	hashes  hashes
	commits []namespace.Commit
	logs    map[name.Name]*log
	extra   map[name.Name]func(*namespace.Record) // changes a record before it is written
}

// log is one author log as the registry keeps it.
type log struct {
	key    keys.Key
	state  author.State
	raws   [][]byte
	at     []author.At
	former []namespace.Former
	epoch  uint64
}

type hashes []tlog.Hash

// ReadHashes implements tlog.HashReader.
func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h[x]
	}
	return out, nil
}

func testKey(n byte) keys.Key { return keys.FromSeed([32]byte{n, 1}) }

// seeded is a source of bytes that are the same every time.
type seeded byte

func (s seeded) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(s) + byte(i)
	}
	return len(p), nil
}

// newFake returns a registry with an empty first commit.
func newFake(tb testing.TB, origin string) *fake {
	tb.Helper()
	skey, vkey, err := ktlog.GenerateLogKey(seeded(len(origin)), origin)
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := ktlog.NewSigner(skey)
	if err != nil {
		tb.Fatal(err)
	}
	f := &fake{
		t: tb, origin: origin, root: testKey(byte(len(origin))), signer: signer, now: start,
		files: make(map[string][]byte), heads: make(map[int64][]byte),
		logs: make(map[name.Name]*log), extra: make(map[name.Name]func(*namespace.Record)),
	}
	f.trust = namespace.Trust{Origin: origin, Keys: author.Single(f.root.Public()), Logs: []string{vkey}}
	raw := namespace.SignTrust(f.trust, f.root)
	_, id, err := namespace.OpenTrust(raw)
	if err != nil {
		tb.Fatal(err)
	}
	f.files["trust/0"], f.id = raw, id.String()
	f.commit()
	return f
}

// fork returns a copy that can go another way.
func (f *fake) fork() *fake {
	g := *f
	g.files, g.heads, g.extra = maps.Clone(f.files), maps.Clone(f.heads), maps.Clone(f.extra)
	g.hashes, g.commits = slices.Clone(f.hashes), slices.Clone(f.commits)
	g.logs = make(map[name.Name]*log)
	for n, l := range f.logs {
		c := *l
		c.state = *l.state.Clone()
		c.raws, c.at, c.former = slices.Clone(l.raws), slices.Clone(l.at), slices.Clone(l.former)
		g.logs[n] = &c
	}
	return &g
}

func (f *fake) put(data []byte) cid.Cid {
	c := block.Sum(cid.DagCBOR, data)
	f.files["ipfs/"+c.String()] = data
	return c
}

// log returns the log of a name, begun by key if there is none.
func (f *fake) log(n name.Name, key keys.Key) *log {
	if l := f.logs[n]; l != nil {
		return l
	}
	l := &log{key: key}
	f.logs[n] = l
	f.append(l, author.Body{Kind: author.KindGenesis, Genesis: &author.Genesis{
		Origin: f.origin, Name: string(n), Root: author.Single(key.Public()),
		Release: []author.ReleaseKey{{Key: key.Public()}},
	}})
	return l
}

// append signs an entry that the next commit will record.
func (f *fake) append(l *log, b author.Body) {
	f.t.Helper()
	b.I, b.T = l.state.Size, f.now
	if b.I > 0 {
		b.Pkg, b.Prev = l.state.ID, l.state.LogRoot()
	} else {
		b.Prev = l.state.LogRoot()
	}
	e, err := author.Sign(b, l.key)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := l.state.Apply(e, author.Recorded{Commit: uint64(len(f.commits)), T: f.now}); err != nil {
		f.t.Fatal(err)
	}
	l.raws = append(l.raws, e.Raw)
}

// release appends "name version" with dependencies "name constraint" separated
// by ";".
func (f *fake) release(what, deps string) {
	f.t.Helper()
	n, v, _ := strings.Cut(what, " ")
	l := f.log(name.Name(n), testKey(200))
	r := &author.Release{Version: v, Root: block.Sum(cid.DagProtobuf, []byte(what)), Size: 10, Files: 1}
	for d := range strings.SplitSeq(deps, ";") {
		if d = strings.TrimSpace(d); d != "" {
			dn, dc, _ := strings.Cut(d, " ")
			r.Deps = append(r.Deps, author.Dependency{Name: name.Name(dn), Constraint: dc})
		}
	}
	slices.SortFunc(r.Deps, func(a, b author.Dependency) int { return strings.Compare(string(a.Name), string(b.Name)) })
	f.append(l, author.Body{Kind: author.KindRelease, Release: r})
}

// commit records everything appended: pages, indexes, map, commit, tiles, head.
func (f *fake) commit() {
	f.t.Helper()
	n := uint64(len(f.commits))
	var entries []vmap.Entry
	for _, nm := range slices.Sorted(maps.Keys(f.logs)) {
		l := f.logs[nm]
		if len(l.at) == 0 || l.at[len(l.at)-1].Size < l.state.Size {
			l.at = append(l.at, author.At{Size: l.state.Size, Commit: n, T: f.now})
		}
		x := author.Index{At: l.at}
		for page := range slices.Chunk(l.raws, author.PageSize) {
			x.Pages = append(x.Pages, f.put(author.EncodePage(page)))
		}
		rec := namespace.Record{
			Status: namespace.Active, ID: l.state.ID, Epoch: l.epoch, Size: l.state.Size, Log: l.state.LogRoot(),
			Index: f.put(x.Encode()), Since: l.at[0].Commit, Former: l.former,
		}
		if change := f.extra[nm]; change != nil {
			change(&rec)
		}
		entries = append(entries, vmap.Entry{Name: string(nm), Value: rec.Encode()})
	}
	f.commitMap(entries)
}

func (f *fake) commitMap(entries []vmap.Entry) {
	f.t.Helper()
	n := len(f.commits)
	m, err := vmap.Build(entries, func(c cid.Cid, b []byte) error {
		f.files["ipfs/"+c.String()] = b
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	c := namespace.Commit{N: uint64(n), T: f.now, M: m}
	if n > 0 {
		c.P = f.commits[n-1].M
	}
	f.commits = append(f.commits, c)
	hs, err := tlog.StoredHashes(int64(n), c.Encode(), f.hashes)
	if err != nil {
		f.t.Fatal(err)
	}
	f.hashes = append(f.hashes, hs...)
	f.publish(int64(n)+1, c)
}

// publish signs the log at a size and writes tiles and head.
func (f *fake) publish(size int64, c namespace.Commit) {
	f.t.Helper()
	root, err := tlog.TreeHash(size, f.hashes)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, tile := range tlog.NewTiles(8, size-1, size) {
		data, err := tlog.ReadTileData(tile, f.hashes)
		if err != nil {
			f.t.Fatal(err)
		}
		f.files[ktlog.TilePath(tile.L, tile.N, tile.W)] = data
	}
	cp, err := note.Sign(&note.Note{Text: ktlog.FormatCheckpoint(f.origin, size, root)}, f.signer)
	if err != nil {
		f.t.Fatal(err)
	}
	path, err := tlog.ProveRecord(size, size-1, f.hashes)
	if err != nil {
		f.t.Fatal(err)
	}
	f.heads[size] = namespace.FormatHead(cp, c, path)
	f.files["head"] = f.heads[size]
}

// source serves a fake, counts, and lies where told to.
type source struct {
	mu     sync.Mutex
	f      *fake
	read   func(path string) ([]byte, error, bool) // replaces a read if the last result is true
	lookup func(catalog.LookupRequest) (io.ReadCloser, error)
	reads  map[string]int
	posts  []catalog.LookupRequest
}

func (f *fake) source() *source { return &source{f: f, reads: make(map[string]int)} }

// Read implements catalog.Source.
func (s *source) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[path]++
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.read != nil {
		if b, err, ok := s.read(path); ok {
			return b, err
		}
	}
	b, ok := s.f.files[path]
	if !ok {
		return nil, fmt.Errorf("read %s: %w", path, fs.ErrNotExist)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: too long", path)
	}
	return slices.Clone(b), nil
}

// Lookup implements catalog.Source.
func (s *source) Lookup(_ context.Context, req catalog.LookupRequest) (io.ReadCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts = append(s.posts, req)
	if s.lookup == nil {
		return nil, catalog.ErrUnsupported
	}
	return s.lookup(req)
}

// count returns the reads of paths with a prefix.
func (s *source) count(prefix string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for p, c := range s.reads {
		if strings.HasPrefix(p, prefix) {
			n += c
		}
	}
	return n
}

// answer is what an honest server says to a lookup: everything it has.
func (f *fake) answer(req catalog.LookupRequest) []byte {
	f.t.Helper()
	var out bytes.Buffer
	w := func(err error) {
		if err != nil {
			f.t.Fatal(err)
		}
	}
	w(catalog.WriteSection(&out, catalog.KindHead, f.files["head"]))
	if size := int64(len(f.commits)); req.Size > 0 && req.Size < size {
		p, err := tlog.ProveTree(size, req.Size, f.hashes)
		w(err)
		w(catalog.WriteSection(&out, catalog.KindConsistency, catalog.FormatConsistency(p)))
	}
	for _, p := range slices.Sorted(maps.Keys(f.files)) {
		if text, ok := strings.CutPrefix(p, "ipfs/"); ok {
			c, err := block.Parse(text)
			w(err)
			w(catalog.WriteBlock(&out, c, f.files[p]))
		}
	}
	w(catalog.WriteSection(&out, catalog.KindEnd))
	return out.Bytes()
}

// withLookup serves lookups too.
func (s *source) withLookup() *source {
	s.lookup = func(req catalog.LookupRequest) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(s.f.answer(req))), nil
	}
	return s
}

// memory is Memory and Heads of one machine.
type memory struct {
	mu     sync.Mutex
	files  map[string][]byte
	seen   map[string]namespace.Seen
	swaps  int
	onSwap func() error // called before a swap
}

func newMemory() *memory {
	return &memory{files: make(map[string][]byte), seen: make(map[string]namespace.Seen)}
}

// Load implements catalog.Memory.
func (m *memory) Load(path string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.files[path]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

// Save implements catalog.Memory.
func (m *memory) Save(path string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[path] = slices.Clone(data)
	return nil
}

// List implements catalog.Memory.
func (m *memory) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for p := range m.files {
		if rest, ok := strings.CutPrefix(p, dir+"/"); ok && !strings.Contains(rest, "/") {
			out = append(out, rest)
		}
	}
	return out, nil
}

// heads is the namespace.Heads of a memory.
type heads struct{ m *memory }

// Load implements namespace.Heads.
func (h heads) Load(_ context.Context, id string) (namespace.Seen, error) {
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	return h.m.seen[id], nil
}

// Swap implements namespace.Heads.
func (h heads) Swap(_ context.Context, id string, old, new namespace.Seen) error {
	if h.m.onSwap != nil {
		if err := h.m.onSwap(); err != nil {
			return err
		}
	}
	h.m.mu.Lock()
	defer h.m.mu.Unlock()
	if !h.m.seen[id].Equal(old) {
		return namespace.ErrChanged
	}
	h.m.swaps++
	h.m.seen[id] = new
	return nil
}

// client is a machine that reads a registry; each open is a new run.
type client struct {
	t        testing.TB
	memory   *memory
	now      int64
	evidence []*keys.TrustError
	cfg      catalog.Config
}

func newClient(tb testing.TB) *client {
	tb.Helper()
	return &client{t: tb, memory: newMemory(), now: start + 60}
}

func (c *client) clock() time.Time { return time.Unix(c.now, 0) }

func (c *client) open(s catalog.Source) *catalog.Registry {
	c.t.Helper()
	cfg := c.cfg
	cfg.URL, cfg.Source = "https://registry.test", s
	if cfg.Name == "" {
		cfg.Name = "main"
	}
	cfg.Heads, cfg.Memory = heads{c.memory}, c.memory
	cfg.Now = c.clock
	cfg.Evidence = func(e *keys.TrustError) (string, error) {
		c.evidence = append(c.evidence, e)
		return fmt.Sprintf("evidence/%d", len(c.evidence)), nil
	}
	r, err := catalog.Open(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// versions lists what a registry shows of a name.
func versions(tb testing.TB, r *catalog.Registry, n name.Name) string {
	tb.Helper()
	p, err := r.Package(tb.Context(), n)
	if err != nil {
		tb.Fatalf("Package(%s): %v", n, err)
	}
	var out []string
	for _, rel := range p.Releases {
		out = append(out, rel.Version.String())
	}
	return strings.Join(out, " ")
}

// wantTrust fails unless err is a trust failure about what.
func wantTrust(tb testing.TB, err error, what string) {
	tb.Helper()
	if _, ok := errors.AsType[*keys.TrustError](err); !ok {
		tb.Fatalf("got %v, want a trust failure: %s", err, what)
	}
	if !strings.Contains(err.Error(), what) {
		tb.Fatalf("got %q, want it to say %q", err, what)
	}
}

func mustVersion(tb testing.TB, s string) semver.Version {
	tb.Helper()
	v, err := semver.Parse(s)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}
