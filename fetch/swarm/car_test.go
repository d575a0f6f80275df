package swarm_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"pkg/fetch/gateway"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// gatewayOf serves a store as an IPFS gateway, and nothing else. spoil changes an answer.
func gatewayOf(t *testing.T, s *store.Store, spoil func([]byte) []byte) *swarm.HTTP {
	t.Helper()
	finder := store.NewFinder(s)
	h := &gateway.Handler{Blocks: finder, Packs: finder}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ipfs/", func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		b := rec.Body.Bytes()
		if spoil != nil && rec.Code == http.StatusOK {
			b = spoil(b)
		}
		w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(b)
	})
	src := serve(t, under(mux))
	src.Gateway, src.Mirror = true, true
	return src
}

// TestGatewayIsASource: a server that knows only CARs gives whole packages, and says what it does not have.
func TestGatewayIsASource(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 10)
	src := gatewayOf(t, sh.s, nil)
	s, from := into(t, src)
	if _, err := s.Get(t.Context(), swarm.Packs(sh.roots...)); err != nil || len(from()) != len(sh.roots) {
		t.Errorf("%d of %d came, %v", len(from()), len(sh.roots), err)
	}
	s, _ = into(t, src)
	var missing *swarm.MissingError
	wants := append(swarm.Packs(absent(t)), swarm.Want{Root: sh.roots[0], Scope: swarm.Nodes})
	if _, err := s.Get(t.Context(), wants); !errors.As(err, &missing) || len(missing.Wants) != 2 || len(missing.Errs) != 0 {
		t.Errorf("got %v, want both missing", err)
	}
}

// TestHostileGateways: wrong blocks are a lie, a broken CAR is none, and nothing of either is taken.
func TestHostileGateways(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 0)
	for name, c := range map[string]struct {
		spoil func([]byte) []byte
		lie   bool
	}{
		"a byte changed":  {func(b []byte) []byte { b = bytes.Clone(b); b[len(b)-1] ^= 1; return b }, true},
		"more at the end": {func(b []byte) []byte { return append(bytes.Clone(b), b[len(b)-50:]...) }, false},
		"nothing":         {func([]byte) []byte { return nil }, false},
		"only a header":   {func(b []byte) []byte { return b[:1+int(b[0])] }, false},
		"no CAR":          {func([]byte) []byte { return []byte("<html>not found</html>") }, false},
		"an endless block": {func(b []byte) []byte {
			return append(b[:1+int(b[0]):1+int(b[0])], 0xff, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3)
		}, false},
	} {
		s, from := into(t, gatewayOf(t, sh.s, c.spoil))
		tallies, err := s.Get(t.Context(), swarm.Packs(sh.roots...))
		if err == nil || len(from()) > 0 || (lies(tallies)[tallies[0].Source] != nil) != c.lie {
			t.Errorf("%s: got %v, lies %v, %d taken", name, err, lies(tallies), len(from()))
		}
	}
	s, from := into(t, gatewayOf(t, sh.s, func(b []byte) []byte { return b[:len(b)-10] }), &swarm.Dir{Store: sh.s})
	tallies, err := s.Get(t.Context(), swarm.Packs(sh.roots...))
	if err != nil || len(from()) != len(sh.roots) {
		t.Errorf("beside a gateway that breaks off: %v", err)
	}
	var bad *tree.HashError
	if errors.As(tallies[0].Lie, &bad) {
		t.Errorf("a CAR that breaks off is called a lie: %v", tallies[0].Lie)
	}
}
