package seed

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"

	"pkg/fetch/tracker"
)

// Track says who is told from now on, and that what is here may have changed. Trackers that are not in the list any more
// are told of the end; a new one is told at once, and one that was in the list before is told of what is new or gone,
// within a minute or two, and keeps the Roots it had. Closed seeds do nothing.
func (s *Seed) Track(list []Tracker) {
	select {
	case s.lists <- list:
	case <-s.ended:
	}
}

// told is a tracker that is kept told.
type told struct {
	changed chan struct{}
	stop    context.CancelFunc
}

// tell keeps trackers told until ctx is done, and then until all have heard of the end.
func (s *Seed) tell(ctx context.Context, c Config, key crypto.PrivKey) {
	var wg sync.WaitGroup
	defer wg.Wait()
	all := make(map[string]*told)
	for list := c.Trackers; ; {
		listed := make(map[string]bool)
		for _, t := range list {
			at := t.ID + " " + t.Base.String()
			listed[at] = true
			if one, ok := all[at]; ok {
				select {
				case one.changed <- struct{}{}:
				default: // it will look anyway
				}
				continue
			}
			one := &told{changed: make(chan struct{}, 1)}
			var own context.Context
			own, one.stop = context.WithCancel(ctx)
			all[at] = one
			wg.Go(func() { s.announce(own, c, t, key, one.changed) })
		}
		for at, one := range all {
			if !listed[at] {
				one.stop()
				delete(all, at)
			}
		}
		select {
		case list = <-s.lists:
		case <-ctx.Done():
			for _, one := range all {
				one.stop()
			}
			return
		}
	}
}

// announce keeps one tracker told.
func (s *Seed) announce(ctx context.Context, c Config, t Tracker, key crypto.PrivKey, changed <-chan struct{}) {
	a := &tracker.Announcer{
		Client: &tracker.Client{Base: t.Base}, Key: key, Registry: t.ID, Addrs: s.host.Addrs,
		Roots: func() []cid.Cid { return shared(t.Roots(), c.Shares) }, Protocols: []string{"transport-bitswap"},
		Changed: changed, Logger: c.Logger, Now: c.Now,
	}
	if err := a.Run(ctx); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errs = append(s.errs, err)
	}
}
