package tracker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

// maxAddr is the longest address, in bytes: room for WebTransport with one certificate hash.
const maxAddr = 128

// addr is one address of a peer, without the peer's id.
type addr struct {
	text string
	ip   netip.Addr
}

// place is from where an address can be reached.
type place uint8

const (
	nowhere place = iota // or nowhere that we would send anybody
	public
	private
	linkLocal
	loopback
)

// placeOf follows the special-purpose registries of RFC 6890. Addresses that embed others (mapped, NAT64, 6to4, Teredo)
// are nowhere: they would smuggle private ones.
func placeOf(ip netip.Addr) place {
	switch {
	case !ip.IsValid(), ip.Zone() != "", ip.Is4In6(), ip.IsUnspecified(), ip.IsMulticast():
		return nowhere
	case ip.IsLoopback():
		return loopback
	case ip.IsLinkLocalUnicast():
		return linkLocal
	case ip.IsPrivate(), ip.Is4() && ip.As4()[0] == 100 && ip.As4()[1]>>6 == 1: // 100.64.0.0/10
		return private
	case ip.Is4() && reserved4(ip.As4()), ip.Is6() && reserved6(ip.As16()):
		return nowhere
	}
	return public
}

func reserved4(b [4]byte) bool {
	switch [3]byte{b[0], b[1], b[2]} {
	case [3]byte{192, 0, 0}, [3]byte{192, 0, 2}, [3]byte{192, 88, 99}, [3]byte{198, 51, 100}, [3]byte{203, 0, 113}:
		return true
	}
	n := binary.BigEndian.Uint32(b[:])
	return n>>24 == 0 || n>>28 == 15 || n>>17 == 198<<7|18>>1 // 0/8, 240/4, 198.18/15
}

func reserved6(b [16]byte) bool {
	switch first, second := uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3]); {
	case first>>13 != 1: // 2000::/3 is what is given out
		return true
	case first == 0x2001 && (second < 0x200 || second == 0xdb8): // Teredo and other protocols; documentation
		return true
	default:
		return first == 0x2002 // 6to4
	}
}

// reaches reports whether who is at from can reach to, as far as addresses tell.
func reaches(from, to netip.Addr) bool {
	from = from.WithZone("").Unmap()
	at, there := placeOf(from), placeOf(to)
	switch there {
	case nowhere:
		return false
	case public:
		return true
	}
	if at == loopback {
		return true
	}
	return at == there && from.Is4() == to.Is4() && within(to).Contains(from)
}

// owns reports whether an address may be announced by who is at from: a public address only by the machine that has it,
// or one beside it in its IPv6 /64, or seeds could send everybody to somebody else. Who asks from a network of ours, or
// from this machine, is believed.
func owns(from, addr netip.Addr) bool {
	from = from.WithZone("").Unmap()
	switch at := placeOf(from); {
	case placeOf(addr) != public:
		return reaches(from, addr)
	case at != public && at != nowhere:
		return true
	case from.Is4():
		return from == addr
	}
	p, _ := from.Prefix(64) // the bits fit; of an invalid address it has nothing
	return p.Contains(addr)
}

// within is the network around a private address: what one site uses at a time. A whole /8 would join the networks of
// strangers who meet in a VPN or a data centre.
func within(ip netip.Addr) netip.Prefix {
	bits := 48
	if ip.Is4() {
		bits = 16
	}
	p, _ := ip.Prefix(bits) // the bits fit
	return p
}

// networkOf is what counts as one announcer: what one customer is given.
func networkOf(ip netip.Addr) netip.Prefix {
	ip = ip.WithZone("").Unmap()
	bits := 56
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // an invalid address is the zero network
	return p
}

var errAddr = errors.New("not an address to announce")

// parseAddr checks the shape of an address: an IP address, a port, and transports over it. The id of the peer itself at
// its end is taken off.
func parseAddr(m ma.Multiaddr, self peer.ID) (addr, error) {
	fail := func(why string) (addr, error) {
		return addr{}, fmt.Errorf("%w: %q: %s", errAddr, clip(m.String()), why)
	}
	if n := len(m); n > 0 && m[n-1].Protocol().Code == ma.P_P2P {
		if string(m[n-1].RawValue()) != string(self) {
			return fail("it ends in another peer's id")
		}
		m = m[:n-1]
	}
	if len(m) < 2 {
		return fail("no port")
	}
	if c := m[0].Protocol().Code; c != ma.P_IP4 && c != ma.P_IP6 {
		return fail("it does not begin with an IP address")
	}
	ip, _ := netip.AddrFromSlice(m[0].RawValue())
	if placeOf(ip) == nowhere {
		return fail("nobody can reach it")
	}
	if c := m[1].Protocol().Code; c != ma.P_TCP && c != ma.P_UDP {
		return fail("neither tcp nor udp")
	}
	if raw := m[1].RawValue(); len(raw) != 2 || raw[0] == 0 && raw[1] == 0 {
		return fail("no port")
	}
	for _, c := range m[2:] {
		switch c.Protocol().Code {
		case ma.P_QUIC_V1, ma.P_TLS, ma.P_WS, ma.P_WSS, ma.P_HTTP, ma.P_HTTPS, ma.P_WEBTRANSPORT, ma.P_WEBRTC_DIRECT, ma.P_CERTHASH:
		default:
			return fail(c.Protocol().Name + " is not a transport over it")
		}
	}
	text := m.String()
	if len(text) > maxAddr {
		return fail(fmt.Sprintf("longer than %d bytes", maxAddr))
	}
	return addr{text, ip}, nil
}

// clip shortens hostile text for a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// parseMultiaddr parses the text of an address that a stranger wrote.
func parseMultiaddr(text string) (ma.Multiaddr, error) {
	if len(text) > maxAddr+64 { // room for the peer's id
		return nil, fmt.Errorf("%w: longer than %d bytes", errAddr, maxAddr)
	}
	m, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", errAddr, clip(text), err)
	}
	return m, nil
}

// passes applies filter-addrs of IPIP-484: names of protocols, of which an address must have one, and with "!" none.
func (a addr) passes(filter []string) bool {
	if len(filter) == 0 {
		return true
	}
	parts := strings.Split(a.text, "/") // values are numbers and hashes: none is the name of a protocol
	wanted, found := false, false
	for _, f := range filter {
		name, not := strings.CutPrefix(f, "!")
		has := false
		for _, p := range parts {
			has = has || p == name && p != ""
		}
		if not && has {
			return false
		}
		wanted = wanted || !not
		found = found || !not && has
	}
	return found || !wanted
}
