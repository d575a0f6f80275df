package fetch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

const (
	// splitSize is from how many bytes on a package is fetched in parts if there are several sources: its directories
	// take a round trip more.
	splitSize = 8 << 20
	// kinSize is the same where another version is here, of which most may be the same.
	kinSize = 16 << 10
	// leftSize is how much of a pack must have come for the rest to be fetched in parts.
	leftSize = 64 << 10
	// partSize and partLeaves are how much is asked for as one part.
	partSize   = 1 << 20
	partLeaves = 4096
	// mostTrees is how many packages come in parts at a time: each holds two files open.
	mostTrees = 64
)

// assembly is a package that is fetched in parts.
type assembly struct {
	o      *tree.Outline
	part   *store.Partial
	source string        // of its nodes
	alone  bool          // nobody else can have it
	reused int64         // bytes that were here
	ended  chan struct{} // when that is closed, err is set
	err    error
}

// wants says how to ask for what a plan wants and is not left of an interrupted fetch.
func (f *fetcher) wants(ctx context.Context, p Plan, sources int) []swarm.Want {
	seen := make(map[cid.Cid]bool, len(p.Want))
	var wants []swarm.Want
	for i := range p.Want {
		it := &p.Want[i]
		if seen[it.Root] {
			continue
		}
		seen[it.Root] = true
		if f.left(ctx, it) {
			continue
		}
		w := swarm.Want{Root: it.Root}
		if f.begun(it) || sources > 1 && it.Size >= splitSize {
			w.Scope = swarm.Nodes
		}
		wants = append(wants, w)
	}
	return wants
}

// left takes a whole pack that an interrupted fetch left. The start of one is kept, if it is worth a round trip.
func (f *fetcher) left(ctx context.Context, it *Item) bool {
	pack, size, err := f.store.Left(it.Root)
	if err != nil {
		return false
	}
	sum, err := f.batch.Put(ctx, it.Root, pack)
	if err := errors.Join(err, pack.Close()); err != nil {
		if size < leftSize && ctx.Err() == nil {
			_ = f.store.Forget(it.Root) // else it is asked for in parts
		}
		return false
	}
	f.report.Reused += sum.Size
	return f.done(it.Root, "", sum) == nil
}

// begun says whether something of a package may be here.
func (f *fetcher) begun(it *Item) bool {
	return it.Size >= kinSize && len(it.Kin) > 0 || f.store.Interrupted(it.Root)
}

// putNodes begins to assemble a tree, and says what is missing.
func (f *fetcher) putNodes(ctx context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
	o, err := tree.ReadNodes(a.Pack, a.Root, tree.Default())
	if err != nil {
		return nil, err
	}
	if a.Alone && !f.begun(&f.items[a.Root][0]) {
		return swarm.Packs(a.Root), nil
	}
	t := &assembly{o: o, source: a.Source, alone: a.Alone, ended: make(chan struct{})}
	f.mu.Lock()
	if f.trees[a.Root] != nil || slices.ContainsFunc(f.queue, func(q *assembly) bool { return q.o.Root == a.Root }) {
		f.mu.Unlock() // the nodes came twice at once
		return nil, nil
	}
	if len(f.trees) >= mostTrees {
		f.queue = append(f.queue, t)
		f.mu.Unlock()
		return nil, nil
	}
	f.trees[a.Root] = t
	f.mu.Unlock()
	return f.begin(ctx, t)
}

// begin begins to assemble t, which is in trees, and says what is missing.
func (f *fetcher) begin(ctx context.Context, t *assembly) ([]swarm.Want, error) {
	part, err := f.store.Partial(t.o)
	if err == nil {
		t.part = part
		err = f.salvage(ctx, t, &f.items[t.o.Root][0])
	}
	here := t.here()
	whole := err == nil && here == 0 && t.alone
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil || whole {
		delete(f.trees, t.o.Root)
	}
	switch {
	case whole:
		return swarm.Packs(t.o.Root), part.Remove()
	case err != nil && part != nil:
		return nil, errors.Join(err, part.Keep())
	case err != nil:
		return nil, err
	}
	t.reused = here
	f.now.Bytes += here
	f.partial[t.o.Root] += here
	go f.assemble(f.ctx, t) //nolint:contextcheck // it goes on when this want is done
	return t.missing(), nil
}

// next begins with trees that had to wait.
func (f *fetcher) next(ctx context.Context) (wants []swarm.Want, err error) {
	for len(f.queue) > 0 && len(f.trees) < mostTrees && err == nil {
		t := f.queue[0]
		f.queue = f.queue[1:]
		f.trees[t.o.Root] = t
		var more []swarm.Want
		more, err = f.begin(ctx, t)
		wants = append(wants, more...)
	}
	return wants, err
}

// salvage takes what other versions have, and what came of the pack before.
func (f *fetcher) salvage(ctx context.Context, t *assembly, it *Item) error {
	keep := func(i int, block []byte) error {
		if t.part.Has(i) {
			return nil
		}
		return t.part.Put(i, block)
	}
	if pack, _, err := f.store.Left(it.Root); err == nil {
		if err := errors.Join(t.o.Salvage(pack, keep), pack.Close()); err != nil {
			return err
		}
	}
	for _, kin := range it.Kin {
		if err := f.store.Salvage(ctx, kin, t.o, keep); err != nil {
			return err
		}
	}
	return nil
}

// here is how many bytes of t are here.
func (t *assembly) here() (here int64) {
	for i := range t.o.Leaves() {
		if t.part != nil && t.part.Has(i) {
			_, size := t.o.Span(i)
			here += int64(size)
		}
	}
	return here
}

// missing lists the leaves that are not here, in parts.
func (t *assembly) missing() []swarm.Want {
	var wants []swarm.Want
	for i := 0; i < t.o.Leaves(); {
		if t.part.Has(i) {
			i++
			continue
		}
		w := swarm.Want{Root: t.o.Root, Scope: swarm.Leaves, Of: t.o, From: i}
		start, _ := t.o.Span(i)
		for ; i < t.o.Leaves() && i-w.From < partLeaves && !t.part.Has(i); i++ {
			if at, size := t.o.Span(i); i > w.From && at+int64(size)-start > partSize {
				break
			}
		}
		w.To = i
		wants = append(wants, w)
	}
	return wants
}

// putLeaves takes a part.
func (f *fetcher) putLeaves(a *swarm.Arrival) error {
	f.mu.Lock()
	t := f.trees[a.Root]
	f.mu.Unlock()
	return a.Of.ReadLeaves(a.Pack, a.From, a.To, func(i int, block []byte) error {
		if t.part.Has(i) {
			return nil
		}
		if err := t.part.Put(i, block); err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.now.Bytes += int64(len(block))
		f.partial[a.Root] += int64(len(block))
		f.tell("bytes", Item{}, "")
		return nil
	})
}

// assemble puts a tree whose leaves come one by one. Few are at it at a time; the leaves of the others wait on disk.
func (f *fetcher) assemble(ctx context.Context, t *assembly) {
	defer close(t.ended)
	select {
	case f.turns <- struct{}{}:
		defer func() { <-f.turns }()
	case <-ctx.Done():
		t.err = ctx.Err()
		return
	}
	sum, err := f.batch.Assemble(ctx, t.o, t.part.Leaf)
	if err == nil {
		err = f.done(t.o.Root, t.source, sum)
	}
	if _, hash := errors.AsType[*tree.HashError](err); hash {
		err = fmt.Errorf("%w: %s", errDamaged, t.o.Root) // nobody lied
	}
	if t.err = err; err != nil && !errors.Is(err, errParted) {
		f.stop()
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.report.Reused += t.reused
	}
}

var errDamaged = errors.New("what had come before was damaged on this disk")

// errParted ends the assembly of what has leaves that are not to be had.
var errParted = errors.New("not all of it came")

// assembled waits for what is being assembled, and returns what went wrong with it here. Failed says that the session did
// not bring everything.
func (f *fetcher) assembled(ctx context.Context, failed bool) (own error) {
	for _, t := range f.trees { // all, before any is waited for: they take turns
		if failed {
			t.part.End(errParted)
		}
	}
	for root, t := range f.trees {
		<-t.ended
		var bad *tree.Error
		switch {
		case t.err == nil:
			own = errors.Join(own, t.part.Remove())
		case errors.Is(t.err, errParted), ctx.Err() != nil, errors.Is(t.err, context.Canceled):
			own = errors.Join(own, t.part.Keep())
		case errors.As(t.err, &bad), errors.Is(t.err, errDamaged):
			own = errors.Join(own, t.err, t.part.Remove())
		default:
			own = errors.Join(own, t.err, t.part.Keep())
		}
		delete(f.trees, root)
	}
	return own
}

// unparted returns what is to be asked for whole, as nobody gave its parts. It is nothing if that is not all that err
// says.
func unparted(err error) []swarm.Want {
	var missing *swarm.MissingError
	if !errors.As(err, &missing) {
		return nil
	}
	var roots []cid.Cid
	for _, w := range missing.Wants {
		if w.Scope == swarm.All {
			return nil
		}
		if !slices.Contains(roots, w.Root) {
			roots = append(roots, w.Root)
		}
	}
	return swarm.Packs(roots...)
}

// honest leaves out those that were caught.
func (f *fetcher) honest(sources []swarm.Source) []swarm.Source {
	return slices.DeleteFunc(slices.Clone(sources), func(s swarm.Source) bool {
		return f.report.Dropped[s.Name()] != ""
	})
}
