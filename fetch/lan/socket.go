package lan

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

const hops = 255 // a packet that was routed has fewer (RFC 6762 §11)

// family is what IPv4 and IPv6 sockets do differently.
type family interface {
	JoinGroup(ifi *net.Interface, group net.Addr) error
	SetMulticastInterface(ifi *net.Interface) error
}

// socket is a UDP socket.
type socket struct {
	*net.UDPConn
	family
	is6 bool
}

// listen opens a UDP socket. Where the address is a group's, others on this machine may listen there too.
func listen(ctx context.Context, at netip.AddrPort) (*socket, error) {
	network := "udp4"
	if at.Addr().Is6() {
		network = "udp6"
	}
	var config net.ListenConfig
	c, err := config.ListenPacket(ctx, network, at.String())
	if err != nil {
		return nil, err
	}
	s := &socket{UDPConn: c.(*net.UDPConn), is6: at.Addr().Is6()}
	if s.is6 {
		p := ipv6.NewPacketConn(c)
		s.family, err = p, errors.Join(p.SetMulticastHopLimit(hops), p.SetHopLimit(hops))
	} else {
		p := ipv4.NewPacketConn(c)
		s.family, err = p, errors.Join(p.SetMulticastTTL(hops), p.SetTTL(hops))
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return s, nil
}

func (s *socket) group(zone string) netip.AddrPort {
	if s.is6 {
		return group6(zone)
	}
	return group4()
}

// read implements asker and wire.
func (s *socket) read(b []byte) (int, netip.AddrPort, error) { return s.ReadFromUDPAddrPort(b) }

// close implements asker and wire.
func (s *socket) close() error { return s.Close() }

// join implements wire.
func (s *socket) join(l link) error {
	g := s.group("")
	return s.JoinGroup(&l.Interface, &net.UDPAddr{IP: g.Addr().AsSlice()})
}

// send implements wire.
func (s *socket) send(b []byte, to netip.AddrPort) error {
	_, err := s.WriteToUDPAddrPort(b, to)
	return err
}

// shout implements wire.
func (s *socket) shout(b []byte, l link) error {
	if err := s.SetMulticastInterface(&l.Interface); err != nil {
		return err
	}
	return s.send(b, s.group(l.Name))
}

// openWires opens the sockets of both families, as far as this machine has them.
func openWires(ctx context.Context) ([]wire, error) {
	var out []wire
	var errs []error
	for _, g := range []netip.AddrPort{group4(), group6("")} {
		s, err := listen(ctx, g)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return nil, errors.Join(errs...)
	}
	return out, nil
}

// mouth is a socket that asks in one network.
type mouth struct {
	*socket
	link
}

// openAsker opens a socket that asks in a network from one of its addresses.
func openAsker(ctx context.Context, l link, front netip.Addr) (*mouth, error) {
	s, err := listen(ctx, netip.AddrPortFrom(front, 0))
	if err != nil {
		return nil, err
	}
	return &mouth{s, l}, nil
}

// ask implements asker.
func (m *mouth) ask(question []byte) error { return m.shout(question, m.link) }
