package p2p

import (
	"net"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
)

// yamux doubles the window of a stream as it is used. When it does, v5.1.0 tells the peer of the growth alone, and not of
// what was read before: half of the old window is never sent into again. The peer learns that it may go on when half of
// the window is read, and of that half it has, whatever the window grew to, only half of the first window left to send
// meanwhile. If that is less than what is under way, it waits a round trip for each half. The first window of 256 KiB costs
// a sixth of the time at 10 MB/s and 50 ms; with dialWindow it is enough for 30 MB/s, or for a full buffer on the way. Who
// listens reads requests, which are small.

// doublings is how often a window grows. A last step that is no doubling would leave the peer less than the half that has
// to be read before it is told of more: it would wait for ever.
const doublings = 2

// newMuxer makes yamux. Of answers by bitswap many streams come at once, each with little.
func newMuxer(r role) network.Multiplexer {
	if r != dials {
		return yamux.DefaultTransport
	}
	m := *yamux.DefaultTransport
	m.InitialStreamWindowSize, m.MaxStreamWindowSize = dialWindow, dialWindow<<doublings
	return (*muxer)(&m)
}

// muxer is yamux that reserves all of the first window, where that of go-libp2p reserves 256 KiB.
type muxer yamux.Transport

// NewConn implements network.Multiplexer.
func (m *muxer) NewConn(c net.Conn, isServer bool, scope network.PeerScope) (network.MuxedConn, error) {
	if scope != nil {
		scope = reserving{scope, int(m.InitialStreamWindowSize)}
	}
	return (*yamux.Transport)(m).NewConn(c, isServer, scope)
}

// reserving is a peer's scope, of which each stream is a span.
type reserving struct {
	network.PeerScope
	first int // bytes that a stream reserves at first
}

// BeginSpan implements network.ResourceScope.
func (r reserving) BeginSpan() (network.ResourceScopeSpan, error) {
	s, err := r.PeerScope.BeginSpan()
	if err != nil {
		return nil, err
	}
	return &span{ResourceScopeSpan: s, first: r.first}, nil
}

// span is what one stream reserves. It is not for concurrent use, as yamux reserves before it tells of the stream.
type span struct {
	network.ResourceScopeSpan
	first int
}

// ReserveMemory implements network.ResourceScope.
func (s *span) ReserveMemory(size int, prio uint8) error {
	size = max(size, s.first)
	if err := s.ResourceScopeSpan.ReserveMemory(size, prio); err != nil {
		return err
	}
	s.first = 0 // what comes later is growth
	return nil
}
