package bitswap

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/zstd"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"pkg/fetch/tree"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/golang/glog.(*fileSink).flushDaemon"))
}

// newHost makes a host on loopback that is closed with the test.
func newHost(tb testing.TB) host.Host {
	tb.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New), libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(&network.NullResourceManager{}), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = h.Close() })
	return h
}

func newExchange(tb testing.TB, o Options) (*Exchange, peer.AddrInfo) {
	tb.Helper()
	h := newHost(tb)
	x := Open(h, o)
	tb.Cleanup(func() { _ = x.Close() })
	return x, info(h)
}

func info(h host.Host) peer.AddrInfo { return peer.AddrInfo{ID: h.ID(), Addrs: h.Addrs()} }

var errAbsent = errors.New("absent")

// memory serves blocks from memory.
type memory struct {
	mu     sync.Mutex
	blocks map[cid.Cid][]byte
	sent   int64
	gate   chan struct{} // if set, Block waits for it
}

func (m *memory) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if m.gate != nil {
		select {
		case <-m.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blocks[c]
	if !ok {
		return nil, errAbsent
	}
	m.sent += int64(len(b))
	return b, nil
}

func (m *memory) Size(_ context.Context, c cid.Cid) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blocks[c]
	if !ok {
		return 0, errAbsent
	}
	return int64(len(b)), nil
}

// sample is a tree, its blocks in the order of the pack, and the pack without compression.
type sample struct {
	root  cid.Cid
	order []cid.Cid
	*memory
	plain []byte
}

func content(seed string, size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b) // never fails
	return b
}

func bytesFile(path string, b []byte, exec bool) tree.File {
	return tree.File{Path: path, Size: int64(len(b)), Exec: exec, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func newSample(tb testing.TB, files []tree.File) *sample {
	tb.Helper()
	var pack bytes.Buffer
	sum, err := tree.Pack(tb.Context(), files, tree.Default(), &pack)
	if err != nil {
		tb.Fatal(err)
	}
	s := &sample{root: sum.Root, memory: &memory{blocks: map[cid.Cid][]byte{}}, plain: unzstd(tb, pack.Bytes())}
	for b := s.plain; len(b) > 0; {
		n, k := binary.Uvarint(b)
		section := b[k : k+int(n)]
		b = b[k+int(n):]
		l, c, err := cid.CidFromBytes(section)
		if err != nil {
			tb.Fatal(err)
		}
		s.order = append(s.order, c)
		s.blocks[c] = section[l:]
	}
	return s
}

// mixed is a tree with all there is: nested and equal directories, empty, equal, long and executable files.
func mixed(tb testing.TB) *sample {
	tb.Helper()
	var files []tree.File
	for i := range 300 {
		files = append(files, bytesFile(fmt.Sprintf("d%d/e%d/f%d", i%7, i%3, i), content(fmt.Sprint(i), int64(i*7)), i%11 == 0))
	}
	long := content("long", 3<<20+5)
	for _, d := range []string{"copy1", "copy2", "a/copy"} {
		files = append(files, bytesFile(d+"/LICENSE", []byte("free"), false), bytesFile(d+"/empty", nil, false),
			bytesFile(d+"/long", long, false), bytesFile(d+"/run", long[:100], true))
	}
	return newSample(tb, files)
}

func unzstd(tb testing.TB, pack []byte) []byte {
	tb.Helper()
	dec, err := zstd.NewReader(nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer dec.Close()
	b, err := dec.DecodeAll(pack, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// wirePeer speaks bitswap by hand.
type wirePeer struct {
	t    testing.TB
	h    host.Host
	to   peer.ID
	s    network.Stream
	came chan *pb.Message
}

// newWirePeer connects to an exchange; what that sends comes on a channel.
func newWirePeer(tb testing.TB, to peer.AddrInfo, p protocol.ID) *wirePeer {
	tb.Helper()
	w := &wirePeer{t: tb, h: newHost(tb), to: to.ID, came: make(chan *pb.Message, 100)}
	w.h.SetStreamHandler(p, func(s network.Stream) {
		r := bufio.NewReader(s)
		for {
			m, err := readPB(r)
			if err != nil {
				_ = s.Reset()
				return
			}
			select {
			case w.came <- m:
			case <-tb.Context().Done():
				return
			}
		}
	})
	if err := w.h.Connect(tb.Context(), to); err != nil {
		tb.Fatal(err)
	}
	var err error
	if w.s, err = w.h.NewStream(tb.Context(), to.ID, p); err != nil {
		tb.Fatal(err)
	}
	return w
}

func readPB(r *bufio.Reader) (*pb.Message, error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	m := &pb.Message{}
	return m, proto.Unmarshal(b, m)
}

func frame(m *pb.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		panic(err)
	}
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

func (w *wirePeer) send(m *pb.Message) {
	w.t.Helper()
	if _, err := w.s.Write(frame(m)); err != nil {
		w.t.Fatal(err)
	}
}

func wants(full bool, entries ...*pb.Message_Wantlist_Entry) *pb.Message {
	return &pb.Message{Wantlist: &pb.Message_Wantlist{Full: full, Entries: entries}}
}

func wantBlock(c cid.Cid, priority int32) *pb.Message_Wantlist_Entry {
	return &pb.Message_Wantlist_Entry{Block: c.Bytes(), Priority: priority, SendDontHave: true}
}

func wantHave(c cid.Cid) *pb.Message_Wantlist_Entry {
	return &pb.Message_Wantlist_Entry{Block: c.Bytes(), WantType: pb.Message_Wantlist_Have, SendDontHave: true}
}

func rawCID(b []byte) cid.Cid {
	c, _ := payload{prefix: []byte(rawPrefix), data: b}.address()
	return c
}
