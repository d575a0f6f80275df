package p2p

import (
	"context"
	"net"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Upload waits until n bytes may be sent to a peer under Config.UploadLimit, which HTTP keeps to by itself. Protocols that
// serve content over streams of [Host.Host] call it before they write. Peers take turns. An error says that ctx has ended, or the host.
func (h *Host) Upload(ctx context.Context, to peer.ID, n int) error {
	b := h.node.bucket
	if b == nil {
		return ctx.Err()
	}
	for taken := 0; taken < n; {
		part := min(n-taken, turn)
		if _, ok := b.wait(to, part, ctx.Done(), h.done); !ok {
			b.give(taken)
			if err := ctx.Err(); err != nil {
				return err
			}
			return net.ErrClosed
		}
		taken += part
	}
	return nil
}

// leaves tells when connections end: the network resets the streams of one, but tells only those that read or write.
type leaves struct {
	mu    sync.Mutex // guards conns
	conns map[network.Conn]chan struct{}
}

// when returns what is closed once the connection is.
func (l *leaves) when(c network.Conn) <-chan struct{} {
	l.mu.Lock()
	gone := l.conns[c]
	if gone == nil {
		if l.conns == nil {
			l.conns = map[network.Conn]chan struct{}{}
		}
		gone = make(chan struct{})
		l.conns[c] = gone
	}
	l.mu.Unlock()
	if c.IsClosed() { // and we may have been told before
		l.disconnected(nil, c)
	}
	return gone
}

// disconnected is for network.NotifyBundle.
func (l *leaves) disconnected(_ network.Network, c network.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gone := l.conns[c]; gone != nil {
		close(gone)
		delete(l.conns, c)
	}
}
