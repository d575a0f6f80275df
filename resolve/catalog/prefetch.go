package catalog

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"

	"pkg/keys/namespace"
	"pkg/lockfile/name"
)

// Prefetch brings what is needed to answer Package for the names and for what
// they depend on: in one round trip where the source has a lookup, else by
// reads side by side. It fails only if nothing can be told of any name.
func (r *Registry) Prefetch(ctx context.Context, names []name.Name) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.Offline {
		return nil
	}
	return r.prefetch(ctx, names, true)
}

func (r *Registry) prefetch(ctx context.Context, names []name.Name, closure bool) error {
	if r.failed != nil {
		return r.failed
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	if r.head != nil {
		if names = r.left(ctx, names); len(names) == 0 {
			return nil
		}
	}
	if err := r.contact(ctx, names, closure); err != nil {
		return r.unavailable("", err)
	}
	if names = r.left(ctx, names); len(names) > 0 {
		r.update(ctx, names, false) // what fails here fails in Package, and is told there
	}
	return ctx.Err()
}

// contact asks for the names, and for a head to believe if this run has none. The
// trust roots are asked for beside the rest, or a first contact would take a
// round trip more.
func (r *Registry) contact(ctx context.Context, names []name.Name, closure bool) error {
	if r.head != nil {
		return r.ask(ctx, names, closure, &answer{}, int64(r.size())) //nolint:gosec // bounded by the log
	}
	pre, err := r.begin(ctx)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		pre.trust, err = r.roots(gctx, len(pre.seen.Trust))
		return err
	})
	g.Go(func() error { return r.ask(gctx, names, closure, pre, sizeOf(pre.seen)) })
	if err := g.Wait(); err != nil {
		return err
	}
	return r.refresh(ctx, pre)
}

// left returns the names that cannot be proved from what is at hand.
func (r *Registry) left(ctx context.Context, names []name.Name) []name.Name {
	fails := r.update(ctx, names, true)
	return slices.DeleteFunc(slices.Clone(names), func(n name.Name) bool {
		return fails[n] == nil || r.lies[n] != nil
	})
}

// ask sends the names to the source's lookup and keeps what comes. It is only
// ever a saving: an answer that is missing, cut short or wrong costs the reads
// it would have saved.
func (r *Registry) ask(ctx context.Context, names []name.Name, closure bool, pre *answer, size int64) error {
	for chunk := range slices.Chunk(names, MaxNames) {
		if r.noLookup {
			break
		}
		req := LookupRequest{Size: size, Closure: closure, Known: make(map[string]uint64)}
		for _, n := range chunk {
			req.Names = append(req.Names, string(n))
			if r.id == "" {
				continue
			}
			if e := r.atHand(n); e != nil && e.State != nil {
				req.Known[string(n)] = e.State.Size
			}
		}
		body, err := r.cfg.Source.Lookup(ctx, req)
		if errors.Is(err, ErrUnsupported) {
			r.noLookup = true
		}
		if err != nil {
			break
		}
		_ = ReadSections(body, MaxAnswer, func(kind byte, b []byte) error {
			r.take(kind, b, pre)
			return nil
		})
		_ = body.Close()
	}
	return ctx.Err()
}

// take keeps one section of an answer.
func (r *Registry) take(kind byte, b []byte, pre *answer) {
	switch kind {
	case KindHead:
		if pre.head == nil && len(b) <= namespace.MaxHead {
			pre.head = b
		}
	case KindConsistency:
		if p, err := ParseConsistency(b); err == nil && pre.proof == nil {
			pre.proof = p
		}
	case KindBlock:
		if c, data, err := ParseBlock(b); err == nil {
			r.blocks.put(c, data)
		}
	}
}
