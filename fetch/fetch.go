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
	f := newFetcher(p, s, events)
	if len(p.Want) == 0 {
		return f.report, nil
	}
	err := f.get(ctx, sources, f.wants(ctx, p, len(sources)))
	if whole := f.unparted(err); len(whole) > 0 {
		err = f.get(ctx, f.honest(sources), whole)
	}
	if err != nil {
		err = fmt.Errorf("fetch %s: %w", f.first(), err)
	}
	if serr := f.batch.Seal(context.WithoutCancel(ctx)); serr != nil {
		return f.report, errors.Join(err, serr, f.batch.Discard())
	}
	f.tidy()
	return f.report, err
}

// tidy notes what helps the next fetch, and removes what helped this one. Where that fails, it costs room or bytes.
func (f *fetcher) tidy() {
	_ = f.store.Remember(f.names)
	for root := range f.names {
		_ = f.store.Forget(root)
	}
}

// get brings wants, and all that they lead to.
func (f *fetcher) get(ctx context.Context, sources []swarm.Source, wants []swarm.Want) error {
	if len(wants) == 0 {
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f.ctx = ctx
	session := swarm.Session{Sources: sources, Put: f.put, Sizes: f.sizes()}
	tallies, err := session.Get(ctx, wants)
	for i := range tallies {
		f.count(&tallies[i])
	}
	return f.assembled(err)
}

// fetcher is one call of Fetch.
type fetcher struct {
	store  *store.Store
	batch  *store.Batch
	ctx    context.Context //nolint:containedctx // of one get, which waits for all that has it
	items  map[cid.Cid][]Item
	events func(Event)

	mu      sync.Mutex // guards what follows, and calls of events
	now     Event
	partial map[cid.Cid]int64 // bytes counted of packages under way
	peers   map[string]bool   // that sent something
	trees   map[cid.Cid]*assembly
	names   map[cid.Cid]string // of what is there
	report  Report
}

func newFetcher(p Plan, s *store.Store, events func(Event)) *fetcher {
	f := &fetcher{
		store: s, batch: s.Batch(), items: map[cid.Cid][]Item{}, events: events, partial: map[cid.Cid]int64{}, peers: map[string]bool{},
		trees: map[cid.Cid]*assembly{}, names: map[cid.Cid]string{},
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
