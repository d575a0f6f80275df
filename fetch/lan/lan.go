// Package lan lets installs find the seeds of the network they are in, by multicast DNS (RFC 6762), without a registry or
// an address:
//
//	err := lan.Announce(ctx, host.ID(), host.Addrs, nil) // a seed, until ctx is done
//
//	err := lan.Browse(ctx, func(info peer.AddrInfo) { … }) // an install, for a second
//
// A seed is an instance of the service [Service], named by its peer id, in the form of the mDNS of libp2p:
//
//	_pkg._udp.local.                PTR  12D3KooW…._pkg._udp.local.
//	12D3KooW…._pkg._udp.local.      TXT  "dnsaddr=/ip4/192.168.1.7/tcp/4107/p2p/12D3KooW…" …
//
// It answers whoever asks from a network that this machine is on by itself, with the addresses it has in that network and
// no others: never with those of the loopback, a VPN or another interface. It says so unasked when it begins, and says with
// a lifetime of 0 that it ends. Which packages it has is not told: the roots of one project do not fit a datagram, and the
// answers of all that hear the question would be for everybody to read. Who found a seed asks it.
//
// An install asks one question from a port of its own ("one-shot", RFC 6762 §5.1), which seeds answer to that port alone
// (§6.7). It joins no group, hears nobody else and says nothing about itself but that somebody asks for seeds. A packet
// filter that drops what comes back from another address than the group's keeps it from finding any.
//
// Answers are claims of strangers. One is believed only about who sent it: an address counts if it is the one that the
// answer came from, and that one lies in the network the question was put to. What comes is bounded in size and number,
// and a machine gets two places of those there are. That a peer is who it says is settled by the handshake, and that its
// bytes are right by their hash.
package lan

import (
	"net/netip"
	"time"
)

// Service is what seeds are under, in DNS names.
const Service = "_pkg._udp.local."

const (
	// Window is how long Browse listens for answers.
	Window = time.Second
	// Most is how many peers Browse finds at most.
	Most = 8

	mostPerMachine = 2    // of them
	maxPackets     = 256  // read from one socket by one Browse
	maxPacket      = 2048 // bytes that Browse reads of a packet; what is longer is cut and does not parse
	maxRecords     = 64   // of a packet that are looked at, of questions as well
	maxAddrs       = 8    // of one peer
	maxText        = 140  // bytes of one address in an answer, which then fits any Ethernet; the longest that we dial has 127
	maxLinks       = 16   // networks that are asked or answered in
)

const port = 5353

func group4() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{224, 0, 0, 251}), port)
}

// group6 is the group on the link of an interface.
func group6(zone string) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("ff02::fb").WithZone(zone), port)
}
