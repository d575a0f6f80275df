package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pkg/fetch"
	"pkg/fetch/store"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// syncOptions say how a project is brought in line with its manifest.
type syncOptions struct {
	Locked  bool       // fail rather than change the lock
	Frozen  bool       // Locked, and take the lock as reviewed: ask no registry for anything but content
	Offline bool       // open no socket
	Prod    bool       // without what only dev-dependencies need
	Repair  bool       // read every file again, and throw away what was changed
	Mode    fetch.Mode // how files get into the project
	From    sourcing   // whom to ask for them

	// What a command changes.
	Source   []byte             // the new pkg.toml; nil leaves it
	Manifest *manifest.Manifest // of Source; nil is the project's
	Free     map[name.Name]bool // names whose locked version may change
	FreeAll  bool               // all of them may
	Held     map[name.Name]bool // names that keep their locked version
	Admit    bool               // what may change may also stay, though it was yanked or is too young
	Strategy resolve.Strategy   // which of the versions that fit is best
	Given    given              // the words of the command, for advice
}

// outcome is what sync did.
type outcome struct {
	Lock     *lockfile.Lock
	Changes  []change
	Fetched  fetch.Report
	Took     time.Duration // to fetch
	Mode     string        // whom it asked
	Linked   fetch.LinkReport
	UpToDate bool // there was nothing to do
}

// sync brings lock, store and pkg_modules in line with the manifest. The order is what makes a failure harmless: resolve,
// prove, fetch into the store, stage the new files beside the old, link, and only then let pkg.toml and pkg.lock take
// their place. Whatever fails leaves all three as they were. What a lock names that need not change is fetched while it is
// proved: that is a matter of time alone, as nothing comes out of the store before.
type sync struct {
	*registries
	o        syncOptions
	manifest *manifest.Manifest
	paths    map[name.Name]resolve.Release
	result   *resolve.Result // set if the lock is a new one
	ahead    *fetching       // of the project's lock, if it is being fetched already
}

// newSync prepares to bring the registries' project in line. The caller holds the project's lock.
func newSync(r *registries, o syncOptions) *sync {
	s := &sync{registries: r, o: o, manifest: r.project.manifest}
	if o.Manifest != nil {
		s.manifest = o.Manifest
	}
	return s
}

// run does all of it.
func (s *sync) run(ctx context.Context) (*outcome, error) {
	defer s.drop()
	lock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, lock)
}

// apply installs lock, which matches the manifest, and writes the project's files.
func (s *sync) apply(ctx context.Context, lock *lockfile.Lock) (*outcome, error) {
	if lock != s.project.lock {
		if _, err := lockfile.Parse(lock.Bytes()); err != nil {
			return nil, fmt.Errorf("nothing was written, as the new lock could not be read again: %w", err)
		}
	}
	if err := s.prove(ctx, lock); err != nil {
		return nil, err
	}
	st, err := s.store()
	if err != nil {
		return nil, err
	}
	if s.o.Repair {
		if err := s.repair(ctx, st, lock); err != nil {
			return nil, err
		}
	}
	out := &outcome{Lock: lock, Changes: s.changes(ctx, lock)}
	out.Mode = s.o.From.Mode
	if out.Fetched, out.Took, err = s.fetch(ctx, st, lock); err != nil {
		return nil, err
	}
	ed, err := s.project.stage(s.o.Source, lock.Bytes())
	if err != nil {
		return nil, err
	}
	defer ed.discard()
	if out.Linked, err = s.link(ctx, st, lock, s.manifest); err == nil {
		err = ed.commit()
	}
	if err != nil {
		return nil, s.restore(context.WithoutCancel(ctx), st, err)
	}
	s.newAuthors(lock)
	out.UpToDate = len(out.Changes) == 0 && out.Fetched.Packages == 0 && out.Linked.Linked == 0 && out.Linked.Removed == 0
	return out, nil
}

// restore links again what was linked before err, and returns err. A lock that was never proved here was not linked before.
func (s *sync) restore(ctx context.Context, st *store.Store, err error) error {
	if !s.o.Frozen && !s.known(s.project.lock) {
		return err
	}
	_, back := s.link(ctx, st, s.project.lock, s.project.manifest)
	_, same := errors.AsType[*fetch.ForeignError](back) // what was in the way then still is
	if back == nil || same || !s.project.locked {
		return err
	}
	return errors.Join(err, fmt.Errorf("restore %s: %w", modules, back))
}

// known reports whether every row of a lock was proved before.
func (s *sync) known(lock *lockfile.Lock) bool {
	for _, p := range lock.Packages {
		if p.Path != "" {
			continue
		}
		i := slices.IndexFunc(lock.Registries, func(g lockfile.Registry) bool { return g.Name == p.Registry })
		if i < 0 {
			return false
		}
		if o, err := s.row(lock.Registries[i]); err != nil || !o.Proved(p) {
			return false
		}
	}
	return true
}

// lock returns a lock that matches the manifest: the one there is if it does, else a new one.
func (s *sync) lock(ctx context.Context) (*lockfile.Lock, error) {
	if err := s.same(s.manifest); err != nil {
		return nil, err
	}
	drift, err := s.drift()
	if err != nil {
		return nil, err
	}
	if s.o.Frozen || s.o.Locked && len(drift) > 0 {
		return s.project.lock, drifted(s.project, drift, s.env.CI())
	}
	if len(drift) == 0 && (s.o.Locked || !s.o.FreeAll && len(s.o.Free) == 0) {
		s.fetchAhead(ctx)
		why, err := s.unfit(ctx)
		switch {
		case err != nil:
			return nil, err
		case len(why) == 0:
			return s.project.lock, nil
		case s.o.Locked:
			return nil, unfitting(why, s.env.CI())
		}
	}
	return s.resolve(ctx)
}

// drifted is the error of a lock that does not match its manifest. In CI a plain install would say the same again.
func drifted(p *project, drift []lockfile.Drift, ci bool) error {
	if len(drift) == 0 {
		return nil
	}
	help := "pkg install"
	if ci {
		help = "CI= pkg install"
	}
	if !p.locked {
		return fail(exitDrift, help, "there is no %s, and the lock must not change", lockfile.File)
	}
	var lines []string
	for _, d := range drift[1:] {
		lines = append(lines, "  "+d.String())
	}
	f := &failure{Code: exitDrift, Help: help, Err: fmt.Errorf("%s does not match %s: %s", lockfile.File, manifest.File, drift[0])}
	if len(drift) > 1 {
		f.Detail = strings.Join(lines, "\n")
	}
	return f
}

// drift says in what the lock does not match manifest, path dependencies and registries.
func (s *sync) drift() ([]lockfile.Drift, error) {
	if !s.project.locked && len(dependencies(s.manifest)) > 0 {
		return []lockfile.Drift{{Name: lockfile.File, Why: "is missing"}}, nil
	}
	drift := lockfile.Satisfies(s.project.lock, s.manifest)
	for _, row := range s.project.lock.Registries {
		e, ok := s.entry(row.Name)
		if row.Name == defaultRegistry && s.ref.URL != "" {
			e, ok = manifest.Registry{ID: s.ref.ID}, s.ref.ID != ""
		}
		if ok && e.ID != "" && e.ID != row.ID {
			drift = append(drift, lockfile.Drift{Name: name.Name("registry " + row.Name), Why: "has the id " + row.ID + ", not " + e.ID})
		}
	}
	more, err := s.pathDrift()
	return append(drift, more...), err
}

// link puts the packages of a lock into the project.
func (s *sync) link(ctx context.Context, st *store.Store, lock *lockfile.Lock, m *manifest.Manifest) (fetch.LinkReport, error) {
	if len(lock.Packages) == 0 && !exists(filepath.Join(s.project.dir, modules)) {
		return fetch.LinkReport{}, nil
	}
	direct := make(map[name.Name]bool)
	for _, d := range dependencies(m) {
		direct[d.name] = true
	}
	return fetch.Link(ctx, s.project.dir, lock, st, fetch.LinkOptions{
		Mode: s.o.Mode, Keep: s.project.keep(lock, m, s.o.Prod), Direct: func(n name.Name) bool { return direct[n] },
	})
}
