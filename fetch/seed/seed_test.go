package seed_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"pkg/fetch/peers"
	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tracker"
	"pkg/fetch/tree"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

func loopback() []string { return []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} }

// filled is a store with n small packages.
func filled(t *testing.T, n int) (*store.Store, []cid.Cid) {
	t.Helper()
	st := empty(t)
	b := st.Batch()
	var roots []cid.Cid
	for i := range n {
		content := strings.Repeat(fmt.Sprintf("package %d ", i), 1000)
		var pack bytes.Buffer
		sum, err := tree.Pack(t.Context(), []tree.File{{Path: "a.txt", Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(content)), nil
		}}}, tree.Default(), &pack)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), sum.Root, &pack); err != nil {
			t.Fatal(err)
		}
		roots = append(roots, sum.Root)
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st, roots
}

func empty(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// registry is a tracker on loopback.
func registry(t *testing.T) *url.URL {
	t.Helper()
	server := httptest.NewServer(tracker.New(tracker.Config{Registry: "r", Now: time.Now}).Handler())
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// start starts a seed of st, and ends it with the test.
func start(t *testing.T, st *store.Store, c seed.Config) *seed.Seed {
	t.Helper()
	c.Store, c.Listen, c.Now = st, loopback(), time.Now
	if c.Key == nil {
		c.Key = bytes.Repeat([]byte{7}, 32)
	}
	s, err := seed.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// get fetches roots from sources into a new store.
func get(ctx context.Context, t *testing.T, sources []swarm.Source, roots []cid.Cid) ([]swarm.Tally, error) {
	t.Helper()
	b := empty(t).Batch()
	session := swarm.Session{Sources: sources, Put: func(ctx context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
		_, err := b.Put(ctx, a.Root, a.Pack)
		return nil, err
	}}
	tallies, err := session.Get(ctx, swarm.Packs(roots...))
	if serr := b.Seal(ctx); serr != nil {
		t.Error(serr)
	}
	return tallies, err
}

// TestSeedIsFoundAndServes announces to a tracker, is found there, and serves.
func TestSeedIsFoundAndServes(t *testing.T) {
	st, roots := filled(t, 20)
	base := registry(t)
	s := start(t, st, seed.Config{Trackers: []seed.Tracker{{Base: base, ID: "r", Roots: func() []cid.Cid { return roots }}}})
	where := peers.Tracker{Base: base}
	for { // the announcement is on its way
		found, err := peers.Find(t.Context(), where, roots)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == len(roots) {
			if got := found[roots[0]]; len(got) != 1 || !strings.HasSuffix(got[0], "/p2p/"+s.ID()) {
				t.Errorf("found %q, want %s", got, s.ID())
			}
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("never found")
		default:
		}
	}
	p := peers.New(peers.Config{Trackers: []peers.Tracker{where}})
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := get(t.Context(), t, p.Sources(t.Context(), roots), roots); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Bytes == 0 || got.Requests == 0 {
		t.Errorf("stats %+v after serving", got)
	}
}

// TestSeedServesOnlyWhatItShares asks a known peer for what it does not share.
func TestSeedServesOnlyWhatItShares(t *testing.T) {
	st, roots := filled(t, 2)
	s := start(t, st, seed.Config{Shares: func(c cid.Cid) bool { return c == roots[0] }})
	p := peers.New(peers.Config{Known: s.Addrs()[:1]})
	defer func() { _ = p.Close() }() // another test looks
	_, err := get(t.Context(), t, p.Sources(t.Context(), roots), roots)
	if missing := new(swarm.MissingError); err == nil || !asMissing(err, missing) || len(missing.Wants) != 1 || missing.Wants[0].Root != roots[1] {
		t.Errorf("get = %v, want %s alone to be missing", err, roots[1])
	}
}

func asMissing(err error, to *swarm.MissingError) bool {
	m, ok := err.(*swarm.MissingError) //nolint:errorlint // Session returns just this
	if ok {
		*to = *m
	}
	return ok
}

// TestNobodyToFind has a tracker that knows nobody: the sources end with nothing.
func TestNobodyToFind(t *testing.T) {
	_, roots := filled(t, 1)
	p := peers.New(peers.Config{Trackers: []peers.Tracker{{Base: registry(t)}}})
	defer func() { _ = p.Close() }() // nothing was opened
	if _, err := get(t.Context(), t, p.Sources(t.Context(), roots), roots); err == nil {
		t.Error("found what nobody has")
	}
}
