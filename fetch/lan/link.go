package lan

import (
	"net"
	"net/netip"
	"slices"
)

// link is a network that this machine is on, by one interface.
type link struct {
	net.Interface
	here []netip.Prefix // this machine's addresses, each with the bits of its network; without zones
}

// links are the networks in which this machine can have neighbours: those of interfaces that are up and can multicast, but
// for the loopback and lines to a single other end, as VPNs are.
func links() ([]link, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var out []link
	for _, ifi := range all {
		if !neighbourly(ifi.Flags) {
			continue
		}
		addrs, err := ifi.Addrs()
		if err != nil {
			continue // it went away
		}
		l := link{Interface: ifi}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				if p, ok := prefix(n); ok {
					l.here = append(l.here, p)
				}
			}
		}
		if len(l.here) > 0 && len(out) < maxLinks {
			out = append(out, l)
		}
	}
	return out, nil
}

func neighbourly(f net.Flags) bool {
	return f&net.FlagUp != 0 && f&net.FlagMulticast != 0 && f&(net.FlagLoopback|net.FlagPointToPoint) == 0
}

// prefix is an address of this machine with the bits of its network. A single address of IPv6, as DHCP gives it, has
// neighbours in the last 64 bits like all others.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	ip, ok := netip.AddrFromSlice(n.IP)
	if !ok {
		return netip.Prefix{}, false
	}
	ip = ip.Unmap()
	bits, size := n.Mask.Size()
	if size != ip.BitLen() || ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() {
		return netip.Prefix{}, false
	}
	if ip.Is6() {
		bits = min(bits, 64)
	}
	return netip.PrefixFrom(ip, bits), true
}

// near reports whether an address lies in the network. Link-local IPv6 addresses do so by their zone.
func (l link) near(ip netip.Addr) bool {
	if (ip.Zone() != "" || ip.Is6() && ip.IsLinkLocalUnicast()) && ip.Zone() != l.Name {
		return false
	}
	ip = ip.WithZone("")
	return slices.ContainsFunc(l.here, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// owns reports whether an address is this machine's, in this network.
func (l link) owns(ip netip.Addr) bool {
	return slices.ContainsFunc(l.here, func(p netip.Prefix) bool { return p.Addr() == ip })
}

// fronts are the addresses from which this machine asks in the network: all that others can dial, as a seed answers with
// its addresses in the network of who asks. Those of one interface alone (fe80::/10) are not dialed.
func (l link) fronts() []netip.Addr {
	var out []netip.Addr
	for _, p := range l.here {
		if ip := p.Addr(); ip.Is4() || !ip.IsLinkLocalUnicast() {
			out = append(out, ip)
		}
	}
	return out
}
