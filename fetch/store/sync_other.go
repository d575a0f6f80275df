//go:build !linux

package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// syncAll makes everything under dir durable, file by file where no sync of a file system can be had.
func syncAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return syncDir(path)
		}
		return syncFile(path, d)
	})
}

func syncFile(path string, d fs.DirEntry) error {
	if runtime.GOOS != "windows" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	}
	// Windows only flushes what is open for writing, and a read-only file cannot be.
	info, err := d.Info()
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), os.Chmod(path, info.Mode()))
}
