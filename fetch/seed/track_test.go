package seed_test

import (
	"net/url"
	"testing"

	"github.com/ipfs/go-cid"

	"pkg/fetch/peers"
	"pkg/fetch/seed"
)

// until asks a tracker until so many of roots have a peer.
func until(t *testing.T, base *url.URL, roots []cid.Cid, want int) {
	t.Helper()
	for t.Context().Err() == nil {
		found, err := peers.Find(t.Context(), peers.Tracker{Base: base}, roots)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) == want {
			return
		}
	}
	t.Fatalf("never %d roots with a peer", want)
}

// TestSeedFollowsItsTrackers tells a running seed of trackers that it did not know, and takes them away again.
func TestSeedFollowsItsTrackers(t *testing.T) {
	st, roots := filled(t, 3)
	first, second := registry(t), registry(t)
	all := func() []cid.Cid { return roots }
	a, b := seed.Tracker{Base: first, ID: "r", Roots: all}, seed.Tracker{Base: second, ID: "r", Roots: all}
	s := start(t, st, seed.Config{})
	s.Track([]seed.Tracker{a})
	until(t, first, roots, 3)
	until(t, second, roots, 0)
	s.Track([]seed.Tracker{a, b})
	until(t, second, roots, 3)
	until(t, first, roots, 3)
	s.Track([]seed.Tracker{b})
	until(t, first, roots, 0)
	until(t, second, roots, 3)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, second, roots, 0)
	s.Track([]seed.Tracker{a}) // it is closed
	until(t, first, roots, 0)
}
