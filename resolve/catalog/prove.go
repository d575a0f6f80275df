package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// ProveAll proves the rows of a lock as Prove does, and that each lists what its
// release depends on, with as few round trips as the source allows.
func (r *Registry) ProveAll(ctx context.Context, rows []lockfile.Package) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var ask []name.Name
	for i := range rows {
		if !r.cfg.Offline && !r.proved(&rows[i], true) && r.release(&rows[i]) == nil {
			ask = append(ask, rows[i].Name)
		}
	}
	if len(ask) > 0 {
		if err := r.prefetch(ctx, ask, false); err != nil {
			return err
		}
	}
	for i := range rows {
		if err := r.prove(ctx, &rows[i], true); err != nil {
			return err
		}
	}
	return nil
}

// Prove checks that what a lock row says is what the author's log says, and that
// the log is the one the registry has under the name, at any head we have come
// to believe, however old. A row proved once is recorded, and proved again
// without a look at anything else. Of the row's edges it says only that none is
// invented. The errors are *keys.TrustError and
// *resolve.UnavailableError.
func (r *Registry) Prove(ctx context.Context, row lockfile.Package) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prove(ctx, &row, false)
}

// Proved reports whether ProveAll proved the row before, asking nobody.
func (r *Registry) Proved(row lockfile.Package) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.proved(&row, true)
}

// Release returns what the author's log says of a row that ProveAll or Prove
// accepted: what a lock does not hold, above all the constraints of its
// dependencies. It asks nobody as long as Memory keeps what proved the row. The
// errors are those of Prove.
func (r *Registry) Release(ctx context.Context, row lockfile.Package) (resolve.Release, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rel, err := r.find(ctx, &row)
	if err != nil {
		return resolve.Release{}, err
	}
	return r.toRelease(r.names[row.Name].state(row.ID), rel), nil
}

func (r *Registry) prove(ctx context.Context, row *lockfile.Package, edges bool) error {
	if r.proved(row, edges) {
		return nil
	}
	rel, err := r.find(ctx, row)
	if err != nil {
		return err
	}
	err = compare(row, rel, r.names[row.Name].state(row.ID))
	if err == nil {
		err = r.compareEdges(row, rel, edges)
	}
	if err != nil {
		return fmt.Errorf("registry %s: %w", r.label(), err)
	}
	if err := r.cfg.Memory.Save(r.provedPath(row, edges), nil); err != nil {
		return fmt.Errorf("record %s %s as proved: %w", row.Name, row.Version, err)
	}
	return nil
}

// find returns what the logs say of the row's version: those at hand, and if they
// do not know it, those at the head of this run.
func (r *Registry) find(ctx context.Context, row *lockfile.Package) (*author.Released, error) {
	if rel := r.release(row); rel != nil {
		return rel, nil
	}
	if _, err := r.know(ctx, row.Name, false); err != nil {
		return nil, err
	}
	if rel := r.release(row); rel != nil {
		return rel, nil
	}
	return nil, r.unproved(row)
}

// release returns what the logs at hand say of the row's version.
func (r *Registry) release(row *lockfile.Package) *author.Released {
	if r.id == "" {
		return nil
	}
	s := r.atHand(row.Name).state(row.ID)
	if s == nil {
		return nil
	}
	for i := range s.Releases {
		if s.Releases[i].Version.Compare(row.Version) == 0 {
			return &s.Releases[i]
		}
	}
	return nil
}

// unproved says why a row is not in the log of its name.
func (r *Registry) unproved(row *lockfile.Package) error {
	e := r.names[row.Name]
	if r.head == nil || row.Commit >= r.size() {
		return r.unavailable(row.Name, fmt.Errorf("the lock names commit %d, later than what is known here", row.Commit))
	}
	te := &keys.TrustError{
		Subject: fmt.Sprintf("%s %s", row.Name, row.Version),
		Ours:    fmt.Sprintf("package %x of %s", row.ID[:8], row.Author),
	}
	switch {
	case e.record == nil:
		te.What, te.Theirs = "the lock names a package that the registry does not have", "no such name"
	case e.state(row.ID) != nil:
		te.What, te.Theirs = "the lock names a release that its author's log does not have", fmt.Sprintf("%d entries without it", e.state(row.ID).Size)
	case e.State == nil:
		te.What, te.Theirs = "the lock names a package that the registry does not have", "a reserved name"
	default:
		te.What, te.Theirs = "the name belongs to another author than the lock says", fmt.Sprintf("package %x of %s", e.State.ID[:8], e.State.Author)
	}
	return fmt.Errorf("registry %s: %w", r.label(), te)
}

// compare says in what a row differs from its release.
func compare(row *lockfile.Package, rel *author.Released, s *author.State) error {
	signer := rel.Signer
	if signer == s.Author {
		signer = ""
	}
	for _, f := range []struct {
		what         string
		ours, theirs any
	}{
		{"version", row.Version.String(), rel.Version.String()},
		{"root", row.Root.String(), rel.Release.Root.String()},
		{"author", row.Author, s.Author},
		{"entry", row.Entry, rel.Index},
		{"log", hex.EncodeToString(row.Log[:]), hex.EncodeToString(rel.LogRoot[:])},
		{"commit", row.Commit, rel.Recorded.Commit},
		{"size", row.Size, int64(rel.Release.Size)}, //nolint:gosec // bounded by the author log
		{"signer", row.Signer, signer},
	} {
		if f.ours != f.theirs {
			return &keys.TrustError{
				Subject: fmt.Sprintf("%s %s", row.Name, row.Version),
				What:    "the lock and the author's log differ in " + f.what,
				Ours:    fmt.Sprint(f.ours), Theirs: fmt.Sprint(f.theirs),
			}
		}
	}
	return nil
}

// compareEdges checks that the row depends on nothing its release does not, on
// each from the registry that the release means, unless the project puts a path
// in its place, and with all set that it leaves nothing out that is not optional.
// Which id the lock's names of other registries stand for is not known here, nor
// the version that an edge leads to: who has the whole lock holds both against
// what Release says.
func (r *Registry) compareEdges(row *lockfile.Package, rel *author.Released, all bool) error {
	distrust := func(what string, n name.Name) error {
		return &keys.TrustError{
			Subject: fmt.Sprintf("%s %s", row.Name, row.Version),
			What:    fmt.Sprintf("the lock %s a dependency on %s", what, n),
		}
	}
	edges := make(map[name.Name]string, len(row.Dependencies))
	for _, e := range row.Dependencies {
		from, n := row.Edge(e)
		edges[n] = from
	}
	known := make(map[name.Name]bool, len(rel.Release.Deps))
	for _, d := range rel.Release.Deps {
		known[d.Name] = true
		from, there := edges[d.Name]
		own := d.Registry == "" || d.Registry == r.id
		switch {
		case all && !d.Optional && !there:
			return distrust("leaves out", d.Name)
		case there && from != "" && own != (from == row.Registry):
			return distrust("takes from the wrong registry", d.Name)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(edges)) {
		if !known[n] {
			return distrust("invents", n)
		}
	}
	return nil
}

// provedPath names the record that a row was proved, by all the row says.
func (r *Registry) provedPath(row *lockfile.Package, edges bool) string {
	all := fmt.Sprintf("%q %q %q %q %x %d %x %d %q %d %q %q %t", r.id, row.Name, row.Version.String(), row.Author,
		row.ID, row.Entry, row.Log, row.Commit, row.Root.String(), row.Size, row.Signer, row.Dependencies, edges)
	h := sha256.Sum256([]byte(all))
	return "proved/" + hex.EncodeToString(h[:])
}

func (r *Registry) proved(row *lockfile.Package, edges bool) bool {
	if r.id == "" {
		return false
	}
	_, err := r.cfg.Memory.Load(r.provedPath(row, edges))
	return err == nil
}
