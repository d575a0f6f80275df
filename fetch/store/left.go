package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

const packSuffix = ".pack"

func (s *Store) leftPath(root cid.Cid) string { return s.partialPath(root) + packSuffix }

// Left opens what an interrupted fetch left of the pack of root, all of it or its start, and returns its size in bytes.
// Nothing of it was checked. If there is nothing, that is ErrNotFound.
func (s *Store) Left(root cid.Cid) (io.ReadCloser, int64, error) {
	f, err := os.Open(s.leftPath(root))
	if err != nil {
		return nil, 0, notFound(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// leave keeps the start of a pack that is under tmp.
func (s *Store) leave(path string, root cid.Cid) error {
	if !s.resume {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() == 0 || s.Has(root) {
		return err
	}
	if old, err := os.Stat(s.leftPath(root)); err == nil && old.Size() >= info.Size() {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "parts"), 0o755); err != nil { //nolint:gosec // published content, no secrets
		return err
	}
	return os.Rename(path, s.leftPath(root))
}

// leaveAll keeps the packs of a folder under tmp whose maker is gone. What cannot be kept is fetched again.
func (s *Store) leaveAll(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		name, isPack := strings.CutSuffix(e.Name(), packSuffix)
		_, text, _ := strings.Cut(name, "-")
		if root, err := cid.Decode(text); isPack && err == nil {
			_ = s.leave(filepath.Join(dir, e.Name()), root)
		}
	}
}

// forgetLeft removes what Left opens.
func (s *Store) forgetLeft(root cid.Cid) error {
	if err := os.Remove(s.leftPath(root)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isDisk says whether an error came from a file: then the disk may be full.
func isDisk(err error) bool {
	_, path := errors.AsType[*fs.PathError](err)
	return path
}

// isFault says whether an error is the fault of the bytes.
func isFault(err error) bool {
	_, bad := errors.AsType[*tree.Error](err)
	_, hash := errors.AsType[*tree.HashError](err)
	return bad || hash
}
