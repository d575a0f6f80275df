package gateway_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ipfs/go-cid"

	"pkg/fetch/gateway"
)

func TestAnswersAtOnceAreBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format string
		limit  int
	}{{"car", 16}, {"raw", 24}} {
		sh := newShop(t, files())
		entered, done, cut := make(chan struct{}), make(chan int), make(chan struct{}, 1)
		release := make(chan struct{})
		h := &gateway.Handler{Blocks: blockFunc(func(ctx context.Context, c cid.Cid) ([]byte, error) {
			select {
			case entered <- struct{}{}:
			case <-release:
			}
			select {
			case <-release:
			case <-ctx.Done():
				cut <- struct{}{}
				return nil, ctx.Err()
			}
			return sh.h.Blocks.Block(ctx, c)
		})}
		serve := func(method, from, via string) (w *httptest.ResponseRecorder) {
			r := httptest.NewRequestWithContext(t.Context(), method, "/ipfs/"+sh.root.String()+"?dag-scope=block&format="+c.format, nil)
			r.RemoteAddr = from
			if via != "" {
				r.Header.Set("X-Forwarded-For", via)
			}
			w = httptest.NewRecorder()
			defer func() {
				if broken := recover(); broken != nil {
					w.Code = http.StatusTeapot // stands for a connection that breaks
				}
			}()
			h.ServeHTTP(w, r)
			return w
		}
		start := func(from, via string) {
			go func() { done <- serve(http.MethodGet, from, via).Code }()
			<-entered
		}
		busy := func(what, from, via string) {
			t.Helper()
			if w := serve(http.MethodGet, from, via); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" {
				t.Errorf("%s: %s: %d %v", c.format, what, w.Code, w.Header())
			}
		}
		for range c.limit / 4 {
			start("203.0.113.1:4000", "203.0.113.99")
			start("[2001:db8::1]:4000", "")
			start("127.0.0.1:4000", "1.1.1.1, 203.0.113.2")
		}
		busy("one address", "203.0.113.1:5000", "203.0.113.77")
		busy("one customer", "[2001:db8:0:9::2]:4000", "")
		busy("one client of a proxy", "[::1]:4000", "203.0.113.2")
		for range c.limit / 4 {
			start("12D3KooWPeer", "")
		}
		start("203.0.113.3:4000", "") // in the place of the oldest of one that has many
		<-cut
		if code := <-done; code != http.StatusTeapot {
			t.Errorf("%s: who is cut is answered %d", c.format, code)
		}
		for range 4 * c.limit {
			busy("who has as many as anybody may have", "203.0.113.1:4000", "")
		}
		go func() { done <- serve(http.MethodHead, "203.0.113.1:4000", "").Code }()
		<-entered
		close(release)
		for range c.limit + 1 {
			if code := <-done; code != http.StatusOK {
				t.Errorf("%s: %d", c.format, code)
			}
		}
		if w := serve(http.MethodGet, "203.0.113.1:4000", ""); w.Code != http.StatusOK {
			t.Errorf("%s: %d after the others ended", c.format, w.Code)
		}
	}
}
