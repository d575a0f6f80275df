//go:build unix

package cmd

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	std "sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pkg/fetch/tracker"
	"pkg/lockfile"
	"pkg/publish/registry"
)

// asProcess makes the test program one command line of pkg, in a process of its own.
const asProcess = "PKG_TEST_PROCESS"

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, _ := os.Getwd()
	os.Exit(Main(ctx, os.Args[1:], &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ(), Dir: dir, Now: time.Now, Rand: rand.Reader,
	}))
}

// process prepares a command line in a process that has this environment and no other.
func process(t *testing.T, environ []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), self, args...)
	c.Env = append([]string{asProcess + "=1"}, environ...)
	return c
}

// runs runs a command line in a process and returns what it said, and its exit code.
func runs(t *testing.T, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	c := process(t, environ, args...)
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code
}

// ok runs a command line within this process, as if in home, and wants it to succeed.
func ok(t *testing.T, home string, args ...string) (stdout string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := Main(t.Context(), args, inHome(home, &out, &errs)); code != exitDone {
		t.Fatalf("pkg %s: exit code %d\n%s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

func inHome(home string, stdout, stderr io.Writer) *Env {
	return &Env{
		Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr, Environ: []string{"PKG_HOME=" + home, "PKG_LAN=false"}, Dir: home,
		Now: time.Now, Rand: rand.Reader, WorkFactor: 1,
	}
}

// served is a registry that a test serves, and what it was asked.
type served struct {
	url, id string
	handler http.Handler // of the registry itself
	server  *httptest.Server

	mu    std.Mutex // guards what follows
	each  func(w http.ResponseWriter, r *http.Request, next http.Handler)
	asked []string // "POST /content {…}" of all requests
	told  []tracker.Announcement
	heard chan struct{} // is closed when there are more of told
}

// serves makes a registry and serves it until the test ends.
func serves(t *testing.T, origin string) *served {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "registry")
	id, err := registry.Init(t.Context(), dir, origin, registry.InitOptions{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s, err := registry.Open(t.Context(), dir, registry.Config{Now: time.Now, CheckpointInterval: 100 * time.Millisecond, ClaimsPerHour: -1})
	if err != nil {
		t.Fatal(err)
	}
	out := &served{id: id, handler: s.Handler(), heard: make(chan struct{})}
	out.server = httptest.NewServer(out)
	out.url = out.server.URL
	t.Cleanup(func() {
		out.server.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return out
}

// ServeHTTP takes the request down before the registry answers it.
func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	each := s.each
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", r.Method, r.URL, body))
	s.mu.Unlock()
	if each != nil {
		each(w, r, s.handler)
	} else {
		s.handler.ServeHTTP(w, r)
	}
	if a, err := tracker.Open(body, s.id); r.URL.Path == "/routing/pkg/announce" && err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, a)
		close(s.heard)
		s.heard = make(chan struct{})
	}
}

// before has f stand between the requests and the registry; nil is nobody.
func (s *served) before(f func(w http.ResponseWriter, r *http.Request, next http.Handler)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.each = f
}

// requests returns what was asked so far, and forgets it.
func (s *served) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.asked = nil }()
	return s.asked
}

// announced waits until somebody told of at least one root, and returns all announcements so far.
func (s *served) announced(t *testing.T) []tracker.Announcement {
	t.Helper()
	for {
		s.mu.Lock()
		told, heard := slices.Clone(s.told), s.heard
		s.mu.Unlock()
		if slices.ContainsFunc(told, func(a tracker.Announcement) bool { return len(a.Roots) > 0 }) {
			return told
		}
		select {
		case <-heard:
		case <-t.Context().Done():
			t.Fatal("nobody announced anything")
		}
	}
}

// publish publishes packages with one file each, all at once, each as an author of its own: those of one home would stand in
// each other's way, as all remember the head they saw in one place.
func (s *served) publish(t *testing.T, names ...string) {
	t.Helper()
	var some errgroup.Group
	for _, n := range names {
		dir, home := t.TempDir(), t.TempDir()
		ok(t, home, "keys", "new", "me", "--no-passphrase")
		write(t, filepath.Join(dir, "pkg.toml"), "[package]\nname = \""+n+"\"\nversion = \"1.0.0\"\n")
		noise := make([]byte, 100_000) // so that it takes a while to send
		_, _ = rand.Read(noise)        // never fails
		write(t, filepath.Join(dir, "file"), n+string(noise))
		some.Go(func() error {
			var out, errs bytes.Buffer
			if code := Main(t.Context(), []string{"publish", dir, "--registry", s.url, "--registry-id", s.id}, inHome(home, &out, &errs)); code != exitDone {
				return fmt.Errorf("publish %s: exit code %d\n%s", n, code, errs.String())
			}
			return nil
		})
	}
	if err := some.Wait(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// projectOf makes a project that depends on packages; more is the rest of its manifest.
func projectOf(t *testing.T, deps []string, more string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	lines := append([]string{"[package]", `name = "app"`, "", "[dependencies]"}, deps...)
	write(t, filepath.Join(dir, "pkg.toml"), strings.Join(append(lines, more), "\n"))
	return dir
}

// copied is a project with the same manifest and lock.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, f := range []string{"pkg.toml", "pkg.lock"} {
		write(t, filepath.Join(to, f), content(t, filepath.Join(dir, f)))
	}
	return to
}

// table is the part of a manifest that names a registry.
func (s *served) table(name, more string) string {
	return fmt.Sprintf("[registries.%s]\nurl = %q\nid = %q\n%s\n", name, s.url, s.id, more)
}

// rootsOf returns the roots of a lock, by name.
func rootsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	l, err := lockfile.Parse([]byte(content(t, filepath.Join(dir, "pkg.lock"))))
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, p := range l.Packages {
		out[p.Name.String()] = p.Root.String()
	}
	return out
}

// seeds runs pkg seed for the projects of home until the test ends, and returns an address of it.
func seeds(t *testing.T, home string, args ...string) (addr string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs bytes.Buffer
	ended := make(chan int, 1)
	file := filepath.Join(t.TempDir(), "addr")
	go func() {
		ended <- Main(ctx, append([]string{"seed", "--listen", "/ip4/127.0.0.1/tcp/0", "--addr-file", file}, args...), inHome(home, &out, &errs))
	}()
	stop = std.OnceFunc(func() {
		cancel()
		if code := <-ended; code != exitDone {
			t.Errorf("pkg seed: exit code %d\n%s", code, errs.String())
		}
	})
	t.Cleanup(stop)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if b, err := os.ReadFile(file); err == nil && len(b) > 0 {
			return strings.Fields(string(b))[0], stop
		}
		select {
		case <-tick.C:
		case code := <-ended:
			ended <- code
			t.Fatalf("pkg seed: exit code %d\n%s", code, errs.String())
		}
	}
}

// summary is what pkg install --json says in the end.
func summary(t *testing.T, stdout string) installed {
	t.Helper()
	for line := range strings.Lines(stdout) {
		if !strings.Contains(line, `"event":"installed"`) {
			continue
		}
		var sum installed
		if err := json.Unmarshal([]byte(line), &sum); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		return sum
	}
	t.Fatalf("no event installed in\n%s", stdout)
	return installed{}
}

// silentPeer is the address of a peer that takes connections and never says a word. met gets one element for the first.
func silentPeer(t *testing.T) (addr string, met <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := make(chan struct{}, 1)
	var wg std.WaitGroup
	wg.Go(func() {
		var held []net.Conn
		for {
			c, err := l.Accept()
			if err != nil {
				break
			}
			held = append(held, c)
			select {
			case first <- struct{}{}:
			default:
			}
		}
		for _, c := range held {
			_ = c.Close() // nothing was said
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // ends the goroutine
		wg.Wait()
	})
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "/ip4/127.0.0.1/tcp/" + port + "/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp", first
}
