package p2p

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	libp2pswarm "github.com/libp2p/go-libp2p/p2p/net/swarm"
	mss "github.com/multiformats/go-multistream"

	"pkg/fetch/swarm"
)

// stranger is a peer that keeps to no limits and no protocol.
func stranger(t *testing.T, victim *Host) *libp2pswarm.Swarm {
	t.Helper()
	key, _, err := crypto.GenerateEd25519Key(rand.Reader)
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
	net, err := libp2pswarm.NewSwarm(id, peers, eventbus.NewBus())
	if err != nil {
		t.Fatal(err)
	}
	net.SetStreamHandler(func(s network.Stream) { _ = s.Reset() })
	closeQUIC, err := addTransports(net, Config{}, key, &network.NullResourceManager{}, securities)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(net.Close(), closeQUIC(), peers.Close()); err != nil {
			t.Error(err)
		}
	})
	peers.AddAddrs(victim.ID(), victim.Addrs(), peerstore.PermanentAddrTTL)
	return net
}

// open opens a stream of HTTP and returns it before anything is sent.
func open(ctx context.Context, net *libp2pswarm.Swarm, victim *Host) (network.Stream, io.ReadWriter, error) {
	s, err := net.NewStream(ctx, victim.ID())
	if err != nil {
		return nil, nil, err
	}
	return s, mss.NewMSSelect(s, Protocol), nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestStreamFloodIsBounded: four peers open many streams and fill each; the memory stays bounded, the peers' own in this
// process included, and somebody else is served meanwhile. Not parallel: it looks at the memory of the process.
func TestStreamFloodIsBounded(t *testing.T) {
	sh := newShelf(t, 5, 100_000)
	for _, c := range []struct {
		listen  string
		streams int // of each peer
		least   int // that must stand in all for this to be a flood; over TCP the worst are disconnected
	}{
		{tcpHere, 2 * peerStreams, peerStreams / 2},
		{tcpHere, 50, 0},
		{quicHere, 50, 2 * peerStreams},
	} {
		listen := c.listen
		seed := serve(t, swarm.Handler(sh.s), listen)
		before := heap()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		var wg sync.WaitGroup
		var flooded sync.WaitGroup // all that can be sent is
		stop := make(chan struct{})
		junk := append([]byte("POST /content HTTP/1.1\r\nHost: x\r\nContent-Length: 600000\r\n\r\n{"), bytes.Repeat([]byte(" "), 400_000)...)
		for range 4 {
			net := stranger(t, seed)
			for range c.streams {
				flooded.Add(1)
				wg.Go(func() {
					s, rw, err := open(ctx, net, seed)
					if err != nil {
						flooded.Done()
						return
					}
					_ = s.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
					_, _ = rw.Write(junk)
					flooded.Done()
					<-stop
					_ = s.Reset()
				})
			}
		}
		flooded.Wait()
		var streams int
		for _, c := range seed.Host().Network().Conns() {
			streams += len(c.GetStreams())
		}
		grown := int64(heap()) - int64(before)
		t.Logf("%s, %d streams each: %d are open, %d KiB more memory", listen, c.streams, streams, grown>>10)
		if streams < c.least || streams > 4*(peerStreams+2) || grown > 64<<20 {
			t.Errorf("%s: %d streams and %d MiB; want at least %d, at most %d streams and 64 MiB", listen, streams, grown>>20, c.least, 4*peerStreams)
		}
		got, _, err := collect(ctx, newHost(t, Config{}).Source(seed.Info()), sh.roots)
		if err != nil || len(got) != len(sh.roots) {
			t.Errorf("%s: somebody else got %d packs, %v", listen, len(got), err)
		}
		close(stop)
		wg.Wait()
		cancel()
		_ = seed.Close() // again at the end of the test
	}
}

// TestSlowPeersLoseTheirStream: a peer that does not send, or does not take, what is due gets no more time for it.
func TestSlowPeersLoseTheirStream(t *testing.T) {
	t.Parallel()
	soon := 30 * time.Millisecond
	for name, c := range map[string]struct {
		times func(*times)
		send  func(s network.Stream, rw io.ReadWriter)
	}{
		"negotiation": {func(t *times) { t.negotiate = soon }, func(s network.Stream, _ io.ReadWriter) { _, _ = s.Write([]byte{19}) }},
		"header":      {func(t *times) { t.header = soon }, func(_ network.Stream, rw io.ReadWriter) { _, _ = io.WriteString(rw, "GET / HTTP/1.1\r\nA: b") }},
		"body": {func(t *times) { t.request = soon }, func(_ network.Stream, rw io.ReadWriter) {
			_, _ = io.WriteString(rw, "POST /content HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
		}},
		"next request": {func(t *times) { t.idle = soon }, func(_ network.Stream, rw io.ReadWriter) {
			_, _ = io.WriteString(rw, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		}},
	} {
		for _, listen := range []string{tcpHere, quicHere} {
			t.Run(name+listen, func(t *testing.T) {
				t.Parallel()
				times := defaultTimes()
				c.times(&times)
				seed := startHost(t, Config{Listen: []string{listen}}, times, securities)
				if err := seed.Serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })); err != nil {
					t.Fatal(err)
				}
				s, rw, err := open(t.Context(), stranger(t, seed), seed)
				if err != nil {
					t.Fatal(err)
				}
				c.send(s, rw)
				_ = s.SetReadDeadline(time.Now().Add(5 * time.Second))
				var answer io.Reader = rw
				if name == "negotiation" {
					answer = s
				}
				if _, err := io.Copy(io.Discard, answer); err != nil && !errors.Is(err, network.ErrReset) {
					t.Errorf("the stream still stands: %v", err)
				}
			})
		}
	}
}

func TestPeersThatDoNotReadLoseTheirStream(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{tcpHere, quicHere} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			times := defaultTimes()
			times.stall = 50 * time.Millisecond
			seed := startHost(t, Config{Listen: []string{listen}}, times, securities)
			ended := make(chan error, 1)
			if err := seed.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				var err error
				for some := make([]byte, 1<<20); err == nil; {
					_, err = w.Write(some)
				}
				ended <- err
			})); err != nil {
				t.Fatal(err)
			}
			s, rw, err := open(t.Context(), stranger(t, seed), seed)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Reset() }()
			_, _ = io.WriteString(rw, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			select {
			case <-ended:
			case <-time.After(5 * time.Second):
				t.Error("the handler still writes")
			}
		})
	}
}

// TestContextsEndWithTheStream, however it ends.
func TestContextsEndWithTheStream(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(s network.Stream){
		"reset":      func(s network.Stream) { _ = s.Reset() },
		"close":      func(s network.Stream) { _ = s.Close() },
		"disconnect": func(s network.Stream) { _ = s.Conn().Close() },
	} {
		for _, listen := range []string{tcpHere, quicHere} {
			t.Run(name+listen, func(t *testing.T) {
				t.Parallel()
				began, ended := make(chan struct{}), make(chan struct{})
				seed := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					close(began)
					<-r.Context().Done()
					close(ended)
				}), listen)
				s, rw, err := open(t.Context(), stranger(t, seed), seed)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(rw, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				<-began
				end(s)
				select {
				case <-ended:
				case <-time.After(5 * time.Second):
					t.Error("the request goes on")
				}
			})
		}
	}
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	times := defaultTimes()
	times.idle = time.Hour // by hand
	seed := startHost(t, Config{Listen: []string{tcpHere}}, times, securities)
	seed.Host().SetStreamHandler("/keep", func(s network.Stream) {
		_, _ = io.Copy(io.Discard, s)
		_ = s.Reset()
	})
	idle, busy := stranger(t, seed), stranger(t, seed)
	for _, net := range []*libp2pswarm.Swarm{idle, busy} {
		s, err := net.NewStream(t.Context(), seed.ID())
		if err != nil {
			t.Fatal(err)
		}
		if err := mss.SelectProtoOrFail("/keep", s); err != nil {
			t.Fatal(err)
		}
		if net == idle {
			_ = s.Reset()
		}
	}
	// When a stream that was reset is gone, is the network's matter, and identify has some of its own.
	before := map[string]bool{}
	for deadline := time.Now().Add(5 * time.Second); len(seed.Host().Network().ConnsToPeer(idle.LocalPeer())) > 0; {
		if time.Now().After(deadline) {
			t.Fatal("the idle connection stands")
		}
		runtime.Gosched()
		before = seed.sweepOnce(before)
	}
	if n := len(seed.Host().Network().ConnsToPeer(busy.LocalPeer())); n != 1 {
		t.Errorf("the busy peer has %d connections", n)
	}
}
