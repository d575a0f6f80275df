package vmap

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Walk verifies the whole map at root and calls each with every entry, in the order of SHA-256 of their names. Unlike a
// lookup it sees all of a subtree, and so checks that no interior block stands where one leaf would do. The value aliases
// a block. An error of each ends the walk and is returned.
func Walk(ctx context.Context, blocks Blocks, root cid.Cid, each func(name string, value []byte) error) error {
	if err := checkLink(root); err != nil {
		return err
	}
	w := walker{blocks: blocks, each: each}
	_, err := w.walk(ctx, root, 0)
	return err
}

type walker struct {
	blocks Blocks
	each   func(name string, value []byte) error
	path   hash
}

// walk returns the number of entries under c. It goes no deeper than MaxDepth, which decode holds.
func (w *walker) walk(ctx context.Context, c cid.Cid, d int) (count int, err error) {
	data, err := fetch(ctx, w.blocks, c)
	if err != nil {
		return 0, err
	}
	n, err := decode(data, &w.path, d)
	if err != nil {
		return 0, distrust(c, data, err)
	}
	if n.inner == nil {
		items := n.items()
		for _, it := range items {
			if err := w.each(it.name, it.value); err != nil {
				return 0, fmt.Errorf("map entry %q: %w", it.name, err)
			}
		}
		return len(items), nil
	}
	for i := range width {
		if !n.has(i) {
			continue
		}
		w.path.set(d, i)
		sub, err := w.walk(ctx, n.link(i), d+1)
		if err != nil {
			return 0, err
		}
		count += sub
	}
	if count <= Bucket {
		return 0, distrust(c, data, errors.New("its entries fit one leaf"))
	}
	return count, nil
}
