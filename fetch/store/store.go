// Package store keeps trees, packs and blocks by CID on disk, for many processes at once.
//
//	trees/<root>/   the files of a root, read-only: there and complete, or not there
//	packs/<root>    the same DAG as it is served: see package tree
//	index/<root>    where each block lies: see tree.Index
//	parts/<root>    leaves of a tree whose fetch was interrupted, or goes on; <root>.pack the start of its pack
//	kin             which roots came under which names
//	projects/<id>   which project was linked to which roots
//	tmp/<id>/       what a process is unpacking, with tmp/<id>.lock held while it lives
//	lock            held shared by who links, exclusively by who removes
//
// Everything is made under tmp and moved into place by rename, after it was synced: the pack and the index first, the
// tree last, so that a tree that is there has both. Whatever a crash or a kill leaves is under tmp, and the next Open
// removes it, but for packs: what came of them is fetched no more. There is no daemon and no database. The store holds no secrets and believes nothing: each block is
// checked against its CID on its way in, and again whenever it is served.
package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// ErrNotFound says that the store does not hold what was asked for.
var ErrNotFound = errors.New("not in the store")

// Options are the settings of a store. The zero value is good.
type Options struct {
	Limits tree.Limits // of what is put; zero means tree.Default()
	Resume bool        // keep what came of packs that broke off, as for who fetches: see [Store.Left]
}

// Store is one store directory. It is safe for concurrent use, by goroutines and by processes.
type Store struct {
	dir    string
	limits tree.Limits
	resume bool
	recent recent // of which parts are served
}

// Open opens the store at dir, makes what is missing and removes what dead processes left in tmp.
func Open(dir string, o Options) (*Store, error) {
	if o.Limits == (tree.Limits{}) {
		o.Limits = tree.Default()
	}
	s := &Store{dir: dir, limits: o.Limits, resume: o.Resume, recent: recent{left: recentBytes}}
	for _, sub := range []string{"trees", "packs", "index", "projects", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil { //nolint:gosec // published content, no secrets
			return nil, fmt.Errorf("open the store: %w", err)
		}
	}
	if err := s.collect(); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	return s, nil
}

// Dir returns the store's directory.
func (s *Store) Dir() string { return s.dir }

func (s *Store) treePath(root cid.Cid) string { return filepath.Join(s.dir, "trees", root.String()) }

func (s *Store) packPath(root cid.Cid) string { return filepath.Join(s.dir, "packs", root.String()) }

func (s *Store) indexPath(root cid.Cid) string { return filepath.Join(s.dir, "index", root.String()) }

// Has says whether the tree of root is here, complete.
func (s *Store) Has(root cid.Cid) bool {
	if !root.Defined() {
		return false
	}
	_, err := os.Lstat(s.treePath(root))
	return err == nil
}

// Tree returns the folder with the files of root, which nobody may change.
func (s *Store) Tree(root cid.Cid) (path string, ok bool) {
	return s.treePath(root), s.Has(root)
}

// OpenPack opens the pack of root and returns its size in bytes; the caller closes it. A root that is not here is
// ErrNotFound.
func (s *Store) OpenPack(root cid.Cid) (*os.File, int64, error) {
	if !root.Defined() {
		return nil, 0, ErrNotFound
	}
	f, err := os.Open(s.packPath(root))
	if err != nil {
		return nil, 0, notFound(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

func (s *Store) index(root cid.Cid) (*tree.Index, error) {
	if !root.Defined() {
		return nil, ErrNotFound
	}
	b, err := os.ReadFile(s.indexPath(root))
	if err != nil {
		return nil, notFound(err)
	}
	x, err := tree.DecodeIndex(b)
	if err != nil {
		return nil, fmt.Errorf("read the index of %s: %w", root, err)
	}
	return x, nil
}

// Summary says what the tree of root holds, from its index.
func (s *Store) Summary(root cid.Cid) (tree.Summary, error) {
	x, err := s.index(root)
	if err != nil {
		return tree.Summary{}, err
	}
	info, err := os.Stat(s.packPath(root))
	if err != nil {
		return tree.Summary{}, notFound(err)
	}
	sum := tree.Summary{Root: root, Files: len(x.Files), Blocks: len(x.Blocks), PackSize: info.Size()}
	for _, f := range x.Files {
		sum.Size += f.Size
	}
	return sum, nil
}

// Block returns the block c of the tree of root, checked. A block that is not here is ErrNotFound; one whose file was
// changed is a [*tree.HashError].
func (s *Store) Block(ctx context.Context, root, c cid.Cid) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.Defined() && c.Prefix().MhLength == 0 {
		return []byte{}, nil // the empty file carries its content in its CID
	}
	x, err := s.index(root)
	if err != nil {
		return nil, err
	}
	b, ok := x.Find(c)
	if !ok {
		return nil, ErrNotFound
	}
	data, err := s.read(root, x, b)
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", c, err)
	}
	return data, nil
}

// read returns a block from where the index says it lies.
func (s *Store) read(root cid.Cid, x *tree.Index, b *tree.IndexBlock) ([]byte, error) {
	want, data, path := b.CID(), b.Node, ""
	if data == nil {
		path = x.Files[b.File].Path
		f, err := os.OpenInRoot(s.treePath(root), filepath.FromSlash(path))
		if err != nil {
			return nil, notFound(err)
		}
		data = make([]byte, b.Size)
		n, err := f.ReadAt(data, b.Offset)
		if err := errors.Join(err, f.Close()); n < len(data) {
			return nil, err
		}
	}
	got, err := want.Prefix().Sum(data)
	if err != nil {
		return nil, err
	}
	if !got.Equals(want) {
		return nil, &tree.HashError{Want: want, Got: got, Path: path}
	}
	return data, nil
}

// Stats says how much a store holds.
type Stats struct {
	Trees     int   // roots
	Files     int   // in all trees
	TreeBytes int64 // sum of their sizes
	PackBytes int64
	Projects  int // recorded
}

// Stats counts what is here.
func (s *Store) Stats() (Stats, error) {
	var st Stats
	roots, err := s.Roots()
	if err != nil {
		return st, err
	}
	for _, root := range roots {
		sum, err := s.Summary(root)
		if errors.Is(err, ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return st, err
		}
		st.Trees++
		st.Files += sum.Files
		st.TreeBytes += sum.Size
		st.PackBytes += sum.PackSize
	}
	projects, err := s.Recorded()
	st.Projects = len(projects)
	return st, err
}

// Roots lists the trees that are here, in no order that means anything.
func (s *Store) Roots() ([]cid.Cid, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "trees"))
	if err != nil {
		return nil, err
	}
	roots := make([]cid.Cid, 0, len(entries))
	for _, e := range entries {
		if c, err := cid.Decode(e.Name()); err == nil && c.String() == e.Name() {
			roots = append(roots, c)
		}
	}
	return roots, nil
}

// projectID names the record of a project.
func projectID(dir string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(dir)))[:32]
}
