package store

import (
	"container/list"
	"sync"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// recentBytes bounds the decoded indexes that a Finder keeps. The largest index of a tree within the default limits
// takes a quarter of it.
const recentBytes = 32 << 20

// recent keeps the indexes that were used last.
type recent struct {
	mu   sync.Mutex // guards what follows
	left int        // bytes free; negative while a single index is larger than all room
	byID map[cid.Cid]*list.Element
	used list.List // of *decoded, the latest first
}

type decoded struct {
	root cid.Cid
	x    *tree.Index
	cost int
}

func (r *recent) index(s *Store, root cid.Cid) (*tree.Index, error) {
	r.mu.Lock()
	if e := r.byID[root]; e != nil {
		r.used.MoveToFront(e)
		r.mu.Unlock()
		return e.Value.(*decoded).x, nil
	}
	r.mu.Unlock()
	x, err := s.index(root)
	if err != nil {
		return nil, err
	}
	d := &decoded{root, x, 128*len(x.Blocks) + 64*len(x.Files)}
	for i := range x.Blocks {
		d.cost += len(x.Blocks[i].Node)
	}
	for i := range x.Files {
		d.cost += 2 * len(x.Files[i].Path) // once in the bytes that nodes alias
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = map[cid.Cid]*list.Element{}
	}
	if r.byID[root] == nil {
		r.byID[root] = r.used.PushFront(d)
		r.left -= d.cost
	}
	for r.left < 0 && r.used.Len() > 1 {
		r.remove(r.used.Back())
	}
	return x, nil
}

func (r *recent) drop(root cid.Cid) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.byID[root]; e != nil {
		r.remove(e)
	}
}

// remove forgets e. It is called with mu held.
func (r *recent) remove(e *list.Element) {
	d := r.used.Remove(e).(*decoded)
	delete(r.byID, d.root)
	r.left += d.cost
}
