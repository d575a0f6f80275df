package tracker

import (
	"net/netip"
	"slices"
	"strings"
)

// record is a peer in an answer: the peer schema of Delegated Routing V1.
type record struct {
	Schema    string
	ID        string
	Addrs     []string
	Protocols []string `json:",omitempty"`
}

const schemaPeer = "peer"

// one is the answer of GET /routing/v1/providers/{cid}.
type one struct {
	Providers []record
}

// many is the answer of POST /routing/pkg/providers: roots by the positions of their providers.
type many struct {
	Providers []record
	Roots     map[string][]int
}

// filter is what an asker wants to hear.
type filter struct {
	from      netip.Addr
	addrs     []string // filter-addrs of IPIP-484
	protocols []string // filter-protocols
}

// parseFilter parses a list in a query.
func parseFilter(text string) []string {
	const most = 32
	if text == "" {
		return nil
	}
	return strings.SplitN(strings.ToLower(text), ",", most)
}

// record is s as the asker may see it; ok is false if nothing is left of it.
func (f filter) record(s *seed) (r record, ok bool) {
	if !f.speaks(s.protocols) {
		return r, false
	}
	r = record{Schema: schemaPeer, ID: s.id.String(), Protocols: s.protocols}
	for _, a := range s.addrs {
		if reaches(f.from, a.ip) && a.passes(f.addrs) {
			r.Addrs = append(r.Addrs, a.text)
		}
	}
	return r, len(r.Addrs) > 0
}

// speaks applies filter-protocols; "unknown" stands for peers that name none.
func (f filter) speaks(protocols []string) bool {
	return len(f.protocols) == 0 || slices.ContainsFunc(f.protocols, func(want string) bool {
		return slices.Contains(protocols, want) || want == "unknown" && len(protocols) == 0
	})
}
