package bitswap

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"pkg/fetch/p2p"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// kubo runs a real ipfs daemon on loopback with a repository of its own, or skips the test.
type kubo struct{ bin, repo string }

func newKubo(tb testing.TB) kubo {
	tb.Helper()
	if os.Getenv("PKG_TEST_ONLINE") != "1" {
		tb.Skip("SKIPPED: speaks with a real Kubo only under PKG_TEST_ONLINE=1")
	}
	bin, err := exec.LookPath("ipfs")
	if err != nil {
		bin = filepath.Join(filepath.SplitList(build.Default.GOPATH)[0], "bin", "ipfs")
		if _, err := os.Stat(bin); err != nil {
			tb.Skip("SKIPPED: no ipfs on PATH or in GOPATH/bin: go install github.com/ipfs/kubo/cmd/ipfs@v0.41.0")
		}
	}
	k := kubo{bin, tb.TempDir()}
	k.run(tb, "init", "--empty-repo", "--profile=test")
	for key, value := range map[string]string{
		"Addresses.Swarm": `["/ip4/127.0.0.1/tcp/0"]`, "Addresses.API": `"/ip4/127.0.0.1/tcp/0"`, "Addresses.Gateway": `"/ip4/127.0.0.1/tcp/0"`,
		"Bootstrap": `[]`, "AutoConf.Enabled": `false`, "AutoTLS.Enabled": `false`, "Routing.Type": `"none"`,
		"Routing.DelegatedRouters": `[]`, "Ipns.DelegatedPublishers": `[]`, "DNS.Resolvers": `{}`,
		"Provide.Enabled": `false`, "Discovery.MDNS.Enabled": `false`, "Swarm.DisableNatPortMap": `true`,
		"Swarm.RelayClient.Enabled": `false`, "Swarm.EnableHolePunching": `false`,
	} {
		k.run(tb, "config", "--json", key, value)
	}
	k.start(tb)
	return k
}

// start starts the daemon. It is stopped with the test, and killed if it does not stop.
func (k kubo) start(tb testing.TB) {
	tb.Helper()
	cmd := exec.Command(k.bin, "daemon")
	cmd.Env = k.env()
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	ready, drained := make(chan bool, 1), make(chan struct{})
	go func() {
		defer close(drained)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "Daemon is ready") {
				ready <- true
			}
		}
		ready <- false
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-drained
		_ = cmd.Wait()
		kill.Stop()
	})
	select {
	case ok := <-ready:
		if !ok {
			tb.Fatalf("the daemon ended: %s", errs.String())
		}
	case <-time.After(time.Minute):
		tb.Fatal("the daemon did not start within a minute")
	}
}

func (k kubo) env() []string {
	return append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off", "HTTP_PROXY=", "HTTPS_PROXY=", "IPFS_LOGGING=error")
}

func (k kubo) run(tb testing.TB, args ...string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.bin, args...)
	cmd.Env = k.env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		tb.Fatalf("ipfs %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// info says where the daemon listens.
func (k kubo) info(tb testing.TB) peer.AddrInfo {
	tb.Helper()
	var id struct {
		ID        string
		Addresses []string
	}
	if err := json.Unmarshal([]byte(k.run(tb, "id")), &id); err != nil {
		tb.Fatal(err)
	}
	var addrs []ma.Multiaddr
	for _, a := range id.Addresses {
		m, err := ma.NewMultiaddr(a)
		if err != nil {
			tb.Fatal(err)
		}
		addrs = append(addrs, m)
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil || len(infos) != 1 {
		tb.Fatal(infos, err)
	}
	return infos[0]
}

func (k kubo) add(tb testing.TB, dir string) string {
	tb.Helper()
	return k.run(tb, "add", "-Q", "-r", "-H", "--empty-dirs=false", "--cid-version=1", "--raw-leaves",
		"--chunker=size-1048576", "--max-file-links=1024", "--inline", "--inline-limit=0", dir)
}

// kuboFiles are the files of a package: an empty one, one of 20 MB, many small ones.
func kuboFiles() map[string][]byte {
	files := map[string][]byte{"empty": {}, "sub/empty": {}, "big": content("big", 20_000_000), ".dot/one": []byte("1")}
	for i := range 2000 {
		files[fmt.Sprintf("src/d%d/f%d", i%20, i)] = content(fmt.Sprint(i), int64(100+i%3000))
	}
	return files
}

func writeFiles(tb testing.TB, files map[string][]byte) string {
	tb.Helper()
	dir := tb.TempDir()
	for p, b := range files {
		p = filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

func checkFiles(tb testing.TB, dir string, files map[string][]byte) {
	tb.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if want, ok := files[filepath.ToSlash(rel)]; !ok || !bytes.Equal(got, want) {
			tb.Errorf("%s is not what was packed", rel)
		}
		return nil
	})
	if err != nil || n != len(files) {
		tb.Errorf("%d files, want %d: %v", n, len(files), err)
	}
}

func sampleOf(tb testing.TB, files map[string][]byte) *sample {
	tb.Helper()
	var list []tree.File
	for p, b := range files {
		list = append(list, bytesFile(p, b, false))
	}
	return newSample(tb, list)
}

func TestKuboPinsFromUs(t *testing.T) {
	t.Parallel()
	k := newKubo(t)
	files := kuboFiles()
	s := sampleOf(t, files)
	x, at := newExchange(t, Options{Blocks: s})
	k.run(t, "swarm", "connect", at.Addrs[0].String()+"/p2p/"+at.ID.String())
	start := time.Now()
	k.run(t, "pin", "add", s.root.String())
	took := time.Since(start)
	out := filepath.Join(t.TempDir(), "out")
	k.run(t, "get", "--offline", "-o", out, s.root.String())
	checkFiles(t, out, files)
	st := x.Stats()
	t.Logf("Kubo pinned %d blocks in %v: we sent %d, %d bytes of %d", len(s.order), took, st.Served.Blocks, st.Served.Bytes, len(s.plain))
	if st.Served.Blocks < int64(len(s.order)) {
		t.Errorf("%d blocks were sent of %d", st.Served.Blocks, len(s.order))
	}
}

// TestKuboIsASource fetches a package that a Kubo alone has: by bitswap, and from its gateway.
func TestKuboIsASource(t *testing.T) {
	t.Parallel()
	k := newKubo(t)
	files := kuboFiles()
	root, err := cid.Decode(k.add(t, writeFiles(t, files)))
	if err != nil {
		t.Fatal(err)
	}
	h, err := p2p.New(p2p.Config{Bitswap: true}) // with the limits that an install has
	if err != nil {
		t.Fatal(err)
	}
	x := Open(h.Host(), Options{})
	t.Cleanup(func() {
		if err := errors.Join(x.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
	at, err := os.ReadFile(filepath.Join(k.repo, "gateway"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(strings.TrimSpace(string(at)))
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]swarm.Source{
		"bitswap": x.Source(k.info(t)),
		"gateway": &swarm.HTTP{Base: base, Gateway: true, Idle: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) { fetchFrom(t, src, root, files) })
	}
	if got := x.Stats(); got.Duplicates != 0 || got.Unrequested != 0 {
		t.Errorf("%d duplicates, %d unrequested", got.Duplicates, got.Unrequested)
	}
}

// fetchFrom fetches root into a new store and holds the tree to files. What the source does not have is missing.
func fetchFrom(t *testing.T, src swarm.Source, root cid.Cid, files map[string][]byte) {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := st.Batch()
	start := time.Now()
	none := cid.NewCidV1(cid.DagProtobuf, rawCID([]byte("nobody has this")).Hash())
	missing, err := src.Content(t.Context(), swarm.Ask(root, none), func(w swarm.Want, _ int64, pack io.Reader) error {
		_, err := b.Put(t.Context(), w.Root, pack)
		return err
	})
	if err != nil || len(missing) != 1 || missing[0].Root != none {
		t.Fatal(missing, err)
	}
	took := time.Since(start)
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir, _ := st.Tree(root)
	checkFiles(t, dir, files)
	t.Logf("fetched in %v", took)
}

// BenchmarkKuboPins compares how long a fresh Kubo takes to pin a package from us and from another Kubo, whose time is
// one.
func BenchmarkKuboPins(b *testing.B) {
	from := newKubo(b)
	files := kuboFiles()
	s := sampleOf(b, files)
	if got := from.add(b, writeFiles(b, files)); got != s.root.String() {
		b.Fatalf("root %s, Kubo prints %s", s.root, got)
	}
	_, us := newExchange(b, Options{Blocks: s})
	other := from.info(b)
	took := map[peer.ID]time.Duration{}
	for b.Loop() {
		for _, at := range []peer.AddrInfo{us, other} {
			k := newKubo(b)
			k.run(b, "swarm", "connect", at.Addrs[0].String()+"/p2p/"+at.ID.String())
			start := time.Now()
			k.run(b, "pin", "add", s.root.String())
			took[at.ID] += time.Since(start)
		}
	}
	b.ReportMetric(float64(took[us.ID])/float64(took[other.ID]), "x-kubo")
}
