package lan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// packet is one datagram, and where it came from.
type packet struct {
	b    []byte
	from netip.AddrPort
}

// port of a network in memory: what is sent to it waits in a channel.
type fake struct {
	link
	in    chan packet
	asked func(question []byte) error
	once  sync.Once
	done  chan struct{}
}

func newFake(l link, asked func([]byte) error) *fake {
	return &fake{link: l, in: make(chan packet, 10000), asked: asked, done: make(chan struct{})}
}

func (f *fake) ask(q []byte) error { return f.asked(q) }

func (f *fake) read(b []byte) (int, netip.AddrPort, error) {
	select {
	case p := <-f.in:
		n := copy(b, p.b)
		if n < len(p.b) {
			return n, p.from, errors.New("cut")
		}
		return n, p.from, nil
	case <-f.done:
		return 0, netip.AddrPort{}, net.ErrClosed
	}
}

func (f *fake) close() error {
	f.once.Do(func() { close(f.done) })
	return nil
}

// believed runs browse in a network where each question is answered by answers, which is given the number.
func believed(t *testing.T, answers func(id uint16) []packet) (found []peer.AddrInfo, took time.Duration) {
	t.Helper()
	var f *fake
	f = newFake(network("eth0", 2, "192.168.1.7/24"), func(q []byte) error {
		got, ok := parseQuery(q, "")
		if !ok {
			t.Errorf("asked %q", q)
		}
		for _, p := range answers(got.id) {
			f.in <- p
		}
		return nil
	})
	began := time.Now()
	if err := browse(t.Context(), []asker{f}, func(info peer.AddrInfo) { found = append(found, info) }); err != nil {
		t.Error(err)
	}
	return found, time.Since(began)
}

// says is the answer of the n-th peer at ip.
func says(t *testing.T, n byte, id uint16, ip string) packet {
	t.Helper()
	b, err := answer{id: peerID(t, n), addrs: multiaddrs(t, "/ip4/"+ip+"/tcp/4107"), to: &query{id: id}}.pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet{b, netip.AddrPortFrom(netip.MustParseAddr(ip), port)}
}

// TestBrowseNamesEachOnce has two seeds answer both questions, and one from another network.
func TestBrowseNamesEachOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found, took := believed(t, func(id uint16) []packet {
			mapped := says(t, 2, id, "192.168.1.11")
			mapped.from = netip.AddrPortFrom(netip.MustParseAddr("::ffff:192.168.1.11"), port)
			return []packet{
				{[]byte("nonsense"), netip.MustParseAddrPort("192.168.1.14:5353")},
				{make([]byte, 9000), netip.MustParseAddrPort("192.168.1.14:5353")},
				says(t, 1, id, "192.168.1.10"), mapped, says(t, 3, id, "192.168.2.12"), says(t, 4, id, "8.8.8.8"), says(t, 5, id+1, "192.168.1.13"),
			}
		})
		want := []string{"/ip4/192.168.1.10/tcp/4107/p2p/" + peerID(t, 1).String(), "/ip4/192.168.1.11/tcp/4107/p2p/" + peerID(t, 2).String()}
		if got := texts(found); !slices.Equal(got, want) {
			t.Errorf("found %q, want %q", got, want)
		}
		if took != Window {
			t.Errorf("ended after %v, want %v", took, Window)
		}
	})
}

// TestBrowseEndsWithEnough has more seeds than places.
func TestBrowseEndsWithEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found, took := believed(t, func(id uint16) (out []packet) {
			for n := range byte(100) {
				out = append(out, says(t, n, id, fmt.Sprintf("192.168.1.%d", 10+n)))
			}
			return out
		})
		if len(found) != Most || took != 0 {
			t.Errorf("found %d after %v, want %d at once", len(found), took, Most)
		}
	})
}

// TestBrowseGivesAMachineFewPlaces has one machine claim to be many seeds, before another one answers.
func TestBrowseGivesAMachineFewPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		found, _ := believed(t, func(id uint16) (out []packet) {
			for n := range byte(100) {
				out = append(out, says(t, n, id, "192.168.1.66"))
			}
			return append(out, says(t, 200, id, "192.168.1.10"))
		})
		if len(found) != mostPerMachine+1 || found[mostPerMachine].ID != peerID(t, 200) {
			t.Errorf("found %v", texts(found))
		}
	})
}

// TestBrowseReadsNoFlood holds that a flood is read to a bounded length, and ends with the window all the same.
func TestBrowseReadsNoFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		found, took := believed(t, func(id uint16) (out []packet) {
			if !first {
				return nil
			}
			first = false
			for range 5000 {
				out = append(out, packet{[]byte("nonsense"), netip.MustParseAddrPort("192.168.1.66:5353")})
			}
			return append(out, says(t, 1, id, "192.168.1.10"))
		})
		if len(found) != 0 || took != Window {
			t.Errorf("found %v after %v", texts(found), took)
		}
	})
}

// TestBrowseStops ends with its context, and at once where nobody can be asked.
func TestBrowseStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(Window/4, cancel)
		began := time.Now()
		quiet := newFake(network("eth0", 2, "192.168.1.7/24"), func([]byte) error { return nil })
		if err := browse(ctx, []asker{quiet}, func(peer.AddrInfo) { t.Error("found a peer") }); err != nil || time.Since(began) != Window/4 {
			t.Errorf("browse = %v after %v", err, time.Since(began))
		}
		began = time.Now()
		unreachable := errors.New("unreachable")
		dead := newFake(network("eth0", 2, "192.168.1.7/24"), func([]byte) error { return unreachable })
		if err := browse(t.Context(), []asker{dead}, func(peer.AddrInfo) {}); !errors.Is(err, unreachable) || time.Since(began) != 0 {
			t.Errorf("browse = %v after %v, want %v at once", err, time.Since(began), unreachable)
		}
	})
}
