package seed_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"google.golang.org/protobuf/proto"

	"pkg/fetch/p2p"
	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

const (
	bitswap120 = "/ipfs/bitswap/1.2.0"
	mostMemory = 64 << 20
)

// TestVictim is the seed that TestAttacks attacks, in a process of its own, so that what it holds can be told from what
// the attackers hold. It says its address, answers each line with what it holds, and ends with its input.
func TestVictim(t *testing.T) {
	if flag.NArg() != 2 || flag.Arg(0) != "victim" {
		t.Skip("it is run by TestAttacks")
	}
	st, err := store.Open(flag.Arg(1), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := seed.Start(t.Context(), seed.Config{Store: st, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, MaxPeers: 32, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriter(os.Stdout)
	say := func(format string, a ...any) {
		_, _ = fmt.Fprintf(out, "victim "+format+"\n", a...)
		_ = out.Flush() // the parent may be gone
	}
	say("%s", s.Addrs()[0])
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		say("%d %d %d %d", m.HeapAlloc+m.StackInuse, runtime.NumGoroutine(), s.Stats().Peers, resident())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// resident is how many KiB of memory this process had at most; 0 where that is not known.
func resident() (kib int64) {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib
		}
	}
	return 0
}

// victim is a seed in another process.
type victim struct {
	t     *testing.T
	in    io.Writer
	lines *bufio.Scanner
	info  peer.AddrInfo
}

func startVictim(t *testing.T, dir string) *victim {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), exe, "-test.run=^TestVictim$", "victim", dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := &victim{t: t, in: in, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		_ = in.Close() // it ends
		late := time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		for v.lines.Scan() {
			t.Log(v.lines.Text())
		}
		if err := cmd.Wait(); err != nil { // goleak fails there too
			t.Errorf("the seed: %v", err)
		}
	})
	if v.info, err = p2p.ParsePeer(v.hear()); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *victim) hear() string {
	v.t.Helper()
	for v.lines.Scan() {
		if text, ok := strings.CutPrefix(v.lines.Text(), "victim "); ok {
			return text
		}
	}
	v.t.Fatal("the seed is gone")
	return ""
}

// look says what the seed holds: bytes of heap and stacks, goroutines, connected peers; and the most KiB it ever had.
func (v *victim) look() (bytes int64, goroutines, peers int, resident int64) {
	v.t.Helper()
	if _, err := io.WriteString(v.in, "look\n"); err != nil {
		v.t.Fatal(err)
	}
	if _, err := fmt.Sscan(v.hear(), &bytes, &goroutines, &peers, &resident); err != nil {
		v.t.Fatal(err)
	}
	return bytes, goroutines, peers, resident
}

// noiseBytes is content that does not compress.
func noiseBytes(name string, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte(fmt.Appendf(nil, "%-32s", name))).Read(b) // never fails
	return b
}

// shelf is a store with small trees, for the good client, and two that attackers ask for: one large file, and many
// small files in deep folders.
func shelf(t *testing.T) (dir string, small []cid.Cid, large, deep cid.Cid, blocks []cid.Cid) {
	t.Helper()
	dir = t.TempDir()
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := st.Batch()
	put := func(files ...tree.File) cid.Cid {
		var pack bytes.Buffer
		sum, err := tree.Pack(t.Context(), files, tree.Default(), &pack)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Put(t.Context(), sum.Root, &pack); err != nil {
			t.Fatal(err)
		}
		return sum.Root
	}
	file := func(path string, content []byte) tree.File {
		return tree.File{Path: path, Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
	}
	for i := range 10 {
		small = append(small, put(file("f", noiseBytes(fmt.Sprint("small", i), 60_000))))
	}
	data := noiseBytes("large", big)
	large = put(file("f", data))
	for part := range slices.Chunk(data, tree.ChunkSize) {
		blocks = append(blocks, block.Sum(cid.Raw, part))
	}
	var files []tree.File
	for i := range 2000 {
		files = append(files, file(fmt.Sprintf("%s%d/%d", strings.Repeat("d/", i%25), i%50, i), noiseBytes(fmt.Sprint(i), 2000)))
	}
	deep = put(files...)
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir, small, large, deep, blocks
}

// attacker is a peer that keeps to no limits, and takes nothing that is sent to it.
func attacker(ctx context.Context, t *testing.T, to peer.AddrInfo) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport), libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	h.SetStreamHandler(bitswap120, func(s network.Stream) {
		<-ctx.Done()
		_ = s.Reset()
	})
	if err := h.Connect(ctx, to); err != nil {
		t.Errorf("an attacker is not let in: %v", err)
	}
	return h
}

// frame is a bitswap message as it is sent.
func frame(t *testing.T, m *pb.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

func wants(t *testing.T, cids []cid.Cid, cancel bool) []byte {
	t.Helper()
	list := &pb.Message_Wantlist{}
	for _, c := range cids {
		list.Entries = append(list.Entries, &pb.Message_Wantlist_Entry{Block: c.Bytes(), Priority: 1, SendDontHave: true, Cancel: cancel})
	}
	return frame(t, &pb.Message{Wantlist: list})
}

// flood writes b on one stream after the other, as fast as it is taken, until ctx is done.
func flood(ctx context.Context, h host.Host, to peer.ID, b []byte) {
	for ctx.Err() == nil {
		s, err := h.NewStream(ctx, to, bitswap120)
		for err == nil && ctx.Err() == nil {
			_ = s.SetWriteDeadline(time.Now().Add(time.Second))
			_, err = s.Write(b)
		}
		if s != nil {
			_ = s.Reset()
		}
	}
}

// hold opens streams of HTTP and writes begin on each, or, if that is empty, streams of no protocol; then, if drip is set, a byte after the other, very slowly. It reads
// nothing, and opens another stream for each that it loses.
func hold(ctx context.Context, h host.Host, to peer.ID, begin string, drip bool, streams int) {
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			for ctx.Err() == nil {
				once(ctx, h, to, begin, drip)
			}
		})
	}
	wg.Wait()
}

func once(ctx context.Context, h host.Host, to peer.ID, begin string, drip bool) {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	defer func() { // one that is refused does not try again at once: that is what flood does
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
	}()
	var s network.Stream
	var err error
	if begin == "" { // half open: the protocol is never agreed on
		c := h.Network().ConnsToPeer(to)
		if len(c) == 0 {
			_, _ = h.Network().DialPeer(ctx, to) // the next time it is there
			return
		}
		if s, err = c[0].NewStream(ctx); err == nil {
			_, err = s.Write([]byte{19})
		}
	} else if s, err = h.NewStream(ctx, to, "/http/1.1"); err == nil {
		_, err = io.WriteString(s, begin)
	}
	for err == nil {
		select {
		case <-ctx.Done():
			_ = s.Reset()
			return
		case <-pause.C:
			if drip {
				_, err = io.WriteString(s, "a")
			}
		}
	}
	if s != nil {
		_ = s.Reset()
	}
}

// TestAttacks attacks a seed in many ways, while a good client of the same address goes on fetching, now and then as
// somebody new: each of its requests succeeds, the seed holds less than 64 MiB more, and holds nothing of it afterwards.
func TestAttacks(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: not in short mode")
	}
	dir, small, large, deep, blocks := shelf(t)
	v := startVictim(t, dir)
	to := v.info.ID
	var absent []cid.Cid
	for i := range 4096 {
		absent = append(absent, block.Sum(cid.Raw, fmt.Append(nil, i)))
	}
	post := func(roots ...cid.Cid) string {
		var texts []string
		for _, c := range roots {
			texts = append(texts, `"`+c.String()+`"`)
		}
		body := `{"want":[` + strings.Join(texts, ",") + `]}`
		return fmt.Sprintf("POST /content HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	streams := func(begin string, drip bool) func(context.Context, host.Host) {
		return func(ctx context.Context, h host.Host) { hold(ctx, h, to, begin, drip, 20) }
	}
	bitswap := func(messages ...[]byte) func(context.Context, host.Host) {
		all := slices.Concat(messages...)
		return func(ctx context.Context, h host.Host) {
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { flood(ctx, h, to, all) })
			}
			wg.Wait()
		}
	}
	var maximal []cid.Cid
	for i := range 1024 {
		maximal = append(maximal, block.Sum(cid.DagProtobuf, fmt.Append(nil, i)))
	}
	for _, a := range []struct {
		name   string
		attack func(context.Context, host.Host) // of one peer; returns soon after the context has ended
	}{
		{"wants for absent blocks", bitswap(wants(t, absent, false))},
		{"wants for blocks that are here, answers not read", bitswap(wants(t, blocks, false), wants(t, absent[:100], false))},
		{"wants and cancels", bitswap(wants(t, absent[:1000], false), wants(t, absent[:1000], true), wants(t, blocks, false), wants(t, blocks, true))},
		{"large messages", bitswap(frame(t, &pb.Message{Payload: []*pb.Message_Block{{Prefix: []byte{1, 0x55, 0x12, 0x20}, Data: make([]byte, 2<<20)}}}))},
		{"streams without a protocol", func(ctx context.Context, h host.Host) { hold(ctx, h, to, "", false, 12) }},
		{"connections", func(ctx context.Context, h host.Host) {
			addr, err := net.ResolveTCPAddr("tcp", strings.NewReplacer("/ip4/", "", "/tcp/", ":").Replace(v.info.Addrs[0].String()))
			if err != nil {
				return
			}
			for ctx.Err() == nil {
				_, _ = h.Network().DialPeer(network.WithForceDirectDial(ctx, "more of them"), to)
				var half []net.Conn
				for range 4 { // as many as there are places for handshakes, but some
					if c, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String()); err == nil {
						half = append(half, c)
					}
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
				for _, c := range half {
					_ = c.Close()
				}
				_ = h.Network().ClosePeer(to)
			}
		}},
		{"slow headers", streams("GET / HTTP/1.1\r\nA: ", true)},
		{"slow bodies", streams("POST /content HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n{", true)},
		{"packs that are not read", streams(post(slices.Repeat([]cid.Cid{large}, 100)...), false)},
		{"maximal requests", streams(post(maximal...), false)},
		{"CARs that are not read", streams(get("/ipfs/"+large.String()+"?format=car"), false)},
		{"CARs of deep trees that are not read", streams(get("/ipfs/"+deep.String()+"?format=car&dups=y"), false)},
		{"blocks that are not read", streams(get("/ipfs/"+blocks[0].String()+"?format=raw"), false)},
	} {
		t.Run(a.name, func(t *testing.T) {
			v.t = t
			before, quiet, _, first := v.look()
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var hosts []host.Host
			for range attackers {
				h := attacker(ctx, t, v.info)
				hosts = append(hosts, h)
				wg.Go(func() { a.attack(ctx, h) })
			}
			took, err := fetches(ctx, v.info, small)
			if err != nil {
				t.Errorf("the good client: %v", err)
			}
			during, busy, peers, _ := v.look()
			stop()
			wg.Wait()
			for _, h := range hosts {
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}
			if during-before > mostMemory {
				t.Errorf("the seed holds %d MiB more", (during-before)>>20)
			}
			late := time.Now().Add(15 * time.Second)
			after, left, _, most := v.look()
			for left > quiet+2 && time.Now().Before(late) {
				after, left, _, most = v.look()
			}
			if left > quiet+2 {
				t.Errorf("%d goroutines are left, there were %d", left, quiet)
			}
			slices.Sort(took)
			t.Logf("%.1f MiB more and %d goroutines (%d before) for %d peers; afterwards %.1f MiB and %d; resident at most %d MiB, %d before. The good client: median %v, p99 %v",
				float64(during-before)/(1<<20), busy, quiet, peers, float64(after-before)/(1<<20), left, most>>10, first>>10, took[len(took)/2], took[len(took)*99/100])
		})
	}
}

// TestMaxPeersHoldsAgainstAFlood: a seed never keeps more connections than it was told, and a flood of those that only
// stand keeps nobody out: neither who fetched before and comes again, nor somebody new.
func TestMaxPeersHoldsAgainstAFlood(t *testing.T) {
	const most = 4
	st, roots := filled(t, 1)
	s := start(t, st, seed.Config{MaxPeers: most})
	info, err := p2p.ParsePeer(s.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	known, err := p2p.New(p2p.Config{Key: bytes.Repeat([]byte{9}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := known.Close(); err != nil {
			t.Error(err)
		}
	}()
	fetch := func(what string, h *p2p.Host) {
		t.Helper()
		if n, err := fetchOne(t.Context(), h, info, roots[0]); err != nil || n == 0 {
			t.Errorf("%s: %d bytes, %v", what, n, err)
		}
	}
	fetch("who comes first", known)
	if err := known.Host().Network().ClosePeer(info.ID); err != nil {
		t.Error(err)
	}
	for range 4 * most {
		h, err := p2p.New(p2p.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = h.Close() }() // it was let go by the seed, perhaps
		if err := h.Host().Connect(t.Context(), info); err != nil {
			t.Error(err)
		}
	}
	fetch("who comes again", known)
	fresh, err := p2p.New(p2p.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fresh.Close() }() // as above
	fetch("who is new", fresh)
	late := time.After(10 * time.Second)
	for s.Stats().Peers > most {
		select {
		case <-late:
			t.Fatalf("%d peers are connected, want at most %d", s.Stats().Peers, most)
		default:
			runtime.Gosched()
		}
	}
	fetch("who was there during the flood", known)
}

// fetches fetches small trees from a seed, at least so many times and until the attack is well under way, every tenth time as
// somebody new.
func fetches(ctx context.Context, from peer.AddrInfo, roots []cid.Cid) (took []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	var h *p2p.Host
	defer func() {
		if h != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	start := time.Now()
	for i := 0; i < least || time.Since(start) < 250*time.Millisecond; i++ {
		began := time.Now()
		if i%10 == 0 {
			if h != nil {
				if err := h.Close(); err != nil {
					return took, err
				}
			}
			if h, err = p2p.New(p2p.Config{}); err != nil { //nolint:contextcheck // a host lives until Close
				return took, err
			}
		}
		got, err := fetchOne(ctx, h, from, roots[i%len(roots)])
		took = append(took, time.Since(began))
		if err == nil && got < 60_000 {
			err = fmt.Errorf("a pack of %d bytes", got)
		}
		if err != nil {
			return took, fmt.Errorf("request %d: %w", i, err)
		}
	}
	return took, nil
}

func fetchOne(ctx context.Context, h *p2p.Host, from peer.AddrInfo, root cid.Cid) (n int64, err error) {
	h.Know(from)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+from.ID.String()+"/packs/"+root.String(), nil)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Transport: h.Transport()}).Do(req)
	if err != nil {
		return 0, err
	}
	n, err = io.Copy(io.Discard, resp.Body)
	return n, errors.Join(err, resp.Body.Close())
}
