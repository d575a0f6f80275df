package catalog_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pkg/resolve/catalog"
)

// transport answers requests without a network.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(code int, body string, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Status: http.StatusText(code), Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

func newHTTP(tb testing.TB, base string, rt http.RoundTripper) *catalog.HTTP {
	tb.Helper()
	h, err := catalog.NewHTTP(base, "pkg/test", rt)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestHTTPReads(t *testing.T) {
	t.Parallel()
	var seen *http.Request
	h := newHTTP(t, "https://host.test/base/", transport(func(r *http.Request) (*http.Response, error) {
		seen = r
		return answer(200, "hello"), nil
	}))
	b, err := h.Read(t.Context(), "tile/0/x001/234", 5)
	if err != nil || string(b) != "hello" {
		t.Fatalf("Read = %q, %v", b, err)
	}
	if seen.URL.String() != "https://host.test/base/tile/0/x001/234" || seen.Header.Get("User-Agent") != "pkg/test" || seen.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("sent %s %v", seen.URL, seen.Header)
	}
	if _, err := h.Read(t.Context(), "head", 4); err == nil {
		t.Error("an answer longer than its limit was read")
	}
}

func TestHTTPTriesAgainForTheNetworkOnly(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	for what, tc := range map[string]struct {
		answer func() (*http.Response, error)
		tries  int
		absent bool
	}{
		"no connection":        {func() (*http.Response, error) { return nil, refused }, 4, false},
		"a gateway that waits": {func() (*http.Response, error) { return answer(503, ""), nil }, 4, false},
		"too many requests":    {func() (*http.Response, error) { return answer(429, ""), nil }, 4, false},
		"a broken body": {func() (*http.Response, error) {
			r := answer(200, "")
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("he"), brokenReader{}))
			return r, nil
		}, 4, false},
		"not there":            {func() (*http.Response, error) { return answer(404, ""), nil }, 1, true},
		"gone":                 {func() (*http.Response, error) { return answer(410, ""), nil }, 1, true},
		"forbidden":            {func() (*http.Response, error) { return answer(403, ""), nil }, 1, false},
		"a server error":       {func() (*http.Response, error) { return answer(500, ""), nil }, 1, false},
		"an encoding":          {func() (*http.Response, error) { return answer(200, "", "Content-Encoding", "gzip"), nil }, 1, false},
		"another failure":      {func() (*http.Response, error) { return nil, errors.New("bad certificate") }, 1, false},
		"an answer in pieces…": {func() (*http.Response, error) { return answer(206, "x"), nil }, 1, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			h := newHTTP(t, "https://host.test", transport(func(*http.Request) (*http.Response, error) {
				tries++
				return tc.answer()
			}))
			_, err := h.Read(t.Context(), "head", 100)
			if err == nil || tries != tc.tries || errors.Is(err, fs.ErrNotExist) != tc.absent {
				t.Errorf("%s: %d tries and %v, want %d tries, absent %v", what, tries, err, tc.tries, tc.absent)
			}
		})
	}
}

type brokenReader struct{}

// Read implements io.Reader.
func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestHTTPRecovers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		h := newHTTP(t, "https://host.test", transport(func(*http.Request) (*http.Response, error) {
			if tries++; tries < 4 {
				return answer(502, ""), nil
			}
			return answer(200, "ok"), nil
		}))
		if b, err := h.Read(t.Context(), "head", 100); err != nil || string(b) != "ok" {
			t.Errorf("Read = %q, %v after %d tries", b, err, tries)
		}
	})
}

// TestHTTPStalls reads from a server that stops talking: silence ends in an
// error, and a server that drips cannot hold us for ever.
func TestHTTPStalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		drip := func(r *http.Request, every time.Duration) (*http.Response, error) {
			pr, pw := io.Pipe()
			go func() {
				for {
					select {
					case <-r.Context().Done():
						_ = pw.CloseWithError(r.Context().Err())
						return
					case <-time.After(every):
						if _, err := pw.Write([]byte("x")); err != nil {
							return
						}
					}
				}
			}()
			resp := answer(200, "")
			resp.Body = pr
			return resp, nil
		}
		begin := time.Now()
		silent := newHTTP(t, "https://host.test", transport(func(r *http.Request) (*http.Response, error) { return drip(r, time.Hour) }))
		_, err := silent.Read(t.Context(), "head", 100)
		if err == nil || time.Since(begin) > 3*time.Minute {
			t.Errorf("a silent server: %v after %v", err, time.Since(begin))
		}
		begin = time.Now()
		slow := newHTTP(t, "https://host.test", transport(func(r *http.Request) (*http.Response, error) { return drip(r, 20*time.Second) }))
		_, err = slow.Read(t.Context(), "head", 1<<20)
		if err == nil || time.Since(begin) > 3*time.Minute {
			t.Errorf("a dripping server: %v after %v", err, time.Since(begin))
		}
		body, err := silent.Lookup(t.Context(), catalog.LookupRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.ReadAll(body)
		if err == nil || !strings.Contains(err.Error(), "no byte from host.test") {
			t.Errorf("a silent lookup: %v", err)
		}
		if err := body.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestHTTPCancels(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	tries := 0
	h := newHTTP(t, "https://host.test", transport(func(r *http.Request) (*http.Response, error) {
		tries++
		cancel()
		return nil, r.Context().Err()
	}))
	if _, err := h.Read(ctx, "head", 100); !errors.Is(err, context.Canceled) || tries != 1 {
		t.Errorf("Read = %v after %d tries, want one and %v", err, tries, context.Canceled)
	}
}

func TestHTTPLookup(t *testing.T) {
	t.Parallel()
	want := catalog.LookupRequest{Names: []string{"a"}, Size: 3, Closure: true, Known: map[string]uint64{"a": 2}}
	h := newHTTP(t, "https://host.test", transport(func(r *http.Request) (*http.Response, error) {
		req, err := catalog.ParseLookupRequest(r.Body)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/lookup" || req.Size != want.Size || req.Known["a"] != 2 {
			t.Errorf("%s %s with %+v, %v", r.Method, r.URL.Path, req, err)
		}
		return answer(200, "body"), nil
	}))
	body, err := h.Lookup(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close() //nolint:errcheck // only read from
	if b, err := io.ReadAll(body); err != nil || string(b) != "body" {
		t.Errorf("read %q, %v", b, err)
	}
	for _, code := range []int{404, 405, 501} {
		h := newHTTP(t, "https://host.test", transport(func(*http.Request) (*http.Response, error) { return answer(code, ""), nil }))
		if _, err := h.Lookup(t.Context(), want); !errors.Is(err, catalog.ErrUnsupported) {
			t.Errorf("status %d: %v, want %v", code, err, catalog.ErrUnsupported)
		}
	}
}

func TestHTTPRedirects(t *testing.T) {
	t.Parallel()
	redirect := func(to func(n int) string) http.RoundTripper {
		n := 0
		return transport(func(*http.Request) (*http.Response, error) {
			n++
			if u := to(n); u != "" {
				return answer(302, "", "Location", u), nil
			}
			return answer(200, "there"), nil
		})
	}
	for what, tc := range map[string]struct {
		base string
		to   func(n int) string
		ok   bool
	}{
		"a few":             {"https://a.test", func(n int) string { return []string{"", "https://b.test/x", "/y", ""}[n] }, true},
		"without end":       {"https://a.test", func(int) string { return "/again" }, false},
		"to plain http":     {"https://a.test", func(n int) string { return []string{"", "http://b.test/x", ""}[n] }, false},
		"from http to http": {"http://a.test", func(n int) string { return []string{"", "http://b.test/x", ""}[n] }, true},
	} {
		b, err := newHTTP(t, tc.base, redirect(tc.to)).Read(t.Context(), "head", 100)
		if (err == nil) != tc.ok || tc.ok && string(b) != "there" {
			t.Errorf("redirects %s: %q, %v", what, b, err)
		}
	}
}

func TestHTTPRefusesURLs(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "host", "ftp://host", "https://", "https://u:p@host", "https://host?x", "https://host#x", "https://ho st", "file:///etc"} {
		if _, err := catalog.NewHTTP(u, "", nil); err == nil {
			t.Errorf("NewHTTP(%q) is accepted", u)
		}
	}
}

// TestOverRealHTTP reads a whole registry through a real server and client.
func TestOverRealHTTP(t *testing.T) {
	t.Parallel()
	f := standard(t)
	var posts atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /r/", func(w http.ResponseWriter, r *http.Request) {
		b, ok := f.files[strings.TrimPrefix(r.URL.Path, "/r/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(b)
	})
	mux.HandleFunc("POST /r/lookup", func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		req, err := catalog.ParseLookupRequest(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(f.answer(req))
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	u, err := url.JoinPath(srv.URL, "r")
	if err != nil {
		t.Fatal(err)
	}
	h := newHTTP(t, u, nil)
	if got := versions(t, newClient(t).open(h), "a"); got != "1.0.0 1.1.0" {
		t.Errorf("a has %s", got)
	}
	if posts.Load() != 1 {
		t.Errorf("%d lookups", posts.Load())
	}
	srv.Close()
	_, err = newHTTP(t, u, nil).Read(t.Context(), "head", 100)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a dead server: %v", err)
	}
}
