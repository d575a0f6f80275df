package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/keys/vmap"
	"pkg/lockfile"
	"pkg/lockfile/block"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// Config says how one registry is read.
type Config struct {
	Name    string           // the project's word for the registry, as in pkg.toml; the lock uses it too
	ID      string           // CID text of trust root 0; empty = what Memory has pinned for URL, else pinned at first sight
	URL     string           // where it is, for messages and as the key of the pin
	Local   bool             // an embedded registry: never stale, marked local in a lock
	Offline bool             // never ask Source
	Source  Source           // where bytes come from; may be nil if Offline
	Heads   namespace.Heads  // what was seen of each registry
	Memory  Memory           // what was proved before
	Now     func() time.Time // the clock
	// Evidence keeps the two sides of a contradiction and says where. Nil keeps nothing.
	Evidence func(e *keys.TrustError) (path string, err error)
}

// Memory keeps bytes by slash-separated name between runs. It must be safe for
// concurrent use, by several processes too; a Save is seen whole or not at all.
type Memory interface {
	Load(path string) ([]byte, error) // wraps fs.ErrNotExist if there is none
	Save(path string, data []byte) error
	List(dir string) ([]string, error) // names right under dir; none if there is no such dir
}

// A Registry is one registry, read and proved. It is safe for concurrent use;
// one call works at a time.
type Registry struct {
	cfg Config

	mu     sync.Mutex // guards all below, also while the source is asked
	id     string     // empty until known
	pinned bool
	failed error // a trust failure of the registry itself: nothing is asked after it

	trust  namespace.Trust
	head   *namespace.Head // of this run; nil before Refresh
	fresh  namespace.Freshness
	reader *vmap.Reader // of the map of head

	blocks   blocks
	noLookup bool
	names    map[name.Name]*entry
	lies     map[name.Name]error // trust failures of single names

	constraints constraints
}

// Open returns the registry of cfg. It reads what Memory has pinned, and asks
// the source for nothing.
func Open(cfg Config) (*Registry, error) {
	if cfg.Heads == nil || cfg.Memory == nil || cfg.Now == nil || cfg.Source == nil && !cfg.Offline {
		return nil, errors.New("open registry: heads, memory, clock and source must be given")
	}
	r := &Registry{
		cfg: cfg, id: cfg.ID,
		names: make(map[name.Name]*entry),
		lies:  make(map[name.Name]error),

		constraints: make(constraints),
	}
	r.blocks = newBlocks(cfg.Source)
	if r.id == "" {
		if b, err := cfg.Memory.Load(r.pinPath()); err == nil {
			r.id = strings.TrimSpace(string(b))
		}
	}
	if r.id != "" {
		if _, err := block.Parse(r.id); err != nil {
			return nil, fmt.Errorf("registry %s: its id: %w", r.label(), err)
		}
	}
	return r, nil
}

func (r *Registry) pinPath() string {
	h := sha256.Sum256([]byte(strings.TrimRight(r.cfg.URL, "/")))
	return "pins/" + hex.EncodeToString(h[:])
}

// label is the registry's name in messages.
func (r *Registry) label() string { return cmp.Or(r.cfg.URL, r.cfg.Name, r.id) }

// ID returns the registry's id; empty if nobody named it, nothing is pinned for
// its URL and Refresh has not yet succeeded.
func (r *Registry) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id
}

// Origin returns the origin of the registry's log, empty before Refresh.
func (r *Registry) Origin() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trust.Origin
}

// Pinned reports whether the registry's id was taken on trust in this run:
// nobody named it and this machine had not seen its URL before. People should
// be told.
func (r *Registry) Pinned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pinned
}

// Row returns the registry as a lock records it.
func (r *Registry) Row() lockfile.Registry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return lockfile.Registry{Name: r.cfg.Name, Origin: r.trust.Origin, ID: r.id, Local: r.cfg.Local}
}

// Package returns all there is under a name: *resolve.NotFoundError if it is
// proved absent, *resolve.UnavailableError if that cannot be told now,
// *StaleError if the registry's newest head is too old to choose anything new
// by, *keys.TrustError if the registry, or who serves it, contradicts itself.
// Offline, the answer is what was proved before.
func (r *Registry) Package(ctx context.Context, n name.Name) (*resolve.Package, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.know(ctx, n, true)
	if err != nil {
		return nil, err
	}
	if !r.cfg.Offline && !r.cfg.Local && r.fresh == namespace.Expired {
		return nil, &StaleError{Registry: r.label(), Age: r.head.Age(r.cfg.Now()), Max: 7 * r.trust.Age()}
	}
	if e.record == nil || e.record.Status == namespace.Reserved {
		return nil, &resolve.NotFoundError{
			Key:    resolve.Key{Registry: r.id, Name: n},
			Origin: r.trust.Origin, Near: r.near(n),
		}
	}
	return r.toPackage(n, e), nil
}

// State returns the proved author log and the record of a name (or a scope) at
// the head of this run. Both are nil if the name is proved absent; the log is
// nil if the name is reserved. The caller owns both.
func (r *Registry) State(ctx context.Context, n name.Name) (*author.State, *namespace.Record, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, err := r.know(ctx, n, false)
	if err != nil || e.record == nil {
		return nil, nil, err
	}
	rec := *e.record
	rec.Former, rec.Advisories = slices.Clone(rec.Former), slices.Clone(rec.Advisories)
	if e.State == nil {
		return nil, &rec, nil
	}
	return e.State.Clone(), &rec, nil
}

// know returns what is proved of a name under the head of this run; offline,
// what was proved before.
func (r *Registry) know(ctx context.Context, n name.Name, closure bool) (*entry, error) {
	if r.cfg.Offline {
		if err := r.recall(ctx); err != nil {
			return nil, err
		}
		if e := r.atHand(n); e != nil {
			return e, nil
		}
		return nil, r.unavailable(n, nil)
	}
	if r.head == nil {
		if err := r.prefetch(ctx, []name.Name{n}, closure); err != nil {
			return nil, err
		}
	}
	if r.failed != nil {
		return nil, r.failed
	}
	if err := r.update(ctx, []name.Name{n}, false)[n]; err != nil {
		return nil, r.unavailable(n, err)
	}
	return r.names[n], nil
}

// unavailable says that nothing can be told of a name. Trust failures and
// cancellation pass as they are.
func (r *Registry) unavailable(n name.Name, err error) error {
	var te *keys.TrustError
	var re *namespace.ResetError
	if errors.As(err, &te) || errors.As(err, &re) || errors.Is(err, context.Canceled) {
		return err
	}
	if err != nil {
		err = fmt.Errorf("registry %s: %w", r.label(), err)
	}
	return &resolve.UnavailableError{Key: resolve.Key{Registry: r.id, Name: n}, Offline: r.cfg.Offline, Err: err}
}

// distrust keeps the evidence of a trust failure and adds to the error who it
// is about and where the evidence lies.
func (r *Registry) distrust(err error) error {
	te, ok := errors.AsType[*keys.TrustError](err)
	if !ok || r.cfg.Evidence == nil || len(te.Evidence) == 0 {
		return fmt.Errorf("registry %s: %w", r.label(), err)
	}
	path, kept := r.cfg.Evidence(te)
	if kept != nil {
		return fmt.Errorf("registry %s: %w (the evidence could not be kept: %w)", r.label(), err, kept)
	}
	return fmt.Errorf("registry %s: %w (evidence kept in %s)", r.label(), err, path)
}

// StaleError says that the newest head of a registry is too old to choose new
// versions by: somebody may be holding newer ones back.
type StaleError struct {
	Registry string
	Age, Max time.Duration
}

func (e *StaleError) Error() string {
	return fmt.Sprintf("the newest state of registry %s is %s old, and nothing new is chosen from one older than %s",
		e.Registry, days(e.Age), days(e.Max))
}

func days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
