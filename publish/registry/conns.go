//go:build unix

package registry

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// maxConns is how many connections a server has at a time. Each takes about
// 30 KiB while a request is under way, however slow its client is.
const maxConns = 1024

// conns is a listener that bounds the connections of a server, and the part of
// one network in them: a quarter, except for this machine, where a proxy may
// speak for all. Who comes when all are taken gets the place of one that has
// asked for nothing yet, or nothing more: the one that has waited longest, of
// the network that has most such. So headers that drip keep nobody out. If
// there is none, the longest request of the network that has most connections
// is broken off, unless the newcomer's network has nearly as many: then the
// newcomer is turned away.
type conns struct {
	net.Listener
	most int

	mu  sync.Mutex // guards all below
	seq uint64
	all map[net.Conn]*caller
	by  map[string]*crowd
}

// caller is one connection.
type caller struct {
	from  string
	asks  bool   // a request is under way
	since uint64 // what it does now; smaller is longer
}

// crowd is what one network has.
type crowd struct{ all, waiting int }

func newConns(l net.Listener, most int) *conns {
	return &conns{Listener: l, most: most, all: map[net.Conn]*caller{}, by: map[string]*crowd{}}
}

// Accept implements net.Listener.
func (c *conns) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c.enter(conn) {
			return conn, nil
		}
		_ = conn.Close() // turned away
	}
}

// state is for http.Server.ConnState.
func (c *conns) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.all[conn]
	if one == nil {
		return // it had to go
	}
	switch s {
	case http.StateActive, http.StateIdle:
		if asks := s == http.StateActive; asks != one.asks {
			one.asks = asks
			if asks {
				c.by[one.from].waiting--
			} else {
				c.by[one.from].waiting++
			}
		}
		c.seq++
		one.since = c.seq
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

// enter makes room for a connection, or reports that there is none.
func (c *conns) enter(conn net.Conn) bool {
	from, here := "", false
	if at, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
		from, here = network(at.Addr()), at.Addr().Unmap().IsLoopback()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	own := c.by[from]
	if own == nil {
		own = &crowd{}
	}
	var out net.Conn
	switch {
	case !here && own.all >= max(1, c.most/4):
		out = c.oldest(func(one *caller) bool { return !one.asks && one.from == from })
	case len(c.all) >= c.most:
		out = c.last(own.all)
	default:
		c.add(conn, from)
		return true
	}
	if out == nil {
		return false
	}
	c.leave(out)
	_ = out.Close() // its handler notices
	c.add(conn, from)
	return true
}

func (c *conns) add(conn net.Conn, from string) {
	if c.by[from] == nil {
		c.by[from] = &crowd{}
	}
	c.by[from].all++
	c.by[from].waiting++
	c.seq++
	c.all[conn] = &caller{from: from, since: c.seq}
}

func (c *conns) leave(conn net.Conn) {
	one := c.all[conn]
	delete(c.all, conn)
	w := c.by[one.from]
	if !one.asks {
		w.waiting--
	}
	if w.all--; w.all == 0 {
		delete(c.by, one.from)
	}
}

// last chooses who has to go for one whose network has own connections.
func (c *conns) last(own int) net.Conn {
	most, waiting := "", ""
	for from, w := range c.by {
		if most == "" || w.all > c.by[most].all {
			most = from
		}
		if w.waiting > 0 && (waiting == "" || w.waiting > c.by[waiting].waiting) {
			waiting = from
		}
	}
	if waiting != "" {
		return c.oldest(func(one *caller) bool { return !one.asks && one.from == waiting })
	}
	if c.by[most].all < own+2 {
		return nil
	}
	return c.oldest(func(one *caller) bool { return one.from == most })
}

func (c *conns) oldest(of func(*caller) bool) (out net.Conn) {
	for conn, one := range c.all {
		if of(one) && (out == nil || one.since < c.all[out].since) {
			out = conn
		}
	}
	return out
}
