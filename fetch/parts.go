package fetch

import (
	"context"
	"errors"
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
	// partSize and partLeaves are how much is asked for as one part, unless a leaf is larger.
	partSize   = 1 << 20
	partLeaves = 4096
)

// assembly is a package that is fetched in parts.
type assembly struct {
	o      *tree.Outline
	part   *store.Partial
	source string        // of its nodes
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
	it := &f.items[a.Root][0]
	if a.Alone && !f.begun(it) {
		return swarm.Packs(a.Root), nil
	}
	part, err := f.store.Partial(o)
	if err != nil {
		return nil, err
	}
	t := &assembly{o: o, part: part, source: a.Source, ended: make(chan struct{})}
	if err := f.salvage(ctx, t, it); err != nil {
		return nil, errors.Join(err, part.Keep())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trees[a.Root] != nil { // the nodes came twice at once
		return nil, part.Keep()
	}
	f.trees[a.Root] = t
	f.here(t)
	go f.assemble(f.ctx, t) //nolint:contextcheck // it goes on when this want is done
	return t.missing(), nil
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
		err := f.store.Salvage(ctx, kin, t.o, keep)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// here counts what is here; the caller holds mu.
func (f *fetcher) here(t *assembly) {
	here := int64(0)
	for i := range t.o.Leaves() {
		if t.part.Has(i) {
			_, size := t.o.Span(i)
			here += int64(size)
		}
	}
	f.report.Reused += here
	f.now.Bytes += here
	f.partial[t.o.Root] += here
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

// assemble puts a tree whose leaves come one by one.
func (f *fetcher) assemble(ctx context.Context, t *assembly) {
	defer close(t.ended)
	sum, err := f.batch.Assemble(ctx, t.o, t.part.Leaf)
	if err == nil {
		err = f.done(t.o.Root, t.source, sum)
	}
	t.err = err
}

// errParted ends the assembly of what has leaves that are not to be had.
var errParted = errors.New("not all of it came")

// assembled waits for what is being assembled. err is why the session ended.
func (f *fetcher) assembled(err error) error {
	for root, t := range f.trees {
		if err != nil {
			t.part.End(errParted)
		}
		<-t.ended
		switch {
		case t.err == nil:
			err = errors.Join(err, t.part.Remove())
		case errors.Is(t.err, errParted):
			err = errors.Join(err, t.part.Keep())
		default:
			err = errors.Join(err, t.err, t.part.Keep())
		}
		delete(f.trees, root)
	}
	return err
}

// unparted returns what is to be asked for whole, as nobody gave its parts. It is nothing if that is not all that err
// says.
func (f *fetcher) unparted(err error) []swarm.Want {
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
