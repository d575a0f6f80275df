package tracker

import (
	"net/netip"
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

func TestWhoReachesWhat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"203.0.113.9", "8.8.8.8", true},
		{"203.0.113.9", "2606:4700::1", true},
		{"203.0.113.9", "127.0.0.1", false},
		{"203.0.113.9", "192.168.1.1", false},
		{"192.168.7.7", "192.168.1.1", true},
		{"192.169.7.7", "192.168.1.1", false},
		{"10.1.2.3", "10.1.200.1", true},
		{"10.2.2.3", "10.1.200.1", false},
		{"::ffff:10.1.2.3", "10.1.200.1", true},
		{"100.64.1.1", "100.64.9.9", true},
		{"100.65.1.1", "100.64.9.9", false},
		{"10.1.2.3", "127.0.0.1", false},
		{"127.0.0.1", "127.0.0.1", true},
		{"::1", "127.0.0.1", true},
		{"127.0.0.1", "192.168.1.1", true},
		{"fd00:1:2:3::1", "fd00:1:2:4::1", true},
		{"fd00:1:3:3::1", "fd00:1:2:4::1", false},
		{"fe80::1%eth0", "fe80::2", true},
		{"169.254.3.3", "169.254.9.9", true},
		{"10.1.2.3", "169.254.9.9", false},
		{"127.0.0.1", "0.0.0.0", false},
		{"127.0.0.1", "224.0.0.1", false},
		{"127.0.0.1", "::ffff:127.0.0.1", false},
		{"127.0.0.1", "64:ff9b::7f00:1", false},
		{"127.0.0.1", "2002:7f00:1::1", false},
		{"127.0.0.1", "2001:0:1::1", false},
		{"127.0.0.1", "192.0.2.1", false},
		{"127.0.0.1", "198.19.2.1", false},
		{"127.0.0.1", "255.255.255.255", false},
	} {
		if got := reaches(netip.MustParseAddr(c.from), netip.MustParseAddr(c.to)); got != c.want {
			t.Errorf("%s reaches %s: %v, want %v", c.from, c.to, got, c.want)
		}
	}
	if reaches(netip.Addr{}, netip.MustParseAddr("127.0.0.1")) || !reaches(netip.Addr{}, netip.MustParseAddr("8.8.8.8")) {
		t.Error("who comes from nowhere is not told public addresses alone")
	}
}

func TestShapeOfAddresses(t *testing.T) {
	t.Parallel()
	_, id := keyPair(t, 1)
	_, other := keyPair(t, 2)
	for text, want := range map[string]string{
		"/ip4/8.8.8.8/tcp/1":                                     "/ip4/8.8.8.8/tcp/1",
		"/ip4/8.8.8.8/tcp/1/p2p/" + id.String():                  "/ip4/8.8.8.8/tcp/1",
		"/ip6/2606:4700:0:0::1/udp/1/quic-v1":                    "/ip6/2606:4700::1/udp/1/quic-v1",
		"/ip4/8.8.8.8/tcp/443/tls/http":                          "/ip4/8.8.8.8/tcp/443/tls/http",
		"/ip4/127.0.0.1/tcp/1/ws":                                "/ip4/127.0.0.1/tcp/1/ws",
		"/ip4/8.8.8.8/tcp/1/p2p/" + other.String():               "",
		"/ip4/8.8.8.8/tcp/1/p2p/" + id.String() + "/p2p-circuit": "",
		"/ip4/8.8.8.8":                                           "",
		"/ip4/8.8.8.8/tcp/0":                                     "",
		"/ip4/8.8.8.8/sctp/1":                                    "",
		"/ip4/0.0.0.0/tcp/1":                                     "",
		"/ip6/::/tcp/1":                                          "",
		"/dns/localhost/tcp/1":                                   "",
		"/dnsaddr/example.org":                                   "",
		"/unix/tmp/x":                                            "",
		"/ip6zone/eth0/ip6/fe80::1/tcp/1":                        "",
		"/ip4/8.8.8.8/tcp/1/tls/sni/example.org/ws":              "",
		"/ip4/8.8.8.8/tcp/1/ip4/10.0.0.1/tcp/2":                  "",
		"/ip4/8.8.8.8/udp/1/quic-v1" + strings.Repeat("/ws", 40): "",
		"/p2p/" + id.String():                                    "",
	} {
		m, err := ma.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseAddr(m, id)
		if a.text != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", text, a.text, err, want)
		}
	}
	if _, err := parseAddr(nil, id); err == nil {
		t.Error("no address is an address")
	}
}

func TestFilterAddrs(t *testing.T) {
	t.Parallel()
	a := addr{text: "/ip4/8.8.8.8/udp/4001/quic-v1"}
	for filter, want := range map[string]bool{
		"": true, "udp": true, "tcp": false, "tcp,udp": true, "!tcp": true, "!udp": false, "quic-v1,!ip4": false,
		"!tcp,!ip6": true, "tcp,!ip6": false, "unknown": false, "4002": false,
	} {
		if got := a.passes(parseFilter(filter)); got != want {
			t.Errorf("filter-addrs=%s: %v, want %v", filter, got, want)
		}
	}
}
