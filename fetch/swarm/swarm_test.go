package swarm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a store with n small trees and one that is large.
type shelf struct {
	s     *store.Store
	roots []cid.Cid
	packs map[cid.Cid][]byte
}

func newShelf(t *testing.T, n int) shelf {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sh := shelf{s: s, packs: map[cid.Cid][]byte{}}
	b := s.Batch()
	for i := range n + 1 {
		content := fmt.Sprintf("package %d", i)
		if i == n {
			big := make([]byte, 1<<20+1<<18) // does not compress
			_, _ = rand.NewChaCha8([32]byte{}).Read(big)
			content = string(big)
		}
		var pack bytes.Buffer
		sum, err := tree.Pack(t.Context(), []tree.File{{Path: "f", Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(content)), nil
		}}}, tree.Default(), &pack)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), sum.Root, bytes.NewReader(pack.Bytes())); err != nil {
			t.Fatal(err)
		}
		sh.roots = append(sh.roots, sum.Root)
		sh.packs[sum.Root] = pack.Bytes()
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sh
}

func absent(t *testing.T) cid.Cid {
	t.Helper()
	return cid.MustParse("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi")
}

// serve starts a server and returns a source that asks it.
func serve(t *testing.T, h http.Handler) *swarm.HTTP {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL + "/some/where")
	if err != nil {
		t.Fatal(err)
	}
	return &swarm.HTTP{Base: u, Client: srv.Client(), Backoff: time.Millisecond}
}

func under(h http.Handler) http.Handler { return http.StripPrefix("/some/where", h) }

// static serves packs as files only.
func static(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			http.NotFound(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// collect gathers what a source gives.
func collect(ctx context.Context, src swarm.Source, roots []cid.Cid) (got map[cid.Cid][]byte, lacks []cid.Cid, err error) {
	got = map[cid.Cid][]byte{}
	missing, err := src.Content(ctx, swarm.Ask(roots...), func(w swarm.Want, size int64, pack io.Reader) error {
		b, err := io.ReadAll(pack)
		if err == nil && size >= 0 && int64(len(b)) != size {
			err = fmt.Errorf("%d bytes of %d", len(b), size)
		}
		got[w.Root] = b
		return err
	})
	return got, rootsOf(missing), err
}

func rootsOf(wants []swarm.Want) []cid.Cid {
	roots := make([]cid.Cid, len(wants))
	for i, w := range wants {
		roots[i] = w.Root
	}
	return roots
}

// TestSourcesKeepTheirContract is what every source must do.
func TestSourcesKeepTheirContract(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 20)
	for name, src := range map[string]swarm.Source{
		"http":   serve(t, under(swarm.Handler(sh.s))),
		"static": serve(t, under(static(swarm.Handler(sh.s)))),
		"dir":    &swarm.Dir{Store: sh.s},
	} {
		t.Run(name, func(t *testing.T) {
			if src.Name() == "" {
				t.Error("it has no name")
			}
			got, missing, err := collect(t.Context(), src, append([]cid.Cid{absent(t)}, sh.roots...))
			if err != nil || len(missing) != 1 || missing[0] != absent(t) {
				t.Fatalf("missing %v, %v; want the absent root", missing, err)
			}
			for root, want := range sh.packs {
				if !bytes.Equal(got[root], want) {
					t.Errorf("%s: %d bytes, want %d", root, len(got[root]), len(want))
				}
			}
			enough, calls := errors.New("enough"), 0
			if _, err := src.Content(t.Context(), swarm.Ask(sh.roots...), func(swarm.Want, int64, io.Reader) error {
				calls++
				return enough
			}); !errors.Is(err, enough) || calls != 1 {
				t.Errorf("each fails: got %v after %d calls, want its error after one", err, calls)
			}
			calls = 0
			if _, err := src.Content(t.Context(), swarm.Ask(sh.roots...), func(swarm.Want, int64, io.Reader) error { // reads nothing
				calls++
				return nil
			}); err != nil || calls != len(sh.roots) {
				t.Errorf("each reads nothing: %v after %d calls of %d", err, calls, len(sh.roots))
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, _, err := collect(ctx, src, sh.roots); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		})
	}
}

func TestPacksAreServedAsFiles(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 1)
	h := swarm.Handler(sh.s)
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/packs/" + sh.roots[0].String(), 200},
		{"HEAD", "/packs/" + sh.roots[0].String(), 200},
		{"GET", "/packs/" + absent(t).String(), 404},
		{"GET", "/packs/..", 307},
		{"GET", "/packs/..%2f..%2fetc%2fpasswd", 400},
		{"GET", "/packs/nonsense", 400},
		{"GET", "/packs/", 404},
		{"DELETE", "/packs/" + sh.roots[0].String(), 405},
		{"GET", "/content", 405},
		{"GET", "/", 404},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status && (c.status != 307 || w.Code != 301) {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, w.Code, c.status)
		}
	}
	r := httptest.NewRequest("GET", "/packs/"+sh.roots[0].String(), nil)
	r.Header.Set("Range", "bytes=3-7")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 206 || !bytes.Equal(w.Body.Bytes(), sh.packs[sh.roots[0]][3:8]) {
		t.Errorf("a range: %d with %d bytes", w.Code, w.Body.Len())
	}
}

func TestMalformedRequestsAreRefused(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 0)
	h := swarm.Handler(sh.s)
	many := `{"want":["` + strings.Repeat(sh.roots[0].String()+`","`, 1200) + sh.roots[0].String() + `"]}`
	for body, status := range map[string]int{
		``: 400, `{}`: 400, `[]`: 400, `{"want":[]}`: 400, `{"want":["x"]}`: 400, `{"want":["QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"]}`: 400,
		`{"want":null}`: 400, `{"what":1}`: 400, many: 400, `{"want":["` + strings.Repeat("x", 1<<20) + `"]}`: 413,
		`{"want":["` + sh.roots[0].String() + `"]}`: 200,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/content", strings.NewReader(body)))
		if w.Code != status {
			t.Errorf("%.60s: %d, want %d", body, w.Code, status)
		}
		if status != 200 && !strings.Contains(w.Body.String(), `"error"`) {
			t.Errorf("%.60s: the answer %q names no error", body, w.Body.String())
		}
	}
}

// flaky breaks the first n answers after some bytes.
type flaky struct {
	h     http.Handler
	n     atomic.Int32
	after int
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.n.Add(-1) < 0 {
		f.h.ServeHTTP(w, r)
		return
	}
	rec := httptest.NewRecorder()
	f.h.ServeHTTP(rec, r)
	w.Header().Set("Content-Length", fmt.Sprint(rec.Body.Len()))
	_, _ = w.Write(rec.Body.Bytes()[:min(f.after, rec.Body.Len())])
	panic(http.ErrAbortHandler)
}

func TestBrokenTransfersAreResumed(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 5)
	for _, after := range []int{0, 10, 200, 500, 100_000} {
		for name, wrap := range map[string]func(http.Handler) http.Handler{"http": under, "static": func(h http.Handler) http.Handler { return under(static(h)) }} {
			f := &flaky{h: wrap(swarm.Handler(sh.s)), after: after}
			f.n.Store(2)
			got, missing, err := collect(t.Context(), serve(t, f), sh.roots)
			if err != nil || len(missing) != 0 || len(got) != len(sh.roots) {
				t.Errorf("%s broken after %d bytes: %d roots, %v", name, after, len(got), err)
			}
			for root, want := range sh.packs {
				if !bytes.Equal(got[root], want) {
					t.Errorf("%s broken after %d bytes: wrong pack", name, after)
				}
			}
		}
	}
}

func TestServersThatFailAreGivenUp(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 0)
	var asked atomic.Int32
	for name, c := range map[string]struct {
		h    http.HandlerFunc
		want int32 // requests
	}{
		"503":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 4},
		"403":         {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) }, 1},
		"nonsense":    {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>captive portal</html>") }, 1},
		"huge pack":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(frame(sh.roots[0], 1<<50)) }, 1},
		"other root":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(frame(absent(t), 5)) }, 1},
		"empty":       {func(http.ResponseWriter, *http.Request) {}, 4},
		"huge static": {func(w http.ResponseWriter, r *http.Request) { hugeFile(w, r) }, 2},
	} {
		asked.Store(0)
		src := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			c.h(w, r)
		}))
		_, _, err := collect(t.Context(), src, sh.roots)
		var se *swarm.SourceError
		if !errors.As(err, &se) || asked.Load() != c.want {
			t.Errorf("%s: %v after %d requests, want a SourceError after %d", name, err, asked.Load(), c.want)
		}
	}
}

// TestRedirectsKeepEncryption: a server may send us elsewhere, but not from
// https to http, where everybody sees what is asked for.
func TestRedirectsKeepEncryption(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 2)
	plain := serve(t, under(swarm.Handler(sh.s)))
	var asked atomic.Int32
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.Redirect(w, r, plain.Base.JoinPath(r.URL.Path).String(), http.StatusTemporaryRedirect)
	}))
	defer secure.Close()
	base, err := url.Parse(secure.URL)
	if err != nil {
		t.Fatal(err)
	}
	src := &swarm.HTTP{Base: base, Client: secure.Client(), Backoff: time.Millisecond}
	got, _, err := collect(t.Context(), src, sh.roots)
	var se *swarm.SourceError
	if !errors.As(err, &se) || len(got) > 0 || asked.Load() != 1 {
		t.Errorf("%d packs, %v after %d requests; want a SourceError after one", len(got), err, asked.Load())
	}
}

func hugeFile(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Length", "1125899906842624")
	w.WriteHeader(http.StatusOK)
}

func frame(root cid.Cid, size uint64) []byte {
	b := append([]byte{36}, root.Bytes()...)
	for ; size >= 0x80; size >>= 7 {
		b = append(b, byte(size)|0x80)
	}
	return append(b, byte(size))
}

func TestSilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 0)
	gone := make(chan struct{})
	src := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(frame(sh.roots[0], 1000))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	}))
	defer close(gone)
	src.Idle = 5 * time.Millisecond
	_, _, err := collect(t.Context(), src, sh.roots)
	if err == nil || !strings.Contains(err.Error(), "silent") {
		t.Errorf("got %v", err)
	}
}

// stub is a source made of a function.
type stub struct {
	name string
	f    func(roots []cid.Cid, each swarm.Each) ([]swarm.Want, error)
}

func (s stub) Name() string { return s.name }

func (s stub) Content(_ context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	return s.f(rootsOf(r.Wants), each)
}

// lies tells the lies of a session by source.
func lies(tallies []swarm.Tally) map[string]error {
	lies := map[string]error{}
	for _, t := range tallies {
		if t.Lie != nil {
			lies[t.Source] = t.Lie
		}
	}
	return lies
}

// into is a session that puts into a new store.
func into(t *testing.T, sources ...swarm.Source) (*swarm.Session, func() map[cid.Cid]string) {
	t.Helper()
	s, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := s.Batch()
	t.Cleanup(func() {
		if err := b.Discard(); err != nil {
			t.Error(err)
		}
	})
	var mu sync.Mutex
	from := map[cid.Cid]string{}
	put := func(ctx context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
		_, err := b.Put(ctx, a.Root, a.Pack)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			from[a.Root] = a.Source
		}
		return nil, err
	}
	return &swarm.Session{Sources: sources, Put: put}, func() map[cid.Cid]string { return from }
}

func TestLiarIsDroppedAndNamed(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 10)
	honest, stranger := &swarm.Dir{Store: sh.s}, newShelf(t, 11)
	other := stranger.packs[stranger.roots[10]]
	for name, spoil := range map[string]func(i int, pack []byte) []byte{
		"another pack":  func(_ int, _ []byte) []byte { return other },
		"truncated":     func(_ int, pack []byte) []byte { return pack[:len(pack)/2] },
		"one byte more": func(_ int, pack []byte) []byte { return append(bytes.Clone(pack), 0) },
	} {
		asked := 0
		lied := make(chan struct{})
		var once sync.Once
		liar := stub{"liar", func(roots []cid.Cid, each swarm.Each) ([]swarm.Want, error) {
			defer once.Do(func() { close(lied) })
			asked++
			for i, root := range roots {
				pack := spoil(i, sh.packs[root])
				if err := each(swarm.Want{Root: root}, int64(len(pack)), bytes.NewReader(pack)); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}}
		second := stub{honest.Name(), func(roots []cid.Cid, each swarm.Each) ([]swarm.Want, error) {
			<-lied
			return honest.Content(t.Context(), swarm.Ask(roots...), each)
		}}
		s, from := into(t, liar, second)
		tallies, err := s.Get(t.Context(), swarm.Packs(sh.roots...))
		liars := lies(tallies)
		if err != nil || len(liars) != 1 || liars["liar"] == nil {
			t.Errorf("%s: liars %v, %v", name, liars, err)
		}
		if len(from()) != len(sh.roots) || from()[sh.roots[3]] != honest.Name() {
			t.Errorf("%s: %d roots came, the spoiled one from %q", name, len(from()), from()[sh.roots[3]])
		}
		s, _ = into(t, liar)
		var missing *swarm.MissingError
		if _, err := s.Get(t.Context(), swarm.Packs(sh.roots...)); !errors.As(err, &missing) || !strings.Contains(err.Error(), "liar") {
			t.Errorf("%s from a liar alone: %v, want a MissingError that names it", name, err)
		}
		if asked != 2 {
			t.Errorf("%s: the liar was asked %d times in 2 sessions", name, asked)
		}
	}
}

func TestWhatOneSourceLacksAnotherGives(t *testing.T) {
	t.Parallel()
	a, b := newShelf(t, 3), newShelf(t, 6)
	dead := stub{"dead", func([]cid.Cid, swarm.Each) ([]swarm.Want, error) { return nil, errors.New("no route") }}
	s, from := into(t, dead, &swarm.Dir{Store: a.s}, &swarm.Dir{Store: b.s})
	tallies, err := s.Get(t.Context(), swarm.Packs(append(b.roots, b.roots[0])...)) // one of them twice
	liars := lies(tallies)
	if err != nil || len(liars) != 0 || len(from()) != len(b.roots) {
		t.Errorf("%d of %d roots, liars %v, %v", len(from()), len(b.roots), liars, err)
	}
	var missing *swarm.MissingError
	s, from = into(t, dead, &swarm.Dir{Store: a.s})
	_, err = s.Get(t.Context(), swarm.Packs(append(a.roots, absent(t))...))
	if !errors.As(err, &missing) || len(missing.Wants) != 1 || missing.Wants[0].Root != absent(t) || len(missing.Errs) != 1 {
		t.Errorf("got %v, want a MissingError of the absent root with the dead source's error", err)
	}
	if len(from()) != len(a.roots) {
		t.Errorf("%d roots came beside the missing one, want %d", len(from()), len(a.roots))
	}
}

func TestOurOwnFailureIsNobodysLie(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 5)
	full := errors.New("disk full")
	s := &swarm.Session{
		Sources: []swarm.Source{&swarm.Dir{Store: sh.s}, &swarm.Dir{Store: sh.s}},
		Put:     func(context.Context, *swarm.Arrival) ([]swarm.Want, error) { return nil, full },
	}
	tallies, err := s.Get(t.Context(), swarm.Packs(sh.roots...))
	liars := lies(tallies)
	if !errors.Is(err, full) || len(liars) != 0 {
		t.Errorf("got %v, liars %v", err, liars)
	}
}

// TestBrokenTransferIsNoLie: a server that breaks off begins the same pack again, alone and beside others.
func TestBrokenTransferIsNoLie(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 20)
	for _, after := range []int{0, 10, 500, 5_000, 100_000} {
		for _, beside := range []bool{false, true} {
			f := &flaky{h: under(swarm.Handler(sh.s)), after: after}
			f.n.Store(2)
			sources := []swarm.Source{serve(t, f)}
			if beside {
				sources = append(sources, serve(t, under(swarm.Handler(sh.s))), serve(t, under(static(swarm.Handler(sh.s)))))
			}
			s, from := into(t, sources...)
			tallies, err := s.Get(t.Context(), swarm.Packs(sh.roots...))
			if err != nil || len(lies(tallies)) != 0 || len(from()) != len(sh.roots) {
				t.Errorf("broken after %d bytes: %d of %d roots, %v, liars %v", after, len(from()), len(sh.roots), err, lies(tallies))
			}
		}
	}
}

// TestStoreFillsFromItsOwnHandler puts the halves together: store, handler, HTTP, session, store.
func TestStoreFillsFromItsOwnHandler(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 30)
	s, from := into(t, serve(t, under(swarm.Handler(sh.s))))
	if _, err := s.Get(t.Context(), swarm.Packs(sh.roots...)); err != nil || len(from()) != len(sh.roots) {
		t.Errorf("%d of %d roots, %v", len(from()), len(sh.roots), err)
	}
}
