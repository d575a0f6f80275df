package seed

import (
	"context"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"

	"pkg/fetch/tracker"
)

// Track says who is told from now on. Trackers that are not in the list any more are told of the end; a new one is told at
// once, and one that was in the list before keeps the Roots it had. Closed seeds do nothing.
func (s *Seed) Track(list []Tracker) {
	select {
	case s.lists <- list:
	case <-s.ended:
	}
}

// tell keeps trackers told until ctx is done, and then until all have heard of the end.
func (s *Seed) tell(ctx context.Context, c Config, key crypto.PrivKey) {
	var wg sync.WaitGroup
	defer wg.Wait()
	all := make(map[string]context.CancelFunc)
	for list := c.Trackers; ; {
		listed := make(map[string]bool)
		for _, t := range list {
			at := t.ID + " " + t.Base.String()
			if listed[at] = true; all[at] != nil {
				continue
			}
			own, stop := context.WithCancel(ctx)
			all[at] = stop
			wg.Go(func() { s.announce(own, c, t, key) })
		}
		for at, stop := range all {
			if !listed[at] {
				stop()
				delete(all, at)
			}
		}
		select {
		case list = <-s.lists:
		case <-ctx.Done():
			for _, stop := range all {
				stop()
			}
			return
		}
	}
}

// announce keeps one tracker told.
func (s *Seed) announce(ctx context.Context, c Config, t Tracker, key crypto.PrivKey) {
	a := &tracker.Announcer{
		Client: &tracker.Client{Base: t.Base}, Key: key, Registry: t.ID, Addrs: s.host.Addrs,
		Roots: func() []cid.Cid { return shared(t.Roots(), c.Shares) }, Protocols: []string{"transport-bitswap"},
		Logger: c.Logger, Now: c.Now,
	}
	if err := a.Run(ctx); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errs = append(s.errs, err)
	}
}
