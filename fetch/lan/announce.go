package lan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	lookEvery = 10 // seconds between looks at which networks there are
	perSecond = 64 // answers at most
	unasked   = 2  // how often a seed says that it is there, a second apart (RFC 6762 §8.3)
	maxErrors = 64 // of a socket in a row until it is given up
	maxQuery  = 64 << 10
)

// wire is a socket of one family that hears what is said to the group.
type wire interface {
	// join makes it hear the group in a network too. Joining again is an error that changes nothing.
	join(l link) error
	// read returns one packet. After close the error is net.ErrClosed.
	read(b []byte) (int, netip.AddrPort, error)
	send(b []byte, to netip.AddrPort) error
	// shout sends to the group in a network.
	shout(b []byte, l link) error
	close() error
}

// Announce answers those who ask for seeds in the networks that this machine is or comes to be on, until ctx is done; then
// it says that this one ends. addrs returns where it listens; it is called for each answer, one at a time. The error says
// why nobody can be heard. log gets what goes wrong with single networks; nil is silent.
func Announce(ctx context.Context, id peer.ID, addrs func() []ma.Multiaddr, log *slog.Logger) error {
	wires, err := openWires(ctx)
	if err != nil {
		return fmt.Errorf("announce the seed on the LAN: %w", err)
	}
	newAnnouncer(id, addrs, links, wires, log).run(ctx)
	return nil
}

// announcer is one Announce.
type announcer struct {
	id    peer.ID
	addrs func() []ma.Multiaddr
	find  func() ([]link, error)
	wires []wire
	log   *slog.Logger
	wg    sync.WaitGroup

	mu     sync.Mutex // guards what follows, and what is sent
	links  []link
	told   map[string]int  // how often the seed was announced in a network, by interface
	left   int             // answers that may be given in this second
	spoken map[string]bool // networks in which one was for all, in this second
}

func newAnnouncer(id peer.ID, addrs func() []ma.Multiaddr, find func() ([]link, error), wires []wire, log *slog.Logger) *announcer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &announcer{id: id, addrs: addrs, find: find, wires: wires, log: log, told: make(map[string]int)}
}

// run announces until ctx is done, and closes the wires.
func (a *announcer) run(ctx context.Context) {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for n := 0; ; n++ {
		a.second(ctx, n%lookEvery == 0)
		if n == 0 {
			for _, w := range a.wires {
				a.wg.Go(func() { a.listen(ctx, w) })
			}
		}
		select {
		case <-second.C:
			continue
		case <-ctx.Done():
		}
		a.mu.Lock()
		for _, l := range a.links {
			if a.told[l.Name] > 0 {
				a.shout(context.WithoutCancel(ctx), answer{id: a.id, gone: true}, l)
			}
		}
		a.mu.Unlock()
		for _, w := range a.wires {
			_ = w.close() // all was said
		}
		a.wg.Wait()
		return
	}
}

// second does what is due once a second.
func (a *announcer) second(ctx context.Context, look bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left, a.spoken = perSecond, make(map[string]bool)
	if look {
		a.look(ctx)
	}
	for _, l := range a.links {
		if a.told[l.Name] >= unasked {
			continue
		}
		if addrs := a.addrsIn(l); len(addrs) > 0 {
			a.shout(ctx, answer{id: a.id, addrs: addrs}, l)
			a.told[l.Name]++
		}
	}
}

// look finds out which networks there are, and joins them; the caller holds mu, here and below.
func (a *announcer) look(ctx context.Context) {
	all, err := a.find()
	if err != nil {
		a.log.WarnContext(ctx, "find the networks of this machine", slog.Any("error", err))
		return
	}
	here := make(map[string]int)
	for _, l := range all {
		here[l.Name] = a.told[l.Name] // one that was gone is new
		for _, w := range a.wires {
			if err := w.join(l); err != nil {
				a.log.DebugContext(ctx, "listen on the LAN", slog.String("interface", l.Name), slog.Any("error", err))
			}
		}
	}
	a.links, a.told = all, here
}

// addrsIn are the addresses of the seed in a network.
func (a *announcer) addrsIn(l link) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, addr := range a.addrs() {
		if ip, ok := ipOf(addr); ok && l.owns(ip) {
			out = append(out, addr)
		}
	}
	return out
}

// shout tells all in a network.
func (a *announcer) shout(ctx context.Context, what answer, l link) {
	b, err := what.pack()
	for _, w := range a.wires {
		if err == nil {
			err = w.shout(b, l)
		}
		if err != nil {
			a.log.DebugContext(ctx, "announce on the LAN", slog.String("interface", l.Name), slog.Any("error", err))
			err = nil
		}
	}
}

// listen answers what comes to w, until it is closed.
func (a *announcer) listen(ctx context.Context, w wire) {
	buf := make([]byte, maxQuery) // no packet is too long, which is an error on some systems
	for failed := 0; failed < maxErrors; {
		n, from, err := w.read(buf)
		switch {
		case ctx.Err() != nil, errors.Is(err, net.ErrClosed):
			return
		case err != nil: // what came back of an answer to somebody who left
			failed++
		default:
			failed = 0
			a.reply(ctx, w, buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port()))
		}
	}
	a.log.WarnContext(ctx, "listen on the LAN: given up")
}

// reply answers one packet, if it asks for seeds and comes from a network that this machine is on.
func (a *announcer) reply(ctx context.Context, w wire, packet []byte, from netip.AddrPort) {
	q, ok := parseQuery(packet, instance(a.id))
	if !ok {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.links {
		if !l.near(from.Addr()) {
			continue
		}
		addrs := a.addrsIn(l)
		if len(addrs) == 0 || a.left == 0 {
			continue
		}
		a.left--
		switch {
		case from.Port() != port: // it speaks no multicast DNS
			a.send(ctx, w, answer{id: a.id, addrs: addrs, to: &q}, from)
		case q.known:
		case q.unicast:
			a.send(ctx, w, answer{id: a.id, addrs: addrs}, from)
		case !a.spoken[l.Name]: // once a second is enough for all (§6)
			a.spoken[l.Name] = true
			a.shout(ctx, answer{id: a.id, addrs: addrs}, l)
		}
	}
}

// send tells one.
func (a *announcer) send(ctx context.Context, w wire, what answer, to netip.AddrPort) {
	b, err := what.pack()
	if err == nil {
		err = w.send(b, to)
	}
	if err != nil {
		a.log.DebugContext(ctx, "answer on the LAN", slog.String("to", to.String()), slog.Any("error", err))
	}
}
