package cmd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lockProject makes the commands that change the project in dir take turns. The lock lies in the user's state folder, so
// that a command that fails leaves no trace in the project.
func lockProject(ctx context.Context, homes Homes, dir string) (unlock func(), err error) {
	parent := filepath.Join(homes.State, "projects")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("lock project: %w", err)
	}
	return lockFile(ctx, filepath.Join(parent, hashName(dir)+".lock"))
}

// lockFile waits for an exclusive lock on the file at path, which it makes.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	const retry = 20 * time.Millisecond
	f := flock.New(path, flock.SetPermissions(0o600))
	if ok, err := f.TryLockContext(ctx, retry); err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	} else if !ok {
		return nil, fmt.Errorf("lock %s: held by another process", path)
	}
	return func() { _ = f.Close() }, nil
}

// hashName is a file name for any text.
func hashName(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:16])
}

// writeFile replaces the file at path whole.
func writeFile(path string, data []byte, perm fs.FileMode) error {
	st, err := stage(path, data, perm)
	if err != nil {
		return err
	}
	return st.commit()
}

// staged is new content of a file that lies beside it, complete and synced, until it takes its place.
type staged struct{ path, temp string }

// stage writes data beside path. A crash before commit leaves the file as it was, and the temporary file.
func stage(path string, data []byte, perm fs.FileMode) (staged, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil { // with a temporary name, which says nothing
		return staged{}, fmt.Errorf("write %s: %w", path, &fs.PathError{Op: "make a file in", Path: filepath.Dir(path), Err: reason(err)})
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(perm), f.Sync(), f.Close())
	if err != nil {
		_ = os.Remove(f.Name())
		return staged{}, fmt.Errorf("write %s: %w", path, err)
	}
	return staged{path: path, temp: f.Name()}, nil
}

// commit puts the content into its place. A crash leaves the old file or the new one.
func (s staged) commit() error {
	if s.temp == "" {
		return nil
	}
	if err := os.Rename(s.temp, s.path); err != nil {
		_ = os.Remove(s.temp)
		return fmt.Errorf("write %s: %w", s.path, err)
	}
	return syncDir(filepath.Dir(s.path))
}

// discard forgets the content. After commit it does nothing.
func (s staged) discard() {
	if s.temp != "" {
		_ = os.Remove(s.temp)
	}
}
