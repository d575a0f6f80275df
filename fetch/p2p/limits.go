package p2p

import (
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/x/rate"
)

// What strangers may use up, at most. Under each of these stand tests, in limits_test.go.
//
// yamux reserves a window for every stream: as much may be sent into it before anybody reads. Under memory are these and
// what they grow to.
const (
	defaultPeers = 128 // connections from others that have a seat (see seats.go)
	maxDials     = 64  // connections to others

	peerConns   = 4   // of one peer in each direction
	peerStreams = 8   // of one peer in each direction
	replies     = 128 // of one peer that answers bitswap: Kubo opens a stream for each message
	allStreams  = 512

	seedMemory     = 128 << 20 // of a host that listens
	seedPeerMemory = 8 << 20   // twice peerStreams in each direction; yamux closes the connection of who goes beyond
	dialMemory     = 576 << 20 // of one that only dials: three streams to each of maxDials
	dialPeerMemory = 64 << 20  // peerStreams in each direction, and some that grow
	dialWindow     = 3 << 20   // of each stream of a host that only dials, at first; else it is 256 KiB (see windows.go)

	// Until its handshake is done a connection is nobody's, and so is a stream until its protocol is agreed on.
	freshConns   = 256
	freshStreams = 128
	freshMemory  = 16 << 20

	// An office or a CI farm is one address, and an install may dial TCP and QUIC at once. All of these are fewer than
	// freshConns, so that one network cannot keep others from shaking hands; who has a seat is decided in seats.go.
	ip4Conns = 128 // from one IPv4 address
	ip6Conns = 128 // from one IPv6 /64
	netConns = 192 // from one IPv6 /48

	// In a moment a network may come with twice as many connections as it may have, and then with this part a second.
	connsPart = 1.0 / 32
	grace     = time.Minute // how long what a network came with is remembered after it counts for nothing
)

// role is what a host is for.
type role int

const (
	dials   role = iota // to ask over HTTP
	asks                // to ask by bitswap: answers come on streams that the peer opens
	listens             // to be asked
)

func (c Config) role() role {
	switch {
	case len(c.Listen) > 0:
		return listens
	case c.Bitswap:
		return asks
	default:
		return dials
	}
}

// limits is the table of all limits. Who listens has less memory for each peer: there are many.
func limits(peers int, r role) rcmgr.ConcreteLimitConfig {
	memory, peerMemory := rcmgr.LimitVal64(dialMemory), rcmgr.LimitVal64(dialPeerMemory)
	if r == listens {
		memory, peerMemory = seedMemory, seedPeerMemory
	}
	inbound := rcmgr.LimitVal(peerStreams)
	if r == asks {
		inbound = replies
	}
	in := rcmgr.LimitVal(peers + freshConns)
	system := rcmgr.ResourceLimits{
		Conns: in + maxDials, ConnsInbound: in, ConnsOutbound: maxDials, FD: in + maxDials,
		Streams: 2 * allStreams, StreamsInbound: allStreams, StreamsOutbound: allStreams, Memory: memory,
	}
	// Whatever the protocol, the limits of its peer are what counts.
	proto := rcmgr.ResourceLimits{Streams: 2 * allStreams, StreamsInbound: allStreams, StreamsOutbound: allStreams, Memory: memory}
	protoPeer := rcmgr.ResourceLimits{Streams: peerStreams + inbound, StreamsInbound: inbound, StreamsOutbound: peerStreams, Memory: peerMemory}
	one := protoPeer
	one.Conns, one.ConnsInbound, one.ConnsOutbound, one.FD = 2*peerConns, peerConns, peerConns, 2*peerConns
	return rcmgr.PartialLimitConfig{
		System: system,
		Transient: rcmgr.ResourceLimits{
			Conns: 2 * freshConns, ConnsInbound: freshConns, ConnsOutbound: freshConns, FD: 2 * freshConns,
			Streams: 2 * freshStreams, StreamsInbound: freshStreams, StreamsOutbound: freshStreams, Memory: freshMemory,
		},
		// Nobody is on an allow list, and all else that is not named here is 0.
		ServiceDefault: proto, ServicePeerDefault: protoPeer,
		ProtocolDefault: proto, ProtocolPeerDefault: protoPeer,
		PeerDefault: one,
		Conn:        rcmgr.ResourceLimits{Conns: 1, ConnsInbound: 1, ConnsOutbound: 1, FD: 1, Memory: peerMemory},
		Stream:      rcmgr.ResourceLimits{Streams: 1, StreamsInbound: 1, StreamsOutbound: 1, Memory: peerMemory},
	}.Build(rcmgr.ConcreteLimitConfig{})
}

// newResources makes what enforces the limits.
func newResources(peers int, r role) (network.ResourceManager, error) {
	// On one machine, containers and users share the loopback address.
	here := func(prefix string) []rcmgr.NetworkPrefixLimit {
		return []rcmgr.NetworkPrefixLimit{{Network: netip.MustParsePrefix(prefix), ConnCount: math.MaxInt}}
	}
	ip4 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: ip4Conns}}
	ip6 := []rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: ip6Conns}, {PrefixLength: 48, ConnCount: netConns}}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits(peers, r)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(here("127.0.0.0/8"), here("::1/128")),
		rcmgr.WithLimitPerSubnet(ip4, ip6),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")}},
			SubnetRateLimiter:   rate.SubnetLimiter{IPv4SubnetLimits: rates(ip4), IPv6SubnetLimits: rates(ip6), GracePeriod: grace},
		}))
}

// rates are how fast networks may connect that may have so many connections.
func rates(conns []rcmgr.ConnLimitPerSubnet) (out []rate.SubnetLimit) {
	for _, c := range conns {
		out = append(out, rate.SubnetLimit{
			PrefixLength: c.PrefixLength,
			Limit:        rate.Limit{RPS: float64(c.ConnCount) * connsPart, Burst: 2 * c.ConnCount},
		})
	}
	return out
}

// mustProve says whether who connects by QUIC has to prove first, in one more round trip, that the address is his: where
// many came from it, or many shake hands at all. Else invented addresses would take up all of freshConns.
func mustProve(res network.ResourceManager) func(net.Addr) bool {
	return func(a net.Addr) bool {
		crowded := false
		_ = res.ViewTransient(func(fresh network.ResourceScope) error { // which returns what this does
			crowded = fresh.Stat().NumConnsInbound >= freshConns/2
			return nil
		})
		return crowded || res.VerifySourceAddress(a)
	}
}
