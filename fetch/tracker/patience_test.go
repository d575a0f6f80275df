package tracker

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// trickle is a connection that brings a byte every ten seconds, and whose server renews the deadline at each read.
type trickle struct {
	*httptest.ResponseRecorder
	cut chan struct{}
}

func (c *trickle) SetReadDeadline(time.Time) error {
	select {
	case c.cut <- struct{}{}:
	default:
	}
	return nil
}

func (c *trickle) Read(b []byte) (int, error) {
	select {
	case <-c.cut: // renewed
	default:
	}
	select {
	case <-c.cut:
		return 0, os.ErrDeadlineExceeded
	case <-time.After(10 * time.Second):
		return copy(b, "{"), nil
	}
}

func TestASlowAnnouncementIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := New(Config{Registry: registry})
		c := &trickle{httptest.NewRecorder(), make(chan struct{}, 1)}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/routing/pkg/announce", io.NopCloser(c))
		r.RemoteAddr = outside + ":4000"
		start := time.Now()
		w.Handler().ServeHTTP(c, r)
		if took := time.Since(start); took != bodyTime || c.Code != http.StatusRequestTimeout {
			t.Errorf("%d after %s", c.Code, took)
		}
		if len(c.cut) != 1 {
			t.Error("the server may wait for the rest")
		}
		if w.gate.all != 0 || !w.gate.enter(netip.Prefix{}) {
			t.Errorf("%d are in", w.gate.all)
		}
	})
}

func TestAProxyOfThisMachineIsNoNeighbour(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce("127.0.0.1", 1, w.announcement(1, roots(0, 1), "/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.1/tcp/1"))
	proxy := httptest.NewServer(w.handler) // which answers for everybody
	defer proxy.Close()
	for _, use := range []func(*http.Request) (*url.URL, error){nil, http.ProxyURL(base(t, proxy.URL))} {
		transport := &http.Transport{Proxy: use, DisableKeepAlives: true}
		at := "http://tracker.example"
		if use == nil {
			at = proxy.URL
		}
		c := &Client{Base: base(t, at), HTTP: &http.Client{Transport: transport}}
		found, err := c.Find(t.Context(), roots(0, 1))
		if err != nil || (len(found) == 1) != (use == nil) {
			t.Errorf("%s: %v, %v", at, found, err)
		}
	}
}
