//go:build unix && !linux

package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// syncTree makes every file and directory under dir durable, one by one.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || (!d.IsDir() && !d.Type().IsRegular()) {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
