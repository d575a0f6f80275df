package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
)

// Answers that are sent at once. A CAR takes some MiB while it is sent, however slowly that is taken; a raw block takes
// up to one.
const (
	maxCARs = 64
	maxRaws = 128
)

var errBusy = &refusal{http.StatusServiceUnavailable, "the gateway is busy", "try again in a second"}

// gate bounds the answers that are sent at once, and the part of one client in them, so that one that reads slowly does
// not stop the others. The zero gate is empty. It is safe for concurrent use.
type gate struct {
	mu  sync.Mutex
	all int
	by  map[string]int
}

// enter reports whether there is room for one more of who, at most a quarter of limit.
func (g *gate) enter(who string, limit int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= limit || g.by[who] >= max(1, limit/4) {
		return false
	}
	if g.by == nil {
		g.by = map[string]int{}
	}
	g.all++
	g.by[who]++
	return true
}

func (g *gate) leave(who string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.by[who]--; g.by[who] == 0 {
		delete(g.by, who)
	}
}

// client is who counts as one: an IPv4 address, an IPv6 /56, which is what one customer is given, or a peer id. A proxy
// on this machine speaks for the client that it names last.
func client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	if via := r.Header.Values("X-Forwarded-For"); ip.Unmap().IsLoopback() && len(via) > 0 {
		last := via[len(via)-1]
		if ip, err = netip.ParseAddr(strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])); err != nil {
			return ""
		}
	}
	ip = ip.WithZone("").Unmap()
	bits := 56
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // the bits fit
	return p.String()
}
