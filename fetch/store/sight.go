package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
)

// youngFor is how long a folder's time is not trusted to tell two changes apart: the coarsest file system counts in
// steps of two seconds.
const youngFor = 3 * time.Second

// sight is what a finder knows at one time. It does not change.
type sight struct {
	trees []*holding // nil: removed
	runs  [][]spot   // each sorted, each at least twice as long as the next
}

// holding is a tree that is, or was, in the store.
type holding struct {
	root   cid.Cid
	blocks int
	gone   atomic.Bool
}

// spot says that a block whose digest starts with prefix is in a tree, and its place in the tree's index.
type spot struct {
	prefix   uint64
	tree, at uint32
}

// add appends a run and merges runs that are too short.
func (s *sight) add(run []spot) {
	if len(run) > 0 {
		s.runs = append(s.runs, run)
	}
	for k := len(s.runs); k > 1 && 2*len(s.runs[k-1]) > len(s.runs[k-2]); k-- {
		s.runs = append(s.runs[:k-2:k-2], s.merge(s.runs[k-2], s.runs[k-1]))
	}
}

// tidy throws out what belongs to removed trees once it is more than half. It says whether trees have new places.
func (s *sight) tidy() bool {
	live, spots := 0, 0
	for _, h := range s.trees {
		if h != nil {
			live += h.blocks
		}
	}
	for _, run := range s.runs {
		spots += len(run)
	}
	if spots <= 2*live {
		return false
	}
	var all []spot
	for _, run := range s.runs {
		all = s.merge(all, run)
	}
	places := make([]uint32, len(s.trees))
	var trees []*holding
	for i, h := range s.trees {
		if h != nil {
			places[i] = uint32(len(trees)) //nolint:gosec // G115: a place in a list of folders
			trees = append(trees, h)
		}
	}
	for i := range all {
		all[i].tree = places[all[i].tree]
	}
	s.trees, s.runs = trees, nil
	s.add(all)
	return true
}

// merge returns what a and b hold of trees that are there.
func (s *sight) merge(a, b []spot) []spot {
	live := func(r []spot) (n int) {
		for i := range r {
			if s.trees[r[i].tree] != nil {
				n++
			}
		}
		return n
	}
	out := make([]spot, 0, live(a)+live(b))
	for len(a)+len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].prefix < a[0].prefix {
			from = &b
		}
		if one := (*from)[0]; s.trees[one.tree] != nil {
			out = append(out, one)
		}
		*from = (*from)[1:]
	}
	return out
}

// list compares the trees of the store with those known. What it read before ctx ended is kept.
func (f *Finder) list(ctx context.Context) error {
	info, err := os.Stat(filepath.Join(f.s.dir, "trees"))
	if err != nil {
		return err
	}
	seen := f.seen.Load()
	if seen != nil && f.Only == nil && !f.partial && info.ModTime().Equal(f.stamp) {
		return nil
	}
	f.stamp = info.ModTime()
	f.partial = f.now().Sub(f.stamp) < youngFor // another tree may come within the same tick
	roots, err := f.s.Roots()
	if err != nil {
		f.partial = true
		return err
	}
	if seen == nil {
		seen = &sight{}
	}
	trees := slices.Clone(seen.trees)
	fresh, lost := f.sort(roots, trees)
	run, err := f.read(ctx, fresh, &trees)
	if len(run) > 0 || lost || f.seen.Load() == nil && err == nil {
		next := &sight{trees: trees, runs: slices.Clone(seen.runs)}
		next.add(run)
		if next.tidy() {
			clear(f.known)
			for i, h := range next.trees {
				f.known[h.root] = uint32(i) //nolint:gosec // G115: a place in a list of folders
			}
		}
		f.seen.Store(next)
	}
	return err
}

// sort tells which of roots are not known, and takes out of trees and known what is not among roots.
func (f *Finder) sort(roots []cid.Cid, trees []*holding) (fresh []cid.Cid, lost bool) {
	here := make([]bool, len(trees))
	for _, root := range roots {
		if !f.shares(root) {
			continue
		}
		if n, ok := f.known[root]; ok && !trees[n].gone.Load() {
			here[n] = true
		} else {
			fresh = append(fresh, root)
		}
	}
	for n, h := range trees {
		if h != nil && !here[n] {
			delete(f.known, h.root)
			f.recent.drop(h.root)
			trees[n], lost = nil, true
		}
	}
	return fresh, lost
}

// read reads the indexes of roots, appends them to trees and returns their blocks, sorted.
func (f *Finder) read(ctx context.Context, roots []cid.Cid, trees *[]*holding) ([]spot, error) {
	var run []spot
	for _, root := range roots {
		if ctx.Err() != nil {
			f.partial = true
			break
		}
		x, err := f.s.index(root)
		if err != nil {
			f.partial = true // removed meanwhile, or to be tried again
			continue
		}
		n := uint32(len(*trees)) //nolint:gosec // G115: a place in a list of folders
		*trees = append(*trees, &holding{root: root, blocks: len(x.Blocks)})
		f.known[root] = n
		for i := range x.Blocks {
			digest, _ := block.Digest(x.Blocks[i].CID())
			run = append(run, spot{binary.BigEndian.Uint64(digest[:]), n, uint32(i)}) //nolint:gosec // G115: an index fits memory
		}
	}
	slices.SortFunc(run, func(a, b spot) int { return cmp.Compare(a.prefix, b.prefix) })
	return append(make([]spot, 0, len(run)), run...), ctx.Err()
}
