//go:build !windows

package keys

import (
	"errors"
	"os"
)

// private reports whether others have none of the rights in mask.
func private(info os.FileInfo, mask os.FileMode) bool { return info.Mode().Perm()&mask == 0 }

// syncDir makes names in a directory durable: without it ext4 and xfs may lose a rename.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // G304: the key directory is the user's to choose
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
