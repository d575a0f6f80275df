package lan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/dns/dnsmessage"
)

const number = 0xbeef // of questions

// TestAnswerIsRead holds that what a seed writes is what is read of it where it came from.
func TestAnswerIsRead(t *testing.T) {
	id := peerID(t, 1)
	for _, tt := range []struct{ from, addr string }{
		{"192.168.1.7", "/ip4/192.168.1.7/tcp/4107"},
		{"192.168.1.7", "/ip4/192.168.1.7/udp/4107/quic-v1"},
		{"fd00::7", "/ip6/fd00::7/tcp/1"},
	} {
		b, err := answer{id: id, addrs: multiaddrs(t, tt.addr), to: &query{id: number}}.pack()
		if err != nil {
			t.Fatal(err)
		}
		got := texts(parseAnswer(b, number, netip.MustParseAddr(tt.from)))
		if want := []string{tt.addr + "/p2p/" + id.String()}; !cmp.Equal(got, want) {
			t.Errorf("%s from %s is read as %q, want %q", tt.addr, tt.from, got, want)
		}
		if got := parseAnswer(b, number+1, netip.MustParseAddr(tt.from)); got != nil {
			t.Errorf("read the answer to another question: %v", got)
		}
		for n := range b {
			if got := parseAnswer(b[:n], number, netip.MustParseAddr(tt.from)); len(got) > 1 {
				t.Errorf("the first %d bytes are read as %v", n, got)
			}
		}
	}
}

// TestAnswersFit holds that a seed with very many addresses still writes one packet, with the first of them.
func TestAnswersFit(t *testing.T) {
	id := peerID(t, 1)
	const ip = "2001:db8:1111:2222:3333:4444:5555:6666"
	all := []string{"/ip6/" + ip + "/tcp/4107/tls/sni/" + strings.Repeat("long.", 50) + "example/ws"}
	for i := range 100 {
		all = append(all, fmt.Sprintf("/ip6/%s/udp/%d/quic-v1", ip, 40000+i))
	}
	for _, to := range []*query{nil, {id: number}} {
		b, err := answer{id: id, addrs: multiaddrs(t, all...), to: to}.pack()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 1232 {
			t.Errorf("an answer of %d bytes", len(b))
		}
		n := uint16(0)
		if to != nil {
			n = to.id
		}
		if got := parseAnswer(b, n, netip.MustParseAddr(ip)); len(got) != 1 || len(got[0].Addrs) != maxAddrs {
			t.Errorf("read %v", got)
		}
	}
	b, err := answer{id: id, to: &query{id: number}}.pack()
	if err != nil {
		t.Fatal(err)
	}
	if got := parseAnswer(b, number, netip.MustParseAddr("192.168.1.7")); got != nil {
		t.Errorf("a seed without addresses is read as %v", got)
	}
}

// forged is an answer with the strings of one TXT record.
func forged(tb testing.TB, change func(*dnsmessage.Message), txt ...string) []byte {
	tb.Helper()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: number, Response: true},
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("x." + Service), Class: dnsmessage.ClassINET, TTL: 10},
			Body:   &dnsmessage.TXTResource{TXT: txt},
		}},
	}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestWhatIsNotBelieved holds that an answer says nothing of other machines than the one it came from, nor anything that
// cannot be dialed.
func TestWhatIsNotBelieved(t *testing.T) {
	const from = "192.168.1.7"
	p2p := "/p2p/" + peerID(t, 1).String()
	good := attribute + "/ip4/" + from + "/tcp/4107" + p2p
	if got := parseAnswer(forged(t, nil, good), number, netip.MustParseAddr(from)); len(got) != 1 {
		t.Fatalf("%s is read as %v", good, got)
	}
	for _, s := range []string{
		"", "dnsaddr", attribute, attribute + "/", "DNSADDR=/ip4/" + from + "/tcp/4107" + p2p,
		attribute + "/ip4/192.168.1.8/tcp/4107" + p2p, attribute + "/ip4/127.0.0.1/tcp/4107" + p2p,
		attribute + "/ip4/8.8.8.8/tcp/4107" + p2p, attribute + "/ip4/0.0.0.0/tcp/4107" + p2p,
		attribute + "/ip4/255.255.255.255/udp/4107/quic-v1" + p2p, attribute + "/ip4/224.0.0.251/udp/5353/quic-v1" + p2p,
		attribute + "/ip6/::1/tcp/4107" + p2p, attribute + "/ip6/::ffff:192.168.1.7/tcp/4107" + p2p,
		attribute + "/dns4/registry.example/tcp/443" + p2p, attribute + "/dns4/" + from + "/tcp/443" + p2p,
		attribute + "/dnsaddr/registry.example" + p2p, attribute + "/unix/tmp/socket" + p2p,
		attribute + "/ip4/" + from + "/tcp/0" + p2p, attribute + "/ip4/" + from + "/tcp/4107", attribute + "/ip4/" + from + "/udp/4107" + p2p,
		attribute + "/ip4/" + from + "/tcp/4107/ws" + p2p, attribute + "/ip4/" + from + "/tcp/4107/p2p/QmNobody",
		attribute + "/ip4/" + from + "/tcp/4107" + p2p + "/p2p-circuit" + p2p, attribute + "/ip6zone/eth0/ip6/fe80::1/tcp/1" + p2p,
		attribute + strings.Repeat("/ip4/"+from, 15),
	} {
		if got := parseAnswer(forged(t, nil, s), number, netip.MustParseAddr(from)); got != nil {
			t.Errorf("%q is read as %v", s, got)
		}
	}
	for name, change := range map[string]func(*dnsmessage.Message){
		"a question":      func(m *dnsmessage.Message) { m.Response = false },
		"another number":  func(m *dnsmessage.Message) { m.ID++ },
		"an error":        func(m *dnsmessage.Message) { m.RCode = dnsmessage.RCodeNameError },
		"a goodbye":       func(m *dnsmessage.Message) { m.Answers[0].Header.TTL = 0 },
		"another class":   func(m *dnsmessage.Message) { m.Answers[0].Header.Class = dnsmessage.ClassCHAOS },
		"another service": func(m *dnsmessage.Message) { m.Answers[0].Header.Name = dnsmessage.MustNewName("x._ipp._tcp.local.") },
		"authority":       func(m *dnsmessage.Message) { m.Authorities, m.Answers = m.Answers, nil },
	} {
		if got := parseAnswer(forged(t, change, good), number, netip.MustParseAddr(from)); got != nil {
			t.Errorf("%s is read as %v", name, got)
		}
	}
}

// TestAnswersAreBounded holds that of a packet full of records a bounded number is looked at.
func TestAnswersAreBounded(t *testing.T) {
	const from = "192.168.1.7"
	addr := func(peer byte, at int) string {
		return fmt.Sprintf("%s/ip4/%s/tcp/%d/p2p/%s", attribute, from, at+1, peerID(t, peer))
	}
	var many []string
	for i := range 100 {
		many = append(many, addr(byte(i), i))
	}
	if got := parseAnswer(forged(t, nil, many...), number, netip.MustParseAddr(from)); len(got) != Most {
		t.Errorf("%d peers of one packet, want %d", len(got), Most)
	}
	for i := range many {
		many[i] = addr(1, i)
	}
	if got := parseAnswer(forged(t, nil, many...), number, netip.MustParseAddr(from)); len(got) != 1 || len(got[0].Addrs) != maxAddrs {
		t.Errorf("%d peers of one packet, want 1 with %d addresses", len(got), maxAddrs)
	}
	late := forged(t, func(m *dnsmessage.Message) {
		junk := m.Answers[0]
		junk.Body = &dnsmessage.TXTResource{TXT: []string{"junk"}}
		all := make([]dnsmessage.Resource, 0, 3000)
		for range 3000 {
			all = append(all, junk)
		}
		m.Answers = append(all, m.Answers...)
	}, addr(1, 0))
	if got := parseAnswer(late, number, netip.MustParseAddr(from)); got != nil {
		t.Errorf("looked at 3000 records: %v", got)
	}
}

// TestQuestionIsRead holds which packets ask for seeds.
func TestQuestionIsRead(t *testing.T) {
	self := instance(peerID(t, 1))
	b, err := question(number)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := parseQuery(b, self); !ok || got != (query{id: number}) {
		t.Errorf("the question is read as %+v, %v", got, ok)
	}
	for n := range b {
		if got, ok := parseQuery(b[:n], self); ok {
			t.Errorf("the first %d bytes are read as %+v", n, got)
		}
	}
	known := dnsmessage.Resource{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(Service), Class: dnsmessage.ClassINET, TTL: ttl},
		Body:   &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(self)},
	}
	for name, tt := range map[string]struct {
		change func(*dnsmessage.Message)
		want   query
		ok     bool
	}{
		"for itself":    {func(m *dnsmessage.Message) { m.Questions[0].Class |= topBit }, query{id: number, unicast: true}, true},
		"any type":      {func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeALL }, query{id: number}, true},
		"upper case":    {func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("_PKG._UDP.Local.") }, query{id: number}, true},
		"a known one":   {func(m *dnsmessage.Message) { m.Answers = append(m.Answers, known) }, query{id: number, known: true}, true},
		"an answer":     {func(m *dnsmessage.Message) { m.Response = true }, query{}, false},
		"an update":     {func(m *dnsmessage.Message) { m.OpCode = 5 }, query{}, false},
		"another thing": {func(m *dnsmessage.Message) { m.Questions[0].Name = dnsmessage.MustNewName("_ipp._tcp.local.") }, query{}, false},
		"another type":  {func(m *dnsmessage.Message) { m.Questions[0].Type = dnsmessage.TypeA }, query{}, false},
		"another class": {func(m *dnsmessage.Message) { m.Questions[0].Class = dnsmessage.ClassCHAOS }, query{}, false},
		"too much": {func(m *dnsmessage.Message) {
			for range maxRecords {
				m.Questions = append(m.Questions, m.Questions[0])
			}
		}, query{}, false},
	} {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: number}, Questions: []dnsmessage.Question{ptrQuestion()}}
		tt.change(&m)
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := parseQuery(b, self); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", name, got, ok, tt.want, tt.ok)
		}
	}
}

// FuzzPackets feeds packets of strangers to both readers: whatever they hold, only the sender is believed, about itself.
func FuzzPackets(f *testing.F) {
	id := peerID(f, 1)
	from := netip.MustParseAddr("192.168.1.7")
	addrs := multiaddrs(f, "/ip4/192.168.1.7/tcp/4107", "/ip4/10.0.0.1/tcp/4107")
	for _, a := range []answer{{id: id, addrs: addrs}, {id: id, addrs: addrs, to: &query{id: number}}, {id: id, gone: true}} {
		b, err := a.pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	q, err := question(number)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(q)
	f.Add([]byte("\xbe\xef\x84\x00\x00\x00\xff\xff\x00\x00\x00\x00\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x0a\x00\x02\xc0\x0c")) // a name that is itself
	f.Fuzz(func(t *testing.T, b []byte) {
		parseQuery(b, instance(id))
		infos := parseAnswer(b, number, from)
		if len(infos) > Most {
			t.Errorf("%d peers", len(infos))
		}
		for _, info := range infos {
			for _, a := range info.Addrs {
				if ip, ok := ipOf(a); !ok || ip != from {
					t.Errorf("%s was believed of %s", a, from)
				}
			}
		}
	})
}
