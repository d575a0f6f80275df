package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"pkg/fetch/internal/link"
	"pkg/fetch/store"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
)

// Mode is how a package is put into a project.
type Mode = link.Mode

// The modes: one symlink to the read-only tree, which is the default, or a folder of hard links, reflinks or copies.
const (
	Symlink = link.Symlink
	Hard    = link.Hard
	Reflink = link.Reflink
	Copy    = link.Copy
)

// ParseMode reads a mode; "" is Symlink.
func ParseMode(s string) (Mode, error) { return link.ParseMode(s) }

// ForeignError is something in the way that pkg did not make.
type ForeignError = link.ForeignError

// ClashError is a place that two packages want: a command, or a name that is also a scope.
type ClashError = link.ClashError

// LinkOptions says how to link. The zero value links everything by symlink and makes no commands.
type LinkOptions struct {
	Mode   Mode
	Keep   func(name.Name) bool // nil: every package of the lock
	Direct func(name.Name) bool // whose [bin] commands appear in .bin; nil: none
}

// LinkReport says what linking did.
type LinkReport = link.Report

// Link makes project/pkg_modules hold the packages of l, takes out what it linked before and is no longer wanted, and
// records in s what the project uses. Linking again changes nothing. A tree that is not here is [store.ErrNotFound],
// before anything is touched.
func Link(ctx context.Context, project string, l *lockfile.Lock, s *store.Store, o LinkOptions) (r LinkReport, err error) {
	project, err = filepath.Abs(project)
	if err != nil {
		return r, err
	}
	if o.Mode == "" {
		o.Mode = Symlink
	}
	release, err := s.Use(ctx) // nothing is removed between the look and the record
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, release()) }()
	items, roots, err := linkItems(project, l, s, o)
	if err != nil {
		return r, err
	}
	if err := s.Record(project, roots); err != nil {
		return r, err
	}
	r, err = link.Run(ctx, project, items, o.Mode)
	if err != nil {
		return r, fmt.Errorf("link into %s: %w", project, err)
	}
	return r, nil
}

func linkItems(project string, l *lockfile.Lock, s *store.Store, o LinkOptions) (items []link.Item, roots []cid.Cid, err error) {
	for i := range l.Packages {
		row := &l.Packages[i]
		if o.Keep != nil && !o.Keep(row.Name) {
			continue
		}
		it := link.Item{Name: row.Name.String()}
		if row.Path != "" {
			it.Tree = filepath.Join(project, filepath.FromSlash(row.Path))
		} else {
			var ok bool
			if it.Tree, ok = s.Tree(row.Root); !ok {
				return nil, nil, fmt.Errorf("link %s %s: %w", row.Name, row.Version, store.ErrNotFound)
			}
			if it.Tree, err = filepath.Abs(it.Tree); err != nil {
				return nil, nil, err
			}
			it.Root = row.Root.String()
			roots = append(roots, row.Root)
		}
		if o.Direct != nil && o.Direct(row.Name) {
			if it.Bin, err = commands(it.Tree); err != nil {
				return nil, nil, fmt.Errorf("link %s: %w", row.Name, err)
			}
		}
		items = append(items, it)
	}
	return items, roots, nil
}

// maxManifest is the size in bytes of the largest pkg.toml that is read.
const maxManifest = 64 << 10

// commands reads the [bin] table of the package in dir.
func commands(dir string) (map[string]string, error) {
	f, err := os.OpenInRoot(dir, manifest.File)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	m, err := manifest.Parse(b)
	if err != nil {
		return nil, err
	}
	return m.Bin, nil
}

// Prune removes from s what no living project uses: neither what is linked into it nor what its lock names. It returns
// the bytes freed and the number of roots removed. A lock that cannot be read is an error, and nothing is removed.
func Prune(ctx context.Context, s *store.Store) (freed int64, n int, err error) {
	projects, err := s.Recorded()
	if err != nil {
		return 0, 0, err
	}
	locked := map[cid.Cid]bool{}
	for _, p := range projects {
		b, err := os.ReadFile(filepath.Join(p.Dir, lockfile.File))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		l, err := lockfile.Parse(b)
		if err != nil {
			return 0, 0, fmt.Errorf("prune: project %s: %w", p.Dir, err)
		}
		for i := range l.Packages {
			locked[l.Packages[i].Root] = true
		}
	}
	return s.Prune(ctx, func(c cid.Cid) bool { return locked[c] })
}
