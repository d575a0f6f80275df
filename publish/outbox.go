package publish

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"pkg/lockfile/name"
	"pkg/publish/internal/file"
)

// outbox holds the signed entries of one package that are not known to be
// recorded, one file for each registry. While it is open no other process
// publishes the package.
type outbox struct {
	dir  string
	base string
	path string
	lock *flock.Flock
}

// openOutbox locks the outbox of n in dir, waiting for another process.
func openOutbox(ctx context.Context, dir string, n name.Name) (*outbox, error) {
	if dir == "" {
		return nil, errors.New("no outbox to save signed entries in")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	base := strings.ReplaceAll(string(n), "/", "~")
	b := &outbox{dir: dir, base: base, lock: flock.New(filepath.Join(dir, base+".lock"))}
	if _, err := b.lock.TryLockContext(ctx, 20*time.Millisecond); err != nil {
		return nil, fmt.Errorf("outbox: wait for another publication of %s: %w", n, err)
	}
	return b, nil
}

// choose sets the registry.
func (b *outbox) choose(id string) { b.path = filepath.Join(b.dir, b.base+"."+id) }

// save keeps entries durably.
func (b *outbox) save(entries [][]byte) error {
	var buf bytes.Buffer
	if err := WriteSubmission(&buf, Submission{Entries: entries}); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	if err := file.Replace(b.path, buf.Bytes(), 0o600); err != nil {
		return fmt.Errorf("save the signed entries: %w", err)
	}
	return nil
}

// load returns what was saved, nil if nothing was.
func (b *outbox) load() ([][]byte, error) {
	raw, err := os.ReadFile(b.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: %w", err)
	}
	entries, err := NewSubmissionReader(bytes.NewReader(raw)).Entries()
	if err != nil {
		return nil, fmt.Errorf("outbox %s: %w", b.path, err)
	}
	return entries, nil
}

func (b *outbox) remove() error {
	if err := os.Remove(b.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

func (b *outbox) close() error { return b.lock.Unlock() }
