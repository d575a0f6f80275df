package swarm

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"

	"pkg/fetch/store"
)

// Dir is another store on this disk as a source: the embedded registry's, or a mirror that was copied here.
type Dir struct {
	Store *store.Store
}

// Name returns the folder.
func (d *Dir) Name() string { return filepath.ToSlash(d.Store.Dir()) }

// Kind says that it is a disk.
func (d *Dir) Kind() Kind { return Disk }

// Content implements Source.
func (d *Dir) Content(ctx context.Context, r Request, each Each) (missing []Want, err error) {
	var held atomic.Int64
	for _, w := range r.Wants {
		if err := ctx.Err(); err != nil {
			return missing, err
		}
		f, size, err := open(ctx, d.Store, w, &held)
		if errors.Is(err, store.ErrNotFound) {
			missing = append(missing, w)
			continue
		}
		if err != nil {
			return missing, &SourceError{d.Name(), err}
		}
		err = each(w, size, f)
		_ = f.Close() // read only
		if err != nil {
			return missing, err
		}
	}
	return missing, nil
}
