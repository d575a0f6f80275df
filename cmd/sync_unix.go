//go:build unix

package cmd

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// syncDir makes a rename in dir survive a crash. File systems that cannot are left to their own promises.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // G304: the folder of a file just written
	if err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
