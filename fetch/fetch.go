// Package fetch brings the bytes: it finds what a lock needs and the store lacks ([NewPlan]), fetches it from the
// sources at hand, all at once ([Fetch]) and links it into a project ([Link]).
//
//	plan := fetch.NewPlan(lock, nil, store)
//	report, err := fetch.Fetch(ctx, plan, store, sources, nil)
//	…
//	linked, err := fetch.Link(ctx, project, lock, store, fetch.LinkOptions{})
//
// What is believed is the lock alone: every block is checked against a root it names, whoever sent it. Package store
// keeps the bytes, tree gives them their form and holds the rules for paths, swarm knows the sources.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// Report says what came from where.
type Report struct {
	Bytes    int64                 // of packs, as they came
	Wasted   int64                 // of these, those of no use: wrong, cut off, or brought by another source before
	Packages int                   // fetched
	Reused   int64                 // bytes of their files that were here before: of other versions, or since an interruption
	BySource map[string]int64      // bytes by the name of the source, where there are any
	Kinds    map[string]swarm.Kind // what the sources are, by name
	Dropped  map[string]string     // sources that sent wrong bytes, and what they did
	Failed   map[string]string     // sources that could not be asked, or not to the end, and why
}

// Event is progress. The counts are totals so far.
type Event struct {
	Kind    string // "bytes" for more bytes, "package" for one that is complete, "dropped" for a source that lied
	Name    string `json:",omitempty"` // of the package, for "package"
	Version string `json:",omitempty"`
	Source  string `json:",omitempty"`
	Bytes   int64  // done, of the files as they will lie on disk
	Total   int64
	Done    int // packages
	Of      int
	Peers   int   // that sent something
	Sent    int64 // bytes of packs
	ByPeers int64 // of these, those that peers sent
}

// SizeError is a lock whose size of a package is not that of its files.
type SizeError struct {
	Name, Version string
	Locked, Got   int64 // bytes
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s %s holds %d bytes, but the lock says %d", e.Name, e.Version, e.Got, e.Locked)
}

// Fetch brings what p wants into s, asking all sources at once, and seals it: after nil, all of it is there. What
// was verified before an error or the end of ctx is kept, so that the next Fetch asks only for the rest. events may be
// nil; it is called by one goroutine at a time.
//
// An error holds a [*tree.HashError] or [*tree.Error] if nobody but a lying source had something, a
// [*swarm.MissingError] whenever something was not to be had, a [*SizeError] if the lock contradicts itself.
func Fetch(ctx context.Context, p Plan, s *store.Store, sources []swarm.Source, events func(Event)) (Report, error) {
	h, err := Bring(ctx, p, s, sources, events)
	return h.Report, errors.Join(err, h.Seal(ctx))
}

// Bring is Fetch without the end of it: nothing is in the store before the haul is sealed. The haul is to be sealed or
// discarded, also after an error.
func Bring(ctx context.Context, p Plan, s *store.Store, sources []swarm.Source, events func(Event)) (*Haul, error) {
	f := newFetcher(p, s, events)
	err := f.all(ctx, sources, f.wants(ctx, p, len(sources)))
	if err != nil {
		err = fmt.Errorf("fetch %s: %w", f.first(), err)
	}
	return &Haul{f.report, f}, err
}

// Haul is what Bring brought.
type Haul struct {
	Report Report
	f      *fetcher
}

// Seal makes it part of the store, also if ctx has ended: that is soon done.
func (h *Haul) Seal(ctx context.Context) error {
	if err := h.f.batch.Seal(context.WithoutCancel(ctx)); err != nil {
		return errors.Join(err, h.f.batch.Discard())
	}
	// Where the rest fails, it costs room or bytes.
	_ = h.f.store.Remember(h.f.names)
	for root := range h.f.names {
		_ = h.f.store.Forget(root)
	}
	return nil
}

// Discard throws it away.
func (h *Haul) Discard() error { return h.f.batch.Discard() }

// all brings wants, and all that they lead to.
func (f *fetcher) all(ctx context.Context, sources []swarm.Source, wants []swarm.Want) error {
	f.ctx, f.stop = context.WithCancel(ctx)
	defer f.stop()
	var missing error
	for len(wants)+len(f.trees)+len(f.queue) > 0 {
		err := f.round(ctx, sources, wants)
		if whole := unparted(err); len(whole) > 0 {
			err = f.round(ctx, f.honest(sources), whole)
		}
		if _, ok := errors.AsType[*ownError](err); ok || ctx.Err() != nil {
			return errors.Join(missing, err)
		}
		missing = errors.Join(missing, err)
		if wants, err = f.next(ctx); err != nil {
			f.stop()
			return errors.Join(missing, err, f.assembled(ctx, true))
		}
	}
	return errors.Join(missing, ctx.Err())
}

// ownError is what went wrong here and at no source.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }

func (e *ownError) Unwrap() error { return e.err }

// round is one session. Its error is an ownError if one went wrong here.
func (f *fetcher) round(ctx context.Context, sources []swarm.Source, wants []swarm.Want) error {
	session := swarm.Session{Sources: sources, Put: f.put, Sizes: f.sizes()}
	tallies, err := session.Get(f.ctx, wants) //nolint:contextcheck // it is made of ctx
	for i := range tallies {
		f.count(&tallies[i])
	}
	if own := f.assembled(ctx, err != nil); own != nil {
		return &ownError{own}
	}
	if missing := new(swarm.MissingError); err != nil && ctx.Err() == nil && !errors.As(err, &missing) {
		return &ownError{err}
	}
	return err
}

// fetcher is one call of Fetch.
type fetcher struct {
	store  *store.Store
	batch  *store.Batch
	ctx    context.Context    //nolint:containedctx // of one call of all, which waits for all that has it
	stop   context.CancelFunc // of ctx
	turns  chan struct{}      // holds a token for each tree that is assembled
	items  map[cid.Cid][]Item
	events func(Event)

	mu      sync.Mutex // guards what follows, and calls of events
	now     Event
	partial map[cid.Cid]int64 // bytes counted of packages under way
	peers   map[string]bool   // that sent something
	trees   map[cid.Cid]*assembly
	queue   []*assembly        // that wait for a place in trees
	names   map[cid.Cid]string // of what is there
	report  Report
}

func newFetcher(p Plan, s *store.Store, events func(Event)) *fetcher {
	f := &fetcher{
		store: s, batch: s.Batch(), items: map[cid.Cid][]Item{}, events: events, partial: map[cid.Cid]int64{}, peers: map[string]bool{},
		trees: map[cid.Cid]*assembly{}, names: map[cid.Cid]string{}, turns: make(chan struct{}, runtime.GOMAXPROCS(0)),
		report: Report{
			BySource: map[string]int64{}, Kinds: map[string]swarm.Kind{},
			Dropped: map[string]string{}, Failed: map[string]string{},
		},
	}
	f.now.Of = len(p.Want)
	for _, it := range p.Want {
		f.items[it.Root] = append(f.items[it.Root], it)
		f.now.Total += it.Size
	}
	return f
}

// put takes what arrives.
func (f *fetcher) put(ctx context.Context, a *swarm.Arrival) (more []swarm.Want, err error) {
	items := f.items[a.Root]
	if len(items) == 0 {
		return nil, &tree.Error{Why: fmt.Sprintf("%s was not asked for", a.Root)}
	}
	a.Pack = &counter{f, a, a.Pack}
	switch a.Scope {
	case swarm.Nodes:
		return f.putNodes(ctx, a)
	case swarm.Leaves:
		return nil, f.putLeaves(a)
	}
	in := &meter{f: f, root: a.Root, r: a.Pack, size: a.Size, whole: items[0].Size}
	sum, err := f.batch.Put(ctx, a.Root, in)
	if err != nil {
		return nil, err // what was counted stays counted: who brings it next begins there
	}
	return nil, f.done(a.Root, a.Source, sum)
}

// done takes note of a tree that is in the batch, and holds it to what the lock says.
func (f *fetcher) done(root cid.Cid, source string, sum tree.Summary) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now.Bytes -= f.partial[root]
	delete(f.partial, root)
	for _, it := range f.items[root] {
		if it.Size != sum.Size {
			return &SizeError{it.Name, it.Version, it.Size, sum.Size}
		}
		f.names[root] = it.Name
		f.report.Packages++
		f.now.Done++
		f.now.Bytes += it.Size
		f.tell("package", it, source)
	}
	return nil
}

// tell sends an event; the caller holds mu.
func (f *fetcher) tell(kind string, it Item, source string) {
	if f.events == nil {
		return
	}
	e := f.now
	e.Kind, e.Name, e.Version, e.Source = kind, it.Name, it.Version, source
	f.events(e)
}

// count takes what one source did into the report.
func (f *fetcher) count(t *swarm.Tally) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Kinds[t.Source] = t.Kind
	f.report.Bytes += t.Bytes
	f.report.Wasted += t.Wasted
	if t.Bytes > 0 {
		f.report.BySource[t.Source] += t.Bytes
	}
	switch {
	case t.Lie != nil:
		f.report.Dropped[t.Source] = t.Lie.Error()
		f.tell("dropped", Item{}, t.Source)
	case t.Err != nil:
		f.report.Failed[t.Source] = t.Err.Error()
	}
}

// sizes says about how many bytes each root has.
func (f *fetcher) sizes() map[cid.Cid]int64 {
	sizes := make(map[cid.Cid]int64, len(f.items))
	for root, items := range f.items {
		sizes[root] = items[0].Size
	}
	return sizes
}

// first names a package that is still to come, for an error.
func (f *fetcher) first() string {
	if n := f.now.Of - f.now.Done; n > 1 {
		return fmt.Sprintf("%d packages", n)
	}
	return "a package"
}

// counter counts who sent what.
type counter struct {
	f *fetcher
	a *swarm.Arrival
	r io.Reader
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.f.now.Sent += int64(n)
	if c.a.Kind == swarm.Peer {
		c.f.now.ByPeers += int64(n)
		c.f.peers[c.a.Source] = true
		c.f.now.Peers = len(c.f.peers)
	}
	return n, err
}

// meter counts the bytes of a pack on their way, scaled to the bytes of its files.
type meter struct {
	f           *fetcher
	root        cid.Cid
	r           io.Reader
	n           int64
	size, whole int64
}

// meterStep is after how many bytes there is news.
const meterStep = 256 << 10

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	before := m.n
	m.n += int64(n)
	if m.size > 0 && before/meterStep != m.n/meterStep {
		done := int64(float64(m.whole) * min(1, float64(m.n)/float64(m.size)))
		m.f.mu.Lock()
		defer m.f.mu.Unlock()
		if m.f.names[m.root] != "" || done <= m.f.partial[m.root] {
			return n, err // another source is as far
		}
		m.f.now.Bytes += done - m.f.partial[m.root]
		m.f.partial[m.root] = done
		m.f.tell("bytes", Item{}, "")
	}
	return n, err
}
