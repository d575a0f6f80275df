//go:build unix

package registry

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api/layout"
	"github.com/transparency-dev/tessera/storage/posix"
	"k8s.io/klog/v2"
)

// minInterval is the least time between two checkpoints that Tessera allows.
const minInterval = 100 * time.Millisecond

// publishWait is how long a checkpoint may take before the commit is reported
// as not confirmed. The next attempt takes it up where it was.
const publishWait = 30 * time.Second

// closePause is usually enough for Tessera's goroutines to end.
const closePause = 10 * time.Millisecond

// posixLog is the Tessera log in a directory of static files.
type posixLog struct {
	dir      string
	interval time.Duration
	guard    *guard
	add      tessera.AddFn
	reader   tessera.LogReader
	stop     context.CancelFunc
}

// klog's settings belong to the whole process and must be made before the
// first log starts its goroutines.
//
//nolint:gochecknoglobals // guards state that is itself global, in klog
var quietOnce sync.Once

// quiet keeps klog, which Tessera writes to, off the terminal: what goes wrong
// is found by waiting for the checkpoint and returned as an error.
func quiet() {
	quietOnce.Do(func() {
		klog.LogToStderr(false)
		klog.SetOutput(io.Discard)
		f := flag.NewFlagSet("klog", flag.ContinueOnError)
		klog.InitFlags(f)
		_ = f.Set("stderrthreshold", "FATAL") // the flag and the value exist
	})
}

// openLog opens or creates the log in dir. The guard is its signer. The log runs
// until Close, whatever becomes of ctx.
func openLog(ctx context.Context, dir string, g *guard, interval time.Duration) (*posixLog, error) {
	quiet()
	if err := touchPast(filepath.Join(dir, layout.CheckpointPath)); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &posixLog{dir: dir, interval: interval, guard: g, stop: cancel}
	g.leaf = func(size uint64) ([]byte, error) { return l.Leaf(ctx, size-1) }
	driver, err := posix.New(ctx, posix.Config{Path: dir, HTTPClient: &http.Client{Timeout: publishWait}})
	if err != nil {
		cancel()
		return nil, err
	}
	opts := tessera.NewAppendOptions().
		WithCheckpointSigner(g).
		WithBatching(1, time.Millisecond).
		WithCheckpointInterval(interval).
		WithCheckpointRepublishInterval(0).
		WithGarbageCollectionInterval(0)
	appender, _, reader, err := tessera.NewAppender(ctx, driver, opts)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("open the log: %w", err)
	}
	l.add, l.reader = appender.Add, reader
	return l, nil
}

// touchPast moves a modification time that lies ahead of the clock to the
// past: Tessera publishes nothing until the last checkpoint is old enough.
func touchPast(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if time.Until(info.ModTime()) > 0 {
		return os.Chtimes(path, time.Unix(0, 0), time.Unix(0, 0))
	}
	return nil
}

// Size returns the number of leaves integrated, signed or not.
func (l *posixLog) Size(ctx context.Context) (uint64, error) {
	return l.reader.IntegratedSize(ctx)
}

// Append implements sequence.
func (l *posixLog) Append(ctx context.Context, n uint64, leaf []byte) error {
	size, err := l.Size(ctx)
	if err != nil {
		return fmt.Errorf("read the log's size: %w", err)
	}
	switch size {
	case n:
		// The future is waited for whatever happens to ctx: an entry
		// that was added must not be integrated behind our back.
		i, err := l.add(context.WithoutCancel(ctx), tessera.NewEntry(leaf))()
		if err != nil {
			return fmt.Errorf("append leaf %d: %w", n, err)
		}
		if i.Index != n {
			return fmt.Errorf("the log put leaf %d at %d", n, i.Index)
		}
		return nil
	case n + 1:
		have, err := l.Leaf(ctx, n)
		if err != nil {
			return fmt.Errorf("read leaf %d: %w", n, err)
		}
		if !bytes.Equal(have, leaf) {
			return fmt.Errorf("the log holds another leaf at %d", n)
		}
		return nil
	}
	return fmt.Errorf("the log has %d leaves, leaf %d cannot follow", size, n)
}

// Checkpoint implements sequence.
func (l *posixLog) Checkpoint(ctx context.Context, size uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	l.guard.forget()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for {
		text, err := l.reader.ReadCheckpoint(ctx)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if t, err := parseBody(noteBody(text)); err == nil && t.size >= size {
			if t.size > size {
				return nil, fmt.Errorf("the log published size %d, expected %d", t.size, size)
			}
			return text, nil
		}
		select {
		case <-l.guard.signed:
			if err := l.guard.failure(); err != nil {
				return nil, err
			}
		case <-look.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("checkpoint of size %d: %w", size, ctx.Err()), l.guard.failure())
		}
	}
}

// Ready returns how long to wait until a new leaf would be published at once.
func (l *posixLog) Ready() time.Duration {
	info, err := os.Stat(filepath.Join(l.dir, layout.CheckpointPath))
	if err != nil {
		return 0
	}
	return max(0, min(l.interval, time.Until(info.ModTime().Add(l.interval))))
}

// Leaf returns leaf n, which must be integrated.
func (l *posixLog) Leaf(ctx context.Context, n uint64) ([]byte, error) {
	const width = layout.EntryBundleWidth
	size, err := l.Size(ctx)
	if err != nil {
		return nil, err
	}
	if n >= size {
		return nil, fmt.Errorf("leaf %d of a log of %d", n, size)
	}
	bundle, err := l.reader.ReadEntryBundle(ctx, n/width, layout.PartialTileSize(0, n/width, size))
	if err != nil {
		return nil, err
	}
	return bundleEntry(bundle, int(n%width)) //nolint:gosec // below width
}

// ReadTile reads a file of the log by its path below the directory.
func (l *posixLog) ReadTile(_ context.Context, path string) ([]byte, error) {
	return os.ReadFile(filepath.Join(l.dir, filepath.FromSlash(path)))
}

// Close stops the log. Nothing is signed afterwards.
//
// BUG(registry): Tessera's goroutines end soon after, but nothing tells when. One
// that was about to look at the checkpoint may still touch its lock file, which
// does no harm except to somebody who removes the directory at that moment.
func (l *posixLog) Close() {
	l.guard.close()
	l.stop()
	time.Sleep(closePause)
}

// bundleEntry returns the i-th entry of an entry bundle (C2SP tlog-tiles: each
// entry behind its 16-bit big-endian length).
func bundleEntry(b []byte, i int) ([]byte, error) {
	for ; ; i-- {
		if len(b) < 2 || len(b)-2 < int(binary.BigEndian.Uint16(b)) {
			return nil, io.ErrUnexpectedEOF
		}
		n := int(binary.BigEndian.Uint16(b))
		if i == 0 {
			return b[2 : 2+n], nil
		}
		b = b[2+n:]
	}
}
