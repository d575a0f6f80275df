package cmd

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	std "sync"
	"testing"
	"time"
)

// sockets are the sockets that a process has open and that are bound or connected, as the kernel tells: "tcp 127.0.0.1:1
// 127.0.0.1:2" is local and remote address.
func sockets(pid int) []string {
	open := make(map[string]bool)
	fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid)) // the process may have ended
	for _, fd := range fds {
		to, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name()))
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			open[strings.TrimSuffix(inode, "]")] = true
		}
	}
	if len(open) == 0 {
		return nil
	}
	var out []string
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6", "unix", "raw", "raw6", "icmp", "icmp6", "netlink", "packet"} {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, kind))
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			switch {
			case (kind == "unix" || kind == "netlink" || kind == "packet") && slices.ContainsFunc(f, func(s string) bool { return open[s] }):
				out = append(out, kind)
			case len(f) > 9 && open[f[9]]:
				out = append(out, strings.TrimSuffix(kind, "6")+" "+socketAddr(f[1])+" "+socketAddr(f[2]))
			}
		}
	}
	return out
}

// socketAddr reads an address as the kernel writes it: words of four bytes, backwards on most machines, and the port.
func socketAddr(s string) string {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if err != nil {
		return s
	}
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		for word := range slices.Chunk(b, 4) {
			slices.Reverse(word)
		}
	}
	addr, _ := netip.AddrFromSlice(b)
	n, _ := strconv.ParseUint(port, 16, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)).String()
}

// watched runs a command line in a process and returns the other ends of all TCP connections that it was seen to have, and
// what other sockets: whenever look is called, and as often as can be while it runs.
type watched struct {
	mu    std.Mutex // guards what follows
	pid   int
	seen  map[string]bool // "tcp REMOTE", or the whole of what has no remote end
	looks int
}

func (w *watched) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pid == 0 {
		return
	}
	w.looks++
	for _, s := range sockets(w.pid) {
		if f := strings.Fields(s); len(f) == 3 && f[0] == "tcp" && !strings.HasSuffix(f[2], ":0") {
			s = "tcp " + f[2]
		}
		w.seen[s] = true
	}
}

func (w *watched) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return sorted(w.seen)
}

// run runs one install and looks on.
func (w *watched) run(t *testing.T, environ []string, args ...string) (stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := process(t, environ, args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	w.pid = c.Process.Pid
	w.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		w.look()
		select {
		case err := <-ended:
			w.mu.Lock()
			w.pid = 0
			w.mu.Unlock()
			if err != nil {
				t.Fatalf("%q: %v\n%s", args, err, errs.String())
			}
			return out.String()
		case <-tick.C:
		}
	}
}

// hostPort is where the address of a peer leads.
func hostPort(addr string) string {
	f := strings.Split(addr, "/")
	return net.JoinHostPort(f[2], f[4])
}

// TestModesOpenOnlyTheirSockets runs pkg in each mode and asks the kernel which sockets it has: whenever the registry gets
// a request from it, before the answer, and all the time between. Mode http speaks to the registry and opens nothing else,
// mode offline opens nothing, and both are told from mode auto, which speaks to a seed as well. Locks are the same in all.
func TestModesOpenOnlyTheirSockets(t *testing.T) {
	t.Parallel()
	reg := serves(t, "registry.test/modes")
	author := t.TempDir()
	reg.publish(t, "left", "right")
	first := projectOf(t, []string{`left = "^1"`, `right = "^1"`}, reg.table("default", ""))
	ok(t, author, "-C", first, "install")
	lock := content(t, filepath.Join(first, "pkg.lock"))
	seeds(t, author)
	reg.announced(t)
	peer, met := silentPeer(t)
	at := "tcp " + reg.server.Listener.Addr().String()
	config := t.TempDir()
	write(t, filepath.Join(config, "config.toml"), "mode = \"http\"\n")

	for _, c := range []struct {
		name, mode, home string
		environ, args    []string
	}{
		{name: "http by flag", mode: modeHTTP, args: []string{"--mode", "http"}},
		{name: "http by environment", mode: modeHTTP, environ: []string{"PKG_MODE=http"}},
		{name: "http by config.toml", mode: modeHTTP, home: config},
		{name: "auto", mode: modeAuto, environ: []string{"PKG_LAN=false"}, args: []string{"--peer", peer}},
		{name: "p2p", mode: modeP2P, environ: []string{"PKG_LAN=false"}, args: []string{"--mode", "p2p"}},
	} {
		w := &watched{seen: make(map[string]bool)}
		reg.requests()
		reg.before(func(rw http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path != "/content" {
				w.look()
			} else if c.mode == modeAuto {
				select {
				case <-met: // and it is held: nobody else has to be fast
				case <-r.Context().Done():
				}
				w.look()
			} else { // whoever would ask others does it now
				tick := time.NewTicker(time.Millisecond)
				defer tick.Stop()
				for range 20 {
					<-tick.C
					w.look()
				}
			}
			next.ServeHTTP(rw, r)
			w.look()
		})
		home, dir := c.home, t.TempDir()
		if home == "" {
			home = t.TempDir()
		}
		write(t, filepath.Join(dir, "pkg.toml"), content(t, filepath.Join(first, "pkg.toml")))
		out := w.run(t, append([]string{"PKG_HOME=" + home}, c.environ...), append([]string{"-C", dir, "install", "--json"}, c.args...)...)
		reg.before(nil)
		if got := content(t, filepath.Join(dir, "pkg.lock")); got != lock {
			t.Errorf("%s: the lock differs:\n%s\nwant\n%s", c.name, got, lock)
		}
		if got := summary(t, out).Mode; got != c.mode {
			t.Errorf("%s: the report says mode %q", c.name, got)
		}
		seen := w.all()
		if !slices.Contains(seen, at) {
			t.Errorf("%s: %d looks saw no connection to the registry: %q", c.name, w.looks, seen)
		}
		if c.mode == modeAuto && !slices.Contains(seen, "tcp "+hostPort(peer)) {
			t.Errorf("%s: saw only %q, and not the connection to %s: the look sees too little", c.name, seen, peer)
		}
		if c.mode != modeHTTP {
			continue
		}
		if !slices.Equal(seen, []string{at}) {
			t.Errorf("%s: the process opened %q, want only %q", c.name, seen, at)
		}
		for _, r := range reg.requests() {
			if strings.Contains(r, " /routing/") {
				t.Errorf("%s: asked for peers: %s", c.name, r)
			}
		}
		// Offline in the same home: choose versions again, and install them again.
		for _, f := range []string{"pkg.lock", "pkg_modules"} {
			if err := os.RemoveAll(filepath.Join(dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		w = &watched{seen: make(map[string]bool)}
		w.run(t, []string{"PKG_HOME=" + home, "PKG_MODE=offline"}, "-C", dir, "install", "--json")
		if seen := w.all(); len(seen) > 0 || w.looks == 0 {
			t.Errorf("offline: %d looks saw sockets %q", w.looks, seen)
		}
		if asked := reg.requests(); len(asked) > 0 {
			t.Errorf("offline: the registry was asked %q", asked)
		}
		if got := content(t, filepath.Join(dir, "pkg.lock")); got != lock {
			t.Errorf("offline: the lock differs:\n%s\nwant\n%s", got, lock)
		}
	}
}
