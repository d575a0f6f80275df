package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// TestLAN runs testdata/lan: scripts with two machines, network namespaces $A and $B, which share two cables, 10.77.0.0/24
// with fd77::/64 and 10.78.0.0/24. The command capture FILE writes down what multicast DNS and IGMP machine B sent and got
// since it was last called.
func TestLAN(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no iproute2")
	}
	a, b := fmt.Sprintf("pkgA%d", os.Getpid()), fmt.Sprintf("pkgB%d", os.Getpid())
	for _, ns := range []string{a, b} {
		if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("no network namespace can be made here: %s", out)
		}
		t.Cleanup(func() {
			if out, err := exec.CommandContext(context.WithoutCancel(t.Context()), "ip", "netns", "del", ns).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	ip := func(line string) {
		if out, err := exec.CommandContext(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Skipf("no network can be laid here: ip %s: %s", line, out)
		}
	}
	for i, net := range []string{"10.77.0.", "10.78.0."} {
		ip(fmt.Sprintf("link add lan%d netns %s type veth peer name lan%d netns %s", i, a, i, b))
		for n, ns := range []string{a, b} {
			ip(fmt.Sprintf("-n %s addr add %s%d/24 dev lan%d", ns, net, n+1, i))
			ip(fmt.Sprintf("-n %s link set lan%d up", ns, i))
			if i == 0 {
				ip(fmt.Sprintf("-n %s addr add fd77::%d/64 dev lan0 nodad", ns, n+1))
				ip(fmt.Sprintf("-n %s link set lo up", ns))
			}
		}
	}
	ear, err := listenIn(b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(ear) }) // it was only read
	commands := scriptCommands()
	commands["capture"] = func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) != 1 {
			ts.Fatalf("usage: capture FILE")
		}
		lines, err := heard(ear)
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(lines, "")), 0o600))
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "lan"), RequireExplicitExec: true, RequireUniqueNames: true, Cmds: commands,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PKG_HOME", env.WorkDir+"/.home")
			env.Setenv("A", a)
			env.Setenv("B", b)
			return nil
		},
	})
}

// listenIn opens a socket that gets all packets of a network namespace.
func listenIn(ns string) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and it ends with the goroutine
		var f *os.File
		if f, err = os.Open("/var/run/netns/" + ns); err != nil {
			return
		}
		defer f.Close() //nolint:errcheck // only a handle
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))))
	}()
	<-done
	return fd, err
}

// heard are the packets of multicast DNS and IGMP that a socket holds, a line each.
func heard(fd int) ([]string, error) {
	var out []string
	buf := make([]byte, 64<<10)
	for {
		n, from, err := unix.Recvfrom(fd, buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return out, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		way := "in"
		if from.(*unix.SockaddrLinklayer).Pkttype == unix.PACKET_OUTGOING {
			way = "out"
		}
		if line := line(buf[:n]); line != "" {
			out = append(out, way+" "+line+"\n")
		}
	}
}

// line is a packet of multicast DNS or IGMP in words, else empty.
func line(b []byte) string {
	var src, dst netip.Addr
	var proto byte
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		src, dst, proto = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9]
		b = b[int(b[0]&15)*4:]
	case len(b) >= 40 && b[0]>>4 == 6:
		src, dst, proto = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6]
		b = b[40:]
	}
	const udp, igmp, mdns = 17, 2, 5353
	switch {
	case proto == igmp:
		return fmt.Sprintf("igmp %s > %s", src, dst)
	case proto != udp || len(b) < 8 || binary.BigEndian.Uint16(b) != mdns && binary.BigEndian.Uint16(b[2:]) != mdns:
		return ""
	}
	var m dnsmessage.Message
	if err := m.Unpack(b[8:]); err != nil {
		return fmt.Sprintf("mdns %s > %s %v", src, dst, err)
	}
	var s strings.Builder
	fmt.Fprintf(&s, "mdns %s > %s", src, dst)
	if m.Response {
		s.WriteString(" answer")
	}
	for _, q := range m.Questions {
		fmt.Fprintf(&s, " %s? %s", q.Type, q.Name)
	}
	for _, r := range append(m.Answers, m.Additionals...) {
		fmt.Fprintf(&s, " %s ttl=%d", r.Header.Type, r.Header.TTL)
		if txt, ok := r.Body.(*dnsmessage.TXTResource); ok {
			s.WriteString(" " + strings.Join(txt.TXT, " "))
		}
	}
	return strings.ReplaceAll(s.String(), "Type", "")
}
