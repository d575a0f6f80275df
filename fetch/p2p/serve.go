package p2p

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// Protocol is the protocol id of HTTP/1.1 over a stream (libp2p/specs, http/README.md).
const Protocol protocol.ID = "/http/1.1"

// maxHeader is how long the header of a request may be, in bytes.
const maxHeader = 16 << 10

// ErrServing is returned by Serve for a host that already does, or is closed.
var ErrServing = errors.New("the host already serves, or is closed")

// Serve lets peers make HTTP requests of handler until the host is closed; it does not block. The remote address of a
// request is the peer's id, proved by the handshake; its context ends when the peer closes or resets the stream. A
// peer that is slow to send a request, or to take the answer, loses the stream.
func (h *Host) Serve(handler http.Handler) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	select {
	case <-h.done:
		return ErrServing
	default:
	}
	if h.server != nil {
		return ErrServing
	}
	h.server = &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: h.times.header,
		ReadTimeout:       h.times.request,
		IdleTimeout:       h.times.idle,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
		ConnState: func(_ net.Conn, s http.ConnState) {
			switch s {
			case http.StateNew:
				h.wg.Add(1) // in the goroutine below, which is counted already
			case http.StateClosed, http.StateHijacked:
				h.wg.Done()
			}
		},
	}
	l := &listener{conns: make(chan net.Conn), done: h.done, id: h.ID()}
	h.node.SetStreamHandler(Protocol, l.put)
	server := h.server
	h.wg.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			h.log.LogAttrs(context.Background(), slog.LevelError, "serve HTTP", slog.Any("err", err))
		}
	})
	return nil
}

// listener hands streams to a server.
type listener struct {
	conns chan net.Conn
	done  <-chan struct{} // the host's
	id    peer.ID
}

// put handles a stream.
func (l *listener) put(s network.Stream) {
	select {
	case l.conns <- &conn{Stream: s}:
	case <-l.done:
		_ = s.Reset() // the peer's to notice
	}
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. It ends with the host.
func (l *listener) Close() error { return nil }

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return addr(l.id) }

// addr is a peer as an address.
type addr peer.ID

func (addr) Network() string { return "libp2p" }

func (a addr) String() string { return peer.ID(a).String() }

// conn is a stream as a net.Conn.
type conn struct {
	network.Stream
	dialed bool
}

func (c *conn) LocalAddr() net.Addr { return addr(c.Stream.Conn().LocalPeer()) }

func (c *conn) RemoteAddr() net.Addr { return addr(c.Stream.Conn().RemotePeer()) }

// CloseWrite is there to hide that of the stream: net/http would linger half a second before it closes.
func (c *conn) CloseWrite(struct{}) {}

// Close of the side that serves lets what is written arrive. That of the side that asks breaks the stream: it is done,
// or does not want the rest, and yamux knows no other way to say so to one who writes.
func (c *conn) Close() error {
	if c.dialed {
		return c.Reset()
	}
	return c.Stream.Close()
}
