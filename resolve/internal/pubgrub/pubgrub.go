// Package pubgrub chooses one version, or none, for every package such that
// what is chosen meets its own dependencies. It is the solver alone: packages,
// versions and ranges are small integers, and nothing here knows of names,
// networks, disks or clocks.
//
// A caller describes what exists as a [Registry], which is asked lazily, and
// what is wanted as a [Query]:
//
//	s := pubgrub.New(registry)
//	choices, err := s.Solve(ctx, pubgrub.Query{Roots: roots})
//	if errors.Is(err, pubgrub.ErrUnsatisfiable) {
//		proof := s.Proof()
//	}
//
// # Method
//
// The algorithm is PubGrub (Weizenbaum 2018) over finite domains. The domain
// of a package is {absent, version 0, …, version n-1}, held as a bitset. An
// incompatibility is a set of terms "package in set" that no solution fulfils
// together: a dependency of versions M of a on b within A is
// {a in M, b not in A}. All versions of a package that share a dependency are
// one incompatibility.
//
// Unit propagation watches two terms of each incompatibility (Moskewicz et al.
// 2001). A conflict is resolved back to the first unique implication point, the
// incompatibility found is kept with the causes it was derived from, and the
// search jumps back to the level where it first says something new.
//
// # Promises
//
//   - Complete: within the budget Solve finds a solution if there is one.
//   - Least: a solution holds only what the roots need, directly or not.
//   - Deterministic: the answer does not depend on the order of roots or of the
//     dependencies of a version, on earlier queries, or on time.
//   - Explained: [Solver.Proof] derives a failure from facts of the registry,
//     each step from two premises.
//   - No recursion: the depth of a graph costs memory only.
//
// The version tried first is the best one by [Package].Order. The package tried
// first is one that is [Package].First; then the one most involved in conflicts,
// roughly; then one with a single candidate left; then the one discovered first,
// roots before all others; among those discovered together the first one by
// [Query].Compare.
package pubgrub

import "context"

// A Registry says what exists. Its answers must not change during the life of a
// [Solver], which calls it from one goroutine and may keep the slices it gets
// unless said otherwise. An error ends the query and is returned as it is.
//
// Package is asked once for every package that is discovered. Deps is asked once
// for each version of a package of which any version is to be chosen. Allowed
// says which versions of p lie in range r; its result is read at once, so the
// registry may reuse it.
type Registry interface {
	Package(ctx context.Context, p int32) (Package, error)
	Deps(ctx context.Context, p, version int32) ([]Dep, error)
	Allowed(p, r int32) []uint64
}

// A Prefetcher is a [Registry] that wants to hear of packages a little before it
// is asked for them. An error ends the query.
type Prefetcher interface {
	Prefetch(ctx context.Context, ps []int32) error
}

// A Package is what exists under one number.
type Package struct {
	N        int32       // number of versions, which are 0 to N-1
	Order    []int32     // versions, the best first; nil is N-1 down to 0
	Excluded []Exclusion // versions that exist and cannot be chosen
	First    bool        // decide it before all others that are not First
}

// An Exclusion says that some versions cannot be chosen. A package that cannot
// be had at all may be told as one version that is excluded, so that the proof
// names the reason.
type Exclusion struct {
	Versions []uint64 // bit v is version v
	Reason   int32    // the caller's, repeated in the proof
}

// A Dep is a dependency of a version or of the query. Equal dependencies of a
// package's versions are treated as one, so that equal ranges should have equal
// numbers. An optional one with a range that allows nothing is how a package
// says that it cannot be together with another.
type Dep struct {
	Pkg      int32
	Range    int32 // the caller's number for a set of versions of Pkg
	Optional bool  // holds only if Pkg is chosen for another reason
}

// DefaultBudget is the number of conflicts a query may meet if it names none.
const DefaultBudget = 200_000

// A Query says what is wanted.
//
// Compare orders packages that are discovered together, as [cmp.Compare] would,
// and is nil for the order of their numbers. With it the answer does not depend
// on the numbers, so that a caller may hand them out in any order.
type Query struct {
	Roots   []Dep
	Budget  int // conflicts analysed before *BudgetError; 0 is DefaultBudget
	Compare func(a, b int32) int
}

// A Choice is one package of a solution.
type Choice struct {
	Pkg, Version int32
}

// Stats counts the work of the latest query.
type Stats struct {
	Conflicts  int // analysed
	Decisions  int // choices between versions
	Steps      int // resolution steps in all analyses
	Incompats  int // known at the end
	Discovered int // packages
}

// A Solver answers queries about one registry. It keeps what it has learned of
// the registry's packages between queries, and nothing else. It is not safe for
// concurrent use.
type Solver struct {
	reg    Registry
	vars   []variable // by package
	static sets       // sets that live as long as the solver
	nots   []set      // what groups forbid; the first is not used
	index  index

	// The query.
	roots      []Dep
	compare    func(a, b int32) int // nil for that of numbers
	discovered []int32
	incompats  []incompat
	learned    sets   // sets of learned incompatibilities
	terms      []term // of incompats
	steps      []step // antecedents of learned incompatibilities
	failed     int32  // incompatibility without terms, if there is no solution
	work       int    // done since the context was looked at

	// The assignment.
	trail  []entry
	tails  []*tail // of the trail
	sets   sets    // of the trail
	levels []level
	queue  []int32 // packages whose domain has changed
	order  heap
	redo   []redo

	// The analysis.
	clause   []literal
	scratch  sets
	fetch    []int32
	grouping grouping
	stats    Stats
}

// New returns a solver for what reg says.
func New(reg Registry) *Solver {
	return &Solver{reg: reg, nots: make([]set, 1), failed: -1}
}

// Stats returns what the latest query took.
func (s *Solver) Stats() Stats {
	st := s.stats
	st.Incompats, st.Discovered = len(s.incompats), len(s.discovered)
	return st
}

// Solve answers q with choices in ascending order of packages. Its errors are
// [ErrUnsatisfiable], *[BudgetError], the context's and the registry's.
func (s *Solver) Solve(ctx context.Context, q Query) ([]Choice, error) {
	s.reset()
	s.compare = q.Compare
	budget := q.Budget
	if budget <= 0 {
		budget = DefaultBudget
	}
	conflict, err := s.require(ctx, q.Roots)
	if err != nil {
		return nil, err
	}
	for {
		if conflict < 0 {
			if conflict, err = s.propagate(ctx); err != nil {
				return nil, err
			}
		}
		if conflict >= 0 {
			if s.stats.Conflicts >= budget {
				return nil, &BudgetError{Conflicts: s.stats.Conflicts, Package: s.busiest()}
			}
			if err := s.analyse(ctx, conflict); err != nil {
				return nil, err
			}
			conflict = -1
			continue
		}
		p, ok := s.next()
		if !ok {
			return s.choices(), nil
		}
		if conflict, err = s.decide(ctx, p); err != nil {
			return nil, err
		}
	}
}

// patience is how much is done between two looks at the context, where one is a
// watch or a term looked at: less than a millisecond.
const patience = 1 << 14

// poll returns the error of the context, which it looks at when enough was done.
func (s *Solver) poll(ctx context.Context, work int) error {
	if s.work += work; s.work < patience {
		return nil
	}
	s.work = 0
	return ctx.Err()
}

// reset forgets the latest query. It takes time in proportion to what that
// query touched.
func (s *Solver) reset() {
	for i := range s.incompats {
		if c := &s.incompats[i]; c.kind == Dependency {
			s.vars[c.a].groups[c.b].incompat = -1
		}
	}
	for _, p := range s.discovered {
		s.vars[p].forget()
	}
	s.roots, s.compare = s.roots[:0], nil
	s.discovered, s.incompats, s.terms, s.steps = s.discovered[:0], s.incompats[:0], s.terms[:0], s.steps[:0]
	s.trail, s.tails, s.levels, s.queue, s.redo = s.trail[:0], s.tails[:0], s.levels[:0], s.queue[:0], s.redo[:0]
	s.learned.reset()
	s.sets.reset()
	s.order.reset()
	s.failed, s.work = -1, patience
	s.stats = Stats{}
}

// busiest returns the package that took part in most conflicts.
func (s *Solver) busiest() int32 {
	best := int32(-1)
	for _, p := range s.discovered {
		if best < 0 || s.vars[p].conflicts > s.vars[best].conflicts {
			best = p
		}
	}
	return best
}
