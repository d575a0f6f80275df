package p2p

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	libp2pswarm "github.com/libp2p/go-libp2p/p2p/net/swarm"
)

// newStock makes a host as Kubo has it.
func newStock(t *testing.T) *basichost.BasicHost {
	t.Helper()
	key, err := parseKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	peers, err := newPeerstore(id, key)
	if err != nil {
		t.Fatal(err)
	}
	bus := eventbus.NewBus()
	net, err := libp2pswarm.NewSwarm(id, peers, bus)
	if err != nil {
		t.Fatal(err)
	}
	closeQUIC, err := addTransports(net, Config{}, key, &network.NullResourceManager{}, securities)
	if err != nil {
		t.Fatal(err)
	}
	h, err := basichost.NewHost(net, &basichost.HostOpts{EventBus: bus})
	if err != nil {
		t.Fatal(err)
	}
	h.Start()
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
		if err := closeQUIC(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// TestStockHostsUnderstandUs: a host of libp2p's own identifies us, learns our protocols and addresses, and both open
// streams to each other over the one connection, as bitswap does.
func TestStockHostsUnderstandUs(t *testing.T) {
	t.Parallel()
	const asks, answers protocol.ID = "/test/asks", "/test/answers"
	for _, listen := range []string{tcpHere, quicHere} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			seed, stock := newHost(t, Config{Listen: []string{listen}}), newStock(t)
			got := make(chan string, 1)
			stock.SetStreamHandler(answers, func(s network.Stream) {
				b, _ := io.ReadAll(s)
				got <- string(b)
				_ = s.Close()
			})
			seed.Host().SetStreamHandler(asks, func(s network.Stream) {
				_ = s.Close()
				back, err := seed.Host().NewStream(t.Context(), s.Conn().RemotePeer(), "/test/newer", answers)
				if err != nil {
					t.Error(err)
					close(got)
					return
				}
				_, _ = io.WriteString(back, "here you are")
				_ = back.Close()
			})
			known, err := stock.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = known.Close() }()
			// Who connects in the instant in which a protocol is added may learn of it at the next connection only.
			for try, knows := 0, false; !knows; try++ {
				if try == 10 {
					t.Fatal("our protocol is not known")
				}
				if err := errors.Join(stock.Network().ClosePeer(seed.ID()), stock.Connect(t.Context(), seed.Info())); err != nil {
					t.Fatal(err)
				}
				select {
				case e := <-known.Out():
					id := e.(event.EvtPeerIdentificationCompleted)
					if id.AgentVersion != "pkg" || len(id.ListenAddrs) != 1 || !id.ListenAddrs[0].Equal(seed.Addrs()[0]) {
						t.Errorf("we are %q at %v, want pkg at %v", id.AgentVersion, id.ListenAddrs, seed.Addrs())
					}
				case <-time.After(5 * time.Second):
					t.Fatal("we were not identified")
				}
				_, knows = supported(stock.Peerstore(), seed.ID(), []protocol.ID{asks})
			}
			s, err := stock.NewStream(t.Context(), seed.ID(), "/test/newest", asks)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(s, "please")
			defer func() { _ = s.Reset() }()
			select {
			case text := <-got:
				if text != "here you are" {
					t.Errorf("got %q", text)
				}
			case <-time.After(5 * time.Second):
				t.Error("no answer came")
			}
		})
	}
}

// TestDialersAnnounceNothing: to whom they talk, hosts that do not listen name no address.
func TestDialersAnnounceNothing(t *testing.T) {
	t.Parallel()
	h := newHost(t, Config{})
	seed := newHost(t, Config{Listen: []string{tcpHere}})
	ids, err := seed.Host().EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ids.Close() }()
	if err := h.Host().Connect(t.Context(), seed.Info()); err != nil {
		t.Fatal(err)
	}
	select {
	case e := <-ids.Out():
		id := e.(event.EvtPeerIdentificationCompleted)
		if id.Peer != h.ID() || len(id.ListenAddrs) != 0 || id.SignedPeerRecord != nil {
			t.Errorf("%s announced %v", id.Peer, id.ListenAddrs)
		}
	case <-time.After(5 * time.Second):
		t.Error("not identified")
	}
}
