package catalog

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// A Catalog answers from several registries, as resolve asks: by registry id.
// A registry that is not among them is unavailable, never empty.
type Catalog struct {
	registries []*Registry
}

// New returns a catalog of these registries, whose ids must be known: named,
// pinned before, or Refreshed.
func New(registries ...*Registry) *Catalog { return &Catalog{registries} }

var _ resolve.Catalog = (*Catalog)(nil)

var errUnknown = errors.New("the project has no such registry")

// Registry returns the registry with an id, nil if there is none.
func (c *Catalog) Registry(id string) *Registry {
	for _, r := range c.registries {
		if id != "" && r.ID() == id {
			return r
		}
	}
	return nil
}

// Rows returns the registries as a lock records them.
func (c *Catalog) Rows() []lockfile.Registry {
	rows := make([]lockfile.Registry, len(c.registries))
	for i, r := range c.registries {
		rows[i] = r.Row()
	}
	return rows
}

// Package implements resolve.Catalog.
func (c *Catalog) Package(ctx context.Context, k resolve.Key) (*resolve.Package, error) {
	r := c.Registry(k.Registry)
	if r == nil {
		return nil, &resolve.UnavailableError{Key: k, Err: fmt.Errorf("registry %s: %w", k.Registry, errUnknown)}
	}
	return r.Package(ctx, k.Name)
}

// Prefetch implements resolve.Catalog. The registries are asked side by side;
// those that are not known are passed over.
func (c *Catalog) Prefetch(ctx context.Context, ks []resolve.Key) error {
	names := make(map[string][]name.Name)
	for _, k := range ks {
		names[k.Registry] = append(names[k.Registry], k.Name)
	}
	g, ctx := errgroup.WithContext(ctx)
	for id, ns := range names {
		if r := c.Registry(id); r != nil {
			g.Go(func() error { return r.Prefetch(ctx, ns) })
		}
	}
	return g.Wait()
}
