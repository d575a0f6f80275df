package peers

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"pkg/fetch/lan"
	"pkg/fetch/swarm"
)

// mostNear is how many peers of the LAN are asked at most: one is as fast as the network.
const mostNear = 3

// browse looks for peers, as [lan.Browse] does.
type browse func(ctx context.Context, found func(peer.AddrInfo)) error

// Near asks the networks this machine is on for seeds, and returns their addresses, for about a second. What they have is
// not known.
func Near(ctx context.Context) ([]string, error) {
	var out []string
	err := lan.Browse(ctx, func(info peer.AddrInfo) { out = append(out, text(info)) })
	slices.Sort(out)
	return out, err
}

// nearby are the peers of the LAN, as they are found.
type nearby struct {
	found chan peer.AddrInfo // closed when nobody is looked for any more
	err   error              // why nobody could be; then
}

// near begins to look for peers of the LAN, and returns sources that each wait for one. There are none if nothing may be
// asked of strangers.
func (p *Peers) near(ctx context.Context, roots []cid.Cid) []swarm.Source {
	if !p.cfg.LAN || !slices.ContainsFunc(roots, p.public) {
		return nil
	}
	look := browse(lan.Browse)
	if p.cfg.browse != nil {
		look = p.cfg.browse
	}
	known := make(map[peer.ID]bool)
	for _, info := range p.known {
		known[info.ID] = true
	}
	n := &nearby{found: make(chan peer.AddrInfo, mostNear)}
	p.wg.Go(func() {
		defer close(n.found)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		left := mostNear
		n.err = look(ctx, func(info peer.AddrInfo) {
			if left == 0 || known[info.ID] {
				return
			}
			known[info.ID] = true
			n.found <- info // there is room for all
			if left--; left == 0 {
				cancel()
			}
		})
	})
	out := make([]swarm.Source, mostNear)
	for i := range out {
		out[i] = &neighbour{p: p, n: n, at: i}
	}
	return out
}

// public reports whether strangers may be asked for a root.
func (p *Peers) public(root cid.Cid) bool { return p.cfg.Public == nil || p.cfg.Public(root) }

// neighbour is a source that becomes the next peer of the LAN that is found.
type neighbour struct {
	p  *Peers
	n  *nearby
	at int // the first one says what went wrong

	mu sync.Mutex // guards is
	is *source    // once it is found
}

// Name implements swarm.Source. As with [source], it is empty until the peer is known.
func (s *neighbour) Name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is == nil {
		return ""
	}
	return s.is.Name()
}

// Absent implements swarm's optional interface: nobody was found yet. What may come is not counted on.
func (s *neighbour) Absent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.is == nil
}

// Kind implements swarm's optional interface.
func (s *neighbour) Kind() swarm.Kind { return swarm.Peer }

// Content implements swarm.Source, for roots that strangers may be asked for. It waits while peers are looked for.
func (s *neighbour) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	src, err := s.wait(ctx)
	if src == nil || err != nil {
		return r.Wants, err
	}
	ask := swarm.Request{Shared: r.Shared}
	var missing []swarm.Want
	for _, w := range r.Wants {
		if s.p.public(w.Root) {
			ask.Wants = append(ask.Wants, w)
		} else {
			missing = append(missing, w)
		}
	}
	if len(ask.Wants) == 0 {
		return missing, nil
	}
	lacks, err := src.Content(ctx, ask, each)
	return append(missing, lacks...), err
}

// wait returns the peer, or nil if there is none.
func (s *neighbour) wait(ctx context.Context) (*source, error) {
	s.mu.Lock()
	is := s.is
	s.mu.Unlock()
	if is != nil {
		return is, nil
	}
	select {
	case info, ok := <-s.n.found:
		s.mu.Lock()
		defer s.mu.Unlock()
		if ok {
			s.is = cmp.Or(s.is, &source{p: s.p, at: -1, known: &provider{AddrInfo: info}})
		} else if s.is == nil && s.at == 0 && s.n.err != nil {
			return nil, &swarm.SourceError{Source: "LAN", Err: s.n.err}
		}
		return s.is, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
