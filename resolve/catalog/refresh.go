package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"pkg/keys"
	"pkg/keys/namespace"
	"pkg/keys/tlog"
	"pkg/keys/vmap"
	"pkg/lockfile/block"
)

const (
	maxRoots = 64 // new trust roots in one refresh
	maxRaces = 32 // times another process may get in between
)

// answer is what came in one round trip, not yet believed.
type answer struct {
	seen  namespace.Seen // what was remembered when it was asked for
	trust [][]byte       // trust roots after those remembered
	head  []byte
	proof []tlog.Hash // of consistency with the head remembered; nil if none came
}

// Refresh fetches the registry's newest trust roots and head and believes them
// in the order of package namespace: trust roots, signature and witnesses,
// freshness, no rollback, the last commit. What it returns has been persisted.
// The freshness is for the caller to warn by; Package refuses to work from an
// expired head. Offline, it returns the head seen last.
//
// A contradiction is a *keys.TrustError. It is kept as evidence, and every later
// call of this Registry fails with it.
func (r *Registry) Refresh(ctx context.Context) (namespace.Head, namespace.Freshness, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cfg.Offline {
		if err := r.recall(ctx); err != nil {
			return namespace.Head{}, 0, err
		}
		if r.head == nil {
			return namespace.Head{}, 0, r.unavailable("", nil)
		}
		return *r.head, r.fresh, nil
	}
	if err := r.refresh(ctx, nil); err != nil {
		return namespace.Head{}, 0, r.unavailable("", err)
	}
	return *r.head, r.fresh, nil
}

// Fresh returns the freshness of the head of this run, false if there is none
// yet.
func (r *Registry) Fresh() (namespace.Freshness, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fresh, r.head != nil
}

// recall takes the head seen last for the head of this run.
func (r *Registry) recall(ctx context.Context) error {
	if r.head != nil || r.id == "" {
		return nil
	}
	seen, err := r.cfg.Heads.Load(ctx, r.id)
	if err != nil || len(seen.Trust) == 0 {
		return err
	}
	id, err := block.Parse(r.id)
	if err != nil {
		return err
	}
	t, _, err := namespace.OpenChain(id, seen.Trust)
	if err != nil {
		return err
	}
	h, ok, err := seen.Last()
	if err != nil || !ok {
		return err
	}
	h.AsOf = max(h.AsOf, seen.Ratchet)
	f, err := h.Freshness(r.cfg.Now(), t.Age())
	if err != nil || r.cfg.Local {
		f = namespace.Fresh // from the future: our clock is off, and nothing hangs on it here
	}
	r.stand(t, h, f)
	return nil
}

// refresh is Refresh, with what already came from the source if pre is set.
func (r *Registry) refresh(ctx context.Context, pre *answer) error {
	if r.failed != nil {
		return r.failed
	}
	for range maxRaces {
		err := r.believe(ctx, pre)
		if errors.Is(err, namespace.ErrChanged) {
			pre = nil // another process was faster; what came may be older than what it saw
			continue
		}
		if te, ok := errors.AsType[*keys.TrustError](err); ok {
			r.failed = r.distrust(te)
			return r.failed
		}
		return err
	}
	return fmt.Errorf("believe the head: %w", namespace.ErrChanged)
}

// begin loads what is remembered and fetches the trust roots after that.
func (r *Registry) begin(ctx context.Context) (*answer, error) {
	a := new(answer)
	var err error
	if r.id != "" {
		if a.seen, err = r.cfg.Heads.Load(ctx, r.id); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// roots fetches the trust roots after the first n. Where there must be one, it looks for the next at the same time: there is
// rarely another, and asking for it afterwards would take a round trip more.
func (r *Registry) roots(ctx context.Context, n int) ([][]byte, error) {
	var out [][]byte
	var g errgroup.Group
	for len(out) < maxRoots {
		at := n + len(out)
		var next []byte
		if at == 0 {
			g.Go(func() (err error) {
				next, err = r.root(ctx, 1)
				return err
			})
		}
		b, err := r.root(ctx, at)
		nerr := g.Wait()
		switch {
		case err != nil:
			return nil, err
		case b == nil && at > 0:
			return out, nil
		case b == nil:
			return nil, fmt.Errorf("no registry answers there: %w", fs.ErrNotExist)
		case nerr != nil:
			return nil, nerr
		}
		if out = append(out, b); at > 0 {
			continue
		}
		if next == nil {
			return out, nil
		}
		out = append(out, next)
	}
	return out, nil
}

// root fetches one trust root, nil if there is none.
func (r *Registry) root(ctx context.Context, n int) ([]byte, error) {
	b, err := r.cfg.Source.Read(ctx, fmt.Sprintf("trust/%d", n), namespace.MaxTrust)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// believe goes through steps 1 to 5 once.
func (r *Registry) believe(ctx context.Context, pre *answer) error {
	if pre == nil {
		a, err := r.begin(ctx)
		if err != nil {
			return err
		}
		if a.trust, err = r.roots(ctx, len(a.seen.Trust)); err != nil {
			return err
		}
		pre = a
	}
	id, seen, t, err := r.believeTrust(ctx, pre)
	if err != nil {
		return err
	}
	h, err := r.openHead(ctx, pre, t)
	if err != nil {
		return err
	}
	if h.Checkpoint.Size == sizeOf(seen) {
		h.AsOf = max(h.AsOf, seen.Ratchet) // vouched for since: only the signatures served are older
	}
	fresh := namespace.Fresh
	if !r.cfg.Local {
		if fresh, err = h.Freshness(r.cfg.Now(), t.Age()); err != nil {
			return err
		}
	}
	next, err := r.accept(ctx, pre, seen, t, h)
	if err != nil {
		return err
	}
	if !next.Equal(pre.seen) {
		if err := r.swap(ctx, id, pre.seen, next); err != nil {
			return err
		}
	}
	if err := r.pin(id); err != nil {
		return err
	}
	r.stand(t, h, fresh)
	return nil
}

// swap stores what was seen now. That another process stored just that before is as good: many that start at once see the
// same head.
func (r *Registry) swap(ctx context.Context, id string, old, next namespace.Seen) error {
	err := r.cfg.Heads.Swap(ctx, id, old, next)
	if !errors.Is(err, namespace.ErrChanged) {
		return err
	}
	if there, lerr := r.cfg.Heads.Load(ctx, id); lerr == nil && there.Equal(next) {
		return nil
	}
	return err
}

// believeTrust is step 1: from root 0, whose CID is the registry's id, upwards.
func (r *Registry) believeTrust(ctx context.Context, pre *answer) (id string, seen namespace.Seen, t namespace.Trust, err error) {
	want := cid.Undef
	if r.id != "" {
		if want, err = block.Parse(r.id); err != nil {
			return "", seen, t, err
		}
	}
	if len(pre.seen.Trust) == 0 {
		t, first, err := namespace.OpenChain(want, pre.trust)
		if _, lie := errors.AsType[*keys.TrustError](err); err != nil && !lie {
			return "", seen, t, fmt.Errorf("no registry answers there: %w", err)
		}
		if err != nil {
			return "", seen, t, err
		}
		if want.Defined() {
			return r.id, namespace.Seen{Trust: pre.trust}, t, nil
		}
		// Nobody named the registry. It may have been seen under another URL.
		want = first
		if pre.seen, err = r.cfg.Heads.Load(ctx, first.String()); err != nil {
			return "", seen, t, err
		}
		known := len(pre.seen.Trust)
		if known == 0 {
			return first.String(), namespace.Seen{Trust: pre.trust}, t, nil
		}
		pre.trust = pre.trust[min(known, len(pre.trust)):]
		pre.proof = nil
	}
	seen = pre.seen
	if t, _, err = namespace.OpenChain(want, seen.Trust); err != nil {
		return "", seen, t, err
	}
	for _, raw := range pre.trust {
		if seen, t, err = seen.Advance(t, raw); err != nil {
			return "", seen, t, err
		}
	}
	return want.String(), seen, t, nil
}

// openHead is steps 2 and 5. A head that came malformed with other things is
// asked for by itself.
func (r *Registry) openHead(ctx context.Context, pre *answer, t namespace.Trust) (namespace.Head, error) {
	if pre.head != nil {
		h, err := namespace.OpenHead(pre.head, t)
		if _, lie := errors.AsType[*keys.TrustError](err); err == nil || lie {
			return h, err
		}
	}
	raw, err := r.cfg.Source.Read(ctx, "head", namespace.MaxHead)
	if err != nil {
		return namespace.Head{}, err
	}
	return namespace.OpenHead(raw, t)
}

// accept is step 4: h continues what was seen. A proof that came along is as
// good as one made from tiles, but if it fails the tiles decide.
func (r *Registry) accept(ctx context.Context, pre *answer, seen namespace.Seen, t namespace.Trust, h namespace.Head) (namespace.Seen, error) {
	from := sizeOf(seen)
	if from == 0 && t.Reset != nil {
		from = int64(t.Reset.Size) //nolint:gosec // bounded when it was decoded
	}
	if from == 0 || from >= h.Checkpoint.Size {
		return seen.Accept(t, h, nil)
	}
	if pre.proof != nil {
		if next, err := seen.Accept(t, h, pre.proof); err == nil {
			return next, nil
		}
	}
	proof, err := tlog.ProveConsistency(ctx, tiles{r.cfg.Source}, h.Checkpoint.Size, h.Checkpoint.Root, from)
	if err != nil {
		if te, ok := errors.AsType[*keys.TrustError](err); ok {
			te.Evidence = append(te.Evidence,
				keys.Evidence{Name: "head known here", Data: seen.Head}, keys.Evidence{Name: "head served", Data: h.Raw})
		}
		return seen, err
	}
	return seen.Accept(t, h, proof)
}

// pin remembers which registry answers at the URL.
func (r *Registry) pin(id string) error {
	first := r.id == ""
	r.id = id
	if !first && r.cfg.ID == "" || r.cfg.URL == "" {
		r.pinned = r.pinned || first
		return nil
	}
	if err := r.cfg.Memory.Save(r.pinPath(), []byte(id+"\n")); err != nil {
		return fmt.Errorf("pin registry %s: %w", r.label(), err)
	}
	r.pinned = r.pinned || first
	return nil
}

// stand makes h the head of this run.
func (r *Registry) stand(t namespace.Trust, h namespace.Head, f namespace.Freshness) {
	if r.head == nil || !r.head.Commit.M.Equals(h.Commit.M) {
		r.reader = vmap.NewReader(&r.blocks, h.Commit.M)
	}
	r.trust, r.head, r.fresh = t, &h, f
}

// size returns the size of the head of this run.
func (r *Registry) size() uint64 { return r.head.Commit.N + 1 }

// sizeOf returns the size of the head remembered, 0 if there is none.
func sizeOf(seen namespace.Seen) int64 {
	n, err := seen.Size()
	if err != nil {
		return 0 // Accept opens the same bytes and fails
	}
	return n
}
