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
	Size     int64     // bytes of its files, as locked
	Registry string    // name in the lock
	Kin      []cid.Cid // trees of this name that are in the store
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
	names := make(map[string]bool, len(p.Want))
	for i := range p.Want {
		names[p.Want[i].Name] = true
	}
	if kin, err := s.Kin(func(n string) bool { return names[n] }); err == nil { // without it more is fetched
		for i := range p.Want {
			p.Want[i].Kin = kin[p.Want[i].Name]
		}
	}
	return p
}
