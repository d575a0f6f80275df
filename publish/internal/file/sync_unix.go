//go:build unix

package file

import (
	"errors"
	"os"
)

// SyncDir makes the entries of a directory durable.
func SyncDir(dir string) (err error) {
	f, err := os.Open(dir) //nolint:gosec // the caller chooses the directory
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
