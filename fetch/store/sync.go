package store

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is how often a held lock is tried again.
const lockPoll = 20 * time.Millisecond

// lockFunc is a way to lock, shared or exclusively.
type lockFunc func(l *flock.Flock, ctx context.Context, retry time.Duration) (bool, error)

// syncDir makes the names in a folder durable. Windows has no such thing and needs none.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir) //nolint:gosec // a folder we made
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
