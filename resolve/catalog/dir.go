package catalog

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Dir reads a registry's static files from a folder: the public folder of the
// embedded registry, or a copy of one.
type Dir struct {
	path string
}

// NewDir returns the source that reads from the folder at path.
func NewDir(path string) *Dir { return &Dir{path} }

// Read implements Source.
func (d *Dir) Read(ctx context.Context, path string, limit int64) (b []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.OpenInRoot(d.path, filepath.FromSlash(path))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	defer f.Close() //nolint:errcheck // only read from
	return readAll(f, path, limit)
}

// Lookup implements Source: there is nobody to ask.
func (d *Dir) Lookup(context.Context, LookupRequest) (io.ReadCloser, error) {
	return nil, ErrUnsupported
}

// readAll reads at most limit bytes.
func readAll(r io.Reader, path string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("read %s: more than %d bytes", path, limit)
	}
	return b, nil
}
