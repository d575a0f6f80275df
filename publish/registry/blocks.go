//go:build unix

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
)

// blocks are the metadata blocks of a registry: map nodes, pages, indexes and
// ops, each a file named by its CID. It is safe for concurrent use.
type blocks struct {
	dir  string
	disk disk
}

// Get returns the bytes of a block, not verified. The error of a block that is
// not here wraps fs.ErrNotExist.
func (b *blocks) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	return os.ReadFile(filepath.Join(b.dir, c.String()))
}

// place writes the blocks that are not there as files, whole but not durable.
func (b *blocks) place(ctx context.Context, raw []rawBlock) error {
	for _, r := range raw {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(b.dir, r.cid.String())
		if _, err := os.Stat(path); err == nil {
			continue
		}
		if err := b.disk.Place(path, r.data); err != nil {
			return fmt.Errorf("write block %s: %w", r.cid, err)
		}
	}
	return nil
}

// restore is place after a crash: a file that is there may be empty or torn.
func (b *blocks) restore(raw []rawBlock) error {
	for _, r := range raw {
		path := filepath.Join(b.dir, r.cid.String())
		have, err := os.ReadFile(path) //nolint:gosec // named by a CID
		if err == nil && bytes.Equal(have, r.data) {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := b.disk.Place(path, r.data); err != nil {
			return fmt.Errorf("write block %s: %w", r.cid, err)
		}
	}
	return nil
}

// overlay collects the blocks of a commit that is being built, over those that
// exist. It is used by one goroutine.
type overlay struct {
	base *blocks
	raw  []rawBlock
	at   map[cid.Cid]int
}

func newOverlay(base *blocks) *overlay { return &overlay{base: base, at: map[cid.Cid]int{}} }

// Get returns a new block, or an existing one.
func (o *overlay) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if i, ok := o.at[c]; ok {
		return o.raw[i].data, nil
	}
	return o.base.Get(ctx, c)
}

// put adds a block, which the overlay keeps. It returns nil always.
func (o *overlay) put(c cid.Cid, data []byte) error {
	if _, ok := o.at[c]; !ok {
		o.at[c] = len(o.raw)
		o.raw = append(o.raw, rawBlock{c, data})
	}
	return nil
}

// add puts a dag-cbor block and returns its CID.
func (o *overlay) add(data []byte) cid.Cid {
	c := block.Sum(cid.DagCBOR, data)
	_ = o.put(c, data)
	return c
}

// recent keeps the n values used last, by CID. It is safe for concurrent use.
type recent[V any] struct {
	n int

	mu   sync.Mutex
	new  map[cid.Cid]V // used since the last turn
	last map[cid.Cid]V // used in the turn before
}

func newRecent[V any](n int) *recent[V] { return &recent[V]{n: n, new: map[cid.Cid]V{}} }

func (r *recent[V]) get(c cid.Cid) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok := r.new[c]
	if ok {
		return v, true
	}
	if v, ok = r.last[c]; ok {
		r.put(c, v)
	}
	return v, ok
}

func (r *recent[V]) add(c cid.Cid, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.put(c, v)
}

func (r *recent[V]) put(c cid.Cid, v V) {
	if len(r.new) >= r.n {
		r.last, r.new = r.new, make(map[cid.Cid]V, r.n)
	}
	r.new[c] = v
}
