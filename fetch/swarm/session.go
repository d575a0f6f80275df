package swarm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"sync"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"pkg/fetch/tree"
)

// smallPack is up to how many bytes a pack is read into memory, to be unpacked beside others while the stream goes on.
// Larger ones are unpacked straight from the stream.
const smallPack = 1 << 20

// Session asks sources for roots, in order: what the first lacks is asked of the second.
type Session struct {
	Sources []Source
	// Put verifies and keeps one pack. It is called concurrently. A [*tree.HashError] or [*tree.Error] is the fault of
	// the source, any other error is ours and ends the session.
	Put func(ctx context.Context, source string, root cid.Cid, size int64, pack io.Reader) error
}

// Get brings roots. Sources that lied are returned by name, with what they did, even where others made up for them. If
// some roots could not be had, the error is a [*MissingError]; if Put failed for a reason of its own, it is that.
func (s *Session) Get(ctx context.Context, roots []cid.Cid) (liars map[string]error, err error) {
	open := make(map[cid.Cid]bool, len(roots))
	for _, root := range roots {
		open[root] = true
	}
	liars = map[string]error{}
	failed := &MissingError{}
	for _, src := range s.Sources {
		if len(open) == 0 {
			break
		}
		t := &turn{s: s, src: src, open: open}
		lie, err := t.run(ctx, roots)
		if err := ctx.Err(); err != nil {
			return liars, err
		}
		switch {
		case lie != nil:
			liars[src.Name()] = lie
			failed.Errs = append(failed.Errs, lie)
		case err == nil:
			failed.Asked = append(failed.Asked, src.Name())
		case t.fatal:
			return liars, err
		default:
			failed.Errs = append(failed.Errs, err)
		}
	}
	if len(open) == 0 {
		return liars, nil
	}
	for _, root := range roots {
		if open[root] {
			open[root] = false
			failed.Roots = append(failed.Roots, root)
		}
	}
	return liars, failed
}

// turn is one source's turn in a session.
type turn struct {
	s   *Session
	src Source

	mu    sync.Mutex // guards what follows
	open  map[cid.Cid]bool
	lie   error
	fatal bool
}

// run asks the source for what is open and waits until all it gave is put.
func (t *turn) run(ctx context.Context, roots []cid.Cid) (lie, err error) {
	var want []cid.Cid
	seen := map[cid.Cid]bool{}
	for _, root := range roots {
		if t.open[root] && !seen[root] {
			seen[root] = true
			want = append(want, root)
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// As many packs at a time as processors, and as many in memory.
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	_, err = t.src.Content(gctx, want, func(root cid.Cid, size int64, pack io.Reader) error {
		if t.stopped() {
			return errStop
		}
		if size < 0 || size > smallPack {
			return t.put(gctx, root, size, pack)
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(pack, data); err != nil {
			return err
		}
		g.Go(func() error { return t.put(gctx, root, size, bytes.NewReader(data)) })
		return nil
	})
	if perr := g.Wait(); perr != nil {
		err = perr // the cause of Content's end, if that has one
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lie, err
}

func (t *turn) stopped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lie != nil || t.fatal
}

// put puts one pack and blames who is to blame.
func (t *turn) put(ctx context.Context, root cid.Cid, size int64, pack io.Reader) error {
	in := &packReader{r: pack, left: -1}
	err := t.s.Put(ctx, t.src.Name(), root, size, in)
	if err != nil && in.err != nil {
		return in.err // the transport's; the source looks into it
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var hash *tree.HashError
	var bad *tree.Error
	switch {
	case err == nil:
		delete(t.open, root)
	case errors.As(err, &hash):
		if hash.Source == "" {
			hash.Source = t.src.Name()
		}
		t.lie = err
	case errors.As(err, &bad):
		t.lie = &SourceError{t.src.Name(), err}
	case ctx.Err() == nil:
		t.fatal = true
	}
	return err
}
