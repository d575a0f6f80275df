package lan

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// TestSeedsShareAMachine holds that a second seed can listen beside the first, and beside what else speaks multicast DNS in
// the same way. Nothing is joined or sent.
func TestSeedsShareAMachine(t *testing.T) {
	first, err := openWires(t.Context())
	if err != nil {
		t.Skipf("the port of multicast DNS cannot be had: %v", err)
	}
	second, err := openWires(t.Context())
	if err != nil {
		t.Error(err)
	}
	if len(second) != len(first) {
		t.Errorf("the second has %d sockets, the first %d", len(second), len(first))
	}
	for _, w := range append(first, second...) {
		if err := w.close(); err != nil {
			t.Error(err)
		}
		if _, _, err := w.read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	}
}

// TestAnswersComeToWhoAsked sends an answer over loopback, from and to sockets as seeds and installs have them.
func TestAnswersComeToWhoAsked(t *testing.T) {
	l := network("lo", 1, "127.0.0.1/8")
	install, err := openAsker(t.Context(), l, netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = install.close() }() // another test looks
	wires, err := openWires(t.Context())
	if err != nil {
		t.Skipf("the port of multicast DNS cannot be had: %v", err)
	}
	for _, w := range wires {
		defer func() { _ = w.close() }() // another test looks
	}
	if wires[0].(*socket).is6 {
		t.Skip("there is no IPv4")
	}
	b, err := answer{id: peerID(t, 1), addrs: multiaddrs(t, "/ip4/127.0.0.1/tcp/4107"), to: &query{id: number}}.pack()
	if err != nil {
		t.Fatal(err)
	}
	if err := wires[0].send(b, install.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, maxPacket)
	n, from, err := install.read(buf)
	if err != nil || from.Port() != port {
		t.Fatalf("read from %s: %v", from, err)
	}
	if got := parseAnswer(buf[:n], number, from.Addr().Unmap()); len(got) != 1 || !install.near(from.Addr().Unmap()) {
		t.Errorf("read %v", texts(got))
	}
}
