package p2p

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/gologshim"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/peerstore/pstoremem"
	"github.com/libp2p/go-libp2p/p2p/host/pstoremanager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"github.com/quic-go/quic-go"
)

const (
	keySize = 32 // of seeds and of swarm keys, in bytes
	// headStart is how long the worse transport waits for the better, where a peer has both.
	headStart   = 50 * time.Millisecond
	dialTimeout = 10 * time.Second
)

// closer makes a Closer of a function.
type closer func() error

func (f closer) Close() error { return f() }

// start makes and starts a host. secure makes the security protocols, the preferred one first.
func start(c Config, t times, secure func(crypto.PrivKey, []upgrader.StreamMuxer) ([]sec.SecureTransport, error)) (_ *Host, err error) {
	if c.UploadLimit > 0 && c.Now == nil {
		return nil, errors.New("an upload limit needs a clock")
	}
	if len(c.SwarmKey) != 0 && len(c.SwarmKey) != keySize {
		return nil, fmt.Errorf("a swarm key of %d bytes, not %d", len(c.SwarmKey), keySize)
	}
	listen, err := parseListen(c.Listen, len(c.SwarmKey) != 0)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(c.Key)
	if err != nil {
		return nil, err
	}
	log := c.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	gologshim.SetDefaultHandler(log.Handler())
	if c.MaxPeers <= 0 {
		c.MaxPeers = defaultPeers
	}
	h := &Host{log: log, times: t, seats: c.MaxPeers, arrived: make(chan struct{}, 1), hears: hearing{yes: make(chan struct{})}, done: make(chan struct{})}
	defer func() {
		if err != nil {
			for _, part := range h.parts {
				_ = part.Close() // err says what matters
			}
		}
	}()
	if err := h.build(c, key, secure); err != nil {
		return nil, fmt.Errorf("start a host: %w", err)
	}
	if err := h.listen(listen); err != nil {
		return nil, err
	}
	if err := h.identify(); err != nil {
		return nil, fmt.Errorf("start a host: %w", err)
	}
	if len(listen) > 0 {
		h.wg.Go(h.sweep)
		log.LogAttrs(context.Background(), slog.LevelInfo, "listening", slog.String("peer", h.ID().String()), slog.Any("addrs", h.Addrs()))
	}
	return h, nil
}

// first puts a part before those it stands on.
func (h *Host) first(part io.Closer) { h.parts = append([]io.Closer{part}, h.parts...) }

func (h *Host) build(c Config, key crypto.PrivKey, secure func(crypto.PrivKey, []upgrader.StreamMuxer) ([]sec.SecureTransport, error)) error {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return err
	}
	res, err := newResources(c.MaxPeers, c.role())
	if err != nil {
		return err
	}
	h.first(res)
	peers, err := newPeerstore(id, key)
	if err != nil {
		return err
	}
	h.first(peers)
	bus := eventbus.NewBus(eventbus.WithMetricsTracer(&h.hears))
	net, err := swarm.NewSwarm(id, peers, bus, swarm.WithResourceManager(res), swarm.WithDialRanker(rank),
		swarm.WithDialTimeout(dialTimeout))
	if err != nil {
		return err
	}
	closeQUIC, err := addTransports(net, c, key, res, secure)
	h.first(closer(closeQUIC))
	h.first(net)
	if err != nil {
		return err
	}
	forget, err := pstoremanager.NewPeerstoreManager(peers, bus, net)
	if err != nil {
		return err
	}
	forget.Start()
	h.first(forget)
	h.node = newNode(net, bus, newBucket(c.UploadLimit, c.Now), h.times)
	h.client = newClient(h.node)
	net.Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		if inbound(c) {
			select {
			case h.arrived <- struct{}{}:
			default:
			}
		}
	}})
	return nil
}

func parseKey(seed []byte) (crypto.PrivKey, error) {
	src := rand.Reader
	if seed != nil {
		if len(seed) != keySize {
			return nil, fmt.Errorf("the seed of a key has %d bytes, not %d", len(seed), keySize)
		}
		src = bytes.NewReader(seed) // ed25519.GenerateKey promises to read the seed from it, and no more
	}
	key, _, err := crypto.GenerateEd25519Key(src)
	return key, err
}

func newPeerstore(id peer.ID, key crypto.PrivKey) (peerstore.Peerstore, error) {
	peers, err := pstoremem.NewPeerstore()
	if err != nil {
		return nil, err
	}
	return peers, errors.Join(peers.AddPrivKey(id, key), peers.AddPubKey(id, key.GetPublic()))
}

// securities are TLS, whose AES the processor knows, and noise.
func securities(key crypto.PrivKey, muxers []upgrader.StreamMuxer) ([]sec.SecureTransport, error) {
	tls, err := libp2ptls.New(libp2ptls.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	ns, err := noise.New(noise.ID, key, muxers)
	return []sec.SecureTransport{tls, ns}, err
}

// addTransports adds TCP, and QUIC unless the swarm is private. closeQUIC is never nil.
func addTransports(net *swarm.Swarm, c Config, key crypto.PrivKey, res network.ResourceManager,
	secure func(crypto.PrivKey, []upgrader.StreamMuxer) ([]sec.SecureTransport, error),
) (closeQUIC func() error, err error) {
	closeQUIC = func() error { return nil }
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: newMuxer(c.role())}}
	secs, err := secure(key, muxers)
	if err != nil {
		return closeQUIC, err
	}
	up, err := upgrader.New(secs, muxers, c.SwarmKey, res, nil, upgrader.WithAcceptTimeout(dialTimeout))
	if err != nil {
		return closeQUIC, err
	}
	stream, err := tcp.NewTCPTransport(up, res, nil, tcp.DisableReuseport(), tcp.WithConnectionTimeout(dialTimeout))
	if err != nil {
		return closeQUIC, err
	}
	if err := net.AddTransport(stream); err != nil || len(c.SwarmKey) != 0 {
		return closeQUIC, err
	}
	// Ports are used again, as without that v0.51.0 never closes the socket of a dial.
	var reset quic.StatelessResetKey
	var token quic.TokenGeneratorKey
	_, _ = rand.Read(reset[:]) // never fails
	_, _ = rand.Read(token[:])
	sockets, err := quicreuse.NewConnManager(reset, token, quicreuse.VerifySourceAddress(mustProve(res)))
	if err != nil {
		return closeQUIC, err
	}
	datagram, err := libp2pquic.NewTransport(key, sockets, nil, nil, res)
	if err != nil {
		return sockets.Close, err
	}
	return sockets.Close, net.AddTransport(datagram)
}

// rank dials everything at once, but gives the better transport a head start: QUIC across the Internet, where round
// trips count, TCP near by, where bytes count (with the kernel's help it takes a fifth of the processor time).
func rank(addrs []ma.Multiaddr) []network.AddrDelay {
	out := make([]network.AddrDelay, len(addrs))
	better := func(a ma.Multiaddr) bool { return isQUIC(a) == far(a) }
	some := slices.ContainsFunc(addrs, better)
	for i, a := range addrs {
		out[i].Addr = a
		if some && !better(a) {
			out[i].Delay = headStart
		}
	}
	return out
}

// far reports whether an address is not of this machine or its network.
func far(a ma.Multiaddr) bool { return !manet.IsPrivateAddr(a) && !manet.IsIPLoopback(a) }

func isQUIC(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_QUIC_V1)
	return err == nil
}

func inbound(c network.Conn) bool { return c.Stat().Direction == network.DirInbound }

// parseListen checks the addresses to listen at.
func parseListen(texts []string, private bool) ([]ma.Multiaddr, error) {
	var out []ma.Multiaddr
	for _, text := range texts {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			return nil, fmt.Errorf("listen at %q: %w", text, err)
		}
		if private && isQUIC(a) {
			return nil, fmt.Errorf("listen at %s: QUIC cannot be used in a private swarm", text)
		}
		out = append(out, a)
	}
	return out, nil
}

// listen opens the sockets: all of them, or it is an error.
func (h *Host) listen(addrs []ma.Multiaddr) error {
	for _, a := range addrs {
		if err := h.node.Network().Listen(a); err != nil {
			return fmt.Errorf("listen at %s: %w", a, err)
		}
	}
	return nil
}
