//go:build unix

package registry

import (
	"errors"
	"io/fs"
	"os"

	"pkg/publish/internal/file"
)

// osDisk is the real disk.
type osDisk struct{}

func (osDisk) Replace(path string, data []byte, perm fs.FileMode) error {
	return file.Replace(path, data, perm)
}

func (osDisk) Place(path string, data []byte) error { return file.Place(path, data, 0o644) }

func (osDisk) Extend(path string, at int64, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600) //nolint:gosec // the journal
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(at); err != nil {
		return err
	}
	if _, err := f.WriteAt(data, at); err != nil {
		return err
	}
	return f.Sync()
}

func (osDisk) Sync(dir string) error { return syncTree(dir) }
