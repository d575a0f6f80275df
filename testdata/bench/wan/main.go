// Wan joins network namespaces by a slow wire, so that programs between them meet a distant network with the kernel's own
// TCP and UDP.
//
//	wan [-delay TIME] [-buffer TIME] [-mtu BYTES] [-control NAME] NAME[=RATE]... [-- COMMAND [ARG]...]
//
// Each NAME becomes the namespace wan-NAME with one device, wan0. The first is 10.77.1.1, the second 10.77.2.1, and so on;
// all other addresses of such a /24 are the namespace's own too, so that one can send as many machines do. What a
// namespace sends leaves in order at RATE bytes a second (10M; nothing: at once) and arrives elsewhere after the delay.
// While a buffer's worth of time waits to leave, further packets are dropped, as a router does.
//
// It prints one line "NAME ADDRESS" for each, then runs COMMAND in the first namespace and ends with its exit code, or
// waits for SIGINT or SIGTERM. The namespaces go when it ends. In between, ip netns exec wan-NAME runs anything there.
// Packets are counted in /sys/class/net/wan0/statistics of a namespace; what was dropped is said on stderr in the end.
//
// It needs root, /dev/net/tun and ip. Segments travel as the kernel made them, up to 64 KiB long, which costs little.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	device   = "wan0"
	vnetLen  = 10      // bytes of struct virtio_net_hdr before each packet
	largest  = 1 << 17 // bytes of a packet and its header
	inFlight = 1 << 16 // packets of a namespace on the wire
	early    = 20 * time.Microsecond
)

// port is one end of the wire.
type port struct {
	name, space, addr string
	rate              float64 // bytes a second, or 0
	ours              bool    // the namespace is there because of us
	fd                int
	wire              chan packet
	dropped           atomic.Int64
}

type packet struct {
	due  time.Duration // since the start
	to   *port
	data []byte
}

type wan struct {
	delay, buffer time.Duration
	mtu           int
	control       string
	ports         []*port
	start         time.Time
}

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintf(os.Stderr, "wan: %v\n", err)
	}
	os.Exit(code)
}

func run(args []string) (int, error) {
	var command []string
	for i, a := range args {
		if a == "--" {
			args, command = args[:i], args[i+1:]
			break
		}
	}
	w := &wan{}
	flags := flag.NewFlagSet("wan", flag.ContinueOnError)
	flags.DurationVar(&w.delay, "delay", 25*time.Millisecond, "`TIME` a packet takes one way")
	flags.DurationVar(&w.buffer, "buffer", 100*time.Millisecond, "`TIME` that packets may wait to leave")
	flags.IntVar(&w.mtu, "mtu", 1500, "largest packet, in bytes")
	flags.StringVar(&w.control, "control", "", "TCP congestion control by `NAME`; the system's unless given")
	if err := flags.Parse(args); err != nil {
		return 2, nil
	}
	if flags.NArg() < 2 || flags.NArg() > 200 {
		return 2, errors.New("give 2 to 200 names")
	}
	for i, a := range flags.Args() {
		name, rate, _ := strings.Cut(a, "=")
		p := &port{name: name, space: "wan-" + name, addr: fmt.Sprintf("10.77.%d.1", i+1), wire: make(chan packet, inFlight)}
		var err error
		if p.rate, err = bytesPerSecond(rate); err != nil {
			return 2, err
		}
		w.ports = append(w.ports, p)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer w.close()
	for _, p := range w.ports {
		if err := w.open(p); err != nil {
			return 1, err
		}
	}
	debug.SetGCPercent(1000)
	w.start = time.Now()
	for _, p := range w.ports {
		go w.receive(p)
		go w.deliver(p)
	}
	for _, p := range w.ports {
		fmt.Println(p.name, p.addr)
	}
	if len(command) == 0 {
		<-ctx.Done()
		return 0, nil
	}
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", w.ports[0].space}, command...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	} else if err != nil {
		return 1, err
	}
	return 0, nil
}

// bytesPerSecond reads 500k or 10M, in powers of 1000.
func bytesPerSecond(s string) (float64, error) {
	if s == "" {
		return 0, nil
	}
	digits := strings.TrimRight(s, "kM")
	n, err := strconv.ParseFloat(digits, 64)
	factor, known := map[string]float64{"": 1, "k": 1e3, "M": 1e6}[s[len(digits):]]
	if err != nil || !known || n <= 0 {
		return 0, fmt.Errorf("%q is no rate: 500k or 10M", s)
	}
	return n * factor, nil
}

// open makes the namespace and the device of a port.
func (w *wan) open(p *port) error {
	if err := ip("netns", "add", p.space); err != nil {
		return fmt.Errorf("%w\nhelp: ip netns delete %s", err, p.space)
	}
	p.ours = true
	if err := p.tun(); err != nil {
		return fmt.Errorf("%s: %w", p.space, err)
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", p.addr + "/16", "dev", device},
		{"link", "set", device, "mtu", strconv.Itoa(w.mtu), "txqueuelen", "10000", "up"},
		{"route", "add", "local", strings.TrimSuffix(p.addr, "1") + "0/24", "dev", "lo"},
	} {
		if err := ip(append([]string{"-n", p.space}, args...)...); err != nil {
			return err
		}
	}
	settings := []string{"net.ipv4.tcp_no_metrics_save=1"} // what one connection learned of the path must not help the next
	if w.control != "" {
		settings = append(settings, "net.ipv4.tcp_congestion_control="+w.control)
	}
	for _, set := range settings {
		if err := ip("netns", "exec", p.space, "sysctl", "-q", "-w", set); err != nil {
			return err
		}
	}
	return nil
}

// tun opens a device in the namespace. The thread has moved there and ends with its goroutine, as it is never unlocked.
func (p *port) tun() error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		done <- func() error {
			space, err := unix.Open("/run/netns/"+p.space, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(space) }()
			if err := unix.Setns(space, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("setns: %w", err)
			}
			fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				return fmt.Errorf("/dev/net/tun: %w", err)
			}
			p.fd = fd
			req, err := unix.NewIfreq(device)
			if err != nil {
				return err
			}
			req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
			if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
				return fmt.Errorf("TUNSETIFF: %w", err)
			}
			const offload = unix.TUN_F_CSUM | unix.TUN_F_TSO4
			if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offload|unix.TUN_F_USO4|unix.TUN_F_USO6); err != nil {
				err = unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offload) // before Linux 6.2
				return err
			}
			return nil
		}()
	}()
	return <-done
}

// receive takes what a namespace sends and puts it on the wire.
func (w *wan) receive(p *port) {
	scratch := make([]byte, largest)
	var free time.Duration // when the line has sent everything it was given
	for {
		n, err := unix.Read(p.fd, scratch)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return
		}
		to := w.destination(scratch[:n])
		if to == nil {
			continue
		}
		now := time.Since(w.start)
		if free = max(free, now); free-now > w.buffer {
			p.dropped.Add(1)
			continue
		}
		if p.rate > 0 {
			free += time.Duration(float64(w.size(scratch[:n])) / p.rate * float64(time.Second))
		}
		data := make([]byte, n)
		copy(data, scratch)
		select {
		case p.wire <- packet{due: free + w.delay, to: to, data: data}:
		default:
			p.dropped.Add(1)
		}
	}
}

// destination reads who an IPv4 packet is for; nil is nobody here.
func (w *wan) destination(b []byte) *port {
	if len(b) < vnetLen+20 || b[vnetLen]>>4 != 4 {
		return nil
	}
	at := b[vnetLen+16 : vnetLen+20]
	if i := int(at[2]) - 1; at[0] == 10 && at[1] == 77 && i >= 0 && i < len(w.ports) {
		return w.ports[i]
	}
	return nil
}

// size is what a packet takes on a line: a long segment is sent as several, each with its headers.
func (w *wan) size(b []byte) int {
	n := len(b) - vnetLen
	if segment := int(binary.NativeEndian.Uint16(b[4:])); b[1] != 0 && segment > 0 {
		headers := int(binary.NativeEndian.Uint16(b[2:]))
		n += headers * ((n - headers - 1) / segment)
	}
	return n
}

// deliver writes packets when they are due. It sleeps in the kernel: timers of the runtime are a millisecond coarse.
func (w *wan) deliver(p *port) {
	for pkt := range p.wire {
		for {
			wait := pkt.due - time.Since(w.start)
			if wait < early {
				break
			}
			ts := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&ts, nil)
		}
		_, _ = unix.Write(pkt.to.fd, pkt.data)
	}
}

// close deletes the namespaces; the devices go with the process.
func (w *wan) close() {
	for _, p := range w.ports {
		if !p.ours {
			continue
		}
		if n := p.dropped.Load(); n > 0 {
			fmt.Fprintf(os.Stderr, "wan: %s: %d packets dropped\n", p.name, n)
		}
		if err := ip("netns", "delete", p.space); err != nil {
			fmt.Fprintf(os.Stderr, "wan: %v\n", err)
		}
	}
}

func ip(args ...string) error {
	cmd := exec.CommandContext(context.Background(), "ip", args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
