// Package tracker says who has which root. A registry mounts [Tracker.Handler]; an install asks it with [Client.Find],
// once for all roots; a seed tells it with an [Announcer].
//
// What a tracker says is a hint and never believed: whoever is named proves its key when it is dialled, and every block
// it sends is hashed. A lying tracker costs time, not trust.
//
// # Asking
//
//	GET /routing/v1/providers/{cid}
//
// is Delegated Routing V1 (https://specs.ipfs.tech/routing/http-routing-v1/), as JSON or, where application/x-ndjson is
// accepted, one record a line, with filter-addrs and filter-protocols (IPIP-484). Nobody known is 200 and an empty list
// (IPIP-513). Roots are found by their multihash, so the codec and version of the CID do not matter.
//
//	POST /routing/pkg/providers {"want": [cid…]}
//
// asks for up to [MaxWant] roots. The answer names each peer once, and for each root known the peers by position, in no
// order, at most 20 a root and 1,000 in all; every root gets its first before any gets a second:
//
//	{"Providers": [{"Schema": "peer", "ID": …, "Addrs": […], "Protocols": […]}…], "Roots": {cid: [0, 2…]…}}
//
// # Announcing
//
//	POST /routing/pkg/announce
//
// takes a signed [Announcement], which adds roots to what a peer has. Each root expires on its own: ten thousand are
// three announcements, repeated before they expire, with no moment at which any is missing. A lifetime of 0 withdraws
// the roots that are named, or, if none are, the peer. The addresses are those of the latest announcement. The body is
// the statement, a line feed, the base64 of its signature, a line feed:
//
//	{"v":1,"peer":"12D3Koo…","addrs":["/ip4/…"],"roots":["bafy…"],"lifetime":3600,"time":1700000000,"seq":7}
//	c2lnbmF0dXJl…
//
// What is signed, with the ed25519 key that the peer id is, are the bytes of the statement as they were sent, after the
// length of a fixed text, that text, the length of the registry's id and that id: an announcement to one registry cannot
// be replayed to another. seq grows with every announcement of a peer, and time is within [MaxSkew] of the tracker's.
//
// # Addresses
//
// Addresses are IP addresses with a TCP or UDP port; names, relays and unspecified addresses are refused. A public one
// is kept only if the announcement came from that very address, of IPv6 from its /64, and handed out to everybody: so
// nobody can have the world dial a machine that is not his. What came from a private address or from this machine may
// name any. A peer with both IPv4 and IPv6 announces over both; what it announced over one is kept while it still says
// so over the other. Behind a proxy [Config.Source] must tell the addresses of clients, which a registry takes from the
// X-Forwarded-For of a proxy on its own machine alone. Any other address is kept only if the announcement came from where it can be reached, and
// handed out only to those who ask from there: loopback to loopback, and private and link-local ones within one IPv4 /16
// or IPv6 /48. So nobody outside learns how a network is built, and nobody outside can have the machines of a network
// dial each other. The same public address is not enough: carriers put strangers behind one, and machines of one
// network find each other by mDNS. Loopback is this machine, which reaches what the tracker reaches: it may announce and
// is told all.
//
// # Bounds
//
// All is kept in memory and expires; after a restart seeds announce again. At most [Limits.PerRoot] peers are kept a
// root; peers, roots and links between them are bounded in all. When something is full, what has expired goes first,
// then a random one of the network (an IPv4 address, an IPv6 /56) that holds most of it; of roots, one that only large
// networks have. Keys cost nothing, so a network that brings many of them crowds out itself before it crowds out anybody
// else. [Config.Shares] is the strongest bound: with it, only roots of the registry take space.
package tracker

import (
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"github.com/ipfs/go-cid"
)

// Limits of the protocol.
const (
	MaxWant      = 1000             // roots asked for by one request
	MaxRoots     = 4096             // roots in one announcement
	MaxAddrs     = 8                // addresses of a peer
	MaxProtocols = 4                // protocols of a peer
	MaxLifetime  = 24 * time.Hour   // of an announcement
	MaxSkew      = 10 * time.Minute // between the clocks of peer and tracker
	MaxProviders = 100              // of one root, in any answer
)

// Limits bounds what a tracker keeps; 0 stands for the number given. All of it at once is less than 64 MiB.
type Limits struct {
	Peers     int // 8,192
	Roots     int // 100,000
	Links     int // 1,000,000: one for each root of each peer
	PerRoot   int // 100 peers, which is also the most
	PerPeer   int // 16,384 roots
	BySource  int // announcements an hour from one network: 600; less than 0 is unlimited
	ByPeer    int // announcements an hour of one peer: 120; less than 0 is unlimited
	Announces int // announcements read at a time: 64, at most a quarter of them of one network
}

func (l Limits) filled() Limits {
	fill := func(n *int, d int) {
		if *n == 0 {
			*n = d
		}
	}
	fill(&l.Peers, 8192)
	fill(&l.Roots, 100_000)
	fill(&l.Links, 1_000_000)
	fill(&l.PerRoot, MaxProviders)
	fill(&l.PerPeer, 16_384)
	fill(&l.BySource, 600)
	fill(&l.ByPeer, 120)
	fill(&l.Announces, 64)
	l.PerRoot = min(l.PerRoot, MaxProviders)
	return l
}

// Config sets up a tracker.
type Config struct {
	// Registry is the id of the registry that the tracker is part of. Announcements are signed for it.
	Registry string

	// Shares says which roots the tracker may speak of; nil: all. The others are not kept and not found, like roots
	// nobody has. It is called for every root of every request, with a dag-pb CID, from many goroutines at once.
	Shares func(root cid.Cid) bool

	// Source says where a request came from; nil: its RemoteAddr. Behind a proxy on the same machine it must be set, or
	// everybody is taken for this machine. An invalid address may not announce, and is told public addresses only.
	Source func(*http.Request) netip.Addr

	Limits Limits

	Now  func() time.Time // nil: the system's clock
	IntN func(n int) int  // a random number in [0, n), from many goroutines at once; nil: math/rand/v2
}

// Tracker knows who has which root. It is safe for concurrent use, starts no goroutines and need not be closed.
type Tracker struct {
	cfg   Config
	table *table
	rates *rates
	gate  *gate
}

// New returns a tracker that knows nobody yet.
func New(cfg Config) *Tracker {
	cfg.Limits = cfg.Limits.filled()
	if cfg.Shares == nil {
		cfg.Shares = func(cid.Cid) bool { return true }
	}
	if cfg.Source == nil {
		cfg.Source = remote
	}
	if cfg.Now == nil {
		cfg.Now = time.Now //nolint:forbidigo // the default of a clock that can be set
	}
	if cfg.IntN == nil {
		cfg.IntN = rand.IntN
	}
	return &Tracker{
		cfg:   cfg,
		table: newTable(cfg.Limits, cfg.IntN),
		rates: newRates(cfg.Limits.BySource),
		gate:  &gate{limit: cfg.Limits.Announces, by: map[netip.Prefix]int{}},
	}
}

// Has says whether any peer but one has root.
func (t *Tracker) Has(root cid.Cid, but string) (has bool) {
	k, ok := keyOf(root)
	if !ok {
		return false
	}
	t.table.mu.RLock()
	defer t.table.mu.RUnlock()
	t.table.find(k, t.cfg.Now().Unix(), func(s *seed) bool {
		has = s.id.String() != but
		return !has
	})
	return has
}

// remote is the address at the other end of the connection.
func remote(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr()
}

// Accepted is the answer to an announcement.
type Accepted struct {
	// Roots is how many of the roots the tracker now links to the peer, or, if they were withdrawn, no longer does.
	Roots int `json:"roots"`
	// Addrs are the addresses that the tracker keeps: those of the announcer that others can reach, as seen from where it
	// stands.
	Addrs []string `json:"addrs"`
}

// accept records a, which was verified and came from an address.
func (t *Tracker) accept(a Announcement, from netip.Addr) (Accepted, error) {
	now := t.cfg.Now()
	if d := now.Sub(a.Time).Abs(); d > MaxSkew {
		return Accepted{}, refuse(http.StatusBadRequest, "set the clock of this machine",
			"the clocks differ by %s, at most %s is allowed", d.Round(time.Second), MaxSkew)
	}
	n := news{id: a.Peer, from: from, seq: a.Seq, lifetime: a.Lifetime, protocols: a.Protocols}
	for _, m := range a.Addrs {
		parsed, err := parseAddr(m, a.Peer)
		if err != nil {
			return Accepted{}, refuse(http.StatusBadRequest, "", "%v", err)
		}
		switch {
		case owns(from, parsed.ip):
			n.addrs = append(n.addrs, parsed)
		case placeOf(parsed.ip) == public && parsed.ip.Is4() != from.Unmap().Is4():
			n.other = append(n.other, parsed)
		}
	}
	if a.Lifetime > 0 && len(n.addrs) == 0 {
		return Accepted{}, refuse(http.StatusUnprocessableEntity, "listen on an address that others can reach",
			"none of the addresses is one of %s", from)
	}
	for _, root := range a.Roots {
		if k, ok := keyOf(root); ok && t.cfg.Shares(k.root()) {
			n.roots = append(n.roots, k)
		}
	}
	n.all = a.Lifetime == 0 && len(a.Roots) == 0
	roots, addrs, err := t.table.record(n, now)
	out := Accepted{Roots: roots, Addrs: make([]string, len(addrs))}
	for i, addr := range addrs {
		out.Addrs[i] = addr.text
	}
	return out, err
}
