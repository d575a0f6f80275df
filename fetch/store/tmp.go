package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// tmpDir is a private folder under tmp. Its lock file is locked for as long as the process that made it lives and uses
// it; that is how others tell work from rubbish.
type tmpDir struct {
	path string
	lock *flock.Flock
}

const lockSuffix = ".lock"

func (s *Store) newTmp() (*tmpDir, error) {
	for range 100 {
		path := filepath.Join(s.dir, "tmp", fmt.Sprintf("%d-%s", os.Getpid(), rand.Text()[:10]))
		lock, err := lockNew(path + lockSuffix)
		if err != nil {
			return nil, err
		}
		if lock == nil {
			continue
		}
		if err := os.Mkdir(path, 0o700); err != nil {
			return nil, errors.Join(err, lock.Close(), os.Remove(path+lockSuffix))
		}
		return &tmpDir{path, lock}, nil
	}
	return nil, errors.New("no free name under tmp")
}

// lockNew makes and locks a file. It returns nil if a collector took the file for rubbish before it was locked.
func lockNew(path string) (*flock.Flock, error) {
	lock := flock.New(path)
	ok, err := lock.TryLock()
	if err != nil || !ok {
		return nil, errors.Join(err, lock.Close())
	}
	ours, err := lock.Stat()
	if err == nil {
		var there os.FileInfo
		if there, err = os.Stat(path); err == nil && os.SameFile(ours, there) {
			return lock, nil
		}
	}
	return nil, lock.Close()
}

// remove deletes the folder and then gives up the lock.
func (t *tmpDir) remove() error {
	err := os.RemoveAll(t.path)
	// The lock file goes while it is locked, so that nobody locks a file without a name. Windows only deletes it after.
	if os.Remove(t.path+lockSuffix) != nil {
		defer func() { _ = os.Remove(t.path + lockSuffix) }()
	}
	return errors.Join(err, t.lock.Close())
}

// collect removes the folders under tmp whose makers are gone. Packs are left for another time.
func (s *Store) collect() error {
	dir := filepath.Join(s.dir, "tmp")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, isLock := strings.CutSuffix(e.Name(), lockSuffix)
		path := filepath.Join(dir, name)
		if !isLock {
			// The lock is made before the folder and removed after it.
			if _, err := os.Lstat(path + lockSuffix); errors.Is(err, os.ErrNotExist) {
				s.leaveAll(path)
				if err := os.RemoveAll(path); err != nil {
					return err
				}
			}
			continue
		}
		lock := flock.New(path+lockSuffix, flock.SetFlag(os.O_RDWR))
		ok, err := lock.TryLock()
		if err != nil || !ok {
			_ = lock.Close() // alive, or gone since it was listed
			continue
		}
		s.leaveAll(path)
		if err := (&tmpDir{path, lock}).remove(); err != nil {
			return err
		}
	}
	return nil
}
