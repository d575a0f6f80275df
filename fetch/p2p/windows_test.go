package p2p

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// TestWindowsOfWhoFetches: a seed may send dialWindow before anything is read, and all of it is reserved; who listens takes
// less.
func TestWindowsOfWhoFetches(t *testing.T) {
	t.Parallel()
	const most = 1 << 10 // bytes of negotiation
	sent, over := make(chan error, 1), make(chan struct{})
	defer close(over)
	seed := newHost(t, Config{Listen: []string{tcpHere}})
	seed.Host().SetStreamHandler("/all", func(s network.Stream) {
		_ = s.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, err := s.Write(make([]byte, dialWindow-most))
		sent <- err
		<-over
		_ = s.Reset()
	})
	h := newHost(t, Config{})
	h.Know(seed.Info())
	s, err := h.Host().NewStream(t.Context(), seed.ID(), "/all")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Reset() }()
	if _, err := s.Write(nil); err != nil { // which negotiates
		t.Fatal(err)
	}
	if err := <-sent; err != nil {
		t.Errorf("the seed cannot send %d bytes ahead: %v", dialWindow-most, err)
	}
	for _, c := range []struct {
		of, to *Host
		least  int64
	}{{h, seed, dialWindow}, {seed, h, 256 << 10}} {
		var got network.ScopeStat
		if err := c.of.Host().Network().ResourceManager().ViewPeer(c.to.ID(), func(p network.PeerScope) error {
			got = p.Stat()
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		const identify = 64 << 10 // what reading that may take at this moment
		if streams := int64(got.NumStreamsInbound + got.NumStreamsOutbound); streams == 0 || got.Memory < c.least || got.Memory%c.least > identify {
			t.Errorf("%d streams reserve %d bytes, want %d each", streams, got.Memory, c.least)
		}
	}
}

// TestGrownWindowsAreEnough: a window that grew lets the peer send on, however much there is.
func TestGrownWindowsAreEnough(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	times := defaultTimes()
	times.stall = 5 * time.Second
	seed := startHost(t, Config{Listen: []string{tcpHere}}, times, securities)
	if err := seed.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		some := make([]byte, 1<<20)
		for range size / len(some) {
			if _, err := w.Write(some); err != nil {
				return
			}
		}
	})); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, Config{})
	h.Know(seed.Info())
	resp, err := (&http.Client{Transport: h.Transport()}).Get("http://" + seed.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // read whole
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if err := h.Host().Network().ResourceManager().ViewPeer(seed.ID(), func(p network.PeerScope) error {
		if m := p.Stat().Memory; m > dialPeerMemory {
			t.Errorf("%d bytes are reserved", m)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
