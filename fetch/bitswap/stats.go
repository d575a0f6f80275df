package bitswap

import (
	"maps"

	"github.com/libp2p/go-libp2p/core/peer"
)

// PeerStats counts what was sent to a peer.
type PeerStats struct {
	Blocks int64
	Bytes  int64 // of blocks
	Absent int64 // wants for what is not here
}

func (s *PeerStats) add(o PeerStats) {
	s.Blocks += o.Blocks
	s.Bytes += o.Bytes
	s.Absent += o.Absent
}

// Stats counts what an exchange did since it was opened.
type Stats struct {
	Served PeerStats             // to all peers
	Peers  map[peer.ID]PeerStats // to those that are connected and were served
	Wants  int                   // pending now

	Refused  int64 // streams and messages that were not read
	Overflow int64 // entries that were dropped because there were too many

	Duplicates  int64             // blocks that came twice
	Unrequested int64             // blocks that were never asked for
	Liars       map[peer.ID]error // peers that sent a wrong block, and which: the first 64
}

// Stats returns the counters.
func (x *Exchange) Stats() Stats {
	st := Stats{
		Peers: map[peer.ID]PeerStats{}, Liars: map[peer.ID]error{}, Refused: x.counts.refused.Load(),
		Overflow: x.counts.overflow.Load(), Duplicates: x.counts.duplicates.Load(), Unrequested: x.counts.unrequested.Load(),
	}
	x.server.mu.Lock()
	st.Served, st.Wants = x.server.past, x.server.wants
	for p, l := range x.server.ledgers {
		st.Peers[p] = l.stats
		st.Served.add(l.stats)
	}
	x.server.mu.Unlock()
	x.client.mu.Lock()
	defer x.client.mu.Unlock()
	maps.Copy(st.Liars, x.client.liars)
	return st
}
