package peers_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"pkg/fetch/gateway"
	"pkg/fetch/peers"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
)

// TestMirrorsAreNamedByURL: what is no URL of a server is refused with a word.
func TestMirrorsAreNamedByURL(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"http://127.0.0.1:8080": true, "https://mirror.example.org/pkg": true,
		"ftp://example.org": false, "http://": false, "http://user@example.org": false, "http://example.org?q": false,
		"http://example.org/#x": false, "://": false, "example.org": false,
	} {
		if err := peers.Check(addr); (err == nil) != ok {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// TestMirrorOrGateway: the same URL brings packs where there are some, and else what the gateway has.
func TestMirrorOrGateway(t *testing.T) {
	t.Parallel()
	st, roots := filled(t, 2)
	finder := store.NewFinder(st)
	only := func(h http.Handler, pattern string) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(pattern, h)
		return mux
	}
	for name, h := range map[string]http.Handler{
		"batches": only(swarm.Handler(st), "/content"),
		"files":   only(swarm.Handler(st), "/packs/"),
		"gateway": only(&gateway.Handler{Blocks: finder, Packs: finder}, "/ipfs/"),
	} {
		srv := httptest.NewServer(h)
		defer srv.Close()
		p := opened(t, peers.Config{Known: []string{srv.URL}, HTTP: srv.Client()})
		tallies, err := get(t.Context(), t, p.Sources(t.Context(), roots), roots)
		if err != nil || len(tallies) != 1 || tallies[0].Packs != len(roots) || tallies[0].Kind != swarm.Mirror {
			t.Errorf("%s: %+v, %v", name, tallies, err)
		}
	}
}
