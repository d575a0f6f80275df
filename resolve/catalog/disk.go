package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"pkg/keys"
	"pkg/keys/namespace"
)

// Disk keeps state in a folder: it is the Memory of every registry of one user,
// and its Heads are what was seen of them. It is safe for concurrent use by many processes. No cache command
// may delete the folder: it remembers whom we trusted and how far.
//
//	registries/<id>/seen.json   trust roots, newest head, time ratchet (fsynced, under a lock)
//	pins/<hash of url>          the id that was pinned for a URL
//	names/<id>/_<name>.json     record and author log of a name, as proved
//	proved/<hash>               one empty file for every lock row proved, and every lock whose rows fit together
//	evidence/<hash>/            the two sides of a contradiction
type Disk struct {
	dir string
}

// NewDisk returns the state in dir, which is made when first written to.
func NewDisk(dir string) *Disk { return &Disk{dir} }

var (
	_ Memory          = (*Disk)(nil)
	_ namespace.Heads = diskHeads{}
)

// Load implements Memory.
func (d *Disk) Load(path string) ([]byte, error) {
	p, err := d.path(path)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(p) //nolint:gosec // path checked by d.path
}

// Save implements Memory. What is saved survives a kill, but may be lost, whole,
// when the machine stops; it can be proved again. Pins are flushed.
func (d *Disk) Save(path string, data []byte) error {
	p, err := d.path(path)
	if err != nil {
		return err
	}
	return write(p, data, filepath.Base(filepath.Dir(p)) == "pins")
}

// List implements Memory.
func (d *Disk) List(dir string) ([]string, error) {
	p, err := d.path(dir)
	if err != nil {
		return nil, err
	}
	es, err := os.ReadDir(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, 0, len(es))
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names, err
}

func (d *Disk) path(path string) (string, error) {
	if !fs.ValidPath(path) || !filepath.IsLocal(filepath.FromSlash(path)) {
		return "", fmt.Errorf("state: %q is not a path in it", path)
	}
	return filepath.Join(d.dir, filepath.FromSlash(path)), nil
}

// Heads returns what was seen of registries.
func (d *Disk) Heads() namespace.Heads { return diskHeads{d} }

type diskHeads struct{ d *Disk }

// Load implements namespace.Heads.
func (h diskHeads) Load(_ context.Context, id string) (namespace.Seen, error) {
	p, err := h.d.path("registries/" + id + "/seen.json")
	if err != nil {
		return namespace.Seen{}, err
	}
	return readSeen(p)
}

func readSeen(path string) (namespace.Seen, error) {
	var seen namespace.Seen
	b, err := os.ReadFile(path) //nolint:gosec // path checked by Disk.path
	if errors.Is(err, fs.ErrNotExist) {
		return seen, nil
	}
	if err != nil {
		return seen, fmt.Errorf("read what was seen: %w", err)
	}
	if err := json.Unmarshal(b, &seen); err != nil {
		return namespace.Seen{}, fmt.Errorf("read %s: %w", path, err)
	}
	return seen, nil
}

// Swap implements namespace.Heads: under a lock, flushed to the disk before it
// returns.
func (h diskHeads) Swap(ctx context.Context, id string, old, new namespace.Seen) (err error) {
	p, err := h.d.path("registries/" + id + "/seen.json")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
		return fmt.Errorf("keep what was seen: %w", err)
	}
	l := flock.New(filepath.Join(filepath.Dir(p), "lock"))
	if _, err := l.TryLockContext(ctx, 5*time.Millisecond); err != nil {
		return fmt.Errorf("lock %s: %w", l.Path(), err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	now, err := readSeen(p)
	if err != nil {
		return err
	}
	if !now.Equal(old) {
		return namespace.ErrChanged
	}
	b, err := json.Marshal(new)
	if err != nil {
		return err
	}
	return write(p, b, true)
}

// Evidence keeps the two sides of a contradiction as files in a folder of their
// own, and returns the folder. Telling the same twice keeps it once.
func (d *Disk) Evidence(e *keys.TrustError) (string, error) {
	var all strings.Builder
	all.WriteString(e.Error())
	for _, x := range e.Evidence {
		fmt.Fprintf(&all, "\n%s %d\n%s", x.Name, len(x.Data), x.Data)
	}
	h := sha256.Sum256([]byte(all.String()))
	dir := filepath.Join(d.dir, "evidence", hex.EncodeToString(h[:8]))
	taken := map[string]bool{"README": true}
	for i, x := range e.Evidence {
		name := filepath.Base(filepath.FromSlash(x.Name))
		if !filepath.IsLocal(name) || name == "." {
			name = "evidence"
		}
		if taken[name] { // as the tiles of two levels
			name = fmt.Sprintf("%d-%s", i, name)
		}
		taken[name] = true
		if err := write(filepath.Join(dir, name), x.Data, true); err != nil {
			return "", err
		}
	}
	if err := write(filepath.Join(dir, "README"), []byte(e.Error()+"\n"), true); err != nil {
		return "", err
	}
	return dir, nil
}

// write replaces a file as a whole. A crash leaves the old file or the new one,
// and perhaps a temporary one beside it; without sync a crash of the machine may
// leave an empty one.
func write(path string, data []byte, sync bool) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".tmp-*")
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("keep state: %w", err)
		}
		f, err = os.CreateTemp(dir, ".tmp-*")
	}
	if err != nil {
		return fmt.Errorf("keep state: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("keep state: %w", err), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	if sync && runtime.GOOS != "windows" { // Windows cannot sync a folder
		return syncDir(dir)
	}
	return nil
}

func syncDir(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // a folder we just wrote to
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
