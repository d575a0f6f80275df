// Package seed serves what a store holds to whoever asks for it by its hash: the content API and the trustless gateway
// as HTTP over libp2p streams, and bitswap, so that any IPFS node can fetch from it. It tells trackers what it has, for
// as long as it runs.
//
//	s, err := seed.Start(ctx, seed.Config{Store: st, Key: key, Listen: addrs, Trackers: trackers})
//	…
//	err = s.Close() // withdraws
//
// Nothing that is served needs to be believed: who fetches checks every block.
package seed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"pkg/fetch/bitswap"
	"pkg/fetch/gateway"
	"pkg/fetch/lan"
	"pkg/fetch/p2p"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
)

// Tracker is a registry that is told what the seed has.
type Tracker struct {
	Base *url.URL
	ID   string // of the registry
	// Roots returns what it is told of.
	Roots func() []cid.Cid
}

// Config says what a seed serves, and where.
type Config struct {
	Store       *store.Store
	Key         []byte   // seed of the ed25519 key, 32 bytes: who it is
	Listen      []string // multiaddrs
	SwarmKey    []byte   // as in p2p.Config
	MaxPeers    int      // as in p2p.Config
	UploadLimit int64    // bytes a second; 0 is no limit
	// Shares says which roots are served and told of; nil: all. It must be safe for concurrent use.
	Shares   func(root cid.Cid) bool
	Trackers []Tracker    // told from the start; [Seed.Track] changes who is
	LAN      bool         // tell the networks this machine is on that the seed is there, if it listens in any: see package lan
	Logger   *slog.Logger // nil: silent
	Now      func() time.Time
}

// Stats counts what a seed did.
type Stats struct {
	Peers    int   `json:"peers"`    // connected
	Requests int64 `json:"requests"` // over HTTP
	Bytes    int64 `json:"bytes"`    // sent, by HTTP and bitswap
	Blocks   int64 `json:"blocks"`   // sent by bitswap
}

// Seed is a running seed. It is safe for concurrent use.
type Seed struct {
	host     *p2p.Host
	exchange *bitswap.Exchange
	requests atomic.Int64
	bytes    atomic.Int64

	stop  context.CancelFunc
	ended <-chan struct{} // closed when the seed is
	lists chan []Tracker  // from Track
	wg    sync.WaitGroup
	mu    sync.Mutex // guards errs
	errs  []error    // of the announcers
}

// Start starts a seed. Close must be called, also when ctx is done: that withdraws what was announced.
func Start(ctx context.Context, c Config) (*Seed, error) {
	host, err := p2p.New(p2p.Config{ //nolint:contextcheck // a host lives until Close
		Key: c.Key, Listen: c.Listen, SwarmKey: c.SwarmKey, MaxPeers: c.MaxPeers, UploadLimit: c.UploadLimit, Logger: c.Logger, Now: c.Now,
	})
	if err != nil {
		return nil, fmt.Errorf("start the seed: %w", err)
	}
	s := &Seed{host: host, lists: make(chan []Tracker)}
	finder := store.NewFinder(c.Store)
	finder.Only, finder.Now = c.Shares, c.Now
	s.exchange = bitswap.Open(host.Host(), bitswap.Options{
		Blocks: finder, Upload: host.Upload,
	})
	if err := host.Serve(s.counted(handler(c.Store, finder, c.Shares, c.Now))); err != nil { //nolint:contextcheck // as above
		return nil, errors.Join(fmt.Errorf("start the seed: %w", err), s.exchange.Close(), host.Close())
	}
	ctx, s.stop = context.WithCancel(ctx)
	s.ended = ctx.Done()
	s.wg.Go(func() { s.tell(ctx, c, host.Host().Peerstore().PrivKey(host.ID())) })
	if c.LAN && slices.ContainsFunc(host.Addrs(), func(a ma.Multiaddr) bool { return !manet.IsIPLoopback(a) }) {
		s.wg.Go(func() { s.greet(ctx, c) })
	}
	return s, nil
}

// greet tells the LAN. That it cannot is no reason not to serve.
func (s *Seed) greet(ctx context.Context, c Config) {
	if err := lan.Announce(ctx, s.host.ID(), s.host.Addrs, c.Logger); err != nil && c.Logger != nil {
		c.Logger.WarnContext(ctx, "seed", slog.Any("error", err))
	}
}

// handler serves what a store holds: POST /content, GET /packs/{root} and the trustless gateway below /ipfs/. Shares
// says which roots; nil: all.
func handler(st *store.Store, finder *store.Finder, shares func(cid.Cid) bool, now func() time.Time) http.Handler {
	content := (&swarm.Server{Store: st, Now: now, Only: shares}).Handler()
	mux := http.NewServeMux()
	mux.Handle("/content", content)
	mux.Handle("/packs/", content)
	mux.Handle("/ipfs/", &gateway.Handler{Blocks: finder, Packs: finder, Now: now})
	return mux
}

// shared returns the roots that may be told of.
func shared(roots []cid.Cid, shares func(cid.Cid) bool) []cid.Cid {
	if shares == nil {
		return roots
	}
	return slices.DeleteFunc(slices.Clone(roots), func(c cid.Cid) bool { return !shares(c) })
}

// ID is the peer id of the seed.
func (s *Seed) ID() string { return s.host.ID().String() }

// Addrs are the addresses of the seed, each with its peer id: what others pass as --peer.
func (s *Seed) Addrs() []string {
	all, err := peer.AddrInfoToP2pAddrs(new(s.host.Info()))
	if err != nil {
		return nil
	}
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	return out
}

// Stats returns the counters.
func (s *Seed) Stats() Stats {
	b := s.exchange.Stats()
	return Stats{
		Peers: len(s.host.Host().Network().Peers()), Requests: s.requests.Load(),
		Bytes: s.bytes.Load() + b.Served.Bytes, Blocks: b.Served.Blocks,
	}
}

// Close withdraws what was announced, ends all connections and waits for what runs.
func (s *Seed) Close() error {
	if s.stop != nil {
		s.stop()
	}
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(append(s.errs, s.exchange.Close(), s.host.Close())...)
}

// counted counts requests and the bytes of their answers.
func (s *Seed) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		next.ServeHTTP(&counter{ResponseWriter: w, n: &s.bytes}, r)
	})
}

// counter counts what is written.
type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *counter) Unwrap() http.ResponseWriter { return c.ResponseWriter }
