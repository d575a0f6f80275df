package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	ma "github.com/multiformats/go-multiaddr"
	"pgregory.net/rapid"
)

// TestLimits writes the table of limits down a second time: to change one is a decision.
func TestLimits(t *testing.T) {
	t.Parallel()
	const in, out = network.DirInbound, network.DirOutbound
	for _, c := range []struct {
		peers                    int
		role                     role
		memory, peerMemory, conn int64
		streams                  int // of one peer to us
	}{
		{128, listens, 128 << 20, 8 << 20, 384, 8},
		{5, listens, 128 << 20, 8 << 20, 261, 8},
		{128, dials, 576 << 20, 64 << 20, 384, 8},
		{128, asks, 576 << 20, 64 << 20, 384, 128},
	} {
		l := rcmgr.NewFixedLimiter(limits(c.peers, c.role))
		show := func(l rcmgr.Limit) string {
			return fmt.Sprintf("conns %d %d %d, fd %d, streams %d %d %d, %d MiB", l.GetConnLimit(in), l.GetConnLimit(out), l.GetConnTotalLimit(),
				l.GetFDLimit(), l.GetStreamLimit(in), l.GetStreamLimit(out), l.GetStreamTotalLimit(), l.GetMemoryLimit()>>20)
		}
		mem, peerMem := c.memory>>20, c.peerMemory>>20
		for name, got := range map[string][2]string{
			"system":              {show(l.GetSystemLimits()), fmt.Sprintf("conns %d 64 %d, fd %[2]d, streams 512 512 1024, %d MiB", c.conn, c.conn+64, mem)},
			"transient":           {show(l.GetTransientLimits()), "conns 256 256 512, fd 512, streams 128 128 256, 16 MiB"},
			"peer":                {show(l.GetPeerLimits("x")), fmt.Sprintf("conns 4 4 8, fd 8, streams %d 8 %d, %d MiB", c.streams, c.streams+8, peerMem)},
			"protocol":            {show(l.GetProtocolLimits("x")), fmt.Sprintf("conns 0 0 0, fd 0, streams 512 512 1024, %d MiB", mem)},
			"one peer's protocol": {show(l.GetProtocolPeerLimits("x")), fmt.Sprintf("conns 0 0 0, fd 0, streams %d 8 %d, %d MiB", c.streams, c.streams+8, peerMem)},
			"service":             {show(l.GetServiceLimits("x")), fmt.Sprintf("conns 0 0 0, fd 0, streams 512 512 1024, %d MiB", mem)},
			"one peer's service":  {show(l.GetServicePeerLimits("x")), fmt.Sprintf("conns 0 0 0, fd 0, streams %d 8 %d, %d MiB", c.streams, c.streams+8, peerMem)},
			"connection":          {show(l.GetConnLimits()), fmt.Sprintf("conns 1 1 1, fd 1, streams 0 0 0, %d MiB", peerMem)},
			"stream":              {show(l.GetStreamLimits("x")), fmt.Sprintf("conns 0 0 0, fd 0, streams 1 1 1, %d MiB", peerMem)},
			"allow list":          {show(l.GetAllowlistedSystemLimits()), "conns 0 0 0, fd 0, streams 0 0 0, 0 MiB"},
		} {
			if got[0] != got[1] {
				t.Errorf("%d peers, %s: got %s; want %s", c.peers, name, got[0], got[1])
			}
		}
	}
}

// places are where connections come from, and how many from there may stand at a time and come in a moment.
var places = map[string]struct {
	addr            func(i int) string
	standing, burst int
}{
	"one IPv4":     {func(i int) string { return fmt.Sprintf("/ip4/198.51.100.7/tcp/%d", 1000+i) }, 128, 256},
	"one IPv6 /64": {func(i int) string { return fmt.Sprintf("/ip6/2001:db8::%x/udp/1/quic-v1", i+1) }, 128, 256},
	"one IPv6 /48": {func(i int) string { return fmt.Sprintf("/ip6/2001:db8:0:%x::1/tcp/1", i+1) }, 192, 384},
	"loopback":     {func(i int) string { return fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 1000+i) }, 256, 1000},
}

func resources(t *testing.T) network.ResourceManager {
	t.Helper()
	res, err := newResources(defaultPeers, listens)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := res.Close(); err != nil {
			t.Error(err)
		}
	})
	return res
}

// knock opens a connection as the transports do.
func knock(t *testing.T, res network.ResourceManager, from string) (network.ConnManagementScope, error) {
	t.Helper()
	a, err := ma.NewMultiaddr(from)
	if err != nil {
		t.Fatal(err)
	}
	return res.OpenConnection(network.DirInbound, true, a)
}

// TestConnectionsOfOneAddressAreBounded, but fifty clients behind one get in, and others while they are there. Those from
// this machine are bounded like all that shake hands.
func TestConnectionsOfOneAddressAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range places {
		res := resources(t)
		n := 0
		for ; n < 1000; n++ {
			if _, err := knock(t, res, c.addr(n)); err != nil {
				break
			}
		}
		if n != c.standing {
			t.Errorf("%s: %d connections, want %d", name, n, c.standing)
		}
		if _, err := knock(t, res, "/ip4/203.0.113.9/tcp/1"); (err == nil) != (n < freshConns) {
			t.Errorf("%s is full, and somebody else gets %v", name, err)
		}
	}
}

// TestComingAndGoingIsBounded: of connections that end at once.
func TestComingAndGoingIsBounded(t *testing.T) {
	t.Parallel()
	for name, c := range places {
		synctest.Test(t, func(t *testing.T) {
			res := resources(t)
			come := func() (n int) {
				for ; n < 1000; n++ {
					conn, err := knock(t, res, c.addr(n))
					if err != nil {
						break
					}
					conn.Done()
				}
				return n
			}
			if n := come(); n != c.burst {
				t.Errorf("%s: %d came at once, want %d", name, n, c.burst)
			}
			time.Sleep(10 * time.Second)
			if n, want := come(), min(c.standing*10/32, c.burst); name != "loopback" && n != want {
				t.Errorf("%s: %d came after 10 s, want %d", name, n, want)
			}
			conn, err := knock(t, res, "/ip4/203.0.113.9/tcp/1")
			if err != nil {
				t.Fatalf("somebody else beside %s: %v", name, err)
			}
			conn.Done()
		})
	}
}

// TestAddressesAreProvedWhenManyCome from one, or from anywhere.
func TestAddressesAreProvedWhenManyCome(t *testing.T) {
	t.Parallel()
	res := resources(t)
	prove := mustProve(res)
	at := func(i int) net.Addr {
		return &net.UDPAddr{IP: net.IPv4(198, 51, byte(i>>8), byte(i)), Port: 1}
	}
	n := 0
	for ; n < 1000 && !prove(at(0)); n++ { //revive:disable-line:empty-block
	}
	if n != ip4Conns/2 {
		t.Errorf("%d came from one address before it was to be proved, want %d", n, ip4Conns/2)
	}
	for n = 0; n < 1000 && !prove(at(n+1)); n++ {
		if _, err := knock(t, res, fmt.Sprintf("/ip4/198.51.%d.%d/udp/1/quic-v1", (n+1)>>8, (n+1)&255)); err != nil {
			t.Fatal(err)
		}
	}
	if n != freshConns/2 {
		t.Errorf("%d shook hands before addresses were to be proved, want %d", n, freshConns/2)
	}
}

func TestMaxPeers(t *testing.T) {
	t.Parallel()
	seed := newHost(t, Config{Listen: []string{tcpHere}, MaxPeers: 2})
	if err := seed.Serve(http.NotFoundHandler()); err != nil {
		t.Fatal(err)
	}
	get := func(h *Host) error {
		h.Know(seed.Info())
		resp, err := (&http.Client{Transport: h.Transport()}).Get("http://" + seed.ID().String())
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body) // so that the stream stands for more requests
		return errors.Join(err, resp.Body.Close())
	}
	first := newHost(t, Config{})
	if err := errors.Join(get(first), get(newHost(t, Config{}))); err != nil {
		t.Fatal(err)
	}
	third := newHost(t, Config{})
	_ = get(third) // it may be answered before it has to go
	late := time.After(10 * time.Second)
	for len(seed.Host().Network().ConnsToPeer(third.ID())) > 0 {
		select {
		case <-late:
			t.Fatal("a third peer was let in")
		default:
			runtime.Gosched()
		}
	}
	if err := get(first); err != nil || len(seed.Host().Network().ConnsToPeer(first.ID())) != 1 {
		t.Errorf("one who is in: %v", err)
	}
}

// TestBucketKeepsTheRate: whoever waits as told never has more sent than the rate and one burst allow, and nobody waits
// when less than that was sent.
func TestBucketKeepsTheRate(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(0, 0)
		rate := rapid.Int64Range(1, 1<<30).Draw(t, "rate")
		b := newBucket(rate, func() time.Time { return now })
		var sent float64
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause")))
			n := rapid.IntRange(1, turn).Draw(t, "n")
			d := b.take(n)
			if d > 0 {
				now = now.Add(d)
			}
			sent += float64(n)
			allowed := float64(rate) * (now.Sub(time.Unix(0, 0)) + burst + time.Microsecond).Seconds()
			if sent > allowed+50 { // a nanosecond each is lost to rounding
				t.Fatalf("%.0f bytes after %v at %d/s", sent, now.Sub(time.Unix(0, 0)), rate)
			}
		}
	})
	b := newBucket(1000, func() time.Time { return time.Unix(7, 0) })
	if d := b.take(100); d > 0 {
		t.Errorf("an idle bucket makes wait %v", d)
	}
	if d := b.take(100); d != 100*time.Millisecond {
		t.Errorf("100 bytes at 1000/s: %v, want 100ms", d)
	}
	if newBucket(0, nil) != nil {
		t.Error("no limit is one")
	}
}

func TestBucketWaitEndsWithTheStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1, time.Now)
		done := make(chan struct{})
		began := time.Now()
		if d, ok := b.wait("a", 3600, done, nil); !ok || time.Since(began) != d {
			t.Errorf("waited %v, said %v, %v", time.Since(began), d, ok)
		}
		time.AfterFunc(time.Second, func() { close(done) })
		began = time.Now()
		if _, ok := b.wait("a", 3600, done, nil); ok || time.Since(began) != time.Second {
			t.Errorf("waited %v, %v; want a second and false", time.Since(began), ok)
		}
		if _, ok := newBucket(1<<20, time.Now).wait("a", 1, done, nil); ok {
			t.Error("let through what is over")
		}
	})
}

// TestBucketForgetsWhoLeft: however much was asked for by those who left, waiting for the rate or for their turn, who comes
// then waits only for what is his.
func TestBucketForgetsWhoLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1000, time.Now)
		left := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				done, gone := left, (chan struct{})(nil)
				if i%2 == 0 {
					done, gone = gone, done
				}
				if _, ok := b.wait("a", turn, done, gone); ok {
					t.Error("let through who left")
				}
			})
		}
		synctest.Wait()
		close(left)
		wg.Wait()
		if d, ok := b.wait("a", 1100, nil, nil); !ok || d != time.Second {
			t.Errorf("waited %v, %v; want a second", d, ok)
		}
	})
}

// TestBucketIsFairToPeers: one with many streams gets no more than one with a single stream, which waits for one turn of
// each peer.
func TestBucketIsFairToPeers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1000, time.Now)
		b.take(100)
		over := make(chan struct{})
		var wg sync.WaitGroup
		got := map[peer.ID]*atomic.Int64{"greedy": {}, "modest": {}, "third": {}}
		for to, streams := range map[peer.ID]int{"greedy": 50, "modest": 1, "third": 2} {
			for range streams {
				wg.Go(func() {
					for {
						if _, ok := b.wait(to, 1000, over, nil); !ok {
							return
						}
						got[to].Add(1)
					}
				})
			}
		}
		time.Sleep(300*time.Second + 500*time.Millisecond)
		for to, n := range got {
			if n.Load() < 98 || n.Load() > 102 {
				t.Errorf("%s was let through %d times of 300", to, n.Load())
			}
		}
		close(over)
		wg.Wait()
		if b.turn != nil || len(b.queue) > 0 {
			t.Errorf("turn %v and %d in the queue after all left", b.turn, len(b.queue))
		}
	})
}

// TestBucketIsInOrder: who of one peer comes first is let through first.
func TestBucketIsInOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(1000, time.Now)
		b.take(100)
		began := time.Now()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if _, ok := b.wait("a", 1000, nil, nil); !ok || time.Since(began) != time.Duration(i+1)*time.Second {
					t.Errorf("%d is let through after %v", i, time.Since(began))
				}
			})
			synctest.Wait()
		}
		wg.Wait()
	})
}

func TestUpload(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := &Host{node: &node{bucket: newBucket(turn, time.Now)}, done: make(chan struct{})}
		h.node.bucket.free = time.Now()
		began := time.Now()
		if err := h.Upload(t.Context(), "a", 4*turn); err != nil || time.Since(began) != 4*time.Second {
			t.Errorf("%v after %v; want nil after 4s", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		if err := h.Upload(ctx, "a", 4*turn); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after the end of the context: %v", err)
		}
		time.AfterFunc(time.Second, func() { close(h.done) })
		if err := h.Upload(t.Context(), "a", 100*turn); !errors.Is(err, net.ErrClosed) || time.Since(began) != 7500*time.Millisecond {
			t.Errorf("%v after %v; want closed after 7.5s", err, time.Since(began))
		}
		if d := h.node.bucket.take(0); d > 0 {
			t.Errorf("what was not sent makes wait %v", d)
		}
		if err := (&Host{node: &node{}}).Upload(t.Context(), "a", 1<<40); err != nil {
			t.Errorf("without a limit: %v", err)
		}
	})
}

// TestOnlyHTTPWaitsInWrite: bitswap takes a write that waits for a peer that takes nothing, and identify serves nothing.
func TestOnlyHTTPWaitsInWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &node{bucket: newBucket(1000, time.Now), times: defaultTimes()}
		n.bucket.take(100_000)
		for _, c := range []struct {
			proto protocol.ID
			want  time.Duration
		}{{identify.ID, 0}, {identify.IDPush, 0}, {"/ipfs/bitswap/1.2.0", 0}, {Protocol, 100_900 * time.Millisecond}} {
			began := time.Now()
			if _, err := n.wrap(&deadlines{proto: c.proto}, nil).Write(make([]byte, 1000)); err != nil || time.Since(began) != c.want {
				t.Errorf("%s: %v after %v, want %v", c.proto, err, time.Since(began), c.want)
			}
		}
	})
}

// TestWhoDisconnectsDoesNotMakeWait: handlers end with the connection, though they wait for the limit, and nothing is
// left of what they waited for.
func TestWhoDisconnectsDoesNotMakeWait(t *testing.T) {
	t.Parallel()
	const rate = 1000 // a turn takes 16 s
	for _, listen := range []string{tcpHere, quicHere} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			seed := newHost(t, Config{Listen: []string{listen}, UploadLimit: rate, Now: time.Now})
			began, ended := make(chan struct{}, peerStreams), make(chan error, peerStreams)
			if err := seed.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				began <- struct{}{}
				_, err := w.Write(make([]byte, 1<<20))
				ended <- err
			})); err != nil {
				t.Fatal(err)
			}
			net := stranger(t, seed)
			var c network.Conn
			for range peerStreams / 2 {
				s, rw, err := open(t.Context(), net, seed)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.WriteString(rw, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				<-began
				c = s.Conn()
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			late := time.After(10 * time.Second)
			for range peerStreams / 2 {
				select {
				case err := <-ended:
					if err == nil {
						t.Error("sent to nobody")
					}
				case <-late:
					t.Fatal("a handler still waits")
				}
			}
			if d := seed.node.bucket.take(1); d > time.Second {
				t.Errorf("the next waits %v", d)
			}
			seed.node.leaves.mu.Lock()
			defer seed.node.leaves.mu.Unlock()
			if n := len(seed.node.leaves.conns); n != 0 {
				t.Errorf("%d connections are remembered", n)
			}
		})
	}
}

// deadlines notes what deadline a stream has.
type deadlines struct {
	network.Stream
	proto protocol.ID
	last  time.Time
}

// standing is a connection that does not end.
type standing struct{ network.Conn }

func (standing) IsClosed() bool { return false }

func (standing) RemotePeer() peer.ID { return "a" }

func (d *deadlines) Conn() network.Conn { return standing{} }

func (d *deadlines) Protocol() protocol.ID { return d.proto }

func (d *deadlines) Reset() error { return nil }

func (d *deadlines) Write(b []byte) (int, error) { return len(b), nil }

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.last = t
	return nil
}

// TestDeadlinesDoNotCountTheLimit: a peer is not late because we send slowly.
func TestDeadlinesDoNotCountTheLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &deadlines{proto: Protocol}
		s := (&node{bucket: newBucket(1000, time.Now), times: defaultTimes()}).wrap(d, nil)
		began := time.Now()
		if err := s.SetWriteDeadline(began.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Write(make([]byte, 100_100)); n != 100_100 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if took := time.Since(began); took != 100*time.Second || d.last.Sub(began) != took+time.Second {
			t.Errorf("after %v the deadline is %v; want 100s and 101s", took, d.last.Sub(began))
		}
	})
}

// TestUploadsAreLimited over all streams together.
func TestUploadsAreLimited(t *testing.T) {
	t.Parallel()
	const size, streams, rate = 100_000, 4, 1 << 20
	for _, listen := range []string{tcpHere, quicHere} {
		t.Run(listen, func(t *testing.T) {
			t.Parallel()
			seed := newHost(t, Config{Listen: []string{listen}, UploadLimit: rate, Now: time.Now})
			if err := seed.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(make([]byte, size))
			})); err != nil {
				t.Fatal(err)
			}
			h := newHost(t, Config{})
			h.Know(seed.Info())
			errs := make(chan error, streams)
			began := time.Now()
			for range streams {
				go func() {
					resp, err := (&http.Client{Transport: h.Transport()}).Get("http://" + seed.ID().String())
					if err == nil {
						var n int64
						if n, err = io.Copy(io.Discard, resp.Body); err == nil && n != size {
							err = fmt.Errorf("%d bytes", n)
						}
						err = errors.Join(err, resp.Body.Close())
					}
					errs <- err
				}()
			}
			for range streams {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			if got := size * streams / (time.Since(began) + burst).Seconds(); got > rate {
				t.Errorf("%.0f bytes/s, want at most %d", got, rate)
			}
		})
	}
}

// TestNewStreamNegotiates: of several protocols the peer chooses; the context counts.
func TestNewStreamNegotiates(t *testing.T) {
	t.Parallel()
	seed := newHost(t, Config{Listen: []string{tcpHere}})
	seed.Host().SetStreamHandler("/b", func(s network.Stream) {
		_, _ = io.Copy(s, s)
		_ = s.Close()
	})
	h := newHost(t, Config{})
	h.Know(peer.AddrInfo{ID: seed.ID(), Addrs: seed.Addrs()})
	s, err := h.Host().NewStream(t.Context(), seed.ID(), "/a", "/b")
	if err != nil || s.Protocol() != "/b" {
		t.Fatalf("got %v", err)
	}
	_, _ = io.WriteString(s, "echo")
	if err := s.CloseWrite(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(s); err != nil || string(b) != "echo" {
		t.Errorf("got %q, %v", b, err)
	}
	_ = s.Close()
	if _, err := h.Host().NewStream(t.Context(), seed.ID(), "/x", "/y"); err == nil {
		t.Error("a stream of no protocol")
	}
	s, err = h.Host().NewStream(t.Context(), seed.ID(), "/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err == nil {
		t.Error("read from a protocol that the peer does not speak")
	}
	_ = s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Host().NewStream(ctx, seed.ID(), "/a", "/b"); err == nil {
		t.Error("a stream of a context that has ended")
	}
}
