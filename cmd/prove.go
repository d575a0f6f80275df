package cmd

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pkg/cmd/ui"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// denied refuses packages that a registry has an advisory against, where pkg.toml denies those.
func (s *sync) denied(ctx context.Context, res *resolve.Result) error {
	if !s.manifest.Policy.DenyAdvisories {
		return nil
	}
	for _, p := range res.Packages {
		for _, o := range s.opened {
			if p.Registry == "" || o.ID() != p.Registry {
				continue
			}
			_, record, err := o.State(ctx, p.Name)
			if err != nil {
				return err
			}
			if record != nil && len(record.Advisories) > 0 {
				return fail(exitFindings, "pkg info "+p.Name.String(), "there is an advisory against %s, and %s denies those", p.Name, manifest.File)
			}
		}
	}
	return nil
}

// advise says what authors say against the releases that the project comes to use.
func (s *sync) advise(ctx context.Context, res *resolve.Result) {
	for _, p := range res.Packages {
		if was, ok := s.project.lock.Get(p.Name); ok && was.Root == p.Release.Root {
			continue
		}
		id := map[string]string{"name": p.Name.String(), "version": p.Release.Version.String()}
		if why := p.Release.Deprecated; why != "" {
			said := maps.Clone(id)
			said["message"] = why
			if use := s.instead(ctx, p); use != "" {
				said["use"] = use
			}
			s.env.UI.Warn("deprecated", said, "%s %s is deprecated: %s", p.Name, p.Release.Version, why)
		}
		if why := p.Release.Yanked; why != "" {
			s.env.UI.Warn("yanked", id, "%s %s was yanked: %s", p.Name, p.Release.Version, why)
		}
	}
}

// instead is what the author of a deprecated release advises to use.
func (s *sync) instead(ctx context.Context, p resolve.Selected) string {
	for _, o := range s.opened {
		if p.Registry == "" || o.ID() != p.Registry {
			continue
		}
		st, _, err := o.State(ctx, p.Name) // known already, as p comes from it
		if err != nil || st == nil {
			continue
		}
		for i := range st.Releases {
			if r := &st.Releases[i]; r.Version.Compare(p.Release.Version) == 0 {
				return r.Use
			}
		}
	}
	return ""
}

// newAuthors shows the keys that the project comes to trust by this lock.
func (s *sync) newAuthors(lock *lockfile.Lock) {
	known := make(map[name.Author]bool)
	for _, p := range s.project.lock.Packages {
		known[p.Author] = true
	}
	by := make(map[name.Author][]string)
	for _, p := range lock.Packages {
		if p.Path == "" && !known[p.Author] {
			by[p.Author] = append(by[p.Author], p.Name.String())
		}
	}
	for _, a := range sorted(by) {
		names := by[a]
		shown := strings.Join(names[:min(len(names), 5)], ", ")
		if n := len(names) - 5; n > 0 {
			shown += fmt.Sprintf(" and %d more", n)
		}
		s.env.UI.Note("trust", map[string]any{"author": a, "packages": names}, "trusting author %s for %s", ui.Bold(a), shown)
	}
}

// sameAuthors refuses a lock in which a package that was locked before has another owner.
func sameAuthors(old, new *lockfile.Lock) error {
	for _, p := range new.Packages {
		was, ok := old.Get(p.Name)
		if !ok || was.Path != "" || p.Path != "" {
			continue
		}
		if was.Author != p.Author {
			return fail(exitTrust, "pkg info "+p.Name.String(), "the author of %s is %s now, but %s in %s", p.Name, p.Author, was.Author, lockfile.File)
		}
		if was.ID != p.ID && registryID(old, was.Registry) == registryID(new, p.Registry) {
			return fail(exitTrust, "pkg info "+p.Name.String(), "%s is another package now, id %x, but %x in %s", p.Name, p.ID, was.ID, lockfile.File)
		}
	}
	return nil
}

// registryID is the id of the registry a lock calls name.
func registryID(l *lockfile.Lock, name string) string {
	for _, r := range l.Registries {
		if r.Name == name {
			return r.ID
		}
	}
	return ""
}

// proved reports whether all rows were proved before.
func proved(o *opened, rows []lockfile.Package) bool {
	return !slices.ContainsFunc(rows, func(p lockfile.Package) bool { return !o.Proved(p) })
}

// prove checks every row of the lock against its author's log, and a new lock for packages that do not satisfy each other:
// of the project's own lock unfit knows.
func (s *sync) prove(ctx context.Context, lock *lockfile.Lock) error {
	if s.o.Frozen {
		s.env.UI.Note("frozen", nil, "taking %s as reviewed: only the content is checked against it", lockfile.File)
		return nil
	}
	if err := s.proveRows(ctx, lock); err != nil || lock == s.project.lock {
		return err
	}
	why, err := s.misfits(ctx, lock, s.fitPath(lock.Bytes()))
	if err == nil && len(why) > 0 { // the resolver and the check disagree: the next install --locked would not take it
		err = fmt.Errorf("nothing was written, as the new lock contradicts itself: %s", why[0])
	}
	return err
}

// proveRows checks every row of the lock against its author's log, under the registry's map.
func (s *sync) proveRows(ctx context.Context, lock *lockfile.Lock) error {
	for _, g := range lock.Registries {
		var rows []lockfile.Package
		for _, p := range lock.Packages {
			if p.Path == "" && p.Registry == g.Name {
				rows = append(rows, p)
			}
		}
		o, err := s.row(g)
		if err != nil {
			return err
		}
		s.env.UI.Progress("proving", map[string]int{"packages": len(rows)}, "proving %s", count(len(rows), "package"))
		if s.manifest.Policy.RequireWitnesses > 0 && !s.offline && !proved(o, rows) {
			if err := s.refresh(ctx, o); err != nil { // it looks at the witnesses
				return err
			}
		}
		if err := o.ProveAll(ctx, rows); err != nil {
			return fmt.Errorf("prove %s: %w", lockfile.File, err)
		}
		if err := s.sameOrigin(ctx, o, g); err != nil {
			return err
		}
	}
	return nil
}
