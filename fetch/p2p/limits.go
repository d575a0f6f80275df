package p2p

import (
	"math"
	"net/netip"

	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
)

// What strangers may use up, at most. Under each of these stand tests, in limits_test.go.
//
// yamux reserves 256 KiB for every stream: as much may be sent into it before anybody reads. Under memory are these
// and what windows grow to.
const (
	defaultPeers = 128 // connections from others that have a seat (see seats.go)
	maxDials     = 64  // connections to others

	peerConns   = 4 // of one peer in each direction
	peerStreams = 8 // of one peer in each direction
	allStreams  = 512

	seedMemory     = 128 << 20 // of a host that listens
	seedPeerMemory = 8 << 20   // twice peerStreams in each direction; yamux closes the connection of who goes beyond
	dialMemory     = 256 << 20 // of one that only dials, where a window should hold what is under way
	dialPeerMemory = 64 << 20

	// Until its handshake is done a connection is nobody's, and so is a stream until its protocol is agreed on.
	freshConns   = 64
	freshStreams = 128
	freshMemory  = 16 << 20

	ip4Conns = 8  // from one IPv4 address
	ip6Conns = 8  // from one IPv6 /64
	netConns = 32 // from one IPv6 /48
)

// limits is the table of all limits. Who listens has less memory for each peer: there are many.
func limits(peers int, listens bool) rcmgr.ConcreteLimitConfig {
	memory, peerMemory := rcmgr.LimitVal64(dialMemory), rcmgr.LimitVal64(dialPeerMemory)
	if listens {
		memory, peerMemory = seedMemory, seedPeerMemory
	}
	in := rcmgr.LimitVal(peers + freshConns)
	system := rcmgr.ResourceLimits{
		Conns: in + maxDials, ConnsInbound: in, ConnsOutbound: maxDials, FD: in + maxDials,
		Streams: 2 * allStreams, StreamsInbound: allStreams, StreamsOutbound: allStreams, Memory: memory,
	}
	// Whatever the protocol, the limits of its peer are what counts.
	proto := rcmgr.ResourceLimits{Streams: 2 * allStreams, StreamsInbound: allStreams, StreamsOutbound: allStreams, Memory: memory}
	protoPeer := rcmgr.ResourceLimits{Streams: 2 * peerStreams, StreamsInbound: peerStreams, StreamsOutbound: peerStreams, Memory: peerMemory}
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
func newResources(peers int, listens bool) (network.ResourceManager, error) {
	// On one machine, containers and users share the loopback address.
	here := func(prefix string) []rcmgr.NetworkPrefixLimit {
		return []rcmgr.NetworkPrefixLimit{{Network: netip.MustParsePrefix(prefix), ConnCount: math.MaxInt}}
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits(peers, listens)),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(here("127.0.0.0/8"), here("::1/128")),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: ip4Conns}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 64, ConnCount: ip6Conns}, {PrefixLength: 48, ConnCount: netConns}}))
}
