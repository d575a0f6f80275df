package tracker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	ma "github.com/multiformats/go-multiaddr"
)

// station is an announcer in a bubble, and what its tracker heard when.
type station struct {
	*Tracker
	start time.Time
	stop  context.CancelFunc
	done  chan error

	mu     sync.Mutex // guards all below
	heard  []string
	status int // of answers; 0: what the tracker says
	roots  []cid.Cid
	addrs  []ma.Multiaddr
}

// set changes what the announcer or the tracker says from now on.
func (s *station) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *station) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what := fmt.Sprint(s.status)
	if s.status != 0 {
		w.WriteHeader(s.status)
	} else {
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, r)
		what = fmt.Sprint(rec.Code)
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}
	if r.URL.Path == "/routing/pkg/announce" {
		s.heard = append(s.heard, fmt.Sprintf("%s %s: %d", time.Since(s.start), what, s.known()))
	}
}

// known is how many roots the tracker knows a provider of.
func (s *station) known() (n int) {
	for i := range 5000 {
		n += len(s.find(root(i), filter{}))
	}
	return n
}

func newStation(t *testing.T, some []cid.Cid, before ...func(*station)) *station {
	t.Helper()
	k, _ := keyPair(t, 1)
	s := &station{
		Tracker: New(Config{Registry: registry}), start: time.Now(), roots: some,
		addrs: mustAddrs(t, "/dns4/x/tcp/1", "/ip4/127.0.0.1/tcp/1", tcp), done: make(chan error, 1),
	}
	a := &Announcer{
		Client: &Client{Base: base(t, "http://tracker"), HTTP: &http.Client{Transport: local{s, outside}}}, Key: k, Registry: registry,
		Addrs: func() (out []ma.Multiaddr) { s.set(func() { out = s.addrs }); return out },
		Roots: func() (out []cid.Cid) { s.set(func() { out = s.roots }); return out },
	}
	for _, change := range before {
		change(s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	go func() { s.done <- a.Run(ctx) }()
	return s
}

func (s *station) end(t *testing.T, want ...string) {
	t.Helper()
	s.stop()
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, s.heard); diff != "" {
		t.Error(diff)
	}
}

func TestAnnouncerRepeatsAtHalfTheLifetimeAndWithdraws(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, roots(0, 3))
		time.Sleep(65 * time.Minute)
		synctest.Wait()
		if got := s.find(root(1), filter{}); len(got) != 1 || !slices.Equal(got[0].Addrs, []string{tcp}) {
			t.Errorf("found %v", got)
		}
		s.end(t, "0s 200: 3", "30m0s 200: 3", "1h0m0s 200: 3", "1h5m0s 200: 0")
	})
}

func TestAnnouncerSendsManyRootsInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, append(roots(0, MaxRoots+1), root(0)))
		time.Sleep(time.Second)
		s.end(t, "0s 200: 4096", "0s 200: 4097", "1s 200: 0")
	})
}

func TestAnnouncerSendsChangesOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, roots(0, 3))
		time.Sleep(10 * time.Second)
		for i := range 5 { // within a minute of the first
			s.set(func() { s.roots = roots(1, 4+i) })
			time.Sleep(time.Second)
		}
		time.Sleep(10 * time.Minute)
		s.set(func() { s.roots = nil })
		time.Sleep(21 * time.Minute)
		s.end(t, "0s 200: 3", "1m0s 200: 2", "1m0s 200: 7", "11m0s 200: 0", "31m15s 200: 0")
	})
}

// TestAnnouncerNoticesATrackerThatForgot: one that was started again is told within a minute or two.
func TestAnnouncerNoticesATrackerThatForgot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, roots(0, 3))
		time.Sleep(90 * time.Second)
		s.set(func() { s.Tracker = New(Config{Registry: registry}) })
		time.Sleep(2 * time.Minute)
		s.end(t, "0s 200: 3", "2m0s 200: 3", "3m30s 200: 0")
	})
}

func TestAnnouncerTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, roots(0, 3), func(s *station) { s.status = 503 })
		time.Sleep(4 * time.Minute)
		s.set(func() { s.status = 0 })
		time.Sleep(time.Hour)
		s.set(func() { s.status = 403 })
		time.Sleep(31 * time.Minute)
		s.set(func() { s.status = 0 })
		s.end(t, "0s 503: 0", "30s 503: 0", "1m30s 503: 0", "3m30s 503: 0", "7m30s 200: 3", "37m30s 200: 3", "1h7m30s 403: 3", "1h35m0s 200: 0")
	})
}

func TestAnnouncerReportsAFailedWithdrawal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, roots(0, 3))
		time.Sleep(time.Second)
		s.set(func() { s.status = 500 })
		s.stop()
		if refused, ok := errors.AsType[*RefusedError](<-s.done); !ok || refused.Status != 500 {
			t.Error("no error")
		}
	})
}

func TestAnnouncerWithoutAddressesIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, roots(0, 3), func(s *station) { s.addrs = nil })
		time.Sleep(time.Hour)
		s.end(t)
	})
	k, _ := keyPair(t, 1)
	if err := (&Announcer{Key: k, Lifetime: 25 * time.Hour}).Run(t.Context()); err == nil {
		t.Error("a lifetime of 25 hours is announced")
	}
}

// TestAnnouncerTellsBothVersionsOfIP: one way proves the address of that version only.
func TestAnnouncerTellsBothVersionsOfIP(t *testing.T) {
	t.Parallel()
	tr := New(Config{Registry: registry})
	at := func(from string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr = net.JoinHostPort(from, "4000")
			tr.Handler().ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	ways := map[string]string{"tcp4": at(outside), "tcp6": at("2606:4700::1")}
	ways["tcp"] = ways["tcp4"]
	var mu sync.Mutex
	var dialed []string
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		mu.Lock()
		dialed = append(dialed, network)
		mu.Unlock()
		return new(net.Dialer).DialContext(ctx, "tcp", ways[network])
	}}
	defer transport.CloseIdleConnections()
	k, _ := keyPair(t, 1)
	const own6 = "/ip6/2606:4700::1/tcp/1"
	addrs := mustAddrs(t, tcp, own6)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	a := &Announcer{
		Client: &Client{Base: base(t, "http://tracker"), HTTP: &http.Client{Transport: transport}}, Key: k, Registry: registry,
		Addrs: func() []ma.Multiaddr { return addrs }, Roots: func() []cid.Cid { return roots(0, 2) },
	}
	go func() { done <- a.Run(ctx) }()
	late := time.After(20 * time.Second)
	for found := []record(nil); len(found) == 0 || len(found[0].Addrs) < 2; found = tr.find(root(1), filter{}) {
		select {
		case <-late:
			t.Fatalf("only %v is known", found)
		default:
			runtime.Gosched()
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"tcp", "tcp6"}, dialed); diff != "" {
		t.Error(diff)
	}
}
