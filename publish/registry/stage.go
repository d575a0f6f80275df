//go:build unix

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/keys/vmap"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/publish"
)

// opsBudget bounds the entries of one commit, so that its ops block stays below
// 1 MiB: each entry counts with entryOverhead bytes for its name and framing.
const (
	opsBudget     = 1<<20 - 64<<10
	entryOverhead = 256
)

// work is one submission on its way through the sequencer.
type work struct {
	entries []author.Entry
	size    int // its share of an ops block
	receipt Receipt
	answer  chan reply // of capacity 1: the sequencer never waits for a publisher
}

type reply struct {
	receipt Receipt
	err     error
}

// pkg is a package or scope as it is recorded. It does not change.
type pkg struct {
	record namespace.Record
	state  *author.State
	index  author.Index
}

// stage is a commit while it is put together: the published state, and the
// changes to it so far. It is used by one goroutine.
type stage struct {
	s        *Server
	base     namespace.Commit
	at       author.Recorded
	reader   *vmap.Reader
	changes  map[name.Name]*change
	order    []name.Name
	ids      map[[32]byte]name.Name
	size     int
	accepted []*work
}

// change is what a commit does to one name.
type change struct {
	was     *pkg   // nil for a new name
	claim   []byte // the genesis envelope of a new name
	entries [][]byte
	state   *author.State // after them
}

func (c *change) clone() *change {
	d := *c
	d.entries = c.entries[:len(c.entries):len(c.entries)]
	d.state = c.state.Clone()
	return &d
}

func (s *Server) newStage(context.Context) (*stage, error) {
	base := s.now.Load().head.Commit
	t := max(base.T, s.cfg.Now().Unix())
	return &stage{
		s: s, base: base, at: author.Recorded{Commit: base.N + 1, T: t},
		reader:  vmap.NewReader(s.blocks, base.M),
		changes: map[name.Name]*change{}, ids: map[[32]byte]name.Name{},
	}, nil
}

// addAll adds the works of batch in order, answers those that are refused, and
// returns those that do not fit any more.
func (st *stage) addAll(ctx context.Context, batch []*work) []*work {
	for i, w := range batch {
		if len(st.accepted) > 0 && st.size+w.size > opsBudget {
			return batch[i:]
		}
		if err := st.add(ctx, w); err != nil {
			w.answer <- reply{err: err}
			continue
		}
		st.accepted = append(st.accepted, w)
		st.size += w.size
	}
	return nil
}

// acknowledge answers the accepted works; n is the commit that recorded what
// was not recorded before.
func (st *stage) acknowledge(n uint64) {
	for _, w := range st.accepted {
		if w.receipt.Commit == 0 {
			w.receipt.Commit = n
		}
		w.answer <- reply{receipt: w.receipt}
	}
}

// add adds all entries of w, or none.
func (st *stage) add(ctx context.Context, w *work) error {
	t := trial{stage: st, changes: map[name.Name]*change{}, ids: map[[32]byte]name.Name{}}
	w.receipt = Receipt{}
	for _, e := range w.entries {
		if err := t.entry(ctx, e, w); err != nil {
			return err
		}
	}
	for _, n := range t.order {
		if st.changes[n] == nil {
			st.order = append(st.order, n)
		}
	}
	maps.Copy(st.changes, t.changes)
	maps.Copy(st.ids, t.ids)
	return nil
}

// trial is what one work changes, apart until all of it is found right.
type trial struct {
	*stage
	changes map[name.Name]*change
	order   []name.Name
	ids     map[[32]byte]name.Name
}

func (t *trial) entry(ctx context.Context, e author.Entry, w *work) error {
	if e.Body.Kind == author.KindGenesis {
		return t.genesis(ctx, e, w)
	}
	n, ok := t.ids[e.Body.Pkg]
	if !ok {
		n, ok = t.stage.ids[e.Body.Pkg]
	}
	if !ok {
		n, ok = t.s.nameOf(e.Body.Pkg)
	}
	if !ok {
		return refuse(http.StatusNotFound, "send the genesis entry of the package first",
			"entry %d belongs to a package this registry does not know (%x)", e.Body.I, e.Body.Pkg[:8])
	}
	c, err := t.change(ctx, n)
	if err != nil {
		return err
	}
	if done, err := t.position(ctx, n, c, e, w); done || err != nil {
		return err
	}
	if c.was != nil && c.was.record.Status != namespace.Active {
		return refuse(http.StatusForbidden, "", "%s is closed in this registry", n)
	}
	if err := freshVersion(n, c.state, e); err != nil {
		return err
	}
	return t.apply(n, c, e, w)
}

// position finds out whether e is recorded already, follows what is, or
// neither.
func (t *trial) position(ctx context.Context, n name.Name, c *change, e author.Entry, w *work) (done bool, err error) {
	if e.Body.I > c.state.Size {
		return false, refuse(http.StatusConflict, "", "entry %d of %s does not follow: the log has %d entries", e.Body.I, n, c.state.Size)
	}
	if e.Body.I == c.state.Size {
		if e.Body.Prev != c.state.LogRoot() {
			return false, stale(n, e, c.state.Size)
		}
		return false, nil
	}
	raw, commit, err := t.recorded(ctx, c, e.Body.I)
	if err != nil {
		return false, err
	}
	have, err := author.Decode(raw)
	if err != nil {
		return false, fmt.Errorf("entry %d of %s on disk: %w", e.Body.I, n, err)
	}
	if !bytes.Equal(have.Leaf, e.Leaf) {
		return false, stale(n, e, c.state.Size)
	}
	w.receipt = Receipt{Size: c.state.Size, Commit: commit}
	return true, nil
}

func stale(n name.Name, e author.Entry, size uint64) error {
	return refuse(http.StatusConflict, "refresh and publish again: the signed entry is made anew on top of the log as it is now",
		"entry %d of %s was signed for another position: the author log moved on to %d entries", e.Body.I, n, size)
}

// recorded returns entry i, and the commit that recorded it: 0 for the one
// being put together.
func (t *trial) recorded(ctx context.Context, c *change, i uint64) (raw []byte, commit uint64, err error) {
	size := uint64(0)
	if c.was != nil {
		size = c.was.record.Size
	}
	if i >= size {
		i -= size
		if c.claim == nil {
			return c.entries[i], 0, nil
		}
		if i == 0 {
			return c.claim, 0, nil
		}
		return c.entries[i-1], 0, nil
	}
	for _, at := range c.was.index.At {
		if at.Size > i {
			commit = at.Commit
			break
		}
	}
	page, err := t.s.page(ctx, c.was.index, i/author.PageSize)
	if err != nil {
		return nil, 0, err
	}
	return page[i%author.PageSize], commit, nil
}

// genesis claims a name.
func (t *trial) genesis(ctx context.Context, e author.Entry, w *work) error {
	g := e.Body.Genesis
	if g.Origin != t.s.settings.Origin {
		return refuse(http.StatusUnprocessableEntity, "sign the genesis for this registry",
			"the genesis of %q is for the registry %q, this is %q", g.Name, g.Origin, t.s.settings.Origin)
	}
	n, err := parseName(g.Name)
	if err != nil {
		return t.badName(ctx, g.Name, err)
	}
	c, err := t.change(ctx, n)
	if errors.Is(err, errReserved) {
		return refuse(http.StatusConflict, "choose another name", "the name %s is reserved", n)
	}
	if err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	if c != nil {
		if c.state.ID != e.ID() {
			return taken(n, c.state)
		}
		_, err := t.position(ctx, n, c, e, w)
		return err
	}
	if err := t.scope(ctx, n, e); err != nil {
		return err
	}
	t.ids[e.ID()] = n
	return t.apply(n, &change{claim: e.Raw, state: &author.State{}}, e, w)
}

func taken(n name.Name, s *author.State) error {
	return refuse(http.StatusConflict, "choose another name, or a scope of your own: SCOPE/"+string(n),
		"the name %s belongs to %s", n, s.Author)
}

// badName explains why a name is refused: because it is no name, or because it
// folds to one that somebody has.
func (t *trial) badName(ctx context.Context, text string, why error) error {
	folded, err := parseName(name.Canonical(text))
	if err == nil && len(text) <= vmap.MaxName {
		if c, err := t.change(ctx, folded); err == nil {
			return refuse(http.StatusConflict, "choose another name",
				"%q is the same name as %s, which belongs to %s", text, folded, c.state.Author)
		}
	}
	return refuse(http.StatusUnprocessableEntity, "", "%v", why)
}

// scope checks that the scope's owner agrees to a name beneath it.
func (t *trial) scope(ctx context.Context, n name.Name, e author.Entry) error {
	if n.IsScope() || n.Scope() == "" {
		return nil
	}
	s, err := name.ParseScope(n.Scope() + "/")
	if err != nil {
		return fmt.Errorf("scope of %s: %w", n, err)
	}
	c, err := t.change(ctx, s)
	if errors.Is(err, errAbsent) {
		return refuse(http.StatusUnprocessableEntity, "send a genesis entry of "+string(s)+" first, in the same submission",
			"the scope %s is not claimed yet", s)
	}
	if err != nil {
		return err
	}
	if namespace.CheckScope(e, c.state.Root) != nil {
		return refuse(http.StatusForbidden, "ask the scope's owner to sign the genesis too",
			"the scope %s belongs to %s, who did not sign the claim of %s", s, c.state.Author, n)
	}
	return nil
}

// apply adds e to the change of n.
func (t *trial) apply(n name.Name, c *change, e author.Entry, w *work) error {
	next := c.clone()
	if err := next.state.Apply(e, t.at); err != nil {
		return refuse(http.StatusUnprocessableEntity, "", "entry %d of %s: %v", e.Body.I, n, err)
	}
	if e.Body.Kind != author.KindGenesis {
		next.entries = append(next.entries, e.Raw)
	}
	if t.changes[n] == nil {
		t.order = append(t.order, n)
	}
	t.changes[n] = next
	w.receipt = Receipt{Size: next.state.Size}
	return nil
}

// freshVersion refuses to release a version again.
func freshVersion(n name.Name, s *author.State, e author.Entry) error {
	if e.Body.Kind != author.KindRelease {
		return nil
	}
	v, err := semver.Parse(e.Body.Release.Version)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "", "version of %s: %v", n, err)
	}
	for _, r := range s.Releases {
		if have, err := semver.Parse(r.Release.Version); err == nil && have.Core() == v.Core() {
			return refuse(http.StatusConflict, "publish under a new version",
				"%s %s is released already, with root %s", n, r.Release.Version, r.Release.Root)
		}
	}
	return nil
}

var (
	errAbsent   = errors.New("no such name")
	errReserved = errors.New("a reserved name")
)

// change returns what is to become of n, errAbsent if nobody has it.
func (t *trial) change(ctx context.Context, n name.Name) (*change, error) {
	if c := t.changes[n]; c != nil {
		return c, nil
	}
	if c := t.stage.changes[n]; c != nil {
		return c, nil
	}
	p, err := t.s.pkg(ctx, t.reader, n)
	if err != nil {
		return nil, err
	}
	return &change{was: p, state: p.state}, nil
}

// parseName accepts names and scopes.
func parseName(s string) (name.Name, error) {
	if len(s) > 0 && s[len(s)-1] == '/' {
		return name.ParseScope(s)
	}
	return name.Parse(s)
}

func refuse(status int, help, format string, args ...any) error {
	return &publish.RefusedError{Status: status, Reason: fmt.Sprintf(format, args...), Help: help}
}
