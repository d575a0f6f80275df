// Package peers finds who else has packs, and makes sources of them for an install: it asks trackers and the LAN, dials
// under a fresh identity, speaks HTTP to seeds and bitswap to other IPFS nodes, and announces nothing.
//
//	p := peers.New(peers.Config{Trackers: trackers, Known: addrs})
//	defer p.Close()
//	report, err := fetch.Fetch(ctx, plan, store, append(p.Sources(ctx, roots), registry), nil)
//
// Nothing here is waited for: the sources begin when trackers have answered, beside all others.
package peers

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"pkg/fetch/bitswap"
	"pkg/fetch/p2p"
	"pkg/fetch/swarm"
	"pkg/fetch/tracker"
)

// DefaultMost is how many peers are asked at most if the configuration does not say: enough to fill any line, few
// enough to dial at once.
const DefaultMost = 8

// Tracker is a registry that may know who has packs, and the roots it may be asked about.
type Tracker struct {
	Base *url.URL
	HTTP *http.Client // nil: a plain one
	Asks func(root cid.Cid) bool
}

// Config says where peers come from. The zero Config knows none.
type Config struct {
	Trackers []Tracker
	Known    []string     // addresses that [Check] takes
	HTTP     *http.Client // for mirrors; nil: a plain one
	SwarmKey []byte       // as in p2p.Config
	Most     int          // peers asked at most, those known apart; 0 means DefaultMost
	// Public says which roots peers found by trackers or on the LAN may be asked for; nil: all. Known peers are asked for all.
	Public func(root cid.Cid) bool
	// LAN is to ask the networks this machine is on for seeds, see [lan.Browse].
	LAN    bool
	browse browse // for tests; nil: lan.Browse
}

// Check says what is wrong with the address of a peer: a multiaddr with a peer id, or the URL of a mirror.
func Check(addr string) error {
	if strings.Contains(addr, "://") {
		_, err := parseMirror(addr)
		return err
	}
	_, err := p2p.ParsePeer(addr)
	return err
}

// Peers finds peers and holds what is open to them. It is safe for concurrent use.
type Peers struct {
	cfg   Config
	known []peer.AddrInfo // of cfg.Known

	starting sync.Once
	host     *p2p.Host
	failed   error // to start

	bartering sync.Once // the same for peers that know only bitswap
	barterer  *p2p.Host
	exchange  *bitswap.Exchange
	refused   error

	found chan struct{} // closed when trackers have answered
	list  []provider    // then
	err   error         // why a tracker could not be asked; then
	wg    sync.WaitGroup
	stop  context.CancelFunc
}

// provider is a peer and what it is said to have.
type provider struct {
	peer.AddrInfo
	roots map[cid.Cid]bool
}

// New returns Peers. Nothing is asked or opened yet. Close must be called.
func New(c Config) *Peers {
	c.Most = cmp.Or(c.Most, DefaultMost)
	p := &Peers{cfg: c, found: make(chan struct{})}
	for _, addr := range c.Known {
		if info, err := p2p.ParsePeer(addr); err == nil {
			p.known = append(p.known, info)
		}
	}
	return p
}

// Sources begins to look for who has roots, and returns at once with sources that begin when it is known. It is called
// once.
func (p *Peers) Sources(ctx context.Context, roots []cid.Cid) []swarm.Source {
	var out []swarm.Source
	for _, info := range p.known {
		out = append(out, &source{p: p, at: -1, known: &provider{AddrInfo: info}})
	}
	for _, addr := range p.cfg.Known {
		if base, err := parseMirror(addr); err == nil {
			out = append(out, newMirror(base, p.cfg.HTTP))
		}
	}
	ctx, p.stop = context.WithCancel(ctx)
	p.wg.Go(func() {
		defer close(p.found)
		p.list = p.find(ctx, roots)
	})
	if len(p.cfg.Trackers) > 0 {
		for i := range p.cfg.Most {
			out = append(out, &source{p: p, at: i})
		}
	}
	return append(out, p.near(ctx, roots)...)
}

// find asks all trackers at once. One that does not answer knows nobody.
func (p *Peers) find(ctx context.Context, roots []cid.Cid) []provider {
	known := make(map[peer.ID]bool)
	for _, info := range p.known {
		known[info.ID] = true
	}
	byID := make(map[peer.ID]*provider)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, t := range p.cfg.Trackers {
		wg.Go(func() {
			asked := slices.DeleteFunc(slices.Clone(roots), func(c cid.Cid) bool {
				return t.Asks != nil && !t.Asks(c) || p.cfg.Public != nil && !p.cfg.Public(c)
			})
			if len(asked) == 0 {
				return
			}
			found, err := (&tracker.Client{Base: t.Base, HTTP: t.HTTP}).Find(ctx, asked) // what it said before an error counts
			mu.Lock()
			defer mu.Unlock()
			if err != nil && p.err == nil {
				p.err = &swarm.SourceError{Source: t.Base.Host, Err: err}
			}
			for root, infos := range found {
				for _, info := range infos {
					q := byID[info.ID]
					switch {
					case known[info.ID]:
						continue
					case q == nil:
						q = &provider{AddrInfo: info, roots: make(map[cid.Cid]bool)}
						byID[info.ID] = q
					}
					q.roots[root] = true
				}
			}
		})
	}
	wg.Wait()
	out := make([]provider, 0, len(byID))
	for _, q := range byID {
		out = append(out, *q)
	}
	slices.SortFunc(out, func(a, b provider) int { // who has most, first
		return cmp.Or(cmp.Compare(len(b.roots), len(a.roots)), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// Find says who has roots: the addresses of peers, by root.
func Find(ctx context.Context, t Tracker, roots []cid.Cid) (map[cid.Cid][]string, error) {
	found, err := (&tracker.Client{Base: t.Base, HTTP: t.HTTP}).Find(ctx, roots)
	out := make(map[cid.Cid][]string, len(found))
	for root, infos := range found {
		for _, info := range infos {
			out[root] = append(out[root], text(info))
		}
		slices.Sort(out[root])
	}
	return out, err
}

// text is a peer in one word: its best address, or its id alone.
func text(info peer.AddrInfo) string {
	slices.SortStableFunc(info.Addrs, func(a, b ma.Multiaddr) int {
		return cmp.Compare(rank(a), rank(b))
	})
	addrs, err := peer.AddrInfoToP2pAddrs(&info)
	if err != nil || len(addrs) == 0 {
		return info.ID.String()
	}
	return addrs[0].String()
}

func rank(a ma.Multiaddr) int {
	if p2p.Public(a) {
		return 0
	}
	return 1
}

// Close ends all connections and waits for what runs.
func (p *Peers) Close() error {
	if p.stop != nil {
		p.stop()
	}
	p.wg.Wait()
	p.starting.Do(func() { p.failed = context.Canceled }) // nobody starts it any more
	p.bartering.Do(func() { p.refused = context.Canceled })
	var errs []error
	if p.exchange != nil {
		errs = append(errs, p.exchange.Close(), p.barterer.Close())
	}
	if p.host != nil {
		errs = append(errs, p.host.Close())
	}
	return errors.Join(errs...)
}

// start opens the host, when the first peer is to be dialled.
func (p *Peers) start() error {
	p.starting.Do(func() { p.host, p.failed = p2p.New(p2p.Config{SwarmKey: p.cfg.SwarmKey}) })
	return p.failed
}

// barter opens the host for bitswap, when the first peer turns out to know nothing else.
func (p *Peers) barter() (*bitswap.Exchange, error) {
	p.bartering.Do(func() {
		if p.barterer, p.refused = p2p.New(p2p.Config{SwarmKey: p.cfg.SwarmKey, Bitswap: true}); p.refused == nil {
			p.exchange = bitswap.Open(p.barterer.Host(), bitswap.Options{})
		}
	})
	return p.exchange, p.refused
}

// source is one peer: a known one, or the one at a place of those that trackers name.
type source struct {
	p     *Peers
	at    int
	known *provider

	mu   sync.Mutex // guards name
	name string
}

// Name implements swarm.Source. It is empty until the peer is known: nobody was asked.
func (s *source) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.name
}

// Kind implements swarm's optional interface.
func (s *source) Kind() swarm.Kind { return swarm.Peer }

// Absent implements swarm's optional interface: that trackers have answered, and name nobody for this place.
func (s *source) Absent() bool {
	if s.known != nil {
		return false
	}
	select {
	case <-s.p.found:
		return s.at >= len(s.p.list)
	default:
		return false
	}
}

// Content implements swarm.Source: by HTTP, or by bitswap where the peer knows only that.
func (s *source) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	q, err := s.provider(ctx)
	if err != nil {
		return nil, err
	}
	if q == nil {
		return r.Wants, nil
	}
	ask := swarm.Request{Shared: r.Shared}
	var missing []swarm.Want
	for _, w := range r.Wants {
		if q.roots == nil || q.roots[w.Root] {
			ask.Wants = append(ask.Wants, w)
		} else {
			missing = append(missing, w)
		}
	}
	if len(ask.Wants) == 0 {
		return missing, nil
	}
	if err := s.p.start(); err != nil { //nolint:contextcheck // the host lives until Close
		return missing, &swarm.SourceError{Source: s.Name(), Err: err}
	}
	src := s.p.host.Source(q.AddrInfo)
	s.mu.Lock()
	s.name = src.Name()
	s.mu.Unlock()
	begun := false
	lacks, err := src.Content(ctx, ask, func(w swarm.Want, size int64, pack io.Reader) error {
		begun = true
		return each(w, size, pack)
	})
	if err != nil && !begun && p2p.Unspoken(err) {
		var x *bitswap.Exchange
		if x, err = s.p.barter(); err == nil { //nolint:contextcheck // as above
			lacks, err = x.Source(q.AddrInfo).Content(ctx, ask, each)
		}
	}
	return append(missing, lacks...), err
}

// provider waits for the peer to be known. nil is that there is none.
func (s *source) provider(ctx context.Context) (*provider, error) {
	if s.known != nil {
		return s.known, nil
	}
	select {
	case <-s.p.found:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.at >= len(s.p.list) {
		if s.at == 0 {
			return nil, s.p.err
		}
		return nil, nil
	}
	return &s.p.list[s.at], nil
}
