package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copyTree makes to, a folder that is not there yet, hold the files of from.
func copyTree(ctx context.Context, from, to string, how Mode) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.Mkdir(dst, 0o755) //nolint:gosec // published content in the user's project
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is not a regular file", path)
		case how == Hard:
			if err := os.Link(path, dst); err != nil {
				return fmt.Errorf("%w (hard links need the store on the same file system: use symlink or copy)", err)
			}
			return nil
		}
		return copyFile(path, dst, how)
	})
}

// copyFile copies one file, writable as the store's is not, and executable as it is there.
func copyFile(from, to string, how Mode) (err error) {
	src, err := os.Open(from) //nolint:gosec // a path of a walk
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	perm := os.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		perm = 0o755
	}
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm) //nolint:gosec // a path of our own
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if how == Reflink && reflink(dst, src) {
		return nil
	}
	_, err = io.Copy(dst, src)
	return err
}
