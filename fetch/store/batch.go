package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// Batch puts packs into the store. What is put is unpacked and verified at once, but is only there for others after
// Seal: one sync for all of it, instead of one for each file. A Batch is safe for concurrent use; after Seal or Discard
// it is empty and can be used again.
type Batch struct {
	s *Store

	mu      sync.Mutex // guards what follows
	tmp     *tmpDir    // made by the first Put
	next    int
	pending map[cid.Cid]*put
}

// put is one root of a batch.
type put struct {
	base string // tmp/<id>/<n>-<root>: + ".tree", ".pack", ".index"
	sum  tree.Summary
}

// Batch returns an empty batch. Discard or Seal it.
func (s *Store) Batch() *Batch { return &Batch{s: s} }

// Put reads the pack of root, verifies every block and unpacks it into a private place. It reads nothing if the store
// or the batch has root already. Of two that put the same root at once, from different places, the faster one wins and
// the other's is thrown away. A fault of the pack is a [*tree.Error] or [*tree.HashError], and leaves nothing. Of a pack
// that broke off for another reason, what came is left for another time; see [Store.Left].
func (b *Batch) Put(ctx context.Context, root cid.Cid, pack io.Reader) (tree.Summary, error) {
	return b.put(ctx, root, pack, true)
}

// put is Put; of a pack that breaks off nothing is left unless leave is set.
func (b *Batch) put(ctx context.Context, root cid.Cid, pack io.Reader, leave bool) (tree.Summary, error) {
	if b.s.Has(root) {
		if sum, err := b.s.Summary(root); err == nil {
			return sum, nil
		}
	}
	p, base, err := b.find(root)
	if p != nil {
		return p.sum, nil
	}
	if err != nil {
		return tree.Summary{}, fmt.Errorf("unpack %s: %w", root, err)
	}
	sum, err := b.unpack(ctx, base, root, pack)
	if err != nil {
		if leave && sum.PackSize > 0 && !isFault(err) && !isDisk(err) {
			_ = b.s.leave(base+packSuffix, root) // more is to be fetched without
		}
		_ = removeFiles(base) // or the next Open does
		return tree.Summary{}, fmt.Errorf("unpack %s: %w", root, err)
	}
	if !b.keep(root, &put{base, sum}) {
		_ = removeFiles(base) // or Seal and Discard do
	}
	return sum, nil
}

// find returns what the batch has of root, or else a new place to unpack it to.
func (b *Batch) find(root cid.Cid) (p *put, base string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.pending[root]; p != nil {
		return p, "", nil
	}
	if b.tmp == nil {
		if b.tmp, err = b.s.newTmp(); err != nil {
			return nil, "", err
		}
	}
	b.next++
	return nil, filepath.Join(b.tmp.path, strconv.Itoa(b.next)+"-"+root.String()), nil
}

// keep makes p the batch's root, unless it has it.
func (b *Batch) keep(root cid.Cid, p *put) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[root] != nil {
		return false
	}
	if b.pending == nil {
		b.pending = map[cid.Cid]*put{}
	}
	b.pending[root] = p
	return true
}

func (b *Batch) unpack(ctx context.Context, base string, root cid.Cid, pack io.Reader) (sum tree.Summary, err error) {
	if err := os.Mkdir(base+".tree", 0o755); err != nil { //nolint:gosec // published content
		return sum, err
	}
	dst, err := os.OpenRoot(base + ".tree")
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	kept, err := os.OpenFile(base+packSuffix, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // published content
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	w := bufio.NewWriterSize(kept, 64<<10)
	sum, x, err := tree.Unpack(ctx, io.TeeReader(pack, w), root, dst, b.s.limits)
	if err != nil {
		return sum, errors.Join(err, w.Flush())
	}
	if err := w.Flush(); err != nil {
		return sum, err
	}
	return sum, os.WriteFile(base+".index", x.Encode(), 0o644) //nolint:gosec // published content
}

func removeFiles(base string) error {
	return errors.Join(os.RemoveAll(base+".tree"), os.RemoveAll(base+packSuffix), os.RemoveAll(base+".index"))
}

// Seal syncs what was put and moves it into place: when it returns nil, all of it is there and survives a power cut. It
// must not run beside Put. After an error nothing is lost that was there before, and the batch is to be discarded.
func (b *Batch) Seal(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tmp == nil {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := b.seal(); err != nil {
		return fmt.Errorf("seal the store: %w", err)
	}
	return b.discard()
}

func (b *Batch) seal() error {
	if len(b.pending) == 0 {
		return nil
	}
	if err := syncAll(b.tmp.path); err != nil {
		return err
	}
	for root, p := range b.pending {
		if err := os.Rename(p.base+packSuffix, b.s.packPath(root)); err != nil {
			return err
		}
		if err := os.Rename(p.base+".index", b.s.indexPath(root)); err != nil {
			return err
		}
	}
	// Packs and indexes must be on disk before a tree is: a tree that is there is complete.
	if err := errors.Join(syncDir(filepath.Join(b.s.dir, "packs")), syncDir(filepath.Join(b.s.dir, "index"))); err != nil {
		return err
	}
	for root, p := range b.pending {
		// A rename onto a tree fails: another process was faster, with the same bytes.
		if err := os.Rename(p.base+".tree", b.s.treePath(root)); err != nil && !b.s.Has(root) {
			return err
		}
	}
	return syncDir(filepath.Join(b.s.dir, "trees"))
}

// Discard throws away what was put and not sealed. It must not run beside Put.
func (b *Batch) Discard() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.discard()
}

func (b *Batch) discard() error {
	if b.tmp == nil {
		return nil
	}
	err := b.tmp.remove()
	b.tmp, b.pending, b.next = nil, nil, 0
	return err
}
