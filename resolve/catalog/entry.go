package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// entry is what was proved of one name, as Memory keeps it. It is not changed
// once made.
type entry struct {
	At     uint64          // size of the head it was proved under
	Record []byte          // map value; empty if the name is proved absent
	State  *author.State   // of the package the name stands for; nil if it has no log
	Former []*author.State // of those it stood for before, oldest first

	record *namespace.Record
	pkg    *resolve.Package
}

// state returns the author log of a package that the name stands or stood for.
func (e *entry) state(id [32]byte) *author.State {
	if e == nil {
		return nil
	}
	if e.State != nil && e.State.ID == id {
		return e.State
	}
	for _, s := range e.Former {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (r *Registry) entryPath(n name.Name) string {
	return "names/" + r.id + "/_" + strings.ReplaceAll(string(n), "/", "~") + ".json"
}

// atHand returns what was proved of a name before, under whichever head; nil if
// there is nothing.
func (r *Registry) atHand(n name.Name) *entry {
	if e, ok := r.names[n]; ok {
		return e
	}
	e := r.load(n)
	if e != nil {
		r.names[n] = e
	}
	return e
}

// load reads what Memory keeps of a name. A file that cannot be read is as good
// as none: what it said can be proved again.
func (r *Registry) load(n name.Name) *entry {
	b, err := r.cfg.Memory.Load(r.entryPath(n))
	if err != nil {
		return nil
	}
	e := new(entry)
	if json.Unmarshal(b, e) != nil || len(e.Record) == 0 {
		return nil
	}
	if e.record, err = namespace.DecodeRecord(e.Record); err != nil {
		return nil
	}
	if e.record.Status != namespace.Reserved && e.state(e.record.ID) == nil {
		return nil
	}
	return e
}

// current returns what is proved of a name under the head of this run, or nil.
func (r *Registry) current(n name.Name) *entry {
	if e := r.atHand(n); e != nil && r.head != nil && e.At == r.size() {
		return e
	}
	return nil
}

// update proves what the head of this run says of the names and keeps it. Names
// of which it could not be told are in the result, each with the reason. With
// local set only blocks at hand are used. What is a trust failure once stays
// one for the run.
func (r *Registry) update(ctx context.Context, names []name.Name, local bool) map[name.Name]error {
	r.blocks.local = local
	fails := make(map[name.Name]error)
	type job struct {
		name     name.Name
		old, new *entry
		err      error
	}
	var jobs []*job
	for _, n := range names {
		if err, ok := r.lies[n]; ok {
			fails[n] = err
			continue
		}
		if r.current(n) != nil {
			continue
		}
		old := r.atHand(n)
		if r.ahead(ctx, old) {
			old = nil
		}
		e, err := r.lookup(ctx, n, old)
		if err != nil {
			fails[n] = err
			continue
		}
		jobs = append(jobs, &job{name: n, old: old, new: e})
	}
	// Verification of signatures takes most of the time of a local update, and
	// waiting that of another.
	var g errgroup.Group
	g.SetLimit(max(8, runtime.GOMAXPROCS(0)))
	for _, j := range jobs {
		g.Go(func() error {
			j.err = r.follow(ctx, j.name, j.old, j.new)
			return nil
		})
	}
	_ = g.Wait() // every job keeps its own error
	for _, j := range jobs {
		if j.err == nil {
			j.err = r.keep(j.name, j.new)
		}
		if j.err != nil {
			fails[j.name] = j.err
		}
	}
	for n, err := range fails {
		var te *keys.TrustError
		if errors.As(err, &te) && r.lies[n] == nil {
			fails[n] = r.distrust(err)
			r.lies[n] = fails[n]
		}
	}
	return fails
}

// ahead reports whether e was proved under a later head than that of this run,
// by another process, which remembered that head. What such a head says is no
// rule for an earlier one; an entry without its head is, or a rollback would go
// unseen.
func (r *Registry) ahead(ctx context.Context, e *entry) bool {
	if e == nil || e.At <= r.size() {
		return false
	}
	seen, err := r.cfg.Heads.Load(ctx, r.id)
	return err == nil && uint64(sizeOf(seen)) >= e.At //nolint:gosec // a size is not negative
}

// lookup reads the record of a name in the map (step 6) and checks that it
// continues what was known of the name (step 7).
func (r *Registry) lookup(ctx context.Context, n name.Name, old *entry) (*entry, error) {
	rec, err := namespace.Lookup(ctx, r.reader, n)
	if err != nil {
		return nil, err
	}
	e := &entry{At: r.size(), record: rec}
	if rec == nil {
		if old != nil && old.record != nil {
			return nil, &keys.TrustError{
				Subject: string(n), What: "the registry no longer knows a name it had recorded",
				Ours: fmt.Sprintf("recorded at log size %d", old.At), Theirs: fmt.Sprintf("absent at log size %d", e.At),
				Evidence: []keys.Evidence{{Name: "head", Data: r.head.Raw}, {Name: "record", Data: old.Record}},
			}
		}
		return e, nil
	}
	e.Record = rec.Encode()
	if old == nil || old.record == nil || old.record.Status == namespace.Reserved {
		return e, nil
	}
	known := namespace.Known{ID: old.record.ID, Epoch: old.record.Epoch, Size: old.record.Size, Log: old.record.Log}
	if rec.Epoch > known.Epoch && isFormer(rec, known.ID) {
		known = namespace.Known{Epoch: known.Epoch} // a transfer; who holds it in a lock is asked there
	}
	if err := rec.Check(string(n), known); err != nil {
		return nil, err
	}
	return e, r.checkFormer(n, old, rec)
}

// checkFormer checks that the logs that held a name before are those known, and
// after transfers also the one that held it then: a log left out hides versions,
// and one that comes from nowhere adds some.
func (r *Registry) checkFormer(n name.Name, old *entry, rec *namespace.Record) error {
	var known, now [][32]byte
	for _, f := range old.record.Former {
		known = append(known, f.ID)
	}
	for _, f := range rec.Former {
		now = append(now, f.ID)
	}
	later := rec.Epoch > old.record.Epoch
	if later {
		known = append(known, old.record.ID)
	}
	if len(now) >= len(known) && slices.Equal(known, now[:len(known)]) && (later || len(now) == len(known)) {
		return nil
	}
	return &keys.TrustError{
		Subject: string(n), What: "the registry changed which logs held the name before",
		Ours: fmt.Sprintf("packages %x", known), Theirs: fmt.Sprintf("packages %x", now),
		Evidence: []keys.Evidence{{Name: "head", Data: r.head.Raw}, {Name: "record known here", Data: old.Record}, {Name: "record", Data: rec.Encode()}},
	}
}

func isFormer(rec *namespace.Record, id [32]byte) bool {
	for _, f := range rec.Former {
		if f.ID == id {
			return true
		}
	}
	return false
}

// follow reads the author logs behind a record (step 8), the new pages only.
func (r *Registry) follow(ctx context.Context, n name.Name, old, e *entry) error {
	if e.record == nil || e.record.Status == namespace.Reserved {
		return nil
	}
	rec := e.record
	for _, f := range rec.Former {
		s, err := r.followOne(ctx, n, old.state(f.ID), f)
		if err != nil {
			return err
		}
		e.Former = append(e.Former, s)
	}
	s, err := r.followOne(ctx, n, old.state(rec.ID), namespace.Former{ID: rec.ID, Size: rec.Size, Log: rec.Log, Index: rec.Index})
	e.State = s
	return err
}

func (r *Registry) followOne(ctx context.Context, n name.Name, s *author.State, at namespace.Former) (*author.State, error) {
	if s == nil {
		s = new(author.State)
	}
	if s.Size == at.Size && s.ID == at.ID && s.LogRoot() == at.Log {
		return s, nil
	}
	s, err := author.Follow(ctx, s, &r.blocks, at.ID, at.Size, at.Log, at.Index)
	if err != nil {
		return nil, err
	}
	distrust := func(what, ours, theirs string) error {
		return &keys.TrustError{
			Subject: string(n), What: what, Ours: ours, Theirs: theirs,
			Evidence: []keys.Evidence{{Name: "head", Data: r.head.Raw}},
		}
	}
	switch origin := r.trust.Origin; {
	case s.Name != string(n):
		return nil, distrust("the log under this name was begun for another name", string(n), s.Name)
	case s.Origin != origin:
		return nil, distrust("the log under this name was begun for another registry", origin, s.Origin)
	}
	if s.Last.Commit > r.head.Commit.N || s.Last.T > r.head.Commit.T {
		return nil, distrust("an entry is recorded by a commit that is yet to come",
			fmt.Sprintf("commit %d", r.head.Commit.N), fmt.Sprintf("commit %d", s.Last.Commit))
	}
	return s, nil
}

// keep remembers an entry, in Memory if there is something in it and no other
// process knows a later one.
func (r *Registry) keep(n name.Name, e *entry) error {
	if there := r.load(n); e.record != nil && (there == nil || there.At <= e.At) {
		b, err := json.Marshal(e)
		if err == nil {
			err = r.cfg.Memory.Save(r.entryPath(n), b)
		}
		if err != nil {
			return fmt.Errorf("remember %s: %w", n, err)
		}
	}
	r.names[n] = e
	return nil
}
