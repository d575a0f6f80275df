package store

import (
	"bytes"
	"context"
	"io"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// maxPart is how many bytes of leaves are served as one part.
const maxPart = 1 << 20

// Parts serves a tree in parts, for who has others of them. It is for one goroutine.
type Parts struct {
	s      *Store
	root   cid.Cid
	x      *tree.Index
	leaves []*tree.IndexBlock
}

// Parts returns the parts of the tree of root. One that is not here is ErrNotFound.
func (s *Store) Parts(root cid.Cid) (*Parts, error) {
	if !s.Has(root) {
		return nil, ErrNotFound
	}
	x, err := s.recent.index(s, root)
	if err != nil {
		return nil, err
	}
	return &Parts{s, root, x, x.Leaves()}, nil
}

// NodesSize is about how many bytes Nodes returns, at most.
func (p *Parts) NodesSize() int64 {
	size := int64(0)
	for i := range p.x.Blocks {
		size += int64(len(p.x.Blocks[i].Node))
	}
	return size
}

// LeavesSize is the same of Leaves, false for what Leaves does not return.
func (p *Parts) LeavesSize(from, to int) (size int64, ok bool) {
	if from < 0 || from >= to || to > len(p.leaves) {
		return 0, false
	}
	for _, l := range p.leaves[from:to] {
		if size += int64(l.Size); size > maxPart {
			return 0, false
		}
	}
	return size, true
}

// Nodes returns the pack of all nodes, as [tree.ReadNodes] reads it.
func (p *Parts) Nodes() ([]byte, error) {
	var b bytes.Buffer
	err := p.x.WriteNodes(&b)
	return b.Bytes(), err
}

// Leaves returns the pack of the leaves from up to, but not including, to, as [tree.Outline.ReadLeaves] reads it. What the
// tree does not have, or would be too much at a time, is ErrNotFound.
func (p *Parts) Leaves(ctx context.Context, from, to int) ([]byte, error) {
	if _, ok := p.LeavesSize(from, to); !ok {
		return nil, ErrNotFound
	}
	var b bytes.Buffer
	err := tree.WriteLeaves(&b, p.leaves[from:to], func(l *tree.IndexBlock) ([]byte, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return p.s.read(p.root, p.x, l)
	})
	return b.Bytes(), err
}

// Salvage calls use for each leaf of o that the tree of root holds too, checked. What cannot be read is left out; an error
// is one of use or of ctx.
func (s *Store) Salvage(ctx context.Context, root cid.Cid, o *tree.Outline, use func(i int, block []byte) error) error {
	p, err := s.Parts(root)
	if err != nil {
		return ctx.Err() // it is gone or damaged, and helps nobody
	}
	at := make(map[cid.Cid]*tree.IndexBlock, len(p.leaves))
	for _, l := range p.leaves {
		at[l.CID()] = l
	}
	for i := range o.Leaves() {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := at[o.Leaf(i)]
		if l == nil {
			continue
		}
		data, err := s.read(root, p.x, l)
		if err != nil {
			continue
		}
		if err := use(i, data); err != nil {
			return err
		}
	}
	return nil
}

// Assemble puts a tree whose leaves come one by one: leaf is called for each, in order, and may wait.
func (b *Batch) Assemble(ctx context.Context, o *tree.Outline, leaf func(ctx context.Context, i int, buf []byte) ([]byte, error)) (tree.Summary, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.CloseWithError(o.Pack(ctx, w, leaf)) // never fails
	}()
	sum, err := b.put(ctx, o.Root, r, false)
	cancel()
	_ = r.Close() // never fails
	<-done
	return sum, err
}
