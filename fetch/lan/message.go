package lan

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/net/dns/dnsmessage"

	"pkg/fetch/p2p"
)

const (
	// topBit of a class says of a question that it wants an answer for itself (RFC 6762 §5.4), of a record that it is all
	// there is of its kind (§10.2).
	topBit = 1 << 15
	// attribute is the key of the strings of the TXT record, as in the mDNS of libp2p.
	attribute = "dnsaddr="

	ttl       = 120 // seconds: for how long others may remember a seed that vanishes
	legacyTTL = 10  // of answers to one-shot questions (§6.7)
)

// instance is the DNS name of a seed.
func instance(id peer.ID) string { return id.String() + "." + Service }

// question is a packet that asks for seeds.
func question(id uint16) ([]byte, error) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id}, Questions: []dnsmessage.Question{ptrQuestion()}}
	return m.Pack()
}

func ptrQuestion() dnsmessage.Question {
	return dnsmessage.Question{Name: dnsmessage.MustNewName(Service), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET}
}

// query is what a packet asks of a seed.
type query struct {
	id      uint16
	unicast bool // the answer is for who asked
	known   bool // who asked knows this seed
}

// parseQuery reads a packet. It reports false if it does not ask for seeds.
func parseQuery(b []byte, self string) (query, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.Response || h.OpCode != 0 {
		return query{}, false
	}
	q, asked := query{id: h.ID}, false
	for n := 0; ; n++ {
		one, err := p.Question()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			break
		}
		if err != nil || n == maxRecords {
			return query{}, false
		}
		class := one.Class &^ topBit
		if (one.Type == dnsmessage.TypePTR || one.Type == dnsmessage.TypeALL) && is(one.Name, Service) &&
			(class == dnsmessage.ClassINET || class == dnsmessage.ClassANY) {
			asked, q.unicast = true, one.Class&topBit != 0
		}
	}
	for range maxRecords {
		r, err := p.AnswerHeader()
		if err != nil {
			break
		}
		if r.Type != dnsmessage.TypePTR || !is(r.Name, Service) {
			if p.SkipAnswer() != nil {
				break
			}
			continue
		}
		to, err := p.PTRResource()
		if err != nil {
			break
		}
		q.known = q.known || is(to.PTR, self) && r.TTL > ttl/2 // §7.1
	}
	return q, asked
}

// is compares DNS names.
func is(n dnsmessage.Name, want string) bool { return strings.EqualFold(n.String(), want) }

// answer is a packet that names a seed and its addresses.
type answer struct {
	id    peer.ID
	addrs []ma.Multiaddr
	// to is the question that is answered to who asked it in the old way, and its number; nil: the answer is for those who
	// speak multicast DNS.
	to *query
	// gone says that there is no such seed any more.
	gone bool
}

// pack writes the answer.
func (a answer) pack() ([]byte, error) {
	name, err := dnsmessage.NewName(instance(a.id))
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{Response: true, Authoritative: true}}
	life, only := uint32(ttl), dnsmessage.Class(topBit)
	if a.to != nil {
		m.ID, m.Questions = a.to.id, []dnsmessage.Question{ptrQuestion()}
		life, only = legacyTTL, 0
	}
	if a.gone {
		life = 0
	}
	m.Answers = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName(Service), Class: dnsmessage.ClassINET, TTL: life},
		Body:   &dnsmessage.PTRResource{PTR: name},
	}}
	m.Additionals = []dnsmessage.Resource{{
		Header: dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET | only, TTL: life},
		Body:   &dnsmessage.TXTResource{TXT: a.text()},
	}}
	return m.Pack()
}

// text are the strings of the TXT record: one address each, up to maxAddrs. There is always one (RFC 6763 §6.1).
func (a answer) text() []string {
	var out []string
	for _, addr := range a.addrs {
		s := attribute + addr.String() + "/p2p/" + a.id.String()
		if len(s) <= maxText && len(out) < maxAddrs {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return []string{""}
	}
	return out
}

// parseAnswer reads a packet that claims to answer the question of that number, and came from an address. The peers in it
// are those whose addresses are the one it came from.
func parseAnswer(b []byte, id uint16, from netip.Addr) []peer.AddrInfo {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || !h.Response || h.ID != id || h.RCode != dnsmessage.RCodeSuccess || p.SkipAllQuestions() != nil {
		return nil
	}
	f := &finds{from: from}
	if f.section(p.AnswerHeader, p.SkipAnswer, p.TXTResource) && p.SkipAllAuthorities() == nil {
		f.section(p.AdditionalHeader, p.SkipAdditional, p.TXTResource)
	}
	return f.peers
}

// finds are the peers of one packet.
type finds struct {
	from    netip.Addr
	records int
	peers   []peer.AddrInfo
}

// section takes the TXT records of one section of a packet, and reports whether it came to the section's end.
func (f *finds) section(header func() (dnsmessage.ResourceHeader, error), skip func() error, txt func() (dnsmessage.TXTResource, error)) bool {
	for {
		h, err := header()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return true
		}
		if f.records++; err != nil || f.records > maxRecords {
			return false
		}
		owner := h.Name.String()
		of := len(owner) - len(Service)
		if h.Type != dnsmessage.TypeTXT || h.Class&^topBit != dnsmessage.ClassINET || h.TTL == 0 || of < 0 || !strings.EqualFold(owner[of:], Service) {
			if skip() != nil {
				return false
			}
			continue
		}
		r, err := txt()
		if err != nil {
			return false
		}
		for i, s := range r.TXT {
			if i == maxRecords {
				break
			}
			f.take(s)
		}
	}
}

// take takes one string of a TXT record.
func (f *finds) take(s string) {
	text, ok := strings.CutPrefix(s, attribute)
	if !ok {
		return
	}
	info, err := p2p.ParsePeer(text)
	if err != nil {
		return
	}
	if at, ok := ipOf(info.Addrs[0]); !ok || at != f.from {
		return
	}
	for i := range f.peers {
		if f.peers[i].ID == info.ID {
			if len(f.peers[i].Addrs) < maxAddrs {
				f.peers[i].Addrs = append(f.peers[i].Addrs, info.Addrs[0])
			}
			return
		}
	}
	if len(f.peers) < Most {
		f.peers = append(f.peers, info)
	}
}

// ipOf is the IP address that an address begins with; names have none.
func ipOf(a ma.Multiaddr) (netip.Addr, bool) {
	if len(a) == 0 || a[0].Code() != ma.P_IP4 && a[0].Code() != ma.P_IP6 {
		return netip.Addr{}, false
	}
	ip, ok := netip.AddrFromSlice(a[0].RawValue())
	return ip, ok
}
