package catalog

import (
	"context"
	"errors"
	"io"
)

// ErrUnsupported says that a source has no lookup, only static reads.
var ErrUnsupported = errors.New("lookup not supported")

// A Source gives a registry's bytes by name. Nothing it returns is trusted.
// Implementations are safe for concurrent use.
type Source interface {
	// Read returns the bytes at a slash-separated path ("head", "trust/0",
	// "ipfs/bafy…", "tile/0/000"). The error wraps fs.ErrNotExist if the source
	// says there is no such thing. More than limit bytes are an error.
	Read(ctx context.Context, path string, limit int64) ([]byte, error)
	// Lookup starts one answer to req, to be read by ReadSections and closed. It
	// returns ErrUnsupported if there is no such service.
	Lookup(ctx context.Context, req LookupRequest) (io.ReadCloser, error)
}
