// Package resolve decides which version of every package a project uses.
//
// The caller describes what is wanted in a [Request] and hands in a [Catalog],
// the source of what exists. [Resolve] returns one release for every package
// that is needed, directly or not, such that every dependency of every chosen
// release is met. It finds a solution whenever there is one (within the
// budget), and the same input always gives the same answer.
//
// The rules:
//
//   - One version of a name in a tree; two registries that supply the same
//     name in one tree are a conflict.
//   - A locked version that still fits is kept; else the strategy decides.
//   - Yanked releases, and releases of a removed package, are chosen only if
//     locked.
//   - A pre-release fits a constraint only if one of the constraint's own
//     comparators names a pre-release of the same major.minor.patch, or the
//     lock holds it.
//   - An optional dependency constrains a package only if something else
//     brings it into the tree.
//   - A release younger than the request's minimum age is chosen only if
//     locked. Its age counts from the namespace commit that recorded it, which
//     its author cannot forge.
//
// Nothing here knows of networks, disks or clocks. The rooms below are keys and
// lockfile; package catalog holds the real Catalog.
package resolve

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve/internal/pubgrub"
)

// A Key names a package: the id of a registry and a name in it. The registry is
// empty for a package that is a folder on this machine (a path dependency).
type Key struct {
	Registry string // id of the registry: the CID text of its first trust root
	Name     name.Name
}

// A Dep is one dependency, of the project or of a release.
type Dep struct {
	Key
	Constraint semver.Constraint // the zero value admits every release
	Author     name.Author       // if set, the package must be this author's
	Optional   bool              // constrains the package only if it is present
	Dev        bool              // needed to work on the project, not to use it
	Path       string            // set for a path dependency; Key.Registry is then empty
	From       string            // who asks, for messages: "pkg.toml" or "left-pad 1.3.0"
}

// A Release is one version of a package and what a lock row says of it.
type Release struct {
	Version semver.Version
	Deps    []Dep
	Yanked  string // why it was yanked; empty if it was not
	// Broken says why nobody can use it; empty if they can.
	Broken string
	// Deprecated says why it should not be used any more, empty if it may.
	Deprecated string
	T          int64 // unix seconds of the commit that recorded it

	Author name.Author // first root key of the package
	ID     [32]byte    // package id
	Entry  uint64      // index of the release in the author log
	Log    [32]byte    // root of the author log through that entry
	Commit uint64      // namespace commit that recorded it
	Root   cid.Cid
	Size   int64       // bytes of all files
	Signer name.Author // set if it is not Author
	Bin    map[string]string
	Path   string // folder of a path dependency; then all but Version and Deps is zero
}

// Status says what the registry says of a name.
type Status uint8

// The states of a name.
const (
	Active  Status = iota
	Frozen         // no new releases; the old ones are as good as before
	Removed        // chosen only if locked
)

// A Package is everything that exists under one key.
type Package struct {
	Key
	ID       [32]byte    // id of the package the name stands for now
	Author   name.Author // first root key of that package
	Epoch    uint64      // counts the transfers of the name
	Status   Status
	Releases []Release // by version, ascending
}

// A Catalog knows what exists. Its answers must not change during one Resolve.
//
// Package returns *NotFoundError if it is proved that no such package exists,
// and *UnavailableError if that cannot be said now (offline, network). Every
// other error ends the resolution. The result belongs to the catalog and is
// not changed.
//
// Prefetch hints that the packages will be asked for. It returns an error only
// if going on is pointless (a trust failure, a cancelled context).
//
// Resolve calls from one goroutine.
type Catalog interface {
	Package(ctx context.Context, k Key) (*Package, error)
	Prefetch(ctx context.Context, ks []Key) error
}

// Strategy says which of the versions that fit is best.
type Strategy uint8

// The strategies. A locked version comes first with each of them.
const (
	Highest      Strategy = iota
	Lowest                // the lowest version everywhere
	LowestDirect          // the lowest of direct dependencies, the highest of all others
)

// An Identity is what a lock remembers of a package's owner.
type Identity struct {
	ID     [32]byte
	Author name.Author
}

// A Request says what is wanted. The zero value of every field but Roots is a
// good default.
type Request struct {
	Roots     []Dep
	Locked    map[Key]semver.Version          // versions to keep where they fit
	Admit     map[Key]semver.Version          // versions that may be chosen though only a locked one might, as the last choice
	Known     map[Key]Identity                // owners of what is locked: another one is a trust failure
	Held      map[name.Name]bool              // names that have their locked version or none
	Free      map[name.Name]bool              // names whose locked version is to be forgotten
	Paths     map[name.Name]Release           // the release each path dependency has
	Overrides map[name.Name]semver.Constraint // replaces every constraint on that name
	Reasons   map[name.Name]string            // why overrides are there, for messages
	Strategy  Strategy                        // which version is best
	MinAge    time.Duration                   // releases recorded later than Now - MinAge are too young
	Now       time.Time                       // needed if MinAge is set
	Offline   bool                            // a package that is not at hand makes its dependents unusable instead of ending the resolution
	Budget    int                             // conflicts accepted before *BudgetError; 0 = 200,000; real graphs meet a few hundred at most
}

// Keep makes the request prefer the versions of l, and insist on the owners
// recorded there.
func (r *Request) Keep(l *lockfile.Lock) {
	if l == nil {
		return
	}
	ids := make(map[string]string, len(l.Registries))
	for _, g := range l.Registries {
		ids[g.Name] = g.ID
	}
	locked, known := maps.Clone(r.Locked), maps.Clone(r.Known)
	if locked == nil {
		locked = make(map[Key]semver.Version, len(l.Packages))
	}
	if known == nil {
		known = make(map[Key]Identity, len(l.Packages))
	}
	for _, p := range l.Packages {
		if p.Path != "" {
			continue
		}
		k := Key{ids[p.Registry], p.Name}
		locked[k] = p.Version
		known[k] = Identity{p.ID, p.Author}
	}
	r.Locked, r.Known = locked, known
}

// Selected is one package of a result.
type Selected struct {
	Key
	Release Release
	Edges   []Key // what Release depends on in this tree, by name
}

// A Result is a set of releases that satisfies a request.
type Result struct {
	Packages  []Selected // by name
	Conflicts int        // met on the way
}

// Resolve finds the releases that satisfy req. Its errors are *ConflictError,
// which [Explain] says more of, *BudgetError, *keys.TrustError for a package
// whose owner is not the known one, or what the catalog returned.
func Resolve(ctx context.Context, c Catalog, req Request) (*Result, error) {
	p := newProblem(c, &req)
	if err := p.announce(ctx); err != nil {
		return nil, err
	}
	var res *Result
	err := p.again(func() (err error) {
		res, err = p.solve(ctx, pubgrub.New(p))
		return err
	})
	return res, err
}

// solve answers the request with a solver of p, and checks the answer.
func (p *problem) solve(ctx context.Context, s *pubgrub.Solver) (*Result, error) {
	q, _ := p.query(p.req.Budget)
	choices, err := s.Solve(ctx, q)
	if errors.Is(err, pubgrub.ErrUnsatisfiable) {
		return nil, &ConflictError{problem: p}
	}
	if err != nil {
		return nil, p.failure(err)
	}
	res := p.result(choices)
	res.Conflicts = s.Stats().Conflicts
	if err := Verify(res, *p.req); err != nil {
		return nil, err
	}
	return res, nil
}
