package fetch

import (
	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/lockfile"
	"pkg/lockfile/name"
)

// Item is one package to be fetched.
type Item struct {
	Root     cid.Cid
	Name     string
	Version  string
	Size     int64  // bytes of its files, as locked
	Registry string // name in the lock
}

// Plan is a lock minus what is here.
type Plan struct {
	Want []Item // in the order of the lock
	Have int    // packages whose trees are here
}

// NewPlan compares the packages of l that keep wants (nil: all) with s. Path dependencies have nothing to fetch.
func NewPlan(l *lockfile.Lock, keep func(name.Name) bool, s *store.Store) Plan {
	var p Plan
	for i := range l.Packages {
		row := &l.Packages[i]
		if row.Path != "" || keep != nil && !keep(row.Name) {
			continue
		}
		if s.Has(row.Root) {
			p.Have++
			continue
		}
		p.Want = append(p.Want, Item{
			Root: row.Root, Name: row.Name.String(), Version: row.Version.String(), Size: row.Size, Registry: row.Registry,
		})
	}
	return p
}

// roots lists what to ask for, each once.
func (p *Plan) roots() []cid.Cid {
	seen := make(map[cid.Cid]bool, len(p.Want))
	roots := make([]cid.Cid, 0, len(p.Want))
	for _, it := range p.Want {
		if !seen[it.Root] {
			seen[it.Root] = true
			roots = append(roots, it.Root)
		}
	}
	return roots
}
