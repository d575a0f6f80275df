package swarm

import (
	"bytes"
	"context"
	"io"
	"sync/atomic"

	"pkg/fetch/store"
)

// partBytes is how many bytes of parts are held at once for clients that are reading them. What is more is not here:
// a whole pack, which goes out from its file, is always to be had.
const partBytes = 64 << 20

// open returns the bytes of a want out of st and their number, of a part counted in held. What is not here, or a part that
// cannot be made because the tree was damaged, is store.ErrNotFound: its pack may be whole.
func open(ctx context.Context, st *store.Store, w Want, held *atomic.Int64) (io.ReadCloser, int64, error) {
	if w.Scope == All {
		return st.OpenPack(w.Root)
	}
	p, err := st.Parts(w.Root)
	if err != nil {
		return nil, 0, store.ErrNotFound
	}
	size, ok := p.NodesSize(), true
	if w.Scope == Leaves {
		size, ok = p.LeavesSize(w.From, w.To)
	}
	if !ok {
		return nil, 0, store.ErrNotFound
	}
	if held.Add(size) > partBytes {
		held.Add(-size)
		return nil, 0, store.ErrNotFound
	}
	var b []byte
	if w.Scope == Nodes {
		b, err = p.Nodes()
	} else {
		b, err = p.Leaves(ctx, w.From, w.To)
	}
	if err != nil {
		held.Add(-size)
		if ctx.Err() != nil {
			return nil, 0, ctx.Err()
		}
		return nil, 0, store.ErrNotFound
	}
	return &part{bytes.NewReader(b), held, size}, int64(len(b)), nil
}

// part is held until it is closed.
type part struct {
	io.Reader
	held *atomic.Int64
	size int64
}

func (p *part) Close() error {
	p.held.Add(-p.size)
	p.size = 0
	return nil
}
