package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gofrs/flock"
	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// Use keeps everything in the store from being removed until release is called. It waits for a removal to end. Who links
// to trees records them and looks whether they are there while it holds this.
func (s *Store) Use(ctx context.Context) (release func() error, err error) {
	return s.lock(ctx, (*flock.Flock).TryRLockContext)
}

func (s *Store) lock(ctx context.Context, how lockFunc) (func() error, error) {
	l := flock.New(filepath.Join(s.dir, "lock"))
	if _, err := how(l, ctx, lockPoll); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the store: %w", err), l.Close())
	}
	return l.Close, nil
}

// Project is a project that was linked to trees of the store.
type Project struct {
	Dir   string // absolute
	Roots []cid.Cid
}

// record is a Project as it is written.
type record struct {
	Project string   `json:"project"`
	Roots   []string `json:"roots"`
}

// Record remembers that the project at the absolute path dir is linked to roots, and to no others. Without roots it is
// forgotten.
func (s *Store) Record(dir string, roots []cid.Cid) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("record project %q: not an absolute path", dir)
	}
	path := filepath.Join(s.dir, "projects", projectID(dir))
	if len(roots) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("record project %s: %w", dir, err)
		}
		return nil
	}
	r := record{Project: dir}
	for _, root := range roots {
		r.Roots = append(r.Roots, root.String())
	}
	slices.Sort(r.Roots)
	r.Roots = slices.Compact(r.Roots)
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == string(b) { //nolint:gosec // a name we made
		return nil
	}
	if err := writeFile(path, b); err != nil {
		return fmt.Errorf("record project %s: %w", dir, err)
	}
	return nil
}

// writeFile replaces the file at path, durably: a crash leaves the old one or the new one.
func writeFile(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// Recorded lists the projects that were recorded, whether or not they still exist.
func (s *Store) Recorded() ([]Project, error) {
	dir := filepath.Join(s.dir, "projects")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var projects []Project
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // being written
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name())) //nolint:gosec // a name of our folder
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p, err := parseRecord(b)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, e.Name()), err)
		}
		projects = append(projects, p)
	}
	return projects, nil
}

func parseRecord(b []byte) (Project, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return Project{}, err
	}
	p := Project{Dir: r.Project}
	for _, s := range r.Roots {
		c, err := cid.Decode(s)
		if err != nil {
			return Project{}, err
		}
		p.Roots = append(p.Roots, c)
	}
	return p, nil
}

// Remove deletes the tree, the pack and the index of root, whoever may use them. That it is not here is no error.
func (s *Store) Remove(root cid.Cid) error {
	release, err := s.lock(context.Background(), (*flock.Flock).TryLockContext)
	if err != nil {
		return err
	}
	return errors.Join(s.remove(root), release())
}

// remove moves the tree out of sight whole before it deletes it: readers see all of a tree or nothing.
func (s *Store) remove(root cid.Cid) error {
	tmp, err := s.newTmp()
	if err != nil {
		return err
	}
	err = os.Rename(s.treePath(root), filepath.Join(tmp.path, "tree"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = errors.Join(os.RemoveAll(s.packPath(root)), os.RemoveAll(s.indexPath(root)))
	}
	if err := errors.Join(err, tmp.remove()); err != nil {
		return fmt.Errorf("remove %s: %w", root, err)
	}
	return nil
}

// Prune removes every root that keep refuses and that no recorded project is linked to, and returns the bytes of trees
// and packs freed and the number of roots removed. What interrupted fetches left goes too. Records of projects whose folders are gone are dropped first. keep
// may be nil.
func (s *Store) Prune(ctx context.Context, keep func(cid.Cid) bool) (freed int64, n int, err error) {
	release, err := s.lock(ctx, (*flock.Flock).TryLockContext)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	linked, err := s.linked()
	if err != nil {
		return 0, 0, fmt.Errorf("prune the store: %w", err)
	}
	roots, err := s.Roots()
	if err != nil {
		return 0, 0, fmt.Errorf("prune the store: %w", err)
	}
	for _, root := range roots {
		if err := ctx.Err(); err != nil {
			return freed, n, err
		}
		if linked[root] || keep != nil && keep(root) {
			continue
		}
		if sum, err := s.Summary(root); err == nil {
			freed += sum.Size + sum.PackSize
		}
		if err := s.remove(root); err != nil {
			return freed, n, err
		}
		n++
	}
	parts, err := s.pruneParts()
	return freed + parts, n, errors.Join(err, s.pruneKin())
}

// linked collects the roots of the projects that still exist, and forgets the others.
func (s *Store) linked() (map[cid.Cid]bool, error) {
	projects, err := s.Recorded()
	if err != nil {
		return nil, err
	}
	linked := map[cid.Cid]bool{}
	for _, p := range projects {
		if _, err := os.Stat(p.Dir); errors.Is(err, fs.ErrNotExist) {
			if err := s.Record(p.Dir, nil); err != nil {
				return nil, err
			}
			continue
		}
		for _, root := range p.Roots {
			linked[root] = true
		}
	}
	return linked, nil
}

// DamageError says how a tree of the store differs from what was put there.
type DamageError struct {
	Root cid.Cid
	Path string
	Why  string
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s in %s %s", e.Path, e.Root, e.Why) }

// Verify reads the whole tree of root and computes its root anew. What was changed since it was put is a [*DamageError]
// or, where content differs, a [*tree.HashError], naming the file. A root that is not here is ErrNotFound.
func (s *Store) Verify(ctx context.Context, root cid.Cid) error {
	if !s.Has(root) {
		return ErrNotFound
	}
	files, err := tree.Scan(s.treePath(root), nil, nil)
	if err != nil {
		return fmt.Errorf("verify %s: %w", root, err)
	}
	x, err := s.index(root)
	if err != nil {
		return fmt.Errorf("verify %s: %w", root, err)
	}
	if err := compare(root, files, x); err != nil {
		return err
	}
	sum, err := tree.Root(ctx, files, s.limits)
	if err != nil {
		return fmt.Errorf("verify %s: %w", root, err)
	}
	if sum.Root.Equals(root) {
		return nil
	}
	for i := range x.Blocks { // which one was it
		if _, err := s.read(root, x, &x.Blocks[i]); err != nil {
			return fmt.Errorf("verify %s: %w", root, err)
		}
	}
	return fmt.Errorf("verify %s: %w", root, &tree.HashError{Want: root, Got: sum.Root})
}

// compare holds the files found, which are sorted as the index is, to the index.
func compare(root cid.Cid, files []tree.File, x *tree.Index) error {
	for i := range max(len(files), len(x.Files)) {
		switch {
		case i == len(files):
			return &DamageError{root, x.Files[i].Path, "is missing"}
		case i == len(x.Files):
			return &DamageError{root, files[i].Path, "was added"}
		}
		f, want := &files[i], x.Files[i]
		if runtime.GOOS == "windows" {
			f.Exec = want.Exec // the file system does not know
		}
		switch {
		case f.Path != want.Path && slices.ContainsFunc(x.Files, func(w tree.IndexFile) bool { return w.Path == f.Path }):
			return &DamageError{root, want.Path, "is missing"}
		case f.Path != want.Path:
			return &DamageError{root, f.Path, "was added"}
		case f.Size != want.Size:
			return &DamageError{root, f.Path, fmt.Sprintf("has %d bytes, not %d", f.Size, want.Size)}
		case f.Exec != want.Exec:
			return &DamageError{root, f.Path, "has another mode"}
		}
	}
	return nil
}
