//go:build unix

package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/block"
	"pkg/lockfile/name"
	"pkg/publish"
	"pkg/resolve/catalog"
)

// serve serves s as Handler does, and pushes to it.
func serve(t *testing.T, s *Server) (base string, push *publish.HTTP) {
	t.Helper()
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return server.URL, &publish.HTTP{Base: u}
}

func get(t *testing.T, method, url string, body io.Reader) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to the end below
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func TestPushOverHTTP(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	_, push := serve(t, s)
	w := newWriter(seeded(1))
	g, e := w.genesis(t, "a"), w.note(t, 500)
	for range 2 {
		if err := push.Push(t.Context(), sub(g, e)); err != nil {
			t.Fatalf("push: %v", err)
		}
	}
	err := push.Push(t.Context(), sub(newWriter(seeded(2)).genesis(t, "a")))
	var refused *publish.RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusConflict || refused.Help == "" {
		t.Errorf("push of a taken name: %v", err)
	}
	check(t, s.dir, "a")
}

func TestMalformedSubmissionsAreRefused(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	base, _ := serve(t, s)
	g := newWriter(seeded(1)).genesis(t, "a")
	whole := func(s publish.Submission) []byte {
		var b bytes.Buffer
		if err := publish.WriteSubmission(&b, s); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	ok := whole(sub(g))
	forged := bytes.Clone(g)
	forged[len(forged)-1] ^= 1
	tests := map[string]struct {
		body   []byte
		status int
	}{
		"empty":             {nil, 400},
		"cut":               {ok[:len(ok)-3], 400},
		"no entries":        {[]byte{0}, 400},
		"too many entries":  {binary.AppendUvarint(nil, 1<<40), 400},
		"too long an entry": {binary.AppendUvarint([]byte{1}, 1<<40), 400},
		"not an entry":      {append([]byte{1, 3}, "abc"...), 422},
		"a forged entry":    {whole(sub(forged)), 422},
		"a torn pack":       {append(bytes.Clone(ok), 36, 1), 400},
	}
	for name, tt := range tests {
		status, text, _ := get(t, "POST", base+"/entry", bytes.NewReader(tt.body))
		var answer struct{ Error string }
		if status != tt.status || json.Unmarshal([]byte(text), &answer) != nil || answer.Error == "" {
			t.Errorf("%s: %d %q, want status %d and a reason", name, status, text, tt.status)
		}
	}
	if n := s.Status().Names; n != 0 {
		t.Errorf("%d names after refusals", n)
	}
}

func TestStaticFiles(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	submit(t, s, newWriter(seeded(1)).genesis(t, "a"))
	base, _ := serve(t, s)
	head := s.now.Load().head
	for path, immutable := range map[string]bool{
		"/head": false, "/checkpoint": false, "/trust/0": true, "/ipfs/" + head.Commit.M.String(): true,
		"/ipfs/" + head.Commit.O.String(): true, "/tile/0/000.p/2": true, "/tile/entries/000.p/2": true,
	} {
		status, text, h := get(t, "GET", base+path, nil)
		if status != 200 || text == "" || strings.Contains(h.Get("Cache-Control"), "immutable") != immutable {
			t.Errorf("GET %s: %d, %d bytes, %v", path, status, len(text), h)
		}
	}
	for _, path := range []string{
		"/", "/nothing", "/trust/1", "/trust/", "/.state/treeState", "/tile/../.state/treeState", "/tile/..%2f.state%2ftreeState",
		"/ipfs/..%2f..%2flog.key", "/tile/0/000.p/3", "/ipfs/", "/tile/0",
	} {
		if status, text, _ := get(t, "GET", base+path, nil); status != 404 {
			t.Errorf("GET %s: %d %q, want 404", path, status, text)
		}
	}
	if status, text, _ := get(t, "GET", base+"/healthz", nil); status != 200 || !strings.Contains(text, s.ID()) {
		t.Errorf("healthz: %d %q", status, text)
	}
	if status, text, _ := get(t, "GET", base+"/metrics", nil); status != 200 || !strings.Contains(text, "pkg_registry_log_size 2\n") {
		t.Errorf("metrics: %d %q", status, text)
	}
}

func TestCollectedPartialTileComesFromTheFullOne(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	full := bytes.Repeat([]byte("h"), 256*32)
	if err := os.WriteFile(filepath.Join(s.public, "tile", "0", "007"), full, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := s.readPublic("tile/0/007.p/9")
	if err != nil || len(b) != 9*32 {
		t.Errorf("%d bytes, %v; want %d", len(b), err, 9*32)
	}
}

// reader is a client of the registry with a memory of its own.
func reader(t *testing.T, src catalog.Source, id string) *catalog.Registry {
	t.Helper()
	d := catalog.NewDisk(t.TempDir())
	r, err := catalog.Open(catalog.Config{
		Name: "default", ID: id, URL: "http://test", Source: src, Heads: d.Heads(), Memory: d, Now: newClock().now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// onlyLookup is a source that lets nothing but head, trust and lookup through.
type onlyLookup struct {
	catalog.Source
	t *testing.T
}

func (o onlyLookup) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	if strings.HasPrefix(path, "ipfs/") || strings.HasPrefix(path, "tile/") {
		o.t.Errorf("the client had to fetch %s besides the lookup", path)
	}
	return o.Source.Read(ctx, path, limit)
}

func TestLookupHoldsAllThatAClientNeeds(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	w := newWriter(seeded(1))
	submit(t, s, w.genesis(t, "a"), w.note(t, 500))
	var many [][]byte // enough for a map of more than one block
	for i := range 40 {
		many = append(many, newWriter(seeded(i+2)).genesis(t, fmt.Sprintf("x%d", i)))
	}
	submit(t, s, many...)
	base, _ := serve(t, s)
	src, err := catalog.NewHTTP(base, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := reader(t, onlyLookup{src, t}, s.ID())
	if _, _, err := r.Refresh(t.Context()); err != nil {
		t.Fatalf("refresh: %v", err)
	}
	if err := r.Prefetch(t.Context(), []name.Name{"a", "absent"}); err != nil {
		t.Fatalf("prefetch: %v", err)
	}
	st, rec, err := r.State(t.Context(), "a")
	if err != nil || rec == nil || st.Size != 2 {
		t.Fatalf("state of a: %v %v %v", st, rec, err)
	}
	if st, rec, err := r.State(t.Context(), "absent"); st != nil || rec != nil || err != nil {
		t.Errorf("state of an absent name: %v %v %v", st, rec, err)
	}
}

func TestClientsFollowAGrowingLog(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	w := newWriter(seeded(1))
	submit(t, s, w.genesis(t, "a"))
	base, _ := serve(t, s)
	src, err := catalog.NewHTTP(base, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := reader(t, src, s.ID())
	for size := range uint64(4) {
		if _, _, err := r.Refresh(t.Context()); err != nil {
			t.Fatalf("refresh: %v", err)
		}
		if st, _, err := r.State(t.Context(), "a"); err != nil || st.Size != size+1 {
			t.Fatalf("state: %v %v, want size %d", st, err, size+1)
		}
		submit(t, s, w.note(t, 500))
	}
}

func TestReadersOfTheDirectoryNeedNoServer(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := open(t, dir, Config{})
	w := newWriter(seeded(1))
	submit(t, s, w.genesis(t, "a"), w.note(t, 500))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r := reader(t, catalog.NewDir(Public(dir)), s.ID())
	if _, _, err := r.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st, _, err := r.State(t.Context(), "a"); err != nil || st.Size != 2 {
		t.Errorf("state of a: %v %v", st, err)
	}
}

func TestClaimsAreLimitedButNotFromLoopback(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{ClaimsPerHour: 2})
	work := func(n int) *work {
		w, err := s.decode([][]byte{newWriter(seeded(1)).genesis(t, "n"+string(rune('a'+n)))})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	var got []bool
	for n := range 4 {
		got = append(got, s.limit(work(n), "192.0.2.1:99") == nil)
	}
	if want := []bool{true, true, false, false}; !slices.Equal(got, want) {
		t.Errorf("claims from elsewhere: %v, want %v", got, want)
	}
	if s.limit(work(5), "127.0.0.1:99") != nil || s.limit(work(6), "[::1]:99") != nil {
		t.Error("claims from loopback are limited")
	}
}

// TestRatesAreNotSpentByOthers: a claim counts for the keys that signed it and
// not for those it names, and one that is refused for its address counts for no
// key, or a stranger could use up or push out what others have left.
func TestRatesAreNotSpentByOthers(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{ClaimsPerHour: 2})
	victim := seeded(1)
	claim := func(n int, key keys.Key, root author.RootSet) *work {
		e, err := author.Sign(author.Body{Kind: author.KindGenesis, T: 1, Genesis: &author.Genesis{
			Origin: testOrigin, Name: fmt.Sprintf("name-%d", n), Root: root,
		}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return &work{entries: []author.Entry{e}}
	}
	for i := range 20 {
		key := seeded(100 + i)
		both := author.RootSet{Keys: [][32]byte{key.Public(), victim.Public()}, Threshold: 1}
		if err := s.limit(claim(i, key, both), "192.0.2.1:99"); (err == nil) != (i < 2) {
			t.Errorf("claim %d of an address: %v", i, err)
		}
	}
	if n := len(s.rates.buckets); n != 3 {
		t.Errorf("%d buckets, want those of an address and of the two keys that claimed", n)
	}
	if err := s.limit(claim(50, victim, author.Single(victim.Public())), "198.51.100.1:99"); err != nil {
		t.Errorf("a key that claimed nothing: %v", err)
	}
}

func TestServeShutsDownGracefully(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s, err := Open(t.Context(), dir, Config{Now: newClock().now})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, s, l) }()
	push := &publish.HTTP{Base: &url.URL{Scheme: "http", Host: l.Addr().String()}}
	pushed := make(chan error, 1)
	go func() { pushed <- push.Push(context.Background(), sub(newWriter(seeded(1)).genesis(t, "a"))) }()
	for s.counters.submissions.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := <-pushed; err != nil {
		t.Errorf("a push that was accepted: %v", err)
	}
	check(t, dir, "a")
	open(t, dir, Config{}) // the lock is free
}

func FuzzSubmission(f *testing.F) {
	var b bytes.Buffer
	g := newWriter(seeded(1)).genesis(f, "a")
	if err := publish.WriteSubmission(&b, publish.Submission{
		Entries: [][]byte{g}, Packs: []publish.Pack{publish.BytesPack(block.Sum(cid.Raw, nil), []byte("pack"))},
	}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte{1, 1, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		r := publish.NewSubmissionReader(bytes.NewReader(b))
		entries, err := r.Entries()
		if err != nil {
			return
		}
		for _, e := range entries {
			_, _ = author.Decode(e)
		}
		for range publish.MaxPacks + 1 {
			_, _, p, err := r.Pack()
			if err != nil {
				return
			}
			_, _ = io.CopyN(io.Discard, p, 3)
		}
		panic("more packs than allowed")
	})
}
