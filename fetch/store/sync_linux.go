package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncAll makes everything under dir durable, with one sync of its file system.
func syncAll(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // a folder we made
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
