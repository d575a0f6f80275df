// Package file replaces files so that a crash leaves the old one or the new.
package file

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Replace puts data at path with the given mode. Once it has returned nil the
// file survives a crash; a crash before leaves the old file, or none, and
// perhaps a temporary one beside it that nobody reads.
func Replace(path string, data []byte, perm fs.FileMode) error {
	tmp, err := Temp(path, data, perm, true)
	if err != nil {
		return err
	}
	// Without the sync of the directory ext4 and xfs may lose the rename.
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return SyncDir(filepath.Dir(path))
}

// Place is Replace without durability: after a crash the file may be missing,
// empty or torn. A reader never sees it torn before one.
func Place(path string, data []byte, perm fs.FileMode) error {
	tmp, err := Temp(path, data, perm, false)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// Temp writes data to a new file beside path and returns its path.
func Temp(path string, data []byte, perm fs.FileMode, sync bool) (tmp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".tmp")
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := f.Chmod(perm); err != nil {
		return "", err
	}
	if _, err := f.Write(data); err != nil {
		return "", err
	}
	if sync {
		if err := f.Sync(); err != nil {
			return "", err
		}
	}
	return f.Name(), nil
}
