package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"pkg/fetch/store"
	"pkg/lockfile"
)

func (e *Env) cacheCommand() *cli.Command {
	return &cli.Command{
		Name: "cache", Category: onItself, Usage: "say what your store holds",
		Description: "The store has the files of every package that was installed, once for all projects, and what it takes to serve them.",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			return e.cache()
		},
		Subcommands: []*cli.Command{e.cachePrune()},
	}
}

func (e *Env) cachePrune() *cli.Command {
	return &cli.Command{
		Name: "prune", Usage: "remove from your store what no project needs",
		Description: `What a project is linked to stays, and what its pkg.lock names, as long as its folder is there. What interrupted installs
left goes too. Whatever is removed is fetched again where it is needed.`,
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			return e.prune(c.Context)
		},
	}
}

// cached is the JSON form of what the store holds.
type cached struct {
	Dir       string `json:"dir"`
	Packages  int    `json:"packages"`
	Files     int    `json:"files"`
	FileBytes int64  `json:"file_bytes"`
	PackBytes int64  `json:"pack_bytes"`
	Projects  int    `json:"projects"` // linked to it
}

func (e *Env) cache() error {
	st, err := e.ownStore()
	if err != nil {
		return err
	}
	s, err := st.Stats()
	if err != nil {
		return err
	}
	e.UI.Data("cache", cached{st.Dir(), s.Trees, s.Files, s.TreeBytes, s.PackBytes, s.Projects},
		"%s with %s of %s, and %s of packs, for %s, in %s", count(s.Trees, "package"), count(s.Files, "file"), size(s.TreeBytes), size(s.PackBytes),
		count(s.Projects, "project"), st.Dir())
	return nil
}

// pruned is the JSON form of what was removed.
type pruned struct {
	Packages int   `json:"packages"`
	Bytes    int64 `json:"bytes"` // freed
}

func (e *Env) prune(ctx context.Context) error {
	st, err := e.ownStore()
	if err != nil {
		return err
	}
	locked, err := e.lockedRoots(st)
	if err != nil {
		return err
	}
	freed, n, err := st.Prune(ctx, func(root cid.Cid) bool { return locked[root] })
	if err != nil {
		return err
	}
	e.UI.Data("pruned", pruned{n, freed}, "%s removed, %s freed", count(n, "package"), size(freed))
	return nil
}

// lockedRoots returns what the locks of the projects name that are linked to the store. A lock that cannot be read may name
// anything.
func (e *Env) lockedRoots(st *store.Store) (map[cid.Cid]bool, error) {
	projects, err := st.Recorded()
	if err != nil {
		return nil, err
	}
	locked := make(map[cid.Cid]bool)
	for _, p := range projects {
		b, err := os.ReadFile(filepath.Join(p.Dir, lockfile.File))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			continue
		} else if err != nil {
			return nil, fmt.Errorf("nothing was removed, as what a project needs is not known: %w", err)
		}
		lock, err := lockfile.Parse(b)
		if err != nil {
			return nil, fmt.Errorf("nothing was removed, as what a project needs is not known: %w", e.within(p.Dir, err))
		}
		for _, row := range lock.Packages {
			if row.Path == "" {
				locked[row.Root] = true
			}
		}
	}
	return locked, nil
}

// ownStore opens this user's store, to look at what it holds.
func (e *Env) ownStore() (*store.Store, error) {
	homes, err := e.Homes()
	if err != nil {
		return nil, err
	}
	return store.Open(homes.Store, store.Options{Resume: true})
}
