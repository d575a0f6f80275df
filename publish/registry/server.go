//go:build unix

package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"pkg/fetch/store"
	"pkg/keys/namespace"
	"pkg/keys/vmap"
	"pkg/lockfile/name"
	"pkg/publish"
)

// ErrClosed says that the registry is shutting down.
var ErrClosed = errors.New("the registry is closed")

// Server is a registry open for writing: exactly one process has it open. One
// goroutine, the sequencer, writes; all methods are safe for concurrent use.
type Server struct {
	dir, public string
	cfg         Config
	settings    settings
	trust       namespace.Trust
	lock        *flock.Flock
	disk        disk
	guard       *guard
	log         *posixLog
	seq         sequence // the log, or a test's wrapping of it
	journal     journal
	blocks      *blocks
	packages    *recent[*pkg]
	content     *store.Store
	rates       *rates
	counters    counters

	now  atomic.Pointer[view] // what is published
	ids  sync.Map             // [32]byte package id → name.Name, of every current record
	seen atomic.Int64         // how many ids there are
	self atomic.Value         // string: see IsPeer

	mu     sync.RWMutex // guards closed, and queue against being closed while it is sent to
	closed bool
	queue  chan *work
	idle   chan struct{} // asks the sequencer to look at the clock; for tests
	done   chan struct{} // closed when the sequencer has ended

	// The sequencer's own.
	pending *record       // a commit that is in the journal and not yet published
	placing time.Duration // how long it took to place the blocks of the last commit
	lead    time.Duration // how long it takes to get a commit ready for the log
	acked   time.Time     // when the last commit was answered
}

// view is one published state.
type view struct {
	raw  []byte // the head file
	head namespace.Head
}

// settings is the file registry.json.
type settings struct {
	Origin string `json:"origin"`
	ID     string `json:"id"`
}

// Open opens the registry in dir for writing, finishes what a crash left
// unfinished and starts the sequencer. It returns ErrLocked if another process
// has it open, unless cfg.Wait.
func Open(ctx context.Context, dir string, cfg Config) (*Server, error) {
	s, err := prepare(ctx, dir, cfg)
	if err != nil {
		return nil, fmt.Errorf("open registry %s: %w", dir, err)
	}
	if err := s.start(ctx); err != nil {
		return nil, fmt.Errorf("open registry %s: %w", dir, errors.Join(err, s.release()))
	}
	return s, nil
}

// prepare returns a locked server that has read its settings.
func prepare(ctx context.Context, dir string, cfg Config) (*Server, error) {
	if info, err := os.Stat(dir); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, errors.New("not a directory")
	}
	s := newServer(dir, cfg)
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(err, s.release())
	}
	return s, nil
}

func newServer(dir string, cfg Config) *Server {
	if cfg.Now == nil {
		cfg.Now = systemNow
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.CheckpointInterval == 0 {
		cfg.CheckpointInterval = minInterval
	}
	if cfg.IdleInterval == 0 {
		cfg.IdleInterval = 12 * time.Hour
	}
	if cfg.ClaimsPerHour == 0 {
		cfg.ClaimsPerHour = 1000
	}
	d := cfg.hooks.disk
	if d == nil {
		d = osDisk{}
	}
	public := Public(dir)
	return &Server{
		dir: dir, public: public, cfg: cfg, disk: d,
		lock:     flock.New(filepath.Join(dir, "lock")),
		journal:  journal{path: filepath.Join(dir, "journal"), disk: d, limit: cmp.Or(cfg.hooks.limit, journalLimit)},
		blocks:   &blocks{dir: filepath.Join(public, "ipfs"), disk: d},
		packages: newRecent[*pkg](1024),
		rates:    newRates(cfg.ClaimsPerHour),
		queue:    make(chan *work, queueLength),
		idle:     make(chan struct{}),
		done:     make(chan struct{}),
	}
}

// acquire takes the file lock.
func (s *Server) acquire(ctx context.Context) error {
	if s.cfg.Wait {
		ok, err := s.lock.TryLockContext(ctx, 20*time.Millisecond)
		if err != nil || !ok {
			return fmt.Errorf("wait for another writer: %w", err)
		}
		return nil
	}
	ok, err := s.lock.TryLock()
	if err == nil && !ok {
		err = ErrLocked
	}
	return err
}

// release gives everything back that start and acquire took.
func (s *Server) release() error {
	if s.log != nil {
		s.log.Close()
	}
	return s.lock.Unlock()
}

// load reads settings and trust roots. The error wraps fs.ErrNotExist if there
// is no registry at all.
func (s *Server) load() error {
	if exists(filepath.Join(s.dir, incomplete)) {
		return &DamageError{Dir: s.dir, Why: "its creation was interrupted", Help: "pkg registry init " + shell(s.dir) + " --origin NAME"}
	}
	b, err := os.ReadFile(filepath.Join(s.dir, settingsFile))
	if errors.Is(err, fs.ErrNotExist) && s.made() {
		return s.missing(settingsFile)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &s.settings); err != nil {
		return s.unusable(settingsFile, err)
	}
	if s.settings.ID == "" || s.settings.Origin == "" {
		return s.unusable(settingsFile, errors.New("it has no id or no origin"))
	}
	if err := s.complete(); err != nil {
		return err
	}
	if s.trust, err = readTrust(s.public, s.settings.ID); err != nil {
		return s.unusable("public/trust", err)
	}
	return nil
}

// made reports whether there is a registry here, though parts may be missing.
func (s *Server) made() bool {
	return exists(filepath.Join(s.dir, settingsFile)) || exists(filepath.Join(s.dir, logKeyFile)) || exists(s.journal.path)
}

// start opens log and content, recovers, and starts the sequencer.
func (s *Server) start(ctx context.Context) error {
	signer, err := readSigner(filepath.Join(s.dir, logKeyFile), s.settings.Origin, s.cfg.Passphrase)
	if err != nil {
		return s.unusable(logKeyFile, err)
	}
	s.guard = newGuard(signer, Signed(s.dir), s.disk)
	if s.log, err = openLog(ctx, s.public, s.guard, s.cfg.CheckpointInterval); err != nil {
		return s.damaged(err)
	}
	s.seq = s.log
	if s.cfg.hooks.wrap != nil {
		s.seq = s.cfg.hooks.wrap(s.log)
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	if !exists(Content(s.dir)) && s.seen.Load() > 0 {
		return s.missing("store") // what was released is not made up
	}
	if s.content, err = store.Open(Content(s.dir), store.Options{}); err != nil {
		return err
	}
	// Work that was accepted is finished whatever becomes of the one who asked,
	// so the sequencer outlives the context that Open was called with.
	go s.run(context.WithoutCancel(ctx))
	return nil
}

// ID returns the registry's id: the CID of its first trust root.
func (s *Server) ID() string { return s.settings.ID }

// IsPeer says which of the peers that have content is the registry itself: what only that one has is not elsewhere.
func (s *Server) IsPeer(id string) { s.self.Store(id) }

// Origin returns the log's origin.
func (s *Server) Origin() string { return s.settings.Origin }

// Status says what is published now.
func (s *Server) Status() Status {
	c := s.now.Load().head.Commit
	return Status{
		ID: s.settings.ID, Origin: s.settings.Origin, Size: c.N + 1,
		Names: int(s.seen.Load()), Time: c.T, Map: c.M.String(),
	}
}

// Close stops accepting submissions, finishes those that were accepted and
// lets another process write. Handlers still running are answered ErrClosed.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.queue)
	s.mu.Unlock()
	<-s.done
	return s.release()
}

// Push records a submission from this very machine. It implements
// publish.Registry.
func (s *Server) Push(ctx context.Context, sub publish.Submission) error {
	_, err := s.Submit(ctx, sub)
	return err
}

// Submit validates a submission of this very process, stores its packs and
// records its entries. It returns when they are under a published checkpoint.
// What cannot be recorded is a *publish.RefusedError. No rate applies.
func (s *Server) Submit(ctx context.Context, sub publish.Submission) (Receipt, error) {
	w, err := s.decode(sub.Entries)
	if err != nil {
		return Receipt{}, err
	}
	if err := s.precheck(ctx, w); err != nil {
		return Receipt{}, err
	}
	packs := s.newPacks(w)
	for _, p := range sub.Packs {
		r, err := p.Open()
		if err != nil {
			return Receipt{}, errors.Join(err, packs.discard())
		}
		if err := errors.Join(packs.put(ctx, p.Root, r), r.Close()); err != nil {
			return Receipt{}, errors.Join(err, packs.discard())
		}
	}
	return s.record(ctx, w, packs)
}

// nameOf returns the name of a package id.
func (s *Server) nameOf(id [32]byte) (name.Name, bool) {
	v, ok := s.ids.Load(id)
	if !ok {
		return "", false
	}
	return v.(name.Name), true //nolint:forcetypeassert // only learn stores here
}

func (s *Server) learn(id [32]byte, n name.Name) {
	if _, there := s.ids.Swap(id, n); !there {
		s.seen.Add(1)
	}
}

// learnAll reads the ids of every record of the map.
func (s *Server) learnAll(ctx context.Context) error {
	m := s.now.Load().head.Commit.M
	return vmap.Walk(ctx, s.blocks, m, func(key string, value []byte) error {
		r, err := namespace.DecodeRecord(value)
		if err != nil {
			return fmt.Errorf("record of %s: %w", key, err)
		}
		if r.Status != namespace.Reserved {
			s.learn(r.ID, name.Name(key))
		}
		return nil
	})
}
