package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// Partial is a tree of which some leaves are here: those that came before its fetch was interrupted, or that are coming
// now. They lie in one file, end to end, each checked on its way in and again when the file is opened. It is safe for
// concurrent use.
type Partial struct {
	o    *tree.Outline
	path string
	file *os.File
	lock *flock.Flock // nil for one under tmp, that nobody else can find
	tmp  *tmpDir

	mu    sync.Mutex // guards what follows
	have  []bool
	grown chan struct{} // closed when have grows
	err   error         // why no more will come
}

func (s *Store) partialPath(root cid.Cid) string {
	return filepath.Join(s.dir, "parts", root.String())
}

// Interrupted says whether a fetch of root was interrupted that left something.
func (s *Store) Interrupted(root cid.Cid) bool {
	_, err := os.Lstat(s.partialPath(root))
	_, lerr := os.Lstat(s.leftPath(root))
	return err == nil || lerr == nil
}

// Partial opens what is here of a tree, or makes a place for it. Of several at once, also in other processes, one gets
// what is kept, the others start with nothing. Keep or Remove it.
func (s *Store) Partial(o *tree.Outline) (*Partial, error) {
	p, err := s.partial(o)
	if err != nil {
		return nil, fmt.Errorf("open parts of %s: %w", o.Root, err)
	}
	return p, nil
}

func (s *Store) partial(o *tree.Outline) (*Partial, error) {
	dir := filepath.Join(s.dir, "parts")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // published content, no secrets
		return nil, err
	}
	p := &Partial{o: o, path: s.partialPath(o.Root), have: make([]bool, o.Leaves()), grown: make(chan struct{})}
	lock, err := lockNew(p.path + lockSuffix)
	if err != nil {
		return nil, err
	}
	if lock == nil { // another process is at it
		return p, p.alone(s)
	}
	p.lock = lock
	p.file, err = os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o644) //nolint:gosec // published content
	if err == nil {
		err = p.look()
	}
	if err != nil {
		if p.file != nil {
			err = errors.Join(err, p.file.Close())
		}
		return nil, errors.Join(err, p.unlock())
	}
	return p, nil
}

// alone makes a place that nobody else can find.
func (p *Partial) alone(s *Store) (err error) {
	if p.tmp, err = s.newTmp(); err != nil {
		return err
	}
	if p.file, err = os.Create(filepath.Join(p.tmp.path, "part")); err != nil {
		return errors.Join(err, p.tmp.remove())
	}
	return nil
}

// look finds out which leaves are here.
func (p *Partial) look() error {
	info, err := p.file.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, tree.ChunkSize)
	for i := range p.have {
		at, size := p.o.Span(i)
		if at+int64(size) > info.Size() {
			continue
		}
		if _, err := p.file.ReadAt(buf[:size], at); err != nil {
			return err
		}
		p.have[i] = p.o.Matches(i, buf[:size])
	}
	return nil
}

// Has says whether leaf i is here.
func (p *Partial) Has(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have[i]
}

// Put keeps leaf i, whose bytes were checked.
func (p *Partial) Put(i int, block []byte) error {
	at, _ := p.o.Span(i)
	if _, err := p.file.WriteAt(block, at); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have[i] = true
	close(p.grown)
	p.grown = make(chan struct{})
	return nil
}

// Leaf returns leaf i, in buf if it fits, once it is here.
func (p *Partial) Leaf(ctx context.Context, i int, buf []byte) ([]byte, error) {
	for {
		p.mu.Lock()
		have, grown, err := p.have[i], p.grown, p.err
		p.mu.Unlock()
		if have {
			break
		}
		if err != nil {
			return nil, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	at, size := p.o.Span(i)
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	_, err := p.file.ReadAt(buf[:size], at)
	return buf[:size], err
}

// End says that no more will come. Who waits for a leaf gets err.
func (p *Partial) End(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		close(p.grown)
		p.grown = make(chan struct{})
	}
}

// Keep closes p and leaves what is here for another time.
func (p *Partial) Keep() error {
	err := p.file.Close()
	if p.tmp != nil {
		return errors.Join(err, p.tmp.remove())
	}
	return errors.Join(err, p.unlock())
}

// Remove closes p and deletes what is here.
func (p *Partial) Remove() error {
	err := p.file.Close()
	if p.tmp != nil {
		return errors.Join(err, p.tmp.remove())
	}
	return errors.Join(err, os.Remove(p.path), p.unlock())
}

// unlock gives up the lock, and its file while it is locked, so that nobody locks a file without a name.
func (p *Partial) unlock() error {
	if os.Remove(p.path+lockSuffix) != nil { // Windows only deletes it after
		defer func() { _ = os.Remove(p.path + lockSuffix) }()
	}
	return p.lock.Close()
}

// pruneParts removes what interrupted fetches left.
func (s *Store) pruneParts() (freed int64, err error) {
	dir := filepath.Join(s.dir, "parts")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if filepath.Ext(path) == lockSuffix {
			continue
		}
		size := int64(0)
		if info, err := e.Info(); err == nil {
			size = info.Size()
		}
		removed, err := forget(path)
		if err != nil {
			return freed, err
		}
		if removed {
			freed += size
		}
	}
	return freed, nil
}

// Forget removes what an interrupted fetch of root left, unless it is in use.
func (s *Store) Forget(root cid.Cid) error {
	if !s.Interrupted(root) {
		return nil
	}
	_, err := forget(s.partialPath(root))
	return errors.Join(err, s.forgetLeft(root))
}

func forget(path string) (removed bool, err error) {
	lock, err := lockNew(path + lockSuffix)
	if err != nil || lock == nil {
		return false, err
	}
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err, (&Partial{path: path, lock: lock}).unlock())
	return err == nil, err
}
