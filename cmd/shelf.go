package cmd

import (
	"context"
	"net/url"
	"slices"
	std "sync" // a type of this package has its name

	"github.com/ipfs/go-cid"

	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/lockfile"
	"pkg/lockfile/name"
)

// shelf is what a seed serves: what the locks of this user's projects name and the store holds.
type shelf struct {
	env   *Env
	store *store.Store
	names []name.Name // all if empty
	only  string      // the folder of the one project that is served; empty: all
	at    place       // where the registry of that id is, whatever projects say; or none

	mu      std.Mutex             // guards what follows
	private map[cid.Cid]bool      // never served
	secret  map[name.Name]bool    // names of private packages
	named   map[cid.Cid]name.Name // of projects
	roots   map[string][]cid.Cid  // to be told of, by the id of the registry
	where   map[string]*url.URL   // registries, by id
}

// toTell is the registry that --registry names to a seed, and its id: what comes from it, and nothing else, is told there.
// Where nobody knows its id it is asked.
func (e *Env) toTell(ctx context.Context, ref registryRef) (place, error) {
	if ref.URL == "" {
		return place{}, nil
	}
	r, err := e.registries(nil, ref, false)
	if err != nil {
		return place{}, err
	}
	p, err := r.place(defaultRegistry)
	if err != nil || p.url == "" {
		return place{}, err
	}
	p.id, err = r.idAt(ctx, p, true)
	return p, err
}

// read reads the projects. Those that are gone are left out.
func (s *shelf) read() error {
	projects, err := s.store.Recorded()
	if err != nil {
		return err
	}
	next := &shelf{
		names: s.names, store: s.store, private: make(map[cid.Cid]bool), secret: make(map[name.Name]bool), named: make(map[cid.Cid]name.Name),
		roots: make(map[string][]cid.Cid), where: make(map[string]*url.URL),
	}
	for _, rec := range projects {
		p, err := s.env.openProject(rec.Dir)
		if err != nil { // it may say of any of them that they are private
			for _, root := range rec.Roots {
				next.private[root] = true
			}
			continue
		}
		own, err := s.env.registries(p, registryRef{}, true)
		if err != nil {
			return err
		}
		there, err := s.env.registries(p, registryRef{URL: s.at.url, ID: s.at.id}, true)
		if err != nil {
			return err
		}
		for _, row := range p.lock.Registries {
			r := own
			if s.at.id != "" && row.ID == s.at.id {
				r = there
			}
			next.take(r, row, s.only == "" || s.only == rec.Dir)
		}
	}
	for id := range next.roots {
		next.roots[id] = slices.DeleteFunc(next.roots[id], func(c cid.Cid) bool { return next.private[c] })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private, s.secret, s.named, s.roots, s.where = next.private, next.secret, next.named, next.roots, next.where
	return nil
}

// take takes down what a project has from the registry of one row. What is not served counts only as private.
func (s *shelf) take(r *registries, row lockfile.Registry, served bool) {
	o, err := r.row(row)
	secret := r.private(row)
	hidden := err != nil || secret
	if served && !hidden && !o.local() {
		if base, err := url.Parse(o.url); err == nil {
			s.where[row.ID] = base
		}
	}
	for _, pk := range r.project.lock.Packages {
		switch {
		case pk.Path != "" || pk.Registry != row.Name:
		case hidden:
			s.private[pk.Root], s.secret[pk.Name] = true, s.secret[pk.Name] || secret
		case served:
			s.note(pk, row.ID)
		}
	}
}

// note takes one package down.
func (s *shelf) note(pk lockfile.Package, registry string) {
	if len(s.names) > 0 && !slices.Contains(s.names, pk.Name) || !s.store.Has(pk.Root) {
		return
	}
	s.named[pk.Root] = pk.Name
	if !slices.Contains(s.roots[registry], pk.Root) {
		s.roots[registry] = append(s.roots[registry], pk.Root)
	}
}

// shares reports whether a root is served: only what a project that can be read says is public. What lies in the store for
// another reason may be anybody's.
func (s *shelf) shares(root cid.Cid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.named[root]
	return known && !s.private[root]
}

func (s *shelf) has(n name.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for root, x := range s.named {
		if x == n && !s.private[root] {
			return true
		}
	}
	return false
}

// hides reports whether a package of that name is private in some project.
func (s *shelf) hides(n name.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.secret[n]
}

// count is how many packages are served by name.
func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for root := range s.named {
		if !s.private[root] {
			n++
		}
	}
	return n
}

// trackers returns the registries to tell.
func (s *shelf) trackers() []seed.Tracker {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []seed.Tracker
	for _, id := range sorted(s.where) {
		out = append(out, seed.Tracker{Base: s.where[id], ID: id, Roots: func() []cid.Cid {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.roots[id])
		}})
	}
	return out
}
