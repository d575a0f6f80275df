package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Answers that are sent at once. While it is sent, however slowly that is taken, a CAR holds a block and what its tree
// needs, some MiB; a decoder holds the window of a pack, 3 MiB for ours, up to 10 for others; a raw block is up to one.
const (
	maxCARs     = 16
	maxRaws     = 24
	maxDecoders = 3
)

var errBusy = &refusal{http.StatusServiceUnavailable, "the gateway is busy", "try again in a second"}

// gate bounds the answers that are sent at once, and the part of one client in them, so that one that reads slowly does
// not stop the others. When all places are taken, a client gets one from whoever holds most, if that is at least two
// more than it has itself. The zero gate is empty. It is safe for concurrent use.
type gate struct {
	mu  sync.Mutex
	all int
	by  map[string][]*place // the oldest first
}

// place is that of one answer.
type place struct {
	who string
	cut func() // ends the answer; it must not block
}

// enter returns a place for who, who may have a quarter of limit; nil if there is none.
func (g *gate) enter(who string, limit int, cut func()) *place {
	g.mu.Lock()
	defer g.mu.Unlock()
	held := len(g.by[who])
	if held >= max(1, limit/4) {
		return nil
	}
	if g.all >= limit {
		var most []*place
		for _, some := range g.by {
			if len(some) > len(most) {
				most = some
			}
		}
		if len(most) < held+2 {
			return nil
		}
		oldest := most[0]
		g.remove(oldest)
		oldest.cut()
	}
	if g.by == nil {
		g.by = map[string][]*place{}
	}
	p := &place{who, cut}
	g.all++
	g.by[who] = append(g.by[who], p)
	return p
}

// leave gives a place back. It is not cut any more then.
func (g *gate) leave(p *place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.remove(p)
}

// remove does nothing if the place is somebody else's by now.
func (g *gate) remove(p *place) {
	i := slices.Index(g.by[p.who], p)
	if i < 0 {
		return
	}
	g.all--
	if g.by[p.who] = slices.Delete(g.by[p.who], i, i+1); len(g.by[p.who]) == 0 {
		delete(g.by, p.who)
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
