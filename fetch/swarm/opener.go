package swarm

import (
	"bytes"
	"context"
	"io"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
)

// opener opens what is wanted of a store. Parts of one tree are to be opened one after another: it keeps the latest.
type opener struct {
	store *store.Store
	root  cid.Cid
	parts *store.Parts
}

// open returns the bytes of a want and their number. What is not here is store.ErrNotFound.
func (o *opener) open(ctx context.Context, w Want) (io.ReadCloser, int64, error) {
	if w.Scope == All {
		return o.store.OpenPack(w.Root)
	}
	if o.parts == nil || o.root != w.Root {
		p, err := o.store.Parts(w.Root)
		if err != nil {
			return nil, 0, err
		}
		o.root, o.parts = w.Root, p
	}
	var b []byte
	var err error
	if w.Scope == Nodes {
		b, err = o.parts.Nodes()
	} else {
		b, err = o.parts.Leaves(ctx, w.From, w.To)
	}
	return io.NopCloser(bytes.NewReader(b)), int64(len(b)), err
}
