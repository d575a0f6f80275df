package cmd

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/resolve"
	"pkg/resolve/catalog"
)

// resolve makes a new lock.
func (s *sync) resolve(ctx context.Context) (*lockfile.Lock, error) {
	if err := errors.Join(s.same(s.manifest), s.lost(s.manifest)); err != nil {
		return nil, err
	}
	s.env.UI.Progress("resolving", nil, "resolving")
	res, cats, err := s.solve(ctx, 0)
	if err != nil {
		return nil, s.explain(ctx, err)
	}
	var rows []lockfile.Registry
	for _, c := range cats {
		row := c.Row()
		row.Name = s.rowName(row)
		rows = append(rows, row)
	}
	lock := resolve.Lock(res, rows...)
	if err := sameAuthors(s.project.lock, lock); err != nil {
		return nil, err
	}
	if err := s.denied(ctx, res); err != nil {
		return nil, err
	}
	s.advise(ctx, res)
	s.result = res
	return lock, nil
}

// solve finds the releases that the manifest asks for, and returns the registries they can come from. Budget is the
// conflicts accepted, 0 for as many as usual.
func (s *sync) solve(ctx context.Context, budget int) (*resolve.Result, []*catalog.Registry, error) {
	req, err := s.request(ctx)
	if err != nil {
		return nil, nil, err
	}
	req.Budget = budget
	regs, err := s.all(s.manifest)
	if err != nil {
		return nil, nil, err
	}
	var cats []*catalog.Registry
	seen := make(map[string]bool)
	answered := slices.DeleteFunc(slices.Clone(regs), func(o *opened) bool { return !s.fresh[o] })
	for _, o := range append(answered, regs...) { // one registry, by id, has one name in a lock
		if id := o.ID(); !o.empty && id != "" && !seen[id] {
			seen[id] = true
			cats = append(cats, o.Registry)
		}
	}
	res, err := resolve.Resolve(ctx, catalog.New(cats...), req)
	return res, cats, err
}

// rowName is what a new lock calls a registry: what pkg.toml does, so that who has the project finds it. Of several names
// one without id comes first, as only the name then says that it is this one.
func (s *sync) rowName(row lockfile.Registry) string {
	best := ""
	for _, n := range sorted(s.manifest.Registries) {
		if o, ok := s.opened[n]; ok && o.ID() == row.ID && (best == "" || s.manifest.Registries[n].ID == "" && s.manifest.Registries[best].ID != "") {
			best = n
		}
	}
	return cmp.Or(best, row.Name)
}

// request says what to resolve.
func (s *sync) request(ctx context.Context) (resolve.Request, error) {
	if err := s.readPaths(ctx); err != nil {
		return resolve.Request{}, err
	}
	req := resolve.Request{
		Paths: s.paths, Overrides: s.manifest.Overridden(), MinAge: s.manifest.Policy.MinAge, Now: s.env.Now(), Offline: s.o.Offline,
		Held: s.o.Held, Free: s.o.Free, Strategy: s.o.Strategy, Reasons: make(map[name.Name]string),
	}
	for n, o := range s.manifest.Overrides {
		req.Reasons[n] = o.Reason
	}
	for _, d := range dependencies(s.manifest) {
		dep, err := s.dep(ctx, d, manifest.File)
		if err != nil {
			return resolve.Request{}, err
		}
		req.Roots = append(req.Roots, dep)
	}
	req.Keep(s.project.lock)
	if s.o.Admit {
		req.Admit = req.Locked
	}
	if s.o.FreeAll {
		req.Locked = nil
	}
	return req, nil
}

// dep turns a line of a manifest into a question.
func (s *sync) dep(ctx context.Context, d dependency, from string) (resolve.Dep, error) {
	dep := resolve.Dep{
		Key: resolve.Key{Name: d.name}, Constraint: d.Constraint, Author: d.Author, From: from,
		Dev: d.table == tableDev, Optional: d.table == tableOptional, Path: d.Path,
	}
	if d.Path != "" {
		return dep, nil
	}
	o, err := s.named(d.Registry)
	if err != nil {
		return dep, err
	}
	if o.empty {
		return dep, fail(exitAbsent, helpOther(d.name), "%s is not in your local registry, which is empty: nothing was published on this machine", d.name)
	}
	if err := s.refresh(ctx, o); err != nil {
		return dep, err
	}
	dep.Registry = o.ID()
	return dep, nil
}

// helpOther is how to look for a package elsewhere.
func helpOther(n name.Name) string { return "pkg add " + n.String() + " --registry URL" }

// knows reports whether a registry of this id is open.
func (s *sync) knows(id string) bool {
	for _, o := range s.opened {
		if o.ID() == id {
			return true
		}
	}
	return false
}
