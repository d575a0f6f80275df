package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

// defaultEvery is how often misses may make a Finder look at the store.
const defaultEvery = time.Second

// Finder finds blocks by CID alone, in whichever tree of a store holds them. It reads the indexes of the store when it
// is first asked, and keeps 16 bytes for each block of each tree. Trees that were added are noticed by a miss, but at
// most once in Every does a miss look at the disk; trees that were removed are noticed at once. A tree whose index
// cannot be read counts as absent. The fields are to be set before first use; then it is safe for concurrent use.
type Finder struct {
	// Only, if set, says which roots are shared: what no shared tree holds is ErrNotFound. It must be fast and safe for
	// concurrent use. A false counts at once, a true from the next look at the disk on.
	Only func(root cid.Cid) bool
	// Now is the clock; nil means the computer's.
	Now func() time.Time
	// Every is the least time between two looks at the disk; 0 means a second.
	Every time.Duration

	s      *Store
	seen   atomic.Pointer[sight]
	next   atomic.Int64 // in Unix ns: a miss before that does not look
	recent recent

	turn    chan struct{}      // holds a token while the store is looked at; it guards what follows
	known   map[cid.Cid]uint32 // the place of each tree in the latest sight
	stamp   time.Time          // the time of trees/ when it was last listed
	partial bool               // the listing was not read to its end, or not to be trusted
}

// NewFinder returns a finder of the blocks of s. It reads nothing yet.
func NewFinder(s *Store) *Finder {
	return &Finder{s: s, turn: make(chan struct{}, 1), known: map[cid.Cid]uint32{}, recent: recent{left: recentBytes}}
}

func systemNow() time.Time { return time.Now() } //nolint:forbidigo // other processes change the store in real time

func (f *Finder) now() time.Time {
	if f.Now == nil {
		return systemNow()
	}
	return f.Now()
}

// Block returns the block c, checked; the caller may keep it but not change it. A block that is not here is
// ErrNotFound; one that is only in files that were changed is a [*tree.HashError].
func (f *Finder) Block(ctx context.Context, c cid.Cid) (data []byte, err error) {
	if c == block.Empty() {
		return []byte{}, nil
	}
	err = f.find(ctx, c, func(root cid.Cid, x *tree.Index, b *tree.IndexBlock) (err error) {
		data, err = f.s.read(root, x, b)
		return err
	})
	return data, err
}

// Size returns the bytes of the block c without reading it, so without checking it.
func (f *Finder) Size(ctx context.Context, c cid.Cid) (size int64, err error) {
	if c == block.Empty() {
		return 0, nil
	}
	err = f.find(ctx, c, func(_ cid.Cid, _ *tree.Index, b *tree.IndexBlock) error {
		size = int64(b.Size)
		return nil
	})
	return size, err
}

// Has says whether the block c is here, without reading it.
func (f *Finder) Has(ctx context.Context, c cid.Cid) (bool, error) {
	_, err := f.Size(ctx, c)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// OpenPack is Store.OpenPack for roots that are shared.
func (f *Finder) OpenPack(root cid.Cid) (*os.File, int64, error) {
	if !f.shares(root) || !f.s.Has(root) {
		return nil, 0, ErrNotFound
	}
	return f.s.OpenPack(root)
}

func (f *Finder) shares(root cid.Cid) bool { return f.Only == nil || f.Only(root) }

// find calls use with one place after the other where c should be, until one does not fail.
func (f *Finder) find(ctx context.Context, c cid.Cid, use useFunc) error {
	if c.Version() == 0 && c.Defined() {
		c = cid.NewCidV1(cid.DagProtobuf, c.Hash())
	}
	digest, ok := block.Digest(c)
	if !ok {
		return ErrNotFound
	}
	prefix := binary.BigEndian.Uint64(digest[:])
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		seen := f.seen.Load()
		err := ErrNotFound
		if seen != nil {
			err = f.in(seen, prefix, c, use)
		}
		if err == nil {
			return nil
		}
		again, lerr := f.look(ctx, seen)
		if lerr != nil {
			return fmt.Errorf("look for block %s: %w", c, lerr)
		}
		if !again && errors.Is(err, ErrNotFound) {
			return ErrNotFound
		}
		if !again {
			return fmt.Errorf("read block %s: %w", c, err)
		}
	}
}

// useFunc does something with a block that lies in the tree of root.
type useFunc func(root cid.Cid, x *tree.Index, b *tree.IndexBlock) error

// in tries all places that are in sight.
func (f *Finder) in(seen *sight, prefix uint64, c cid.Cid, use useFunc) error {
	fault := ErrNotFound
	for _, run := range seen.runs {
		i, _ := slices.BinarySearchFunc(run, prefix, func(s spot, p uint64) int { return cmp.Compare(s.prefix, p) })
		for ; i < len(run) && run[i].prefix == prefix; i++ {
			h := seen.trees[run[i].tree]
			if h == nil || h.gone.Load() || !f.shares(h.root) {
				continue
			}
			x, err := f.recent.index(f.s, h.root)
			if !f.s.Has(h.root) {
				h.gone.Store(true)
				f.recent.drop(h.root)
				continue
			}
			if err == nil {
				if int(run[i].at) >= len(x.Blocks) || !x.Blocks[run[i].at].CID().Equals(c) {
					continue // another block with the same prefix
				}
				err = use(h.root, x, &x.Blocks[run[i].at])
			}
			if err == nil {
				return nil
			}
			if !errors.Is(err, ErrNotFound) {
				fault = err // another tree may hold it whole
			}
		}
	}
	return fault
}

// look looks at the store, if it is time to, and says whether what is in sight now differs from seen.
func (f *Finder) look(ctx context.Context, seen *sight) (again bool, err error) {
	if seen != nil && f.now().UnixNano() < f.next.Load() {
		return f.seen.Load() != seen, nil
	}
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if f.seen.Load() != seen || seen != nil && f.now().UnixNano() < f.next.Load() {
		return f.seen.Load() != seen, nil // another was faster
	}
	if err := f.list(ctx); err != nil {
		return false, err
	}
	every := f.Every
	if every == 0 {
		every = defaultEvery
	}
	f.next.Store(f.now().Add(every).UnixNano())
	return f.seen.Load() != seen, nil
}
