//go:build unix

package registry

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	ours "pkg/keys/tlog"
	"pkg/keys/vmap"
	"pkg/lockfile/name"
	"pkg/publish"
)

const testOrigin = "registry.test"

// clock is a clock that stands still unless it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Unix(1_700_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// newParent makes a directory for registries.
func newParent(tb testing.TB) string {
	tb.Helper()
	parent, err := os.MkdirTemp("", "registry") //nolint:usetesting // removed below, more than once if need be
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		// See the BUG of posixLog.Close.
		for range 100 {
			if err = os.RemoveAll(parent); err == nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		tb.Error(err)
	})
	return parent
}

// newDir makes a registry and returns its directory.
func newDir(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(newParent(tb), "reg")
	if _, err := Init(tb.Context(), dir, testOrigin, InitOptions{Now: newClock().now}); err != nil {
		tb.Fatalf("Init: %v", err)
	}
	return dir
}

// open opens the registry in dir and closes it at the end of the test.
func open(tb testing.TB, dir string, cfg Config) *Server {
	tb.Helper()
	if cfg.Now == nil {
		cfg.Now = newClock().now
	}
	s, err := Open(tb.Context(), dir, cfg)
	if err != nil {
		tb.Fatalf("Open: %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close: %v", err)
		}
	})
	return s
}

// seeded returns the n-th test key.
func seeded(n int) keys.Key {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], uint64(n))
	return keys.FromSeed(seed)
}

// writer makes entries of one author log.
type writer struct {
	key   keys.Key
	state *author.State
}

func newWriter(key keys.Key) *writer { return &writer{key, &author.State{}} }

func (w *writer) sign(tb testing.TB, b author.Body, more ...keys.Key) []byte {
	tb.Helper()
	b.T = 1_700_000_000
	if b.Kind != author.KindGenesis {
		b.Pkg, b.I, b.Prev = w.state.ID, w.state.Size, w.state.LogRoot()
	}
	e, err := author.Sign(b, append(more, w.key)...)
	if err != nil {
		tb.Fatalf("sign %s: %v", b.Kind, err)
	}
	if err := w.state.Apply(e, author.Recorded{T: b.T}); err != nil {
		tb.Fatalf("apply %s: %v", b.Kind, err)
	}
	return e.Raw
}

func (w *writer) genesis(tb testing.TB, n string, more ...keys.Key) []byte {
	tb.Helper()
	return w.sign(tb, author.Body{Kind: author.KindGenesis, Genesis: &author.Genesis{
		Origin: testOrigin, Name: n, Root: author.RootSet{Keys: [][32]byte{w.key.Public()}, Threshold: 1},
	}}, more...)
}

// note makes an entry that needs no content, of about size bytes.
func (w *writer) note(tb testing.TB, size int) []byte {
	tb.Helper()
	return w.sign(tb, author.Body{Kind: author.KindDeprecate, Deprecate: &author.Deprecate{
		Versions: "*", Message: strings.Repeat("m", max(1, size-250)),
	}})
}

func sub(entries ...[]byte) publish.Submission { return publish.Submission{Entries: entries} }

// submit fails the test unless the entries are recorded.
func submit(tb testing.TB, s *Server, entries ...[]byte) Receipt {
	tb.Helper()
	r, err := s.Submit(tb.Context(), sub(entries...))
	if err != nil {
		tb.Fatalf("Submit: %v", err)
	}
	return r
}

// refused fails the test unless the entries are refused with status, and
// returns the refusal.
func refused(tb testing.TB, s *Server, status int, entries ...[]byte) publish.RefusedError {
	tb.Helper()
	_, err := s.Submit(tb.Context(), sub(entries...))
	var r *publish.RefusedError
	if !errors.As(err, &r) || r.Status != status {
		tb.Fatalf("Submit: got %v, want a refusal with status %d", err, status)
	}
	return *r
}

// check reads everything the registry shows as a client does, and returns the
// state of the names.
func check(tb testing.TB, dir string, names ...string) map[string]*author.State {
	tb.Helper()
	s := newServer(dir, Config{})
	if err := s.load(); err != nil {
		tb.Fatalf("load: %v", err)
	}
	s.now.Store(headOf(tb, dir))
	ctx := tb.Context()
	got := map[string]*author.State{}
	r := vmap.NewReader(s.blocks, s.now.Load().head.Commit.M)
	for _, n := range names {
		p, err := s.pkg(ctx, r, name.Name(n))
		if err != nil {
			tb.Fatalf("read %s: %v", n, err)
		}
		got[n] = p.state
	}
	return got
}

// headOf reads and verifies the published head.
func headOf(tb testing.TB, dir string) *view {
	tb.Helper()
	s := newServer(dir, Config{})
	if err := s.load(); err != nil {
		tb.Fatalf("load: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(s.public, "head"))
	if err != nil {
		tb.Fatal(err)
	}
	head, err := namespace.OpenHead(raw, s.trust)
	if err != nil {
		tb.Fatalf("open head: %v", err)
	}
	return &view{raw: raw, head: head}
}

// continues fails the test unless v is proved to continue old.
func (v *view) continues(tb testing.TB, s *Server, old *view) {
	tb.Helper()
	cp := v.head.Checkpoint
	proof, err := ours.ProveConsistency(tb.Context(), s.log, cp.Size, cp.Root, old.head.Checkpoint.Size)
	if err != nil {
		tb.Fatalf("prove consistency: %v", err)
	}
	if err := v.head.Follows(old.head, proof); err != nil {
		tb.Errorf("the head does not continue an earlier one: %v", err)
	}
}

// faultDisk fails the n-th operation, before or after it took place.
type faultDisk struct {
	disk
	f *faults
}

// faults counts operations. It is safe for concurrent use.
type faults struct {
	mu   sync.Mutex
	n    int  // the operation to fail, counted from 1; 0 is none
	done bool // fail after the operation took place, not before
	hit  bool
	dead bool // fail everything
	ops  []string
}

var errFault = errors.New("injected fault")

func (f *faults) arm(n int, done bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.done, f.hit, f.ops = n, done, false, nil
}

// stop fails nothing any more and says what there was.
func (f *faults) stop() (hit bool, ops []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n = 0
	return f.hit, f.ops
}

// crash fails everything from now on.
func (f *faults) crash() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead = true
}

func (f *faults) do(what string, op func() error) error {
	f.mu.Lock()
	f.ops = append(f.ops, what)
	fail := f.n > 0 && len(f.ops) == f.n
	f.hit = f.hit || fail
	done, dead := f.done, f.dead
	f.mu.Unlock()
	if fail && !done || dead {
		return errFault
	}
	if err := op(); err != nil {
		return err
	}
	if fail {
		return errFault
	}
	return nil
}

func (d faultDisk) Replace(path string, data []byte, perm fs.FileMode) error {
	return d.f.do("replace "+filepath.Base(path), func() error { return d.disk.Replace(path, data, perm) })
}

func (d faultDisk) Place(path string, data []byte) error {
	return d.f.do("place", func() error { return d.disk.Place(path, data) })
}

func (d faultDisk) Extend(path string, at int64, data []byte) error {
	return d.f.do("extend", func() error { return d.disk.Extend(path, at, data) })
}

func (d faultDisk) Sync(dir string) error {
	return d.f.do("sync", func() error { return d.disk.Sync(dir) })
}

// faultLog fails the log's operations.
type faultLog struct {
	sequence
	f *faults
}

func (l faultLog) Append(ctx context.Context, n uint64, leaf []byte) error {
	return l.f.do("append", func() error { return l.sequence.Append(ctx, n, leaf) })
}

func (l faultLog) Checkpoint(ctx context.Context, size uint64) (text []byte, err error) {
	err = l.f.do("checkpoint", func() error {
		text, err = l.sequence.Checkpoint(ctx, size)
		return err
	})
	return text, err
}

func (f *faults) hooks() hooks {
	return hooks{limit: 2000, disk: faultDisk{osDisk{}, f}, wrap: func(s sequence) sequence { return faultLog{s, f} }}
}
