// Package registry is the server of a namespace: it validates submissions,
// sequences them into commits of a signed log, keeps the map of names and
// serves everything a reader needs as static files. The embedded registry is
// the same code behind a file lock, in process.
package registry

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"
)

// LocalOrigin is the origin of every embedded registry.
const LocalOrigin = "local"

// ErrLocked says that another process writes to this registry.
var ErrLocked = errors.New("another process has this registry open for writing")

// ErrUnsupported says that this system can read registries but not write one.
var ErrUnsupported = errors.New("writing a registry needs a unix system")

// InitOptions are the settings of a new registry. The zero value is useful.
type InitOptions struct {
	Passphrase []byte           // encrypts the log and root keys; nil leaves them plain
	Now        func() time.Time // the clock; nil is the system's
	Logger     *slog.Logger     // nil is silent
}

// DefaultInterval is how often a busy registry that serves many publishes a checkpoint. A commit of 64 packages makes some 140
// files, which takes 10 to 90 ms depending on the file system: with this interval 64 publishers at once are all recorded in
// each, with half of it they are not.
const DefaultInterval = 200 * time.Millisecond

// Config are the settings of an open registry. The zero value is useful.
type Config struct {
	Passphrase []byte           // opens the log key if it is encrypted
	Now        func() time.Time // the clock; nil is the system's
	Logger     *slog.Logger     // nil is silent
	// CheckpointInterval is the shortest time between two checkpoints; 0 is
	// 100 ms, the least the log allows. Submissions that arrive in between
	// are recorded together.
	CheckpointInterval time.Duration
	// IdleInterval is the time after which an idle registry records an empty
	// commit, which keeps its head fresh; 0 is 12 hours, negative is never.
	IdleInterval time.Duration
	// ClaimsPerHour limits the names one author key, and one address, may
	// claim in an hour; 0 is 1000, negative is unlimited. Loopback and
	// in-process submissions are never limited.
	ClaimsPerHour int
	// Wait makes Open wait for another writer to finish instead of
	// returning ErrLocked.
	Wait bool

	hooks hooks // for tests: faults
}

// hooks let a test stand between the registry and its disk and log.
type hooks struct {
	disk disk
	wrap func(sequence) sequence
	// limit is that of the journal; 0 is journalLimit.
	limit int64
	// conns is how many connections are served at a time; 0 is maxConns.
	conns int
}

// Receipt is a registry's answer to a submission.
type Receipt struct {
	Size   uint64 `json:"size"`   // entries in the log of the last package named
	Commit uint64 `json:"commit"` // commit that recorded the last entry
}

// Public returns the directory of a registry's static files: what
// catalog.Dir, a web server or a mirror reads.
func Public(dir string) string { return filepath.Join(dir, "public") }

// Content returns the directory of a registry's packs, a fetch store.
func Content(dir string) string { return filepath.Join(dir, "store") }

// Signed returns the path of the signer's record, which lies beside the
// directory so that a restored backup of it cannot sign a fork.
func Signed(dir string) string { return filepath.Clean(dir) + ".signed" }

// Status is what a registry says of itself.
type Status struct {
	ID     string `json:"id"`
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`  // commits in the namespace log
	Names  int    `json:"names"` // packages and scopes with a record
	Time   int64  `json:"time"`  // unix seconds of the last commit
	Map    string `json:"map"`   // root of the map
}

// disk is every write of the registry outside the log's and the store's own.
// Tests replace it to fail the n-th operation, before or after it took place.
type disk interface {
	// Replace puts data at path so that after a crash the file is either
	// the old or the new one, and the new one once Replace has returned.
	Replace(path string, data []byte, perm fs.FileMode) error
	// Place puts data at path in one step, but not durably: after a crash
	// the file may be missing or empty. The journal covers for that.
	Place(path string, data []byte) error
	// Extend writes data at offset at of path, drops what lay beyond, and
	// makes it durable. After a crash any part of data may be there.
	Extend(path string, at int64, data []byte) error
	// Sync makes every file under dir durable.
	Sync(dir string) error
}

// sequence is all the registry asks of the log's writer. It is called by one
// goroutine, with one leaf in flight.
type sequence interface {
	// Append makes leaf the n-th leaf of the log, durably. It is idempotent:
	// if the log already ends in this very leaf at n, nothing happens. After
	// an error the leaf may or may not be there; calling it again finds out.
	Append(ctx context.Context, n uint64, leaf []byte) error
	// Checkpoint returns the signed checkpoint of the first size leaves,
	// once it is published.
	Checkpoint(ctx context.Context, size uint64) ([]byte, error)
}

// systemNow is the one place where the system's clock is read: for sockets, and
// for settings without a clock.
func systemNow() time.Time { return time.Now() } //nolint:forbidigo // see above
