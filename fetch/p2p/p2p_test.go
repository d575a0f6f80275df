package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	tcpHere  = "/ip4/127.0.0.1/tcp/0"
	quicHere = "/ip4/127.0.0.1/udp/0/quic-v1"
)

type secure = func(crypto.PrivKey, []upgrader.StreamMuxer) ([]sec.SecureTransport, error)

// newHost starts a host that ends with the test.
func newHost(tb testing.TB, c Config) *Host {
	tb.Helper()
	return startHost(tb, c, defaultTimes(), securities)
}

func startHost(tb testing.TB, c Config, times times, s secure) *Host {
	tb.Helper()
	h, err := start(c, times, s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return h
}

// serve starts a host that serves handler at the addresses.
func serve(tb testing.TB, handler http.Handler, listen ...string) *Host {
	tb.Helper()
	h := newHost(tb, Config{Listen: listen})
	if err := h.Serve(handler); err != nil {
		tb.Fatal(err)
	}
	return h
}

// quick makes a source wait less before it tries again.
func quick(src swarm.Source) swarm.Source {
	src.(*source).http.Backoff = time.Millisecond
	return src
}

// shelf is a store with trees in it.
type shelf struct {
	s     *store.Store
	roots []cid.Cid
	packs map[cid.Cid][]byte
}

// newShelf makes a store of n trees of one file each, that does not compress.
func newShelf(tb testing.TB, n, size int) shelf {
	tb.Helper()
	s, err := store.Open(tb.TempDir(), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	sh := shelf{s: s, packs: map[cid.Cid][]byte{}}
	b := s.Batch()
	src := rand.NewChaCha8([32]byte{})
	for range n {
		content := make([]byte, size)
		_, _ = src.Read(content)
		var pack bytes.Buffer
		sum, err := tree.Pack(tb.Context(), []tree.File{{Path: "f", Size: int64(size), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}}}, tree.Default(), &pack)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := b.Put(tb.Context(), sum.Root, bytes.NewReader(pack.Bytes())); err != nil {
			tb.Fatal(err)
		}
		sh.roots = append(sh.roots, sum.Root)
		sh.packs[sum.Root] = pack.Bytes()
	}
	if err := b.Seal(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return sh
}

func absent() cid.Cid {
	return cid.MustParse("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi")
}

// collect gathers what a source gives.
func collect(ctx context.Context, src swarm.Source, roots []cid.Cid) (got map[cid.Cid][]byte, missing []swarm.Want, err error) {
	got = map[cid.Cid][]byte{}
	missing, err = src.Content(ctx, swarm.Ask(roots...), func(w swarm.Want, _ int64, pack io.Reader) error {
		b, err := io.ReadAll(pack)
		got[w.Root] = b
		return err
	})
	return got, missing, err
}

func onlyNoise(key crypto.PrivKey, m []upgrader.StreamMuxer) ([]sec.SecureTransport, error) {
	s, err := noise.New(noise.ID, key, m)
	return []sec.SecureTransport{s}, err
}

func onlyTLS(key crypto.PrivKey, m []upgrader.StreamMuxer) ([]sec.SecureTransport, error) {
	s, err := libp2ptls.New(libp2ptls.ID, key, m)
	return []sec.SecureTransport{s}, err
}

// TestPacksComeOverEveryTransport: a source keeps its contract, whatever the bytes go over.
func TestPacksComeOverEveryTransport(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 20, 100_000)
	secret := bytes.Repeat([]byte{7}, 32)
	for name, c := range map[string]struct {
		listen   string
		secret   []byte
		secure   secure
		security string
	}{
		"tcp tls":     {tcpHere, nil, onlyTLS, "/tls/1.0.0"},
		"tcp noise":   {tcpHere, nil, onlyNoise, "/noise"},
		"tcp both":    {tcpHere, nil, securities, "/tls/1.0.0"},
		"quic":        {quicHere, nil, onlyTLS, ""},
		"private tcp": {tcpHere, secret, onlyNoise, "/noise"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := newHost(t, Config{Listen: []string{c.listen}, SwarmKey: c.secret})
			if err := seed.Serve(swarm.Handler(sh.s)); err != nil {
				t.Fatal(err)
			}
			h := startHost(t, Config{SwarmKey: c.secret}, defaultTimes(), c.secure)
			src := quick(h.Source(seed.Info()))
			got, missing, err := collect(t.Context(), src, append([]cid.Cid{absent()}, sh.roots...))
			if err != nil || len(missing) != 1 || missing[0].Root != absent() {
				t.Fatalf("missing %v, %v; want the absent root", missing, err)
			}
			for root, want := range sh.packs {
				if !bytes.Equal(got[root], want) {
					t.Errorf("%s: %d bytes, want %d", root, len(got[root]), len(want))
				}
			}
			conns := h.Host().Network().ConnsToPeer(seed.ID())
			if len(conns) != 1 || string(conns[0].ConnState().Security) != c.security {
				t.Errorf("connections %v, want one over %q", conns, c.security)
			}
			enough, calls := errors.New("enough"), 0
			if _, err := src.Content(t.Context(), swarm.Ask(sh.roots...), func(swarm.Want, int64, io.Reader) error {
				calls++
				return enough
			}); !errors.Is(err, enough) || calls != 1 {
				t.Errorf("each fails: got %v after %d calls, want its error after one", err, calls)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, _, err := collect(ctx, src, sh.roots); !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		})
	}
}

func TestSourceHasAShortName(t *testing.T) {
	t.Parallel()
	h := newHost(t, Config{})
	id := h.ID().String()
	src := quick(h.Source(peer.AddrInfo{ID: h.ID()}))
	if want := "peer 12D3…" + id[len(id)-4:]; src.Name() != want {
		t.Errorf("named %q, want %q", src.Name(), want)
	}
	_, _, err := collect(t.Context(), src, []cid.Cid{absent()}) // it cannot dial itself
	var own *swarm.SourceError
	if !errors.As(err, &own) || own.Source != src.Name() || strings.ContainsRune(err.Error(), '\n') {
		t.Errorf("got %v, want one line that names %s", err, src.Name())
	}
}

func TestStreamsAreUsedAgain(t *testing.T) {
	t.Parallel()
	seed := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RemoteAddr) }), quicHere)
	h := newHost(t, Config{})
	h.Know(seed.Info())
	for i := range 5 {
		var reused bool
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+seed.ID().String()+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: h.Transport()}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if string(b) != h.ID().String() || reused != (i > 0) {
			t.Errorf("request %d: remote address %q, want %s; stream reused %v", i, b, h.ID(), reused)
		}
	}
	resp, err := (&http.Client{Transport: h.Transport()}).Get("http://example.org/")
	if err == nil {
		_ = resp.Body.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no peer id") {
		t.Errorf("another host: %v", err)
	}
}

func TestKeyDecidesTheID(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef0123456789abcdef")
	a, b, c, d := newHost(t, Config{Key: key}), newHost(t, Config{Key: key}), newHost(t, Config{}), newHost(t, Config{})
	if want := "12D3KooWCDrzsLhpHc3KV5akitnY6cbMt2yEJrXU6Rcu1cbR9A6x"; a.ID().String() != want || b.ID() != a.ID() {
		t.Errorf("ids of one key: %s and %s, want %s", a.ID(), b.ID(), want)
	}
	if c.ID() == d.ID() || c.ID() == a.ID() {
		t.Errorf("fresh ids %s and %s are not different", c.ID(), d.ID())
	}
	if len(c.Addrs()) != 0 {
		t.Errorf("a host that does not listen has addresses %v", c.Addrs())
	}
}

func TestMalformedConfigIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]Config{
		"short key":           {Key: make([]byte, 31)},
		"empty key":           {Key: []byte{}},
		"short swarm key":     {SwarmKey: make([]byte, 16)},
		"quic in private":     {SwarmKey: make([]byte, 32), Listen: []string{quicHere}},
		"limit without clock": {UploadLimit: 1},
		"no multiaddr":        {Listen: []string{"127.0.0.1:4001"}},
		"no transport":        {Listen: []string{"/ip4/127.0.0.1/udp/0"}},
		"one of two":          {Listen: []string{tcpHere, "/ip4/192.0.2.1/tcp/1"}},
	} {
		if h, err := New(c); err == nil {
			t.Errorf("%s: got a host", name)
			_ = h.Close()
		}
	}
}

func TestSwarmKeyKeepsOthersOut(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 1, 100)
	seed := newHost(t, Config{Listen: []string{tcpHere}, SwarmKey: bytes.Repeat([]byte{1}, 32)})
	if err := seed.Serve(swarm.Handler(sh.s)); err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string][]byte{"another key": bytes.Repeat([]byte{2}, 32), "no key": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, Config{SwarmKey: key})
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if got, _, err := collect(ctx, quick(h.Source(seed.Info())), sh.roots); err == nil || len(got) != 0 {
				t.Errorf("got %d packs, %v", len(got), err)
			}
		})
	}
}

func TestWrongPeerIsRefused(t *testing.T) {
	t.Parallel()
	seed := serve(t, http.NotFoundHandler(), tcpHere, quicHere)
	for _, a := range seed.Addrs() {
		h := newHost(t, Config{})
		got, _, err := collect(t.Context(), quick(h.Source(peer.AddrInfo{ID: newHost(t, Config{}).ID(), Addrs: []ma.Multiaddr{a}})), []cid.Cid{absent()})
		if err == nil || len(got) != 0 {
			t.Errorf("%s under another id: got %v", a, err)
		}
		if _, err := h.node.NewStream(t.Context(), seed.ID(), Protocol); err == nil {
			t.Errorf("%s is known by its own id too", a)
		}
	}
}

// TestBrokenPeersAreErrors: whatever a peer does in the middle of an answer, the source returns.
func TestBrokenPeersAreErrors(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 3, 1000)
	for name, answer := range map[string]func(s network.Stream){
		"reset at once": func(s network.Stream) { _ = s.Reset() },
		"reset in the body": func(s network.Stream) {
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n\x24")
			_ = s.Reset()
		},
		"close in the body": func(s network.Stream) {
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n\x24")
			_ = s.Close()
		},
		"disconnect in the body": func(s network.Stream) {
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n\x24")
			_ = s.Conn().Close()
		},
		"endless header": func(s network.Stream) {
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\n"+strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 100))
		},
		"no HTTP":  func(s network.Stream) { _, _ = io.WriteString(s, "220 mail\r\n") },
		"redirect": func(s network.Stream) { _, _ = io.WriteString(s, "HTTP/1.1 307 Go\r\nLocation: /content\r\n\r\n") },
		"wrong root": func(s network.Stream) {
			_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\x01\x01")
		},
	} {
		for _, listen := range []string{tcpHere, quicHere} {
			t.Run(name+listen, func(t *testing.T) {
				t.Parallel()
				seed := newHost(t, Config{Listen: []string{listen}})
				seed.Host().SetStreamHandler(Protocol, func(s network.Stream) {
					_, _ = s.Read(make([]byte, 1000))
					answer(s)
				})
				h := newHost(t, Config{})
				src := quick(h.Source(seed.Info()))
				src.(*source).http.Idle = 2 * time.Second
				_, _, err := collect(t.Context(), src, sh.roots)
				var own *swarm.SourceError
				if !errors.As(err, &own) || own.Source != src.Name() {
					t.Errorf("got %v, want a SourceError of %s", err, src.Name())
				}
				if err != nil && strings.Contains(err.Error(), "silent") {
					t.Errorf("noticed by silence alone: %v", err)
				}
			})
		}
	}
}

// TestCloseEndsWhatIsUnderWay on both sides; goleak looks for what is left.
func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{tcpHere, quicHere} {
		for _, who := range []string{"seed", "client"} {
			t.Run(fmt.Sprint(who, listen), func(t *testing.T) {
				t.Parallel()
				ended := make(chan struct{})
				seed := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(ended)
					_, _ = io.WriteString(w, "some")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				}), listen)
				h := newHost(t, Config{})
				h.Know(seed.Info())
				resp, err := (&http.Client{Transport: h.Transport()}).Get("http://" + seed.ID().String())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				closing := seed
				if who == "client" {
					closing = h
				}
				if err := closing.Close(); err != nil {
					t.Error(err)
				}
				if b, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%q came as if that were all", b)
				}
				<-ended
				if err := closing.Serve(http.NotFoundHandler()); !errors.Is(err, ErrServing) {
					t.Errorf("a closed host serves: %v", err)
				}
				if _, err := closing.Host().NewStream(t.Context(), "x", Protocol); err == nil {
					t.Error("a closed host opens streams")
				}
			})
		}
	}
}

// TestPeersThatCannotServeAreAskedOnce: the hour before a second try would not end.
func TestPeersThatCannotServeAreAskedOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		info     func(seed *Host) peer.AddrInfo
		unspoken bool
	}{
		"no such protocol": {(*Host).Info, true},
		"nobody there":     {func(seed *Host) peer.AddrInfo { defer seed.Close(); return seed.Info() }, false}, //nolint:errcheck // again at the end
		"no address":       {func(seed *Host) peer.AddrInfo { return peer.AddrInfo{ID: seed.ID()} }, false},
	} {
		for _, listen := range []string{tcpHere, quicHere} {
			t.Run(name+listen, func(t *testing.T) {
				t.Parallel()
				if name == "nobody there" && listen == quicHere {
					t.Skip("QUIC waits for an answer")
				}
				src := newHost(t, Config{}).Source(c.info(newHost(t, Config{Listen: []string{listen}})))
				src.(*source).http.Backoff = time.Hour
				_, _, err := collect(t.Context(), src, []cid.Cid{absent()})
				own, ok := errors.AsType[*swarm.SourceError](err)
				if !ok || own.Source != src.Name() || Unspoken(err) != c.unspoken {
					t.Errorf("got %v, want a SourceError of %s", err, src.Name())
				}
			})
		}
	}
}
