package p2p

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
	manet "github.com/multiformats/go-multiaddr/net"
)

// A host has a seat for Config.MaxPeers connections of others. Connections that shake hands have none yet: they wait in
// a room of their own, of freshConns, or who never finishes a handshake would keep others out for nothing.
//
// Who comes when all seats are taken is let in, and one other connection has to go: one on which nothing is asked, the
// oldest of the network that has most of them. So a flood of connections that only stand takes no seat from anybody who
// asks for something, at once or a moment after the handshake. If something is asked on all of them, the newest of the
// network that holds most goes, which is the newcomer's unless another network holds more: a flood out of few networks
// pushes out itself, and a peer from elsewhere gets in. No list of good peers is kept, as installs come under fresh
// identities. On one machine, where all share an address, a flood that asks for something can take all seats, until it
// is slow to ask or to take (see times).

// guest is a connection that somebody else opened.
type guest struct {
	conn  network.Conn
	from  netip.Prefix // the IPv4 address or the IPv6 /48
	idle  bool
	since time.Time
}

// makeRoom closes connections of others until there is a seat for each that is left. Those it closed before may still
// stand: leaving are their ids, and it returns them.
func (h *Host) makeRoom(leaving map[string]bool) map[string]bool {
	still := map[string]bool{}
	var all []guest
	for _, c := range h.node.Network().Conns() {
		switch {
		case !inbound(c):
		case leaving[c.ID()]:
			still[c.ID()] = true
		default:
			all = append(all, guest{conn: c, from: networkOf(c), idle: idle(c), since: c.Stat().Opened})
		}
	}
	for len(all) > h.seats {
		i := leaver(all)
		c := all[i].conn
		all = slices.Delete(all, i, i+1)
		still[c.ID()] = true
		h.log.LogAttrs(context.Background(), slog.LevelDebug, "close a connection: all seats are taken", slog.String("peer", c.RemotePeer().String()))
		h.wg.Go(func() { _ = c.Close() }) // which says goodbye, and waits a little
	}
	return still
}

// leaver chooses who has to go. The newest had no time to ask for anything, and counts as one that did.
func leaver(all []guest) (at int) {
	all = slices.Clone(all)
	newest := 0
	for i := range all {
		if all[i].since.After(all[newest].since) {
			newest = i
		}
	}
	all[newest].idle = false
	held, stand := map[netip.Prefix]int{}, map[netip.Prefix]int{}
	for _, g := range all {
		held[g.from]++
		if g.idle {
			stand[g.from]++
		}
	}
	before := func(a, b guest) bool {
		if a.idle != b.idle {
			return a.idle
		}
		if a.idle {
			if stand[a.from] != stand[b.from] {
				return stand[a.from] > stand[b.from]
			}
			return a.since.Before(b.since)
		}
		if held[a.from] != held[b.from] {
			return held[a.from] > held[b.from]
		}
		return a.since.After(b.since)
	}
	for i := range all {
		if before(all[i], all[at]) {
			at = i
		}
	}
	return at
}

// idle reports whether nothing is asked on a connection: there is no stream but those whose protocol is not agreed on,
// and those by which hosts learn who the other is.
func idle(c network.Conn) bool {
	return !slices.ContainsFunc(c.GetStreams(), func(s network.Stream) bool {
		p := s.Protocol()
		return p != "" && p != identify.ID && p != identify.IDPush
	})
}

func networkOf(c network.Conn) netip.Prefix {
	raw, err := manet.ToIP(c.RemoteMultiaddr())
	if err != nil {
		return netip.Prefix{}
	}
	ip, _ := netip.AddrFromSlice(raw) // none is the zero network
	ip = ip.Unmap()
	bits := 48
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // the bits fit
	return p
}
