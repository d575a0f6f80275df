package p2p

import (
	"context"
	"fmt"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	blankhost "github.com/libp2p/go-libp2p/p2p/host/blank"
	ma "github.com/multiformats/go-multiaddr"
	mss "github.com/multiformats/go-multistream"
)

// node is the libp2p host: a blank one whose streams are negotiated in bounded time, counted under their protocol, and
// where they are HTTP held to the upload limit.
type node struct {
	*blankhost.BlankHost
	bucket *bucket
	leaves leaves
	times  times
}

var _ host.Host = (*node)(nil)

func newNode(net network.Network, bus event.Bus, b *bucket, t times) *node {
	n := &node{BlankHost: blankhost.NewBlankHost(net, blankhost.WithEventBus(bus)), bucket: b, times: t}
	if b != nil {
		net.Notify(&network.NotifyBundle{DisconnectedF: n.leaves.disconnected})
	}
	net.SetStreamHandler(n.accept)
	return n
}

// Close does nothing: a protocol that is given the host must not end it for the others.
func (n *node) Close() error { return nil }

// Addrs are the addresses that identify tells to every peer: those that anybody may know, or where there are none, as
// in a local network, all.
func (n *node) Addrs() []ma.Multiaddr {
	all := n.BlankHost.Addrs()
	if public := ma.FilterAddrs(all, Public); len(public) > 0 {
		return public
	}
	return all
}

// accept negotiates the protocol of a stream that a peer opened, and handles it.
func (n *node) accept(s network.Stream) {
	stop := resetAfter(s, n.times.negotiate)
	proto, handle, err := n.Mux().Negotiate(s)
	if !stop() || err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed) // the peer's to notice
		return
	}
	if err := s.SetProtocol(proto); err != nil {
		_ = s.ResetWithError(network.StreamResourceLimitExceeded) // the peer's to notice
		return
	}
	_ = handle(proto, n.wrap(s, nil)) // a blank host's never fails
}

// NewStream opens a stream, and before that a connection where there is none. Of several protocols the peer chooses;
// a single one, or one that it is known to speak, is taken for granted until the first read.
func (n *node) NewStream(ctx context.Context, id peer.ID, protos ...protocol.ID) (network.Stream, error) {
	s, err := n.Network().NewStream(ctx, id)
	if err != nil {
		return nil, err
	}
	proto, known := supported(n.Peerstore(), id, protos)
	if !known && len(protos) == 1 {
		proto, known = protos[0], true
	}
	if known {
		if err := s.SetProtocol(proto); err != nil {
			_ = s.Reset() // err says what matters
			return nil, err
		}
		return n.wrap(s, mss.NewMSSelect(s, proto)), nil
	}
	late := resetAfter(s, n.times.negotiate)
	stop := context.AfterFunc(ctx, func() { _ = s.Reset() })
	proto, err = mss.SelectOneOf(protos, s)
	if !stop() {
		err = ctx.Err()
	}
	if !late() && err == nil {
		err = context.DeadlineExceeded
	}
	if err == nil {
		err = s.SetProtocol(proto)
	}
	if err != nil {
		_ = s.ResetWithError(network.StreamProtocolNegotiationFailed) // err says what matters
		return nil, fmt.Errorf("negotiate a protocol: %w", err)
	}
	return n.wrap(s, nil), nil
}

// supported reports whether the peer said that it speaks one of the protocols, and which.
func supported(peers peerstore.Peerstore, id peer.ID, protos []protocol.ID) (protocol.ID, bool) {
	known, err := peers.SupportsProtocols(id, protos...)
	if err != nil || len(known) == 0 {
		return "", false
	}
	return known[0], true
}
