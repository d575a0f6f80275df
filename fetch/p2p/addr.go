package p2p

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// maxAddr is how long the text of an address may be, in bytes.
const maxAddr = 512

// ParsePeer parses where a peer is and who: /ip4/203.0.113.7/tcp/4001/p2p/12D3…, with ip4, ip6, dns, dns4 or dns6, and
// tcp/… or udp/…/quic-v1.
func ParsePeer(text string) (peer.AddrInfo, error) {
	info, err := parsePeer(text)
	if err != nil {
		if len(text) > maxAddr {
			text = text[:maxAddr]
		}
		return peer.AddrInfo{}, fmt.Errorf("peer address %q: %w", text, err)
	}
	return info, nil
}

func parsePeer(text string) (peer.AddrInfo, error) {
	if len(text) > maxAddr {
		return peer.AddrInfo{}, fmt.Errorf("longer than %d bytes", maxAddr)
	}
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	var names []string
	for _, c := range a {
		names = append(names, c.Protocol().Name)
	}
	where, who := a, ""
	if n := len(a) - 1; n >= 0 && a[n].Protocol().Code == ma.P_P2P {
		where, who = a[:n], a[n].Value()
		names = names[:n]
	}
	switch path := strings.Join(names, "/"); {
	case strings.Contains(path, "p2p-circuit"):
		return peer.AddrInfo{}, errors.New("it leads over a relay; only direct addresses work")
	case who == "":
		return peer.AddrInfo{}, errors.New("it does not end in /p2p/<peer id>")
	case !transports()[path]:
		return peer.AddrInfo{}, fmt.Errorf("no way to dial /%s; write /ip4/…/tcp/… or /ip4/…/udp/…/quic-v1", path)
	}
	if ip, err := manet.ToIP(where); err == nil && (ip.IsUnspecified() || ip.IsMulticast()) {
		return peer.AddrInfo{}, fmt.Errorf("%s is nobody's address", ip)
	}
	if where[1].Value() == "0" {
		return peer.AddrInfo{}, errors.New("port 0")
	}
	id, err := peer.Decode(who)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	return peer.AddrInfo{ID: id, Addrs: []ma.Multiaddr{where}}, nil
}

// transports are the protocols of addresses that can be dialed.
func transports() map[string]bool {
	out := map[string]bool{}
	for _, host := range []string{"ip4", "ip6", "dns", "dns4", "dns6"} {
		out[host+"/tcp"], out[host+"/udp/quic-v1"] = true, true
	}
	return out
}

// Public reports whether an address may be told to strangers, and dialed because a stranger told it: a TCP or QUIC
// address by number, with a port, in a range that is routed in the Internet. Names are not: they can mean anything.
func Public(a ma.Multiaddr) bool {
	if len(a) > 0 && a[len(a)-1].Protocol().Code == ma.P_P2P {
		a = a[:len(a)-1]
	}
	var names []string
	for _, c := range a {
		names = append(names, c.Protocol().Name)
	}
	switch strings.Join(names, "/") {
	case "ip4/tcp", "ip4/udp/quic-v1", "ip6/tcp", "ip6/udp/quic-v1":
	default:
		return false
	}
	ip, err := netip.ParseAddr(a[0].Value())
	if err != nil || a[1].Value() == "0" {
		return false
	}
	if ip.Is4() {
		return !within(ip, special4())
	}
	return netip.MustParsePrefix("2000::/3").Contains(ip) && !within(ip, special6())
}

func within(ip netip.Addr, prefixes []string) bool {
	for _, p := range prefixes {
		if netip.MustParsePrefix(p).Contains(ip) {
			return true
		}
	}
	return false
}

// special4 are the ranges of IPv4 that are not routed, or not to one host (IANA special-purpose registry, RFC 6890).
func special4() []string {
	return []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
		"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"224.0.0.0/4", "240.0.0.0/4",
	}
}

// special6 are the ranges in 2000::/3 that are not routed, and those in which IPv4 addresses hide.
func special6() []string {
	return []string{"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"}
}
