package tracker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
)

func base(tb testing.TB, text string) *url.URL {
	tb.Helper()
	u, err := url.Parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	return u
}

func TestFindAsksForAllAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce(outside, 1, w.announcement(1, roots(0, 1500), tcp))
	w.announce(outside, 2, w.announcement(2, roots(1400, 1600), quic))
	var requests atomic.Int32
	counted := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.handler.ServeHTTP(rw, r)
	})
	c := &Client{Base: base(t, "http://tracker"), HTTP: &http.Client{Transport: local{counted, outside}}}
	found, err := c.Find(t.Context(), roots(0, 2500))
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1600 || len(found[root(1450)]) != 2 || requests.Load() != 3 {
		t.Errorf("%d roots found with %d requests", len(found), requests.Load())
	}
	_, id := keyPair(t, 2)
	if got := found[root(1599)]; len(got) != 1 || got[0].ID != id || got[0].Addrs[0].String() != quic {
		t.Errorf("root 1599: %v", got)
	}
	if found, err := c.Find(t.Context(), nil); len(found) != 0 || err != nil || requests.Load() != 3 {
		t.Errorf("nothing: %v, %v", found, err)
	}
}

func TestFindFallsBackToOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce(outside, 1, w.announcement(1, roots(0, 20), tcp))
	for _, status := range []int{400, 404, 405, 501} {
		s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				rw.WriteHeader(status)
				return
			}
			if strings.Contains(r.URL.Path, root(3).String()) { // as servers did before IPIP-513
				rw.WriteHeader(http.StatusNotFound)
				return
			}
			w.handler.ServeHTTP(rw, r)
		}))
		c := &Client{Base: base(t, s.URL), HTTP: s.Client()}
		found, err := c.Find(t.Context(), roots(0, 30))
		if err != nil || len(found) != 19 {
			t.Errorf("%d: %d roots found, %v", status, len(found), err)
		}
		s.Close()
	}
}

// TestFindBelievesLittle answers a client in the internet with whatever a bad tracker may say.
func TestFindBelievesLittle(t *testing.T) {
	t.Parallel()
	_, id := keyPair(t, 1)
	rec := func(id, schema string, addrs ...string) string {
		b, err := json.Marshal(record{Schema: schema, ID: id, Addrs: addrs})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	good := rec(id.String(), "peer", tcp)
	var crowd, places []string
	for n := range uint64(300) {
		_, id := keyPair(t, n)
		crowd, places = append(crowd, rec(id.String(), "peer", tcp)), append(places, fmt.Sprint(n))
	}
	var ports []string
	for n := range 100 {
		ports = append(ports, fmt.Sprintf("/ip4/8.8.8.8/tcp/%d", n+1))
	}
	for name, c := range map[string]struct {
		providers, at string
		peers, addrs  int // -1: an error
	}{
		"good":              {good, "0", 1, 1},
		"twice":             {good, "0,0", 1, 1},
		"two of one id":     {good + "," + good, "0,1", 1, 1},
		"another schema":    {rec(id.String(), "bitswap", tcp) + "," + good, "0,1", 1, 1},
		"not a record":      {`7,{"Schema":7},{"Schema":"peer","ID":"x","Addrs":["` + tcp + `"]},` + good, "0,1,2,3", 1, 1},
		"no addresses":      {rec(id.String(), "peer"), "0", 0, 0},
		"inside addresses":  {rec(id.String(), "peer", "/ip4/127.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1"), "0", 0, 0},
		"names":             {rec(id.String(), "peer", "/dns4/localhost/tcp/1", "x", strings.Repeat("x", 9999), tcp), "0", 1, 1},
		"many addresses":    {rec(id.String(), "peer", ports...), "0", 1, MaxAddrs},
		"many peers":        {strings.Join(crowd, ","), strings.Join(places, ","), MaxProviders, 1},
		"no such provider":  {good, "1", -1, 0},
		"before the first":  {good, "-1", -1, 0},
		"positions of text": {good, `"0"`, -1, 0},
		"no JSON":           {"{", "", -1, 0},
		"too long":          {good + strings.Repeat(" ", maxMany), "0", -1, 0},
	} {
		h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"Providers":[%s],"Roots":{%q:[%s],%q:[0]}}`, c.providers, root(0), c.at, root(99))
		})
		client := &Client{Base: base(t, "http://tracker/"), HTTP: &http.Client{Transport: local{h, outside}}}
		found, err := client.Find(t.Context(), roots(0, 2))
		if (err != nil) != (c.peers < 0) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err != nil {
			continue
		}
		if got := found[root(0)]; len(got) != c.peers || c.peers > 0 && len(got[0].Addrs) != c.addrs || len(found) > 1 {
			t.Errorf("%s: %d peers of %d roots: %v", name, len(got), len(found), got)
		}
	}
}

func TestOnlyATrackerOfThisMachineSpeaksOfLoopback(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce("127.0.0.1", 1, w.announcement(1, roots(0, 1), "/ip4/127.0.0.1/tcp/1"))
	s := httptest.NewServer(w.handler)
	defer s.Close()
	c := &Client{Base: base(t, s.URL), HTTP: s.Client()}
	if found, err := c.Find(t.Context(), roots(0, 1)); err != nil || len(found) != 1 {
		t.Errorf("from a server on loopback: %v, %v", found, err)
	}
	c.HTTP = &http.Client{Transport: local{w.handler, "127.0.0.1"}} // nobody knows where it is
	if found, err := c.Find(t.Context(), roots(0, 1)); err != nil || len(found) != 0 {
		t.Errorf("from a server somewhere: %v, %v", found, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Limits: Limits{ByPeer: 1}})
	k, _ := keyPair(t, 1)
	c := &Client{Base: base(t, "http://tracker"), HTTP: &http.Client{Transport: local{w.handler, outside}}}
	sign := func() []byte {
		b, err := w.announcement(1, roots(0, 1), tcp).Sign(k, registry)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if got, err := c.Announce(t.Context(), sign()); err != nil || got.Roots != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	_, err := c.Announce(t.Context(), sign())
	if refused, ok := errors.AsType[*RefusedError](err); !ok || refused.Status != 429 || refused.After != time.Hour || !strings.Contains(refused.Error(), "less often") {
		t.Errorf("%v", err)
	}
	for body, status := range map[string]int{"": 500, "[]": 200, `{"roots":-1}`: 200, strings.Repeat(" ", maxSmall+1): 200} {
		c.HTTP.Transport = local{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}), outside}
		if got, err := c.Announce(t.Context(), sign()); err == nil {
			t.Errorf("%d %.20q: %+v", status, body, got)
		}
		if status != http.StatusOK {
			if found, err := c.Find(t.Context(), roots(0, 1)); err == nil {
				t.Errorf("find: %v", found)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Find(ctx, []cid.Cid{root(0)}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestNoRedirectGivesUpEncryption(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusTemporaryRedirect))
	defer s.Close()
	c := &Client{Base: base(t, s.URL), HTTP: s.Client()}
	if _, err := c.Find(t.Context(), roots(0, 1)); err == nil || !strings.Contains(err.Error(), "from https") {
		t.Errorf("%v", err)
	}
}

func FuzzInfo(f *testing.F) {
	_, id := keyPair(f, 1)
	f.Add([]byte(`{"Schema":"peer","ID":"` + id.String() + `","Addrs":["` + quic + `","/ip4/127.0.0.1/tcp/1"],"Protocols":["x"]}`))
	f.Add([]byte(`{"Schema":"peer","ID":"bafz","Addrs":null}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		info, ok := (&response{}).info(raw)
		if !ok {
			return
		}
		if info.ID == "" || len(info.Addrs) == 0 || len(info.Addrs) > MaxAddrs {
			t.Fatalf("%v", info)
		}
		for _, m := range info.Addrs {
			if a, err := parseAddr(m, info.ID); err != nil || placeOf(a.ip) != public {
				t.Fatalf("%s: %v", m, err)
			}
		}
	})
}
