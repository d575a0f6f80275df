package lan

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peerID is the n-th peer.
func peerID(tb testing.TB, n byte) peer.ID {
	tb.Helper()
	key, _, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{n}, 64)))
	if err != nil {
		tb.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return id
}

func multiaddrs(tb testing.TB, texts ...string) []ma.Multiaddr {
	tb.Helper()
	var out []ma.Multiaddr
	for _, s := range texts {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}

func texts(infos []peer.AddrInfo) []string {
	var out []string
	for _, info := range infos {
		for _, a := range info.Addrs {
			out = append(out, a.String()+"/p2p/"+info.ID.String())
		}
	}
	return out
}

// network is a link of which this machine has the addresses.
func network(name string, index int, addrs ...string) link {
	l := link{Interface: net.Interface{Name: name, Index: index, Flags: net.FlagUp | net.FlagMulticast}}
	for _, a := range addrs {
		l.here = append(l.here, netip.MustParsePrefix(a))
	}
	return l
}

// TestNear holds who is a neighbour: an address in a network of the interface, and a link-local one heard on it.
func TestNear(t *testing.T) {
	l := network("eth0", 2, "192.168.1.7/24", "169.254.3.4/16", "203.0.113.9/28", "fd00::7/64", "fe80::7/64")
	for ip, want := range map[string]bool{
		"192.168.1.200": true, "192.168.1.7": true, "192.168.2.1": false, "169.254.9.9": true, "203.0.113.14": true,
		"203.0.113.17": false, "8.8.8.8": false, "127.0.0.1": false, "10.0.0.1": false, "fd00::99": true, "fd00:0:0:1::1": false,
		"fe80::99%eth0": true, "fe80::99%eth1": false, "fe80::99": false, "fd00::99%eth1": false, "2001:4860::1": false, "::1": false,
	} {
		if got := l.near(netip.MustParseAddr(ip)); got != want {
			t.Errorf("near(%s) = %v, want %v", ip, got, want)
		}
	}
	var got []string
	for _, ip := range l.fronts() {
		got = append(got, ip.String())
	}
	if want := []string{"192.168.1.7", "169.254.3.4", "203.0.113.9", "fd00::7"}; !slices.Equal(got, want) {
		t.Errorf("fronts = %q, want %q", got, want)
	}
}

// TestLinksAreNetworks leaves out interfaces without neighbours, and addresses of this machine alone.
func TestLinksAreNetworks(t *testing.T) {
	up := net.FlagUp | net.FlagMulticast | net.FlagRunning
	for f, want := range map[net.Flags]bool{
		up: true, up | net.FlagBroadcast: true, up | net.FlagLoopback: false, up | net.FlagPointToPoint: false,
		net.FlagUp | net.FlagBroadcast: false, net.FlagMulticast: false,
	} {
		if got := neighbourly(f); got != want {
			t.Errorf("neighbourly(%v) = %v, want %v", f, got, want)
		}
	}
	for s, want := range map[string]string{
		"10.0.0.1/8": "10.0.0.1/8", "10.0.0.1/32": "10.0.0.1/32", "fe80::1/64": "fe80::1/64", "fd00::1/128": "fd00::1/64",
		"127.0.0.1/8": "", "::1/128": "", "0.0.0.0/0": "", "224.0.0.1/4": "", "ff02::1/16": "",
	} {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		n.IP = ip
		if got, ok := prefix(n); ok != (want != "") || ok && got.String() != want {
			t.Errorf("prefix(%s) = %v, %v, want %q", s, got, ok, want)
		}
	}
	all, err := links()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.owns(netip.MustParseAddr("127.0.0.1")) || l.owns(netip.MustParseAddr("::1")) {
			t.Errorf("%s leads to loopback", l.Name)
		}
	}
}
