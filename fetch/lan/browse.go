package lan

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
)

// askAgain is when the question is repeated, as packets to many get lost in the air.
const askAgain = 300 * time.Millisecond

// asker is a socket that asks in one network.
type asker interface {
	ask(question []byte) error
	// read returns one packet that came back. After close the error is net.ErrClosed.
	read(b []byte) (int, netip.AddrPort, error)
	// near reports whether an address lies in the network.
	near(ip netip.Addr) bool
	close() error
}

// Browse asks for the seeds of all networks this machine is on, and calls found for each, one at a time, until ctx is done,
// [Window] is over or [Most] are found. A peer is named once, with addresses that it has in that network. The error says
// that nobody could be asked although there is a network.
func Browse(ctx context.Context, found func(peer.AddrInfo)) error {
	all, err := links()
	if err != nil {
		return fmt.Errorf("ask for seeds: %w", err)
	}
	var askers []asker
	for _, l := range all {
		for _, front := range l.fronts() {
			if len(askers) == maxLinks {
				break
			}
			a, oerr := openAsker(ctx, l, front)
			if oerr != nil {
				err = oerr
				continue
			}
			askers = append(askers, a)
		}
	}
	if len(askers) > 0 {
		err = browse(ctx, askers, found)
	}
	if err != nil {
		return fmt.Errorf("ask for seeds: %w", err)
	}
	return nil
}

// browse asks, and closes the askers.
func browse(ctx context.Context, askers []asker, found func(peer.AddrInfo)) error {
	ctx, cancel := context.WithTimeout(ctx, Window)
	var number [2]byte
	_, _ = rand.Read(number[:]) // it does not fail
	b := &browser{
		id: binary.BigEndian.Uint16(number[:]), found: found, enough: cancel,
		known: make(map[peer.ID]bool), machines: make(map[netip.Addr]int),
	}
	for _, a := range askers {
		b.wg.Go(func() { b.listen(a) })
	}
	defer func() {
		cancel()
		for _, a := range askers {
			_ = a.close() // nothing was kept
		}
		b.wg.Wait()
	}()
	q, err := question(b.id)
	if err != nil {
		return err
	}
	again := time.NewTimer(askAgain)
	defer again.Stop()
	for range 2 {
		asked := 0
		for _, a := range askers {
			if aerr := a.ask(q); aerr != nil {
				err = aerr
			} else {
				asked++
			}
		}
		if asked == 0 {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
	<-ctx.Done()
	return nil
}

// browser is one Browse.
type browser struct {
	id     uint16 // of the question
	enough context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex // guards what follows, and calls of found
	found    func(peer.AddrInfo)
	known    map[peer.ID]bool
	machines map[netip.Addr]int // peers found at an address
}

// listen reads what comes to a, until it is closed or too much came.
func (b *browser) listen(a asker) {
	buf := make([]byte, maxPacket)
	for range maxPackets {
		n, from, err := a.read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil { // a packet that was too long, where that is an error
			continue
		}
		ip := from.Addr().Unmap()
		if !a.near(ip) {
			continue
		}
		for _, info := range parseAnswer(buf[:n], b.id, ip) {
			b.take(info, ip)
		}
	}
}

// take passes a peer on, unless it is known or one of too many.
func (b *browser) take(info peer.AddrInfo, from netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[info.ID] || len(b.known) == Most || b.machines[from] == mostPerMachine {
		return
	}
	b.known[info.ID] = true
	b.machines[from]++
	b.found(info)
	if len(b.known) == Most {
		b.enough()
	}
}
