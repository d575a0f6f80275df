package p2p

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// TestWhoHasToGo: idle before busy, of the network that has most.
func TestWhoHasToGo(t *testing.T) {
	t.Parallel()
	some := func(spec ...string) (out []guest) {
		for i, s := range spec {
			ip := netip.AddrFrom4([4]byte{9, 9, 9, s[0]})
			out = append(out, guest{from: netip.PrefixFrom(ip, 32), idle: s[1:] == " idle", since: time.Unix(int64(i), 0)})
		}
		return out
	}
	for _, c := range []struct {
		all  []guest
		want int
	}{
		{some("a busy", "b busy", "c busy"), 2},
		{some("a busy", "a busy", "b busy"), 1},
		{some("b busy", "a busy", "c busy", "a busy", "b busy", "a busy", "c busy"), 5},
		{some("a busy", "b idle", "c idle", "d busy"), 1},
		{some("a idle", "b idle", "b idle", "a busy", "a busy"), 1},
		{some("a idle"), 0},
		{some("a busy", "a busy", "b busy", "c idle"), 1},
		{some("a busy", "b busy", "c busy", "d idle"), 3},
		{some("a busy", "b idle", "b busy", "b idle"), 1},
	} {
		if got := leaver(c.all); got != c.want {
			t.Errorf("%v: %d has to go, want %d", c.all, got, c.want)
		}
	}
}

// TestStandingConnectionsTakeNoSeat: a flood of connections on which nothing is asked, many of them half open or with
// streams that agree on no protocol, never has more than the seats there are, and keeps nobody out.
func TestStandingConnectionsTakeNoSeat(t *testing.T) {
	t.Parallel()
	const seats = 4
	for _, listen := range []string{tcpHere, quicHere} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			seed := newHost(t, Config{Listen: []string{listen}, MaxPeers: seats})
			if err := seed.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })); err != nil {
				t.Fatal(err)
			}
			good := newHost(t, Config{})
			good.Know(seed.Info())
			get := func(h *Host) error {
				resp, err := (&http.Client{Transport: h.Transport()}).Get("http://" + seed.ID().String())
				if err != nil {
					return err
				}
				defer func() { _ = resp.Body.Close() }() // read whole
				if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "here" {
					return fmt.Errorf("got %q, %w", b, err)
				}
				return nil
			}
			for range 4 * seats {
				net := stranger(t, seed)
				c, err := net.DialPeer(t.Context(), seed.ID())
				if err != nil {
					t.Fatal(err)
				}
				s, err := c.NewStream(t.Context())
				if err == nil {
					_, err = s.Write([]byte{19}) // the beginning of a protocol
				}
				if err != nil && !c.IsClosed() {
					t.Error(err)
				}
				if err := get(good); err != nil { // whose connection stays
					t.Error(err)
				}
			}
			fresh := newHost(t, Config{})
			fresh.Know(seed.Info())
			if err := get(fresh); err != nil {
				t.Errorf("a newcomer: %v", err)
			}
			late := time.After(10 * time.Second)
			for n := 99; n > seats; {
				n = 0
				for _, c := range seed.Host().Network().Conns() {
					if c.Stat().Direction == network.DirInbound {
						n++
					}
				}
				select {
				case <-late:
					t.Fatalf("%d are connected, there are %d seats", n, seats)
				default:
					runtime.Gosched()
				}
			}
			if n := len(seed.Host().Network().ConnsToPeer(good.ID())); n != 1 {
				t.Errorf("the good peer has %d connections", n)
			}
		})
	}
}
