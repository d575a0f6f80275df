package tracker

import (
	"bytes"
	"context"
	"go/build"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestKuboFindsProvider has a real Kubo ask for the providers of a root that it knows nothing of.
func TestKuboFindsProvider(t *testing.T) {
	t.Parallel()
	name := "ipfs"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	bin, err := exec.LookPath(name)
	if err != nil {
		bin = filepath.Join(filepath.SplitList(build.Default.GOPATH)[0], "bin", name)
		if _, err := os.Stat(bin); err != nil {
			t.Skip("SKIPPED: no ipfs on PATH or in GOPATH/bin: go install github.com/ipfs/kubo/cmd/ipfs@v0.41.0")
		}
	}
	w := newWorld(t, Config{})
	w.announce("127.0.0.1", 1, w.announcement(1, roots(0, 1), "/ip4/127.0.0.1/tcp/4999"))
	asked := make(chan string, 100)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r.URL.String() + " " + r.Header.Get("Accept")
		w.handler.ServeHTTP(rw, r)
	}))
	defer s.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	repo := t.TempDir()
	command := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Env = append(os.Environ(), "IPFS_PATH="+repo, "IPFS_TELEMETRY=off", "HTTP_PROXY=", "IPFS_LOGGING=error")
		return cmd
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := command(args...)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil {
			t.Fatalf("ipfs %s: %v\n%s", strings.Join(args, " "), err, errs.String())
		}
		return strings.TrimSpace(out.String())
	}
	run("init", "--empty-repo", "--profile=test")
	run("config", "Routing.Type", "delegated")
	run("config", "--json", "Routing.DelegatedRouters", `["`+s.URL+`/routing/v1/providers"]`)
	run("config", "--json", "AutoConf.Enabled", "false")
	run("config", "--json", "Ipns.DelegatedPublishers", "[]")
	run("config", "--json", "Bootstrap", "[]")
	run("config", "--json", "Addresses.Swarm", "[]")
	run("config", "--json", "Provide.Enabled", "false")

	daemon := command("daemon")
	daemon.Cancel = func() error { return daemon.Process.Signal(os.Interrupt) }
	daemon.WaitDelay = 10 * time.Second
	var log bytes.Buffer
	ready, in := io.Pipe()
	out := io.MultiWriter(in, &log)
	daemon.Stdout, daemon.Stderr = out, out
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = daemon.Wait() // interrupted
		_ = in.Close()
		close(ended)
	}()
	defer func() { <-ended }()
	defer cancel()
	waitFor(ready, "Daemon is ready")

	_, id := keyPair(t, 1)
	if got := run("routing", "findprovs", root(0).String()); got != id.String() {
		t.Errorf("ipfs routing findprovs prints %q, want %s", got, id)
	}
	if got := run("routing", "findprovs", root(1).String()); got != "" {
		t.Errorf("ipfs routing findprovs of a root nobody has prints %q", got)
	}
	for range len(asked) {
		t.Log(<-asked)
	}
	if t.Failed() {
		cancel()
		<-ended
		t.Log(log.String())
	}
}

// waitFor reads until a line is there, and then leaves reading to a goroutine, which ends with r.
func waitFor(r io.Reader, line string) {
	var seen []byte
	b := make([]byte, 1024)
	for !bytes.Contains(seen, []byte(line)) {
		n, err := r.Read(b)
		if err != nil {
			return
		}
		seen = append(seen, b[:n]...)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
}
