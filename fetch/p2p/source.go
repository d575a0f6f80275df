package p2p

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	libp2pswarm "github.com/libp2p/go-libp2p/p2p/net/swarm"

	"pkg/fetch/swarm"
)

// clientStreams is how many requests one peer gets from us at a time. It is under peerStreams.
const clientStreams = 4

// newClient makes the transport for requests to http://<peer id>/….
func newClient(n *node) *http.Transport {
	return &http.Transport{
		DialContext: func(ctx context.Context, _, hostport string) (net.Conn, error) {
			name, _, err := net.SplitHostPort(hostport)
			if err != nil {
				return nil, err
			}
			id, err := peer.Decode(name)
			if err != nil {
				return nil, fmt.Errorf("%q is no peer id: %w", name, err)
			}
			s, err := n.NewStream(ctx, id, Protocol)
			if err != nil {
				return nil, &dialError{id, err}
			}
			return &conn{Stream: s, dialed: true}, nil
		},
		MaxConnsPerHost:        clientStreams,
		MaxIdleConnsPerHost:    clientStreams,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         64 << 10,
		ForceAttemptHTTP2:      false,
	}
}

// dialError is a peer that could not be reached, in one line.
type dialError struct {
	id  peer.ID
	err error
}

func (e *dialError) Error() string {
	var all *libp2pswarm.DialError
	if !errors.As(e.err, &all) {
		return fmt.Sprintf("dial %s: %v", short(e.id), e.err)
	}
	cause := all.Cause
	if n := len(all.DialErrors); n > 0 {
		cause = &all.DialErrors[n-1]
	}
	return fmt.Sprintf("dial %s: %v", short(e.id), cause)
}

func (e *dialError) Unwrap() error { return e.err }

// Transport makes requests to http://<peer id>/… over streams to that peer, which the host must [Host.Know], and uses
// streams again. It knows no other hosts, and ends with the host.
func (h *Host) Transport() http.RoundTripper { return h.client }

// Source returns the peer as a source of packs: fetch/swarm's HTTP over streams. The host knows the peer from now on.
func (h *Host) Source(info peer.AddrInfo) swarm.Source {
	h.Know(info)
	return &source{id: info.ID, http: &swarm.HTTP{
		Base: &url.URL{Scheme: "http", Host: info.ID.String(), Path: "/"},
		Client: &http.Client{
			Transport:     h.client,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}}
}

// source is a peer under a name that fits a line.
type source struct {
	id   peer.ID
	http *swarm.HTTP
}

// Name implements swarm.Source.
func (s *source) Name() string { return "peer " + short(s.id) }

// Content implements swarm.Source. A peer that cannot be dialed, or does not speak [Protocol], is not asked again: what
// may help with a registry is only time lost with one of many peers.
func (s *source) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	call, client := *s.http, *s.http.Client
	client.Transport = once{client.Transport, cancel}
	call.Client = &client
	missing, err := call.Content(ctx, r, each)
	if _, ok := errors.AsType[*finalError](context.Cause(ctx)); ok && err != nil {
		return missing, &swarm.SourceError{Source: s.Name(), Err: context.Cause(ctx)}
	}
	if own, ok := errors.AsType[*swarm.SourceError](err); ok && own.Source == s.http.Name() {
		own.Source = s.Name()
	}
	return missing, err
}

// once ends everything with the first request that cannot succeed later.
type once struct {
	http.RoundTripper
	cancel context.CancelCauseFunc
}

func (o once) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.RoundTripper.RoundTrip(req)
	if _, ok := errors.AsType[*dialError](err); (ok || Unspoken(err)) && req.Context().Err() == nil {
		o.cancel(&finalError{err})
	}
	return resp, err
}

// finalError is why a peer is not asked again.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }

func (e *finalError) Unwrap() error { return e.err }

// short is enough of a peer id to tell a few apart.
func short(id peer.ID) string {
	text := id.String()
	if len(text) <= 9 {
		return text
	}
	return text[:4] + "…" + text[len(text)-4:]
}
