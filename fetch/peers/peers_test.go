package peers_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	"go.uber.org/goleak"

	"pkg/fetch/bitswap"
	"pkg/fetch/p2p"
	"pkg/fetch/peers"
	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tracker"
	"pkg/fetch/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func loopback() []string { return []string{"/ip4/127.0.0.1/tcp/0"} }

// filled is a store with n small packages.
func filled(t *testing.T, n int) (*store.Store, []cid.Cid) {
	t.Helper()
	st := empty(t)
	b := st.Batch()
	var roots []cid.Cid
	for i := range n {
		text := strings.Repeat(fmt.Sprintf("package %d ", i), 1000)
		var pack bytes.Buffer
		sum, err := tree.Pack(t.Context(), []tree.File{{Path: "a.txt", Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(text)), nil
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

// registry is a tracker that takes down what it is asked, and who told it of something.
type registry struct {
	base *url.URL

	mu   sync.Mutex // guards what follows
	want []string
	told chan struct{} // one element for each announcement
	hold chan struct{} // questions are answered once it is closed; nil: at once
}

func newRegistry(t *testing.T) *registry {
	t.Helper()
	reg := &registry{told: make(chan struct{}, 100)}
	know := tracker.New(tracker.Config{Registry: "r", Now: time.Now}).Handler()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.URL.Path == "/routing/pkg/providers" {
			var q struct{ Want []string }
			_ = json.Unmarshal(body, &q) // the tracker refuses what is none
			reg.mu.Lock()
			reg.want = append(reg.want, q.Want...)
			hold := reg.hold
			reg.mu.Unlock()
			if hold != nil {
				select {
				case <-hold:
				case <-r.Context().Done():
					return
				}
			}
		}
		know.ServeHTTP(w, r)
		if r.URL.Path == "/routing/pkg/announce" {
			reg.told <- struct{}{}
		}
	}))
	t.Cleanup(server.Close)
	var err error
	if reg.base, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	return reg
}

func (r *registry) tracker() peers.Tracker { return peers.Tracker{Base: r.base} }

// wanted is what was asked for.
func (r *registry) wanted() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(slices.Values(r.want))
}

// seeding is a seed that takes down what it is asked for.
type seeding struct {
	*seed.Seed
	mu    sync.Mutex // guards asked
	asked map[cid.Cid]bool
}

// seeds starts a seed of st that tells reg, if there is one, of roots, and waits until it did.
func seeds(t *testing.T, st *store.Store, c seed.Config, reg *registry, roots []cid.Cid) *seeding {
	t.Helper()
	s := &seeding{asked: make(map[cid.Cid]bool)}
	ready := make(chan struct{})
	c.Store, c.Listen, c.Now = st, loopback(), time.Now
	c.Shares = func(root cid.Cid) bool {
		select {
		case <-ready:
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked[root] = true
		default: // it asks itself, to tell the tracker
		}
		return true
	}
	if reg != nil {
		c.Trackers = []seed.Tracker{{Base: reg.base, ID: "r", Roots: func() []cid.Cid { return roots }}}
	}
	var err error
	if s.Seed, err = seed.Start(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if reg != nil {
		<-reg.told
	}
	close(ready)
	return s
}

// wasAsked are the roots that it was asked for, of all.
func (s *seeding) wasAsked(all []cid.Cid) (out []cid.Cid) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range all {
		if s.asked[c] {
			out = append(out, c)
		}
	}
	return out
}

// opened are Peers that are closed with the test.
func opened(t *testing.T, c peers.Config) *peers.Peers {
	t.Helper()
	p := peers.New(c)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
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
	if serr := b.Seal(context.WithoutCancel(ctx)); serr != nil {
		t.Error(serr)
	}
	return tallies, err
}

// missing are the roots that an error says nobody gave.
func missing(err error) (roots []cid.Cid) {
	if m, ok := errors.AsType[*swarm.MissingError](err); ok {
		for _, w := range m.Wants {
			roots = append(roots, w.Root)
		}
	}
	return roots
}

func texts(roots ...cid.Cid) (out []string) {
	for _, c := range roots {
		out = append(out, c.String())
	}
	slices.Sort(out)
	return out
}

func TestKnownPeersDoNotWaitForTrackers(t *testing.T) {
	st, roots := filled(t, 5)
	reg := newRegistry(t)
	reg.hold = make(chan struct{}) // it answers nobody
	s := seeds(t, st, seed.Config{}, nil, nil)
	p := opened(t, peers.Config{Trackers: []peers.Tracker{reg.tracker()}, Known: s.Addrs()})
	tallies, err := get(t.Context(), t, p.Sources(t.Context(), roots), roots)
	if err != nil {
		t.Fatal(err)
	}
	for _, tally := range tallies {
		if tally.Kind != swarm.Peer {
			t.Errorf("%s is a %s, want a peer", tally.Source, tally.Kind)
		}
	}
}

func TestPrivateRootsAreAskedOfKnownPeersAlone(t *testing.T) {
	st, roots := filled(t, 4)
	reg, other := newRegistry(t), newRegistry(t)
	found := seeds(t, st, seed.Config{}, reg, roots) // it is said to have all
	secret := roots[0]
	c := peers.Config{
		Trackers: []peers.Tracker{reg.tracker(), {Base: other.base, Asks: func(c cid.Cid) bool { return c.Equals(roots[1]) }}},
		Public:   func(c cid.Cid) bool { return !c.Equals(secret) },
	}
	_, err := get(t.Context(), t, opened(t, c).Sources(t.Context(), roots), roots)
	if got := missing(err); !slices.Equal(got, []cid.Cid{secret}) {
		t.Errorf("missing %v (%v), want the private root %s alone", got, err, secret)
	}
	if got, want := reg.wanted(), texts(roots[1:]...); !slices.Equal(got, want) {
		t.Errorf("the tracker was asked for %q, want %q", got, want)
	}
	if got, want := other.wanted(), texts(roots[1]); !slices.Equal(got, want) {
		t.Errorf("the tracker that may know of one was asked for %q, want %q", got, want)
	}
	if got := found.wasAsked(roots); !slices.Equal(got, roots[1:]) {
		t.Errorf("the peer was asked for %v, want %v", got, roots[1:])
	}
	known := seeds(t, st, seed.Config{}, nil, nil)
	c.Known = known.Addrs()
	if _, err := get(t.Context(), t, opened(t, c).Sources(t.Context(), roots), roots); err != nil {
		t.Error(err)
	}
	if got := known.wasAsked(roots[:1]); len(got) != 1 {
		t.Error("the known peer was not asked for the private root")
	}
}

func TestPeersAreAskedForWhatTheyAreSaidToHave(t *testing.T) {
	st, roots := filled(t, 4)
	reg := newRegistry(t)
	s := seeds(t, st, seed.Config{}, reg, roots[:2]) // it has all
	_, err := get(t.Context(), t, opened(t, peers.Config{Trackers: []peers.Tracker{reg.tracker()}}).Sources(t.Context(), roots), roots)
	if got := missing(err); !slices.Equal(texts(got...), texts(roots[2:]...)) {
		t.Errorf("missing %v (%v), want %v", got, err, roots[2:])
	}
	if got := s.wasAsked(roots); !slices.Equal(got, roots[:2]) {
		t.Errorf("asked for %v, want %v", got, roots[:2])
	}
}

func TestThePeersThatHaveMostAreAskedAndNoMore(t *testing.T) {
	st, roots := filled(t, 3)
	reg := newRegistry(t)
	few := seeds(t, st, seed.Config{}, reg, roots[:1])
	most := seeds(t, st, seed.Config{}, reg, roots)
	c := peers.Config{Trackers: []peers.Tracker{reg.tracker()}, Most: 1}
	if _, err := get(t.Context(), t, opened(t, c).Sources(t.Context(), roots), roots); err != nil {
		t.Fatal(err)
	}
	if got := len(few.wasAsked(roots)) + len(most.wasAsked(roots)); got != 3 || len(most.wasAsked(roots)) != 3 {
		t.Errorf("who has one was asked for %d, who has all for %d, want 0 and 3", len(few.wasAsked(roots)), len(most.wasAsked(roots)))
	}
}

func TestATrackerThatFailsIsNamedAndHurtsNobody(t *testing.T) {
	st, roots := filled(t, 2)
	down := httptest.NewServer(http.NotFoundHandler())
	base, err := url.Parse(down.URL)
	if err != nil {
		t.Fatal(err)
	}
	down.Close()
	_, err = get(t.Context(), t, opened(t, peers.Config{Trackers: []peers.Tracker{{Base: base}}}).Sources(t.Context(), roots), roots)
	if err == nil || !strings.Contains(err.Error(), base.Host) || len(missing(err)) != 2 {
		t.Errorf("%v, want both missing and %s named", err, base.Host)
	}
	reg := newRegistry(t)
	seeds(t, st, seed.Config{}, reg, roots)
	p := opened(t, peers.Config{Trackers: []peers.Tracker{{Base: base}, reg.tracker()}})
	if _, err := get(t.Context(), t, p.Sources(t.Context(), roots), roots); err != nil {
		t.Error(err)
	}
}

func TestAPrivateSwarmIsItsOwn(t *testing.T) {
	st, roots := filled(t, 2)
	ours, theirs := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
	s := seeds(t, st, seed.Config{SwarmKey: ours}, nil, nil)
	for _, c := range []struct {
		who string
		key []byte
		in  bool
	}{{"who has the key", ours, true}, {"who has another", theirs, false}, {"who has none", nil, false}} {
		_, err := get(t.Context(), t, opened(t, peers.Config{Known: s.Addrs(), SwarmKey: c.key}).Sources(t.Context(), roots), roots)
		if (err == nil) != c.in {
			t.Errorf("%s: %v, want to be served: %v", c.who, err, c.in)
		}
	}
}

// TestNodesThatKnowOnlyBitswapAreAskedByBitswap is any IPFS node: it serves no HTTP over streams.
func TestNodesThatKnowOnlyBitswapAreAskedByBitswap(t *testing.T) {
	st, roots := filled(t, 3)
	host, err := p2p.New(p2p.Config{Listen: loopback()})
	if err != nil {
		t.Fatal(err)
	}
	exchange := bitswap.Open(host.Host(), bitswap.Options{Blocks: store.NewFinder(st)})
	t.Cleanup(func() {
		if err := errors.Join(exchange.Close(), host.Close()); err != nil {
			t.Error(err)
		}
	})
	addrs, err := peer.AddrInfoToP2pAddrs(new(host.Info()))
	if err != nil {
		t.Fatal(err)
	}
	p := opened(t, peers.Config{Known: []string{addrs[0].String()}})
	if _, err := get(t.Context(), t, p.Sources(t.Context(), roots), roots); err != nil {
		t.Error(err)
	}
	if got := exchange.Stats().Served.Blocks; got == 0 {
		t.Error("no block was served by bitswap")
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	_, roots := filled(t, 1)
	reg := newRegistry(t)
	reg.hold = make(chan struct{})
	p := peers.New(peers.Config{Trackers: []peers.Tracker{reg.tracker()}})
	sources := p.Sources(t.Context(), roots)
	if len(sources) != peers.DefaultMost {
		t.Errorf("%d sources, want %d", len(sources), peers.DefaultMost)
	}
	for range 2 {
		if err := p.Close(); err != nil { // although the tracker has not answered
			t.Error(err)
		}
	}
	if err := peers.New(peers.Config{}).Close(); err != nil {
		t.Errorf("close what never began: %v", err)
	}
}

func TestAddressesOfPeersAreChecked(t *testing.T) {
	t.Parallel()
	const id = "/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
	for addr, ok := range map[string]bool{
		"/ip4/127.0.0.1/tcp/4107" + id: true, "/dns4/seed.example/udp/4107/quic-v1" + id: true,
		"": false, "nonsense": false, "/ip4/127.0.0.1/tcp/4107": false, "/ip4/0.0.0.0/tcp/4107" + id: false,
		"/ip4/127.0.0.1/tcp/4107/p2p/nobody": false,
	} {
		if err := peers.Check(addr); (err == nil) != ok {
			t.Errorf("Check(%q): %v, want accepted %v", addr, err, ok)
		}
	}
}
