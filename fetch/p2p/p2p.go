// Package p2p is a libp2p host, made by hand of what the packs need: TCP and QUIC, noise and TLS, yamux, identify. It
// serves two purposes. A seed listens for long and serves an http.Handler and other stream protocols (bitswap):
//
//	h, err := p2p.New(p2p.Config{Key: seed, Listen: []string{"/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"}})
//	err = h.Serve(swarm.Handler(store))
//	defer h.Close()
//
// An install dials the peers it was told of, for seconds, under an identity made for that purpose; it listens nowhere
// and announces nothing:
//
//	h, err := p2p.New(p2p.Config{})
//	defer h.Close()
//	src := h.Source(info) // a swarm.Source that speaks HTTP to the peer
//
// HTTP goes over streams of protocol [Protocol], one after another request on each, as over TCP. A peer is who its id
// says, or the handshake fails; what it sends is not believed any more for that.
//
// There is no DHT, relay, hole punching, port mapping or probing of reachability: the host connects to whom it is told
// to, and answers. Nothing happens at import, nor in New beyond opening the sockets of Listen. What strangers may use up
// is bounded in limits.go.
package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	ma "github.com/multiformats/go-multiaddr"
)

// Config says what a host is. The zero Config is a host with a fresh identity that only dials.
type Config struct {
	// Key is the seed of the ed25519 key of this host, 32 bytes; nil makes a fresh one. It is not kept.
	Key []byte
	// Listen are the multiaddrs to listen at: /ip4|ip6/…/tcp/… and /ip4|ip6/…/udp/…/quic-v1. None: listens nowhere.
	Listen []string
	// SwarmKey is the secret of a private swarm, 32 bytes: only hosts that have it can talk to each other. QUIC, which
	// knows no such thing, is then off.
	SwarmKey []byte
	// MaxPeers is how many connections of others a host that listens has at a time; 0 means 128. Who comes then takes the
	// place of one that asks for nothing.
	MaxPeers int
	// UploadLimit is how many bytes per second are sent at most, over all streams of HTTP and what [Host.Upload] is asked
	// for; 0 means no limit. Peers share it evenly, however many streams they have.
	UploadLimit int64
	// Logger gets what goes wrong with single peers and what libp2p has to say; nil is silent.
	// Bitswap is for a host that listens nowhere and asks by bitswap.
	Bitswap bool
	Logger  *slog.Logger
	// Now is the clock of UploadLimit, and needed for that alone.
	Now func() time.Time
}

// Host is a running host. It is safe for concurrent use.
type Host struct {
	node   *node
	log    *slog.Logger
	client *http.Transport
	times  times
	hears  hearing
	seats  int            // for connections of others
	parts  []io.Closer    // what the node stands on, in the order of closing
	done   chan struct{}  // closed by Close
	wg     sync.WaitGroup // of the goroutines and HTTP connections of this host

	arrived chan struct{} // says that somebody connected

	mu     sync.Mutex   // guards server
	server *http.Server // of Serve

	closing sync.Once
	closed  error
}

// times are how long things may take. Tests shorten them.
type times struct {
	negotiate time.Duration // to agree on the protocol of a stream
	header    time.Duration // to send the header of a request
	request   time.Duration // to send a whole request
	idle      time.Duration // between requests on a stream, and between streams on a connection
	stall     time.Duration // for the peer to take one write
}

func defaultTimes() times {
	return times{negotiate: 10 * time.Second, header: 10 * time.Second, request: time.Minute, idle: time.Minute, stall: time.Minute}
}

// New starts a host. Close must be called.
//
// libp2p keeps its logger in a variable of the process: it is that of the first host that has something to log.
func New(c Config) (*Host, error) { return start(c, defaultTimes(), securities) }

// ID is the peer id of this host: the hash of its public key.
func (h *Host) ID() peer.ID { return h.node.ID() }

// Addrs are the addresses this host listens at, as interfaces have them: without the peer id, and those that only work
// here among them (see [Public]). Empty if it does not listen.
func (h *Host) Addrs() []ma.Multiaddr { return h.node.BlankHost.Addrs() }

// Info is what another host must know to dial this one.
func (h *Host) Info() peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

// Host is the libp2p host, for other protocols. A stream that it opens for a single protocol is negotiated with the
// first bytes written: that the peer does not speak the protocol is an error of the first read. Only Close of the Host
// closes it.
func (h *Host) Host() host.Host { return h.node }

// Know remembers where a peer is, for as long as the host runs.
func (h *Host) Know(info peer.AddrInfo) {
	h.node.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
}

// Close ends all connections and waits for everything that the host started, HTTP handlers too.
func (h *Host) Close() error {
	h.closing.Do(func() {
		close(h.done)
		h.mu.Lock()
		server := h.server
		h.mu.Unlock()
		var errs []error
		if server != nil {
			_ = server.Close() // its connections are closed below if not here
		}
		h.client.CloseIdleConnections()
		for _, part := range h.parts {
			errs = append(errs, part.Close())
		}
		h.wg.Wait()
		if err := errors.Join(errs...); err != nil {
			h.closed = fmt.Errorf("close the host: %w", err)
		}
	})
	return h.closed
}

// sweep closes connections on which nothing is asked, once every idle time, and those for which there is no seat, until
// the host is closed: a seat is for those who fetch something.
func (h *Host) sweep() {
	tick := time.NewTicker(h.times.idle)
	defer tick.Stop()
	idle, leaving := map[string]bool{}, map[string]bool{}
	for {
		select {
		case <-h.done:
			return
		case <-tick.C:
			idle = h.sweepOnce(idle)
		case <-h.arrived:
			leaving = h.makeRoom(leaving)
		}
	}
}

// sweepOnce closes the inbound connections that are idle now and were idle before, and returns those idle now.
func (h *Host) sweepOnce(before map[string]bool) map[string]bool {
	now := map[string]bool{}
	for _, c := range h.node.Network().Conns() {
		if !inbound(c) || !idle(c) {
			continue
		}
		if !before[c.ID()] {
			now[c.ID()] = true
			continue
		}
		h.log.LogAttrs(context.Background(), slog.LevelDebug, "close an idle connection", slog.String("peer", c.RemotePeer().String()))
		_ = c.Close() // the peer's to notice
	}
	return now
}
