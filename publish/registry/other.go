//go:build !unix

package registry

import (
	"context"
	"net"
	"net/http"

	"pkg/publish"
)

// Server is a registry open for writing. This system cannot write one: Init,
// Open and Embedded return ErrUnsupported.
type Server struct{}

// Init returns ErrUnsupported.
func Init(context.Context, string, string, InitOptions) (string, error) { return "", ErrUnsupported }

// Open returns ErrUnsupported.
func Open(context.Context, string, Config) (*Server, error) { return nil, ErrUnsupported }

// Embedded returns ErrUnsupported.
func Embedded(context.Context, string, Config) (*Server, error) { return nil, ErrUnsupported }

// ID returns nothing.
func (*Server) ID() string { return "" }

// IsPeer does nothing.
func (*Server) IsPeer(string) {}

// Origin returns nothing.
func (*Server) Origin() string { return "" }

// Submit returns ErrUnsupported.
func (*Server) Submit(context.Context, publish.Submission) (Receipt, error) {
	return Receipt{}, ErrUnsupported
}

// Push returns ErrUnsupported.
func (*Server) Push(context.Context, publish.Submission) error { return ErrUnsupported }

// Status returns nothing.
func (*Server) Status() Status { return Status{} }

// Handler answers nothing.
func (*Server) Handler() http.Handler { return http.NotFoundHandler() }

// Close does nothing.
func (*Server) Close() error { return nil }

// Serve returns ErrUnsupported.
func Serve(context.Context, *Server, net.Listener) error { return ErrUnsupported }
