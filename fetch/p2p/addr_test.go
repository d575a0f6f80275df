package p2p

import (
	"strings"
	"testing"

	ma "github.com/multiformats/go-multiaddr"
)

const somebody = "/p2p/12D3KooWCDrzsLhpHc3KV5akitnY6cbMt2yEJrXU6Rcu1cbR9A6x"

func TestParsePeer(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{ // "" = fine, otherwise part of the error
		"/ip4/203.0.113.7/tcp/4001" + somebody:             "",
		"/ip4/127.0.0.1/udp/4001/quic-v1" + somebody:       "",
		"/ip6/2001:db8::1/tcp/4001" + somebody:             "",
		"/dns4/seed.example.org/tcp/443" + somebody:        "",
		"/dns/seed.example.org/udp/443/quic-v1" + somebody: "",
		"":                                       "empty",
		"example.org:4001":                       "must begin with /",
		"/ip4/203.0.113.7/tcp/4001":              "does not end in /p2p/",
		somebody:                                 "no way to dial",
		"/ip4/203.0.113.7" + somebody:            "no way to dial",
		"/ip4/203.0.113.7/udp/1" + somebody:      "no way to dial",
		"/ip4/203.0.113.7/udp/1/quic" + somebody: "no way to dial",
		"/ip4/203.0.113.7/tcp/1/ws" + somebody:   "no way to dial",
		"/ip4/203.0.113.7/udp/1/quic-v1/webtransport" + somebody:          "no way to dial",
		"/dnsaddr/bootstrap.libp2p.io" + somebody:                         "no way to dial",
		"/ip4/203.0.113.7/tcp/4001" + somebody + "/p2p-circuit":           "relay",
		"/ip4/203.0.113.7/tcp/1" + somebody + "/p2p-circuit" + somebody:   "relay",
		"/ip4/0.0.0.0/tcp/4001" + somebody:                                "nobody's",
		"/ip6/ff02::1/tcp/4001" + somebody:                                "nobody's",
		"/ip4/203.0.113.7/tcp/0" + somebody:                               "port 0",
		"/ip4/203.0.113.7/tcp/99999" + somebody:                           "99999",
		"/ip4/203.0.113.7/tcp/4001/p2p/nobody":                            "p2p",
		"/ip4/203.0.113.7/tcp/4001" + somebody + strings.Repeat(" ", 600): "longer",
	} {
		info, err := ParsePeer(text)
		switch {
		case want == "" && (err != nil || len(info.Addrs) != 1 || info.Addrs[0].String()+"/p2p/"+info.ID.String() != text):
			t.Errorf("%s: got %v, %v", text, info, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: got %v, want an error about %q", text, err, want)
		}
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"/ip4/8.8.8.8/tcp/4001":                                     true,
		"/ip4/8.8.8.8/tcp/4001" + somebody:                          true,
		"/ip4/8.8.8.8/udp/4001/quic-v1":                             true,
		"/ip6/2606:4700::1111/tcp/4001":                             true,
		"/ip6/2606:4700::1111/udp/4001/quic-v1":                     true,
		"/ip4/8.8.8.8/udp/4001":                                     false,
		"/ip4/8.8.8.8/tcp/0":                                        false,
		"/ip4/8.8.8.8/tcp/80/http":                                  false,
		"/ip4/8.8.8.8":                                              false,
		"/dns4/example.org/tcp/4001":                                false,
		"/dnsaddr/example.org":                                      false,
		"/dns/localhost/tcp/1":                                      false,
		"/ip4/127.0.0.1/tcp/1":                                      false,
		"/ip4/127.9.9.9/tcp/1":                                      false,
		"/ip4/10.1.2.3/tcp/1":                                       false,
		"/ip4/172.31.0.1/tcp/1":                                     false,
		"/ip4/172.32.0.1/tcp/1":                                     true,
		"/ip4/192.168.1.1/tcp/1":                                    false,
		"/ip4/169.254.169.254/tcp/80":                               false,
		"/ip4/100.100.100.100/tcp/1":                                false,
		"/ip4/0.0.0.0/tcp/1":                                        false,
		"/ip4/0.1.2.3/tcp/1":                                        false,
		"/ip4/224.0.0.1/tcp/1":                                      false,
		"/ip4/255.255.255.255/tcp/1":                                false,
		"/ip4/198.18.0.1/tcp/1":                                     false,
		"/ip4/203.0.113.7/tcp/1":                                    false,
		"/ip6/::1/tcp/1":                                            false,
		"/ip6/::/tcp/1":                                             false,
		"/ip6/fe80::1/tcp/1":                                        false,
		"/ip6zone/eth0/ip6/fe80::1/tcp/1":                           false,
		"/ip6zone/eth0/ip6/2606:4700::1111/tcp/1":                   false,
		"/ip6/fd00::1/tcp/1":                                        false,
		"/ip6/ff02::1/tcp/1":                                        false,
		"/ip6/::ffff:127.0.0.1/tcp/1":                               false,
		"/ip6/::ffff:8.8.8.8/tcp/1":                                 false,
		"/ip6/64:ff9b::7f00:1/tcp/1":                                false,
		"/ip6/2002:7f00:1::1/tcp/1":                                 false,
		"/ip6/2001:0:4136:e378:8000:63bf:3fff:fdd2/tcp/1":           false,
		"/ip6/2001:db8::1/tcp/1":                                    false,
		"/ip4/8.8.8.8/tcp/1" + somebody + "/p2p-circuit":            false,
		"/ip4/8.8.8.8/tcp/1" + somebody + "/p2p-circuit" + somebody: false,
	} {
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Public(a); got != want {
			t.Errorf("%s: public is %v, want %v", text, got, want)
		}
	}
	if Public(nil) {
		t.Error("no address is public")
	}
}

func FuzzParsePeer(f *testing.F) {
	f.Add("/ip4/203.0.113.7/tcp/4001" + somebody)
	f.Add("/dns4/x/udp/1/quic-v1" + somebody)
	f.Add("/ip4/1.2.3.4/tcp/1" + somebody + "/p2p-circuit" + somebody)
	f.Fuzz(func(t *testing.T, text string) {
		info, err := ParsePeer(text)
		if err != nil {
			return
		}
		again, err := ParsePeer(info.Addrs[0].String() + "/p2p/" + info.ID.String())
		if err != nil || again.ID != info.ID || !again.Addrs[0].Equal(info.Addrs[0]) {
			t.Errorf("%q: %v and again %v, %v", text, info, again, err)
		}
		Public(info.Addrs[0])
	})
}

func TestTheBetterTransportIsDialedFirst(t *testing.T) {
	t.Parallel()
	for text, late := range map[string]string{
		"/ip4/8.8.8.8/tcp/1 /ip4/8.8.8.8/udp/1/quic-v1":                             "/ip4/8.8.8.8/tcp/1",
		"/ip4/192.168.1.2/tcp/1 /ip4/192.168.1.2/udp/1/quic-v1":                     "/ip4/192.168.1.2/udp/1/quic-v1",
		"/ip6/::1/udp/1/quic-v1 /ip6/::1/tcp/1":                                     "/ip6/::1/udp/1/quic-v1",
		"/ip4/8.8.8.8/tcp/1 /ip6/2606:4700::1111/tcp/1":                             "",
		"/ip4/10.0.0.1/udp/1/quic-v1":                                               "",
		"/ip4/8.8.8.8/udp/1/quic-v1 /ip4/10.0.0.1/tcp/1 /ip4/8.8.4.4/udp/2/quic-v1": "",
	} {
		var addrs []ma.Multiaddr
		for part := range strings.FieldsSeq(text) {
			a, err := ma.NewMultiaddr(part)
			if err != nil {
				t.Fatal(err)
			}
			addrs = append(addrs, a)
		}
		for _, r := range rank(addrs) {
			if want := r.Addr.String() == late; (r.Delay > 0) != want || r.Delay > headStart {
				t.Errorf("%s: %s waits %v, want it to wait: %v", text, r.Addr, r.Delay, want)
			}
		}
	}
}
