package peers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"pkg/fetch/p2p"
	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// someone serves packages on loopback, one for each text, until the test ends.
func someone(t *testing.T, key byte, texts ...string) (peer.AddrInfo, []cid.Cid) {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := st.Batch()
	var roots []cid.Cid
	for _, s := range texts {
		var pack bytes.Buffer
		sum, err := tree.Pack(t.Context(), []tree.File{{Path: "a.txt", Size: int64(len(s)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader(s)), nil
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
	s, err := seed.Start(t.Context(), seed.Config{Store: st, Key: bytes.Repeat([]byte{key}, 32), Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	info, err := p2p.ParsePeer(s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	return info, roots
}

// fetched asks the sources of p for roots, and says which came.
func fetched(t *testing.T, p *Peers, roots []cid.Cid) ([]cid.Cid, error) {
	t.Helper()
	var got []cid.Cid
	came := make(chan cid.Cid, len(roots))
	s := swarm.Session{Sources: p.Sources(t.Context(), roots), Put: func(_ context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
		_, err := io.Copy(io.Discard, a.Pack)
		came <- a.Root
		return nil, err
	}}
	_, err := s.Get(t.Context(), swarm.Packs(roots...))
	if cerr := p.Close(); cerr != nil {
		t.Error(cerr)
	}
	close(came)
	for root := range came {
		got = append(got, root)
	}
	return got, err
}

// TestNeighboursAreAsked has one that comes late beside one that is not there, and asks it for what is public alone.
func TestNeighboursAreAsked(t *testing.T) {
	info, roots := someone(t, 1, "one", "two", "secret")
	gone, err := p2p.ParsePeer("/ip4/127.0.0.1/tcp/1/p2p/12D3KooWDcpiNCRvf8PhT1fGVoid8LxABPZsgtw2NWHLubVgA8XD")
	if err != nil {
		t.Fatal(err)
	}
	p := New(Config{LAN: true, Public: func(root cid.Cid) bool { return root != roots[2] }, browse: func(_ context.Context, found func(peer.AddrInfo)) error {
		found(gone)
		found(info)
		found(info)
		return nil
	}})
	got, err := fetched(t, p, roots)
	var missing *swarm.MissingError
	if !errors.As(err, &missing) || !slices.Equal(missing.Wants, swarm.Packs(roots[2:]...)) || len(got) != 2 || slices.Contains(got, roots[2]) {
		t.Errorf("fetched %v, %v; want the first two of %v", got, err, roots)
	}
}

// TestNobodyNear ends with nothing, and says once why nobody could be looked for.
func TestNobodyNear(t *testing.T) {
	_, roots := someone(t, 1, "one")
	for _, why := range []error{nil, errors.New("no network")} {
		p := New(Config{LAN: true, browse: func(context.Context, func(peer.AddrInfo)) error { return why }})
		_, err := fetched(t, p, roots)
		var missing *swarm.MissingError
		if !errors.As(err, &missing) {
			t.Fatalf("fetched: %v", err)
		}
		if why == nil && len(missing.Errs) != 0 || why != nil && (len(missing.Errs) != 1 || !errors.Is(missing.Errs[0], why)) {
			t.Errorf("errors %v, want %v once", missing.Errs, why)
		}
	}
}

// TestLANIsNotWaitedFor has a peer that has all, while others are still looked for.
func TestLANIsNotWaitedFor(t *testing.T) {
	info, roots := someone(t, 1, "one", "two", "three")
	p := New(Config{LAN: true, browse: func(ctx context.Context, found func(peer.AddrInfo)) error {
		found(info)
		<-ctx.Done() // a window without an end
		return nil
	}})
	if got, err := fetched(t, p, roots); err != nil || len(got) != len(roots) {
		t.Errorf("fetched %v, %v", got, err)
	}
}

// TestLANIsLeftAlone looks for nobody where nothing may be asked of strangers, or nobody wants to.
func TestLANIsLeftAlone(t *testing.T) {
	_, roots := someone(t, 1, "one")
	for name, c := range map[string]Config{
		"off": {}, "all private": {LAN: true, Public: func(cid.Cid) bool { return false }},
	} {
		c.browse = func(context.Context, func(peer.AddrInfo)) error {
			t.Errorf("%s: looked for peers", name)
			return nil
		}
		p := New(c)
		if got := p.Sources(t.Context(), roots); len(got) != 0 {
			t.Errorf("%s: %d sources", name, len(got))
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNeighboursAreFew has more found than are asked, and one that is known already.
func TestNeighboursAreFew(t *testing.T) {
	known, roots := someone(t, 1, "one")
	looked := make(chan struct{})
	p := New(Config{LAN: true, Known: []string{known.Addrs[0].String() + "/p2p/" + known.ID.String()}, browse: func(ctx context.Context, found func(peer.AddrInfo)) error {
		defer close(looked)
		found(known)
		for n := range byte(100) {
			found(peer.AddrInfo{ID: peer.ID([]byte{n})})
		}
		<-ctx.Done() // there are enough
		return nil
	}})
	sources := p.Sources(t.Context(), roots)
	<-looked
	if len(sources) != 1+mostNear {
		t.Errorf("%d sources, want the known one and %d", len(sources), mostNear)
	}
	var ids []peer.ID
	for _, s := range sources[1:] {
		is, err := s.(*neighbour).wait(t.Context())
		if err != nil || is == nil {
			t.Fatalf("wait: %v, %v", is, err)
		}
		ids = append(ids, is.known.ID)
	}
	if want := []peer.ID{"\x00", "\x01", "\x02"}; !slices.Equal(ids, want) {
		t.Errorf("peers %q, want %q", ids, want)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
