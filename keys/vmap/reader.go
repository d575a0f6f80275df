package vmap

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Reader looks names up in one map. It gets and verifies each block once and keeps it, so it is for one batch of lookups
// and not for the life of a program. It is not safe for concurrent use.
type Reader struct {
	blocks Blocks
	root   cid.Cid
	top    *node
	count  int
	bytes  int64
}

// NewReader returns a Reader of the map at root.
func NewReader(blocks Blocks, root cid.Cid) *Reader { return &Reader{blocks: blocks, root: root} }

// Root returns the root of the map read.
func (r *Reader) Root() cid.Cid { return r.root }

// Cost returns how many blocks, and bytes of blocks, the lookups so far took.
func (r *Reader) Cost() (blocks int, bytes int64) { return r.count, r.bytes }

// Lookup returns the value of name, or nil if the map proves that it has none. The value aliases a block; do not change
// it. A block that Blocks does not give is an error that wraps what Blocks said; one that is wrong is a *keys.TrustError.
func (r *Reader) Lookup(ctx context.Context, name string) ([]byte, error) {
	leaf, err := r.walk(ctx, name, nil)
	if err != nil || leaf == nil {
		return nil, err
	}
	return leaf.find(name), nil
}

// Path returns the CIDs of the blocks that a lookup of name reads, root first: what a server sends along.
func (r *Reader) Path(ctx context.Context, name string) ([]cid.Cid, error) {
	var path []cid.Cid
	_, err := r.walk(ctx, name, func(c cid.Cid) { path = append(path, c) })
	return path, err
}

// walk returns the leaf in which name lies if it lies anywhere, or nil where an interior block has no such child.
func (r *Reader) walk(ctx context.Context, name string, visit func(cid.Cid)) (*node, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	h := hashOf(name)
	if r.top == nil {
		if err := checkLink(r.root); err != nil {
			return nil, err
		}
		top, err := r.load(ctx, r.root, &h, 0)
		if err != nil {
			return nil, fmt.Errorf("look up %q: %w", name, err)
		}
		r.top = top
	}
	if visit != nil {
		visit(r.root)
	}
	n := r.top
	for d := 0; n.inner != nil; d++ {
		i := h.nibble(d)
		if !n.has(i) {
			return nil, nil //nolint:nilnil // no leaf and no error is what a proof of absence looks like here
		}
		kid := n.inner.kids[i]
		if kid == nil {
			c := n.link(i)
			var err error
			if kid, err = r.load(ctx, c, &h, d+1); err != nil {
				return nil, fmt.Errorf("look up %q: %w", name, err)
			}
			if kid.inner == nil && n.inner.count == 1 {
				return nil, distrust(linkTo(n.data), n.data, errors.New("it stands above a single leaf"))
			}
			n.inner.kids[i] = kid
		}
		if visit != nil {
			visit(n.link(i))
		}
		n = kid
	}
	return n, nil
}

func (r *Reader) load(ctx context.Context, c cid.Cid, h *hash, d int) (*node, error) {
	data, err := fetch(ctx, r.blocks, c)
	if err != nil {
		return nil, err
	}
	n, err := decode(data, h, d)
	if err != nil {
		return nil, distrust(c, data, err)
	}
	r.count++
	r.bytes += int64(len(data))
	return &n, nil
}
