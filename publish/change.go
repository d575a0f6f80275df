package publish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/lockfile"
	"pkg/lockfile/name"
)

// maxStale is how often a change is made anew because the log moved on.
const maxStale = 3

// change is one entry to be added to an author log.
type change struct {
	o     Options
	name  name.Name
	packs []Pack
	claim bool // claim the name if nobody has it
	// done finds the entry in the log if it needs no adding.
	done func(s *author.State) (entry uint64, there bool, err error)
	// body makes the entry; position and time are filled in.
	body func() author.Body
}

// run brings the change about and returns where it is recorded, with the state
// of the log that shows it.
func (c *change) run(ctx context.Context) (*Receipt, *author.State, error) {
	if c.o.Key.IsZero() {
		return nil, nil, errors.New("no key to sign with")
	}
	box, err := openOutbox(ctx, c.o.Outbox, c.name)
	if err != nil {
		return nil, nil, err
	}
	r, s, err := c.locked(ctx, box)
	return r, s, errors.Join(err, box.close())
}

func (c *change) locked(ctx context.Context, box *outbox) (*Receipt, *author.State, error) {
	r := &Receipt{Name: c.name}
	if _, _, err := c.o.Catalog.Refresh(ctx); err != nil {
		return nil, nil, err
	}
	box.choose(c.o.Catalog.ID())
	sent, err := c.flush(ctx, box, r)
	if err != nil {
		return nil, nil, err
	}
	for try := 0; ; try++ {
		s, there, err := c.look(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		if there {
			r.AlreadyThere = try == 0 && !sent
			return r, s, nil
		}
		err = c.add(ctx, box, s, r)
		if stale(err) && try < maxStale {
			if _, _, err := c.o.Catalog.Refresh(ctx); err != nil {
				return nil, nil, err
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		return c.verify(ctx, r)
	}
}

// flush sends what an earlier run signed and could not finish. A registry that
// refuses it settles the matter: it is not recorded and need not be kept.
func (c *change) flush(ctx context.Context, box *outbox, r *Receipt) (sent bool, err error) {
	entries, err := box.load()
	if err != nil || entries == nil {
		return false, err
	}
	c.o.event(Event{Step: "push", Name: c.name})
	err = c.o.Registry.Push(ctx, Submission{Entries: entries, Packs: c.packsFor(entries)})
	var refused *RefusedError
	switch {
	case errors.As(err, &refused) && final(refused):
		r.Warnings = append(r.Warnings, "an entry that was signed earlier and not sent was refused now: "+refused.Reason)
	case err != nil:
		return false, fmt.Errorf("send what was signed earlier: %w", err)
	default:
		sent = true
	}
	if err := box.remove(); err != nil {
		return sent, err
	}
	_, _, err = c.o.Catalog.Refresh(ctx)
	return sent, err
}

// packsFor returns the packs at hand that saved entries release.
func (c *change) packsFor(entries [][]byte) []Pack {
	var packs []Pack
	for _, raw := range entries {
		e, err := author.Decode(raw)
		if err != nil || e.Body.Kind != author.KindRelease {
			continue
		}
		for _, p := range c.packs {
			if p.Root.Equals(e.Body.Release.Root) {
				packs = append(packs, p)
			}
		}
	}
	return packs
}

// look finds out where the log is, and whether the entry is in it.
func (c *change) look(ctx context.Context, r *Receipt) (s *author.State, there bool, err error) {
	s, rec, err := c.o.Catalog.State(ctx, c.name)
	if err != nil {
		return nil, false, err
	}
	if rec == nil {
		if !c.claim {
			return nil, false, &AbsentError{Name: c.name}
		}
		return nil, false, nil
	}
	if s == nil || rec.Status != namespace.Active {
		return nil, false, fmt.Errorf("%s is %s in this registry: nothing can be published under it", c.name, rec.Status)
	}
	if !mayRelease(s, c.o.Key.Public()) {
		return nil, false, &OwnedError{Name: c.name, Owner: s.Author, Key: c.o.Key.Author()}
	}
	entry, there, err := c.done(s)
	if there {
		r.Entry, r.Author = entry, s.Author
		r.Commit = commitOf(s, entry)
	}
	return s, there, err
}

// mayRelease reports whether key alone can sign releases.
func mayRelease(s *author.State, key [32]byte) bool {
	for _, k := range s.ReleaseKeys {
		if k.Key == key {
			return true
		}
	}
	return s.Root.Threshold == 1 && slices.Contains(s.Root.Keys, key)
}

// add signs, saves and sends the entry, with the claims that it needs.
func (c *change) add(ctx context.Context, box *outbox, s *author.State, r *Receipt) error {
	c.o.event(Event{Step: "sign", Name: c.name})
	r.NewName, r.NewScope = false, false
	var entries [][]byte
	if s == nil {
		scope, err := c.claimScope(ctx)
		if err != nil {
			return err
		}
		if scope != nil {
			entries = append(entries, scope)
			r.NewScope = true
		}
		e, first, err := c.genesis(c.name)
		if err != nil {
			return err
		}
		entries = append(entries, e)
		s, r.NewName = first, true
	}
	e, err := c.sign(s)
	if err != nil {
		return err
	}
	entries = append(entries, e.Raw)
	if err := box.save(entries); err != nil {
		return err
	}
	size := int64(0)
	for _, p := range c.packs {
		size += p.Size
	}
	c.o.event(Event{Step: "push", Name: c.name, Size: size})
	err = c.o.Registry.Push(ctx, Submission{Entries: entries, Packs: c.packs})
	var refused *RefusedError
	if errors.As(err, &refused) && final(refused) {
		return errors.Join(err, box.remove())
	}
	if err != nil {
		return err
	}
	r.Entry = e.Body.I
	return box.remove()
}

// sign makes the entry that follows s. It is tried on s first, so that what no
// reader would accept is never signed away.
func (c *change) sign(s *author.State) (author.Entry, error) {
	b := c.body()
	b.Pkg, b.I, b.Prev, b.T = s.ID, s.Size, s.LogRoot(), c.o.Now().Unix()
	e, err := author.Sign(b, c.o.Key)
	if err != nil {
		return e, fmt.Errorf("sign entry %d of %s: %w", b.I, c.name, err)
	}
	if err := s.Clone().Apply(e, author.Recorded{T: b.T}); err != nil {
		return e, fmt.Errorf("entry %d of %s: %w", b.I, c.name, err)
	}
	return e, nil
}

// genesis claims n for the key.
func (c *change) genesis(n name.Name) ([]byte, *author.State, error) {
	b := author.Body{T: c.o.Now().Unix(), Kind: author.KindGenesis, Genesis: &author.Genesis{
		Origin: c.o.Catalog.Origin(), Name: string(n),
		Root: author.RootSet{Keys: [][32]byte{c.o.Key.Public()}, Threshold: 1},
	}}
	e, err := author.Sign(b, c.o.Key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the claim of %s: %w", n, err)
	}
	s := &author.State{}
	if err := s.Apply(e, author.Recorded{T: b.T}); err != nil {
		return nil, nil, fmt.Errorf("claim of %s: %w", n, err)
	}
	return e.Raw, s, nil
}

// claimScope returns the genesis of the name's scope if nobody has it yet.
func (c *change) claimScope(ctx context.Context) ([]byte, error) {
	if c.name.Scope() == "" {
		return nil, nil
	}
	scope, err := name.ParseScope(c.name.Scope() + "/")
	if err != nil {
		return nil, err
	}
	s, rec, err := c.o.Catalog.State(ctx, scope)
	if err != nil {
		return nil, err
	}
	if rec == nil {
		raw, _, err := c.genesis(scope)
		return raw, err
	}
	if s == nil || s.Root.Threshold != 1 || !slices.Contains(s.Root.Keys, c.o.Key.Public()) {
		owner := name.Author("")
		if s != nil {
			owner = s.Author
		}
		return nil, &OwnedError{Name: scope, Owner: owner, Key: c.o.Key.Author()}
	}
	return nil, nil
}

// verify reads back what the registry shows to everybody.
func (c *change) verify(ctx context.Context, r *Receipt) (*Receipt, *author.State, error) {
	c.o.event(Event{Step: "verify", Name: c.name})
	if _, _, err := c.o.Catalog.Refresh(ctx); err != nil {
		return nil, nil, err
	}
	entry := r.Entry
	s, there, err := c.look(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	if r.Entry = entry; s != nil {
		r.Commit = commitOf(s, entry)
	}
	if !there {
		return nil, nil, fmt.Errorf("the registry accepted entry %d of %s, but does not show it", r.Entry, c.name)
	}
	return r, s, nil
}

// prove proves the release as an installer would, from a row of a lock.
func prove(ctx context.Context, o Options, s *author.State, r *Receipt) error {
	row := lockfile.Package{
		Name: r.Name, Version: r.Version, Registry: o.Catalog.Row().Name, Author: s.Author, ID: s.ID,
		Entry: r.Entry, Commit: r.Commit, Root: r.Root, Size: r.Size,
	}
	for _, rel := range s.Releases {
		if rel.Index == r.Entry {
			row.Log = rel.LogRoot
			if rel.Signer != s.Author {
				row.Signer = rel.Signer
			}
		}
	}
	if err := o.Catalog.Prove(ctx, row); err != nil {
		return fmt.Errorf("verify what the registry shows of %s: %w", r.Name, err)
	}
	return nil
}

// commitOf returns the commit that recorded a release or the last entry, 0 for
// another.
func commitOf(s *author.State, entry uint64) uint64 {
	for _, r := range s.Releases {
		if r.Index == entry {
			return r.Recorded.Commit
		}
	}
	if entry+1 == s.Size {
		return s.Last.Commit
	}
	return 0
}

// stale reports whether the registry refused because the log moved on.
func stale(err error) bool {
	var refused *RefusedError
	return errors.As(err, &refused) && refused.Status == http.StatusConflict
}

// final reports whether a refusal stands: the entry was looked at and not
// recorded. Too many requests is not final.
func final(e *RefusedError) bool {
	return e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout
}
