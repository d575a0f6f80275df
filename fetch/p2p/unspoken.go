package p2p

import (
	"errors"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	mss "github.com/multiformats/go-multistream"
)

// Unspoken reports whether a request failed because the peer does not speak [Protocol]: it is no seed of ours, but may
// speak bitswap. The peer says no, and then takes the request for another proposal and resets the stream; which of the
// two is seen first is chance.
func Unspoken(err error) bool {
	if _, ok := errors.AsType[mss.ErrNotSupported[protocol.ID]](err); ok {
		return true
	}
	reset, ok := errors.AsType[*network.StreamError](err)
	return ok && reset.Remote && reset.ErrorCode == network.StreamProtocolNegotiationFailed
}
