package resolve

import (
	"context"
	"errors"
	"slices"

	"pkg/keys"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// errNone says that the oracle found no solution.
var errNone = errors.New("no solution")

// Backtrack answers a request by plain search, as an oracle. It shares no code
// with the solver; what may be chosen at all it takes from usable and admits.
func Backtrack(ctx context.Context, c Catalog, req Request) (*Result, error) {
	s := newSolver(ctx, c, req)
	if err := s.solve(); err != nil {
		return nil, err
	}
	res := s.result()
	return res, Verify(res, req)
}

// solver is a backtracking search that jumps back over decisions that had no
// part in a failure (conflict-directed backjumping, Prosser 1993). It keeps its
// own stack, so the depth of a graph costs memory and not recursion.
//
// Every decision is a level: level 0 is the project itself, every other level
// gives one version to one package. A level's failure is blamed on the earlier
// levels that brought it about. When a level has no candidate left, the search
// goes back to the latest level blamed, which inherits the rest of the blame;
// when only level 0 is left to blame, there is no solution.
type solver struct {
	ctx context.Context // of one Resolve
	cat Catalog
	req Request

	byKey  map[Key]*variable
	byName map[name.Name][]*variable
	direct map[name.Name]bool

	levels  []*level
	active  []*variable // in order of discovery
	singles []*variable // active ones with at most one candidate left, in order
	steps   int         // decisions made

	conflicts int
}

// level is one decision and what it takes to undo it.
type level struct {
	v     *variable  // nil at level 0
	mask  semver.Set // candidates when the level began
	pos   int        // position in v.order of the present candidate
	blame bits       // earlier levels that brought the failures about

	asked    []*variable // variables that got a demand, in order
	begin    marks       // how far the solver's lists went when the level began
	atActive int         // in solver.active everything before is decided
	atSingle int         // in solver.singles everything before is decided
}

// marks are lengths of and positions in the solver's lists.
type marks struct{ active, singles, atActive, atSingle int }

func newSolver(ctx context.Context, c Catalog, req Request) *solver {
	if req.Budget <= 0 {
		req.Budget = 200_000
	}
	return &solver{
		ctx: ctx, cat: c, req: req,
		byKey:  make(map[Key]*variable),
		byName: make(map[name.Name][]*variable),
		direct: make(map[name.Name]bool),
	}
}

// solve runs the search until everything active is decided.
func (s *solver) solve() error {
	if err := s.prefetchRoots(); err != nil {
		return err
	}
	s.levels = []*level{{}}
	c, err := s.demand(s.req.Roots)
	if err != nil {
		return err
	}
	for {
		if c != nil {
			if c, err = s.backtrack(c); err != nil {
				return err
			}
			continue
		}
		v := s.next()
		if v == nil {
			return nil
		}
		if c, err = s.decide(v); err != nil {
			return err
		}
	}
}

// prefetchRoots announces what will be looked at for certain, or nearly so.
func (s *solver) prefetchRoots() error {
	var ks []Key
	for _, d := range s.req.Roots {
		if k := s.key(d); k.Registry != "" && !d.Optional {
			ks = append(ks, k)
		}
		s.direct[d.Name] = true
	}
	for k := range s.req.Locked {
		if _, path := s.req.Paths[k.Name]; !path && k.Registry != "" {
			ks = append(ks, k)
		}
	}
	slices.SortFunc(ks, compareKeys)
	return s.cat.Prefetch(s.ctx, slices.Compact(ks))
}

func (s *solver) key(d Dep) Key { return s.req.key(d) }

// next returns the variable to decide: one with a single candidate, else the
// one discovered first; nil if all are decided.
func (s *solver) next() *variable {
	l := s.levels[len(s.levels)-1]
	for ; l.atSingle < len(s.singles); l.atSingle++ {
		if v := s.singles[l.atSingle]; v.level == 0 {
			return v
		}
	}
	for ; l.atActive < len(s.active); l.atActive++ {
		if v := s.active[l.atActive]; v.level == 0 {
			return v
		}
	}
	return nil
}

// decide opens a level for v and takes its best candidate.
func (s *solver) decide(v *variable) (*conflict, error) {
	top := s.levels[len(s.levels)-1]
	l := &level{
		v: v, mask: v.mask(), pos: -1,
		begin:    marks{len(s.active), len(s.singles), top.atActive, top.atSingle},
		atActive: top.atActive, atSingle: top.atSingle,
	}
	s.levels = append(s.levels, l)
	v.level = len(s.levels) - 1
	return s.try(l)
}

// try moves the top level on to its next candidate. A nil conflict means that
// the candidate stands for now.
func (s *solver) try(l *level) (*conflict, error) {
	s.steps++
	if s.steps%256 == 0 && s.ctx.Err() != nil {
		return nil, s.ctx.Err()
	}
	for l.pos++; l.pos < len(l.v.order); l.pos++ {
		if i := l.v.order[l.pos]; l.mask.Has(i) {
			l.v.chosen = i
			return s.demand(l.v.pkg.Releases[i].Deps)
		}
	}
	return s.exhausted(l), nil
}

// exhausted says why a level has no candidate left: those it had failed, and
// the others were ruled out by the demands made before.
func (s *solver) exhausted(l *level) *conflict {
	c := &conflict{blame: l.blame}
	for _, d := range l.v.limits(len(l.v.demands)) {
		c.blame.add(d.level)
	}
	c.blame.add(l.v.activator())
	return c
}

// backtrack undoes the search up to the latest level to blame for c, and tries
// that level's next candidate.
func (s *solver) backtrack(c *conflict) (*conflict, error) {
	if s.conflicts++; s.conflicts > s.req.Budget {
		return nil, &BudgetError{Conflicts: s.conflicts - 1}
	}
	to := c.blame.max()
	if to <= 0 {
		return nil, errNone
	}
	for len(s.levels)-1 > to {
		s.undo()
		s.levels = s.levels[:len(s.levels)-1]
	}
	l := s.levels[to]
	s.retract(l)
	c.blame.remove(to)
	l.blame.or(c.blame)
	return s.try(l)
}

// undo takes the top level's decision back.
func (s *solver) undo() {
	l := s.levels[len(s.levels)-1]
	s.retract(l)
	if l.v != nil {
		l.v.level = 0
	}
}

// retract takes back what the level's present candidate demanded.
func (s *solver) retract(l *level) {
	for _, v := range slices.Backward(l.asked) {
		d := v.demands[len(v.demands)-1]
		v.demands = v.demands[:len(v.demands)-1]
		if !d.dep.Optional {
			v.hard--
		}
	}
	l.asked = l.asked[:0]
	s.active = s.active[:l.begin.active]
	s.singles = s.singles[:l.begin.singles]
	l.atActive, l.atSingle = l.begin.atActive, l.begin.atSingle
}

// result collects the decisions.
func (s *solver) result() *Result {
	res := &Result{Conflicts: s.conflicts}
	for _, l := range s.levels[1:] {
		rel := l.v.pkg.Releases[l.v.chosen]
		sel := Selected{Key: l.v.Key, Release: rel}
		for _, d := range rel.Deps {
			k := s.key(d)
			if t := s.byKey[k]; t != nil && t.level > 0 {
				sel.Edges = append(sel.Edges, k)
			}
		}
		slices.SortFunc(sel.Edges, compareKeys)
		sel.Edges = slices.Compact(sel.Edges)
		res.Packages = append(res.Packages, sel)
	}
	slices.SortFunc(res.Packages, func(a, b Selected) int { return compareKeys(a.Key, b.Key) })
	return res
}

// load asks the catalog for v once.
func (s *solver) load(v *variable) error {
	if v.loaded {
		return nil
	}
	v.loaded = true
	if v.Registry == "" {
		rel, ok := s.req.Paths[v.Name]
		if !ok {
			v.missing = &NotFoundError{Key: v.Key}
			v.pkg = &Package{Key: v.Key}
			return nil
		}
		v.pkg = &Package{Key: v.Key, Releases: []Release{rel}}
		v.prepare(&s.req, false)
		return nil
	}
	pkg, err := s.cat.Package(s.ctx, v.Key)
	var nf *NotFoundError
	var un *UnavailableError
	switch {
	case err == nil:
	case errors.As(err, &nf), s.req.Offline && errors.As(err, &un):
		v.missing = err
		v.pkg = &Package{Key: v.Key}
		return nil
	default:
		return err
	}
	if known, ok := s.req.Known[v.Key]; ok && known.ID != pkg.ID {
		return &keys.TrustError{
			Subject: string(v.Name), What: "the lock holds another author's package of this name",
			Ours: string(known.Author), Theirs: string(pkg.Author),
		}
	}
	v.pkg = pkg
	v.prepare(&s.req, s.direct[v.Name])
	return nil
}

// conflict is a set of decisions that cannot stand together.
type conflict struct{ blame bits }

// empty is the conflict of demands that leave v no release.
func (s *solver) empty(v *variable) *conflict {
	c := &conflict{}
	for _, d := range v.limits(len(v.demands)) {
		c.blame.add(d.level)
	}
	c.blame.add(v.activator())
	return c
}

// unfit is the conflict of the latest demand on v with the release chosen.
func (s *solver) unfit(v *variable) *conflict {
	c := &conflict{}
	c.blame.add(v.demands[len(v.demands)-1].level)
	c.blame.add(v.level)
	return c
}

// rival returns the conflict of v with another wanted package of its name.
func (s *solver) rival(v *variable) *conflict {
	for _, o := range s.byName[v.Name] {
		if o == v || o.hard == 0 {
			continue
		}
		c := &conflict{}
		for _, x := range []*variable{o, v} {
			c.blame.add(x.activator())
		}
		return c
	}
	return nil
}
