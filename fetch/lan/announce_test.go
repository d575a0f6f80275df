package lan

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/net/dns/dnsmessage"
)

// hub is a wire in memory. It notes what is sent, to whom or in which network, and what it holds.
type hub struct {
	*fake
	mu     sync.Mutex // guards what follows
	joined []string
	sent   []string
	onSend func(b []byte, to netip.AddrPort)
}

func (h *hub) join(l link) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if slices.Contains(h.joined, l.Name) {
		return fmt.Errorf("%s is joined", l.Name)
	}
	h.joined = append(h.joined, l.Name)
	return nil
}

func (h *hub) send(b []byte, to netip.AddrPort) error {
	h.note(to.String(), b)
	if h.onSend != nil {
		h.onSend(b, to)
	}
	return nil
}

func (h *hub) shout(b []byte, l link) error {
	h.note(l.Name, b)
	return nil
}

func (h *hub) note(to string, b []byte) {
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		to += fmt.Sprintf(" %v", err)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%s: id=%x questions=%d", to, m.ID, len(m.Questions))
	for _, r := range append(m.Answers, m.Additionals...) {
		fmt.Fprintf(&s, " %s ttl=%d", strings.TrimPrefix(r.Header.Type.String(), "Type"), r.Header.TTL)
		if txt, ok := r.Body.(*dnsmessage.TXTResource); ok {
			for _, t := range txt.TXT {
				addr, _, _ := strings.Cut(t, "/p2p/")
				s.WriteString(" " + addr)
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sent = append(h.sent, s.String())
}

// take returns what was sent since it was last called.
func (h *hub) take() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.sent
	h.sent = nil
	return out
}

// hear has the announcer receive a question.
func (h *hub) hear(t *testing.T, from string, change func(*dnsmessage.Message)) {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: number}, Questions: []dnsmessage.Question{ptrQuestion()}}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	h.in <- packet{b, netip.MustParseAddrPort(from)}
}

// seed is an announcer that runs, in the networks that find returns.
func seed(t *testing.T, find func() ([]link, error), addrs ...string) (h *hub, stop func()) {
	t.Helper()
	h = &hub{fake: newFake(link{}, nil)}
	all := multiaddrs(t, addrs...)
	a := newAnnouncer(peerID(t, 1), func() []ma.Multiaddr { return all }, find, []wire{h}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { a.run(ctx) })
	return h, func() {
		cancel()
		wg.Wait()
	}
}

func lans(all ...link) func() ([]link, error) { return func() ([]link, error) { return all, nil } }

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

// TestSeedAnswers holds to whom a seed speaks, and that it names the addresses of that network alone, never loopback.
func TestSeedAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := seed(t, lans(network("eth0", 2, "192.168.1.7/24", "fe80::7/64"), network("eth1", 3, "10.1.0.7/16", "fe80::8/64"), network("eth2", 4, "10.2.0.7/16")),
			"/ip4/127.0.0.1/tcp/4107", "/ip4/192.168.1.7/tcp/4107", "/ip4/10.1.0.7/tcp/4107", "/ip6/::1/tcp/4107", "/ip6/fe80::7/tcp/4107", "/ip4/8.8.8.8/tcp/4107")
		const on0, on1 = " dnsaddr=/ip4/192.168.1.7/tcp/4107 dnsaddr=/ip6/fe80::7/tcp/4107", " dnsaddr=/ip4/10.1.0.7/tcp/4107"
		const aloud, direct = ": id=0 questions=0 PTR ttl=120 TXT ttl=120", ": id=beef questions=1 PTR ttl=10 TXT ttl=10"
		same(t, "unasked", h.take(), "eth0"+aloud+on0, "eth1"+aloud+on1)
		time.Sleep(1500 * time.Millisecond)
		same(t, "once more", h.take(), "eth0"+aloud+on0, "eth1"+aloud+on1)
		time.Sleep(lookEvery * time.Second)
		same(t, "no more", h.take())

		h.hear(t, "192.168.1.20:40000", nil)
		same(t, "a question", h.take(), "192.168.1.20:40000"+direct+on0)
		h.hear(t, "10.1.200.1:40000", nil)
		same(t, "in another network", h.take(), "10.1.200.1:40000"+direct+on1)
		h.hear(t, "[fe80::99%eth0]:40000", nil)
		same(t, "over IPv6", h.take(), "[fe80::99%eth0]:40000"+direct+on0)
		for _, from := range []string{"8.8.8.8:40000", "192.168.2.1:40000", "127.0.0.1:40000", "10.2.0.1:40000", "[fe80::99%wlan0]:40000", "[2001:db8::1]:40000"} {
			h.hear(t, from, nil)
			same(t, from, h.take())
		}
		h.in <- packet{[]byte("nonsense"), netip.MustParseAddrPort("192.168.1.20:40000")}
		same(t, "nonsense", h.take())

		h.hear(t, "192.168.1.20:5353", func(m *dnsmessage.Message) { m.Questions[0].Class |= topBit })
		same(t, "to one that speaks mDNS", h.take(), "192.168.1.20:5353"+aloud+on0)
		h.hear(t, "192.168.1.20:5353", func(m *dnsmessage.Message) {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(Service), Class: dnsmessage.ClassINET, TTL: ttl},
				Body:   &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(instance(peerID(t, 1)))},
			}}
		})
		same(t, "to one that knows it", h.take())
		for range 3 {
			h.hear(t, "192.168.1.20:5353", nil)
		}
		same(t, "to all, once a second", h.take(), "eth0"+aloud+on0)
		stop()
		const end = ": id=0 questions=0 PTR ttl=0 TXT ttl=0 "
		same(t, "goodbye", h.take(), "eth0"+end, "eth1"+end)
	})
}

// TestSeedIsSilentWhereItIsNot has a seed that listens on loopback alone.
func TestSeedIsSilentWhereItIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := seed(t, lans(network("eth0", 2, "192.168.1.7/24")), "/ip4/127.0.0.1/tcp/4107", "/ip6/::1/udp/4107/quic-v1")
		h.hear(t, "192.168.1.20:40000", nil)
		time.Sleep(2 * lookEvery * time.Second)
		stop()
		same(t, "sent", h.take())
	})
}

// TestSeedAnswersSoManyASecond has somebody ask without end.
func TestSeedAnswersSoManyASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := seed(t, lans(network("eth0", 2, "192.168.1.7/24")), "/ip4/192.168.1.7/tcp/4107")
		time.Sleep(5*time.Second + time.Millisecond)
		h.take()
		for range 2 {
			for range 1000 {
				h.hear(t, "192.168.1.66:666", nil)
			}
			if got := len(h.take()); got != perSecond {
				t.Errorf("%d answers in a second, want %d", got, perSecond)
			}
			time.Sleep(time.Second)
		}
		stop()
	})
}

// TestSeedFollowsNetworks has the machine move from one network to another.
func TestSeedFollowsNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now := []link{network("eth0", 2, "192.168.1.7/24")}
		h, stop := seed(t, func() ([]link, error) {
			mu.Lock()
			defer mu.Unlock()
			return now, nil
		}, "/ip4/192.168.1.7/tcp/4107", "/ip4/10.1.0.7/tcp/4107")
		time.Sleep(5 * time.Second)
		h.take()
		mu.Lock()
		now = []link{network("wlan0", 5, "10.1.0.7/16")}
		mu.Unlock()
		time.Sleep(lookEvery * time.Second)
		const said = "wlan0: id=0 questions=0 PTR ttl=120 TXT ttl=120 dnsaddr=/ip4/10.1.0.7/tcp/4107"
		same(t, "in the new network", h.take(), said, said)
		h.hear(t, "192.168.1.20:40000", nil)
		same(t, "to the old one", h.take())
		stop()
		same(t, "goodbye", h.take(), "wlan0: id=0 questions=0 PTR ttl=0 TXT ttl=0 ")
		same(t, "joined", h.joined, "eth0", "wlan0")
	})
}

// TestSeedIsFound has a seed and an install in one network in memory.
func TestSeedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, stop := seed(t, lans(network("eth0", 2, "192.168.1.7/24")), "/ip4/192.168.1.7/tcp/4107")
		from := netip.MustParseAddrPort("192.168.1.20:40000")
		install := newFake(network("eth0", 9, "192.168.1.20/24"), func(q []byte) error {
			h.in <- packet{slices.Clone(q), from}
			return nil
		})
		h.onSend = func(b []byte, to netip.AddrPort) {
			if to == from {
				install.in <- packet{slices.Clone(b), netip.MustParseAddrPort("192.168.1.7:5353")}
			}
		}
		var found []peer.AddrInfo
		if err := browse(t.Context(), []asker{install}, func(info peer.AddrInfo) { found = append(found, info) }); err != nil {
			t.Error(err)
		}
		same(t, "found", texts(found), "/ip4/192.168.1.7/tcp/4107/p2p/"+peerID(t, 1).String())
		stop()
	})
}

var (
	_ wire  = (*socket)(nil)
	_ asker = (*mouth)(nil)
)
