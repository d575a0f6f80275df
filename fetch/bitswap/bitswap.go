// Package bitswap exchanges blocks with any IPFS node: it serves them, and fetches trees from peers that are known to
// have them. It speaks bitswap 1.2.0, and 1.1.0, 1.0.0 and the unnumbered first one to who knows no other.
//
// An [Exchange] sits on a libp2p host. What it serves are [Blocks]:
//
//	x := bitswap.Open(host, bitswap.Options{Blocks: blocks})
//	defer x.Close()
//
// and [Exchange.Source] is a source of packs for package swarm:
//
//	src := x.Source(peer.AddrInfo{ID: id, Addrs: addrs})
//	missing, err := src.Content(ctx, roots, each)
//
// Serving promises bounded memory whatever peers send (see [Limits]), turns among peers, and that a peer that takes
// nothing is let go. Blocks that are not here are answered with DONT_HAVE to who asks for that, and forgotten.
//
// Fetching promises that every block is checked before it goes anywhere, that a block is asked of one peer at a time
// unless that peer is slow and another idle, and that what is held in memory is bounded however large the tree is. There
// is no broadcast, no session and no discovery: wants go to the peers given, at once.
package bitswap

import (
	"bufio"
	"context"
	"crypto/sha256"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/sync/semaphore"
)

// Blocks is what an exchange serves. It is used concurrently. An error of any kind means that the block is not to be
// had; the peer is told so.
type Blocks interface {
	// Block returns the bytes of c, checked against c. The exchange does not change them.
	Block(ctx context.Context, c cid.Cid) ([]byte, error)
	// Size returns the number of bytes that Block would.
	Size(ctx context.Context, c cid.Cid) (int64, error)
}

// Limits bounds what peers can make an exchange hold. Zero fields mean the default.
type Limits struct {
	Peers     int   // served at a time; 256
	Streams   int   // open from all peers, 4 of one that is not being asked; 512
	PeerWants int   // pending of one peer, more are dropped in silence as Kubo does; 1,024
	Wants     int   // pending of all peers, though a peer may always have 64; 65,536
	Sending   int64 // bytes of messages being sent, at most one of ≤ 2 MiB a peer; 24 MiB
	Buffer    int64 // bytes of one fetch that are asked for or wait for their turn; 32 MiB
}

func (l Limits) withDefaults() Limits {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	or(&l.Peers, 256)
	or(&l.Streams, 512)
	or(&l.PeerWants, 1024)
	or(&l.Wants, 64<<10)
	if l.Sending == 0 {
		l.Sending = 24 << 20
	}
	l.Sending = max(l.Sending, 2*maxServed)
	if l.Buffer == 0 {
		l.Buffer = 32 << 20
	}
	return l
}

// Options are the settings of an exchange. The zero value fetches and serves nothing.
type Options struct {
	Blocks Blocks // nil serves nothing
	Limits Limits

	// Upload is called before n bytes, at most 64 KiB, are sent to a peer that asked for blocks, and may wait. Its error
	// ends the stream. nil does not wait.
	Upload func(ctx context.Context, to peer.ID, n int) error

	// Patience is how long a peer may be silent before its wants go to another; 0 means 2 s.
	Patience time.Duration
	// Stall is how long a peer may take nothing, or be silent where there is no other, before it is let go; 0 means 20 s.
	Stall time.Duration
}

const (
	// strangerMessage is up to how many bytes a message of a peer that we ask nothing may always have. Larger ones
	// share strangerPool.
	strangerMessage = 32 << 10
	strangerPool    = 8 << 20
	// peerStreams is how many streams one peer may have open, askedStreams one that we are asking: Kubo opens one for
	// every message with blocks.
	peerStreams  = 4
	askedStreams = 128
	// penalty is for how long a peer is not listened to, for each want that it sent beyond its limits.
	penalty = 250 * time.Microsecond
)

// Exchange is bitswap on one host. It is safe for concurrent use.
type Exchange struct {
	host    host.Host
	o       Options
	ctx     context.Context //nolint:containedctx // of the streams, which come from the host without one; Close ends it
	stop    context.CancelFunc
	wg      sync.WaitGroup
	notify  *network.NotifyBundle
	pool    *semaphore.Weighted // bytes of large messages of strangers
	buffers buffers
	parse   chan struct{} // held while a message is taken apart
	server  *server
	client  *client
	counts  counts

	mu      sync.Mutex // guards what follows
	closed  bool
	peers   map[peer.ID]*inbound
	streams map[network.Stream]bool
}

// inbound is what is open from one peer.
type inbound struct {
	streams int
	reading sync.Mutex // one message of a peer at a time
}

// counts are of the whole exchange.
type counts struct{ refused, unrequested, duplicates, overflow atomic.Int64 }

// Open starts an exchange on h. Close it before h.
func Open(h host.Host, o Options) *Exchange {
	o.Limits = o.Limits.withDefaults()
	if o.Patience == 0 {
		o.Patience = 2 * time.Second
	}
	if o.Stall == 0 {
		o.Stall = 20 * time.Second
	}
	x := &Exchange{
		host: h, o: o, pool: semaphore.NewWeighted(strangerPool), parse: make(chan struct{}, runtime.GOMAXPROCS(0)),
		peers: map[peer.ID]*inbound{}, streams: map[network.Stream]bool{},
	}
	x.ctx, x.stop = context.WithCancel(context.Background())
	x.server = newServer(x)
	x.client = &client{x: x, fetches: map[*fetch]bool{}, late: map[peer.ID]map[cid.Cid]bool{}}
	x.notify = &network.NotifyBundle{DisconnectedF: func(n network.Network, c network.Conn) {
		if p := c.RemotePeer(); n.Connectedness(p) != network.Connected {
			x.server.forget(p)
			x.client.gone(p)
		}
	}}
	h.Network().Notify(x.notify)
	for _, p := range protocols() {
		h.SetStreamHandler(p, x.accept)
	}
	return x
}

// Close ends all streams and waits until nothing runs any more. The host stays open.
func (x *Exchange) Close() error {
	for _, p := range protocols() {
		x.host.RemoveStreamHandler(p)
	}
	x.host.Network().StopNotify(x.notify)
	x.mu.Lock()
	x.closed = true
	for s := range x.streams {
		_ = s.Reset()
	}
	x.mu.Unlock()
	x.stop()
	x.wg.Wait()
	return nil
}

// start runs f unless the exchange is closed. Close waits for it.
func (x *Exchange) start(f func()) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return false
	}
	x.wg.Go(f)
	return true
}

// accept is the handler of streams. The host gives it a goroutine.
func (x *Exchange) accept(s network.Stream) {
	p := s.Conn().RemotePeer()
	in := x.enter(s, p)
	if in == nil {
		x.counts.refused.Add(1)
		_ = s.Reset()
		return
	}
	defer x.wg.Done()
	defer x.leave(s, p, in)
	r := bufio.NewReaderSize(s, 4<<10)
	for {
		size, err := readSize(r)
		if err == nil {
			err = x.receive(s, p, in, r, size)
		}
		if err != nil {
			_ = s.Reset() // of a stream that ended well this does nothing to the peer
			return
		}
	}
}

// enter counts a stream in, or refuses it.
func (x *Exchange) enter(s network.Stream, p peer.ID) *inbound {
	most := peerStreams
	if x.client.asks(p) {
		most = askedStreams
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	in := x.peers[p]
	if in == nil {
		in = &inbound{}
	}
	// Two streams each, even if others have taken all there are.
	full := len(x.streams) >= x.o.Limits.Streams && (in.streams >= 2 || len(x.streams) >= x.o.Limits.Streams+2*x.o.Limits.Peers)
	if x.closed || in.streams >= most || full && most == peerStreams {
		return nil
	}
	in.streams++
	x.peers[p] = in
	x.streams[s] = true
	x.wg.Add(1)
	return in
}

func (x *Exchange) leave(s network.Stream, p peer.ID, in *inbound) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.streams, s)
	if in.streams--; in.streams == 0 {
		delete(x.peers, p)
	}
}

// receive reads one message and hands its parts to whom they concern.
func (x *Exchange) receive(s network.Stream, p peer.ID, in *inbound, r *bufio.Reader, size int) error {
	in.reading.Lock()
	defer in.reading.Unlock()
	asked := x.client.asks(p)
	limit := time.AfterFunc(x.o.Stall, func() { _ = s.Reset() })
	defer limit.Stop()
	if size > strangerMessage && !asked {
		ctx, cancel := context.WithTimeout(x.ctx, x.o.Stall)
		defer cancel()
		if err := x.pool.Acquire(ctx, int64(size)); err != nil {
			return err
		}
		defer x.pool.Release(int64(size))
	}
	var memory []byte
	if asked { // who is not has no memory of ours but while it sends
		memory = x.buffers.get()
	}
	b, err := readBody(r, memory, size, func(n int) {
		if asked { // a stranger has one Stall for all of it
			limit.Reset(x.o.Stall)
			x.client.heard(p, n)
		}
	})
	if err != nil {
		return err
	}
	limit.Stop()
	if asked {
		defer x.buffers.put(b)
	}
	dropped, err := x.handle(p, b)
	x.counts.overflow.Add(int64(dropped))
	if err != nil {
		x.counts.refused.Add(1)
		return err
	}
	if dropped == 0 {
		return nil
	}
	wait := time.NewTimer(min(time.Duration(dropped)*penalty, x.o.Stall))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-x.ctx.Done():
		return x.ctx.Err()
	}
}

// handle takes one message apart. dropped is how many of its entries were too many.
func (x *Exchange) handle(p peer.ID, b []byte) (dropped int, err error) {
	x.parse <- struct{}{}
	defer func() { <-x.parse }()
	m, err := parseMessage(b)
	if err != nil {
		return 0, err
	}
	if len(m.blocks) > 0 || len(m.presences) > 0 {
		x.client.take(p, m)
	}
	return m.dropped + x.server.take(p, m), nil
}

// rawPrefix and nodePrefix are the CID prefixes of the blocks that trees are made of.
const (
	rawPrefix  = "\x01\x55\x12\x20"
	nodePrefix = "\x01\x70\x12\x20"
)

// address computes the CID of a block of a tree, or false if it cannot be one.
func (p payload) address() (cid.Cid, bool) {
	if s := string(p.prefix); s != rawPrefix && s != nodePrefix || len(p.data) > maxServed {
		return cid.Undef, false
	}
	sum := sha256.Sum256(p.data)
	c, err := cid.Cast(append(append(make([]byte, 0, 4+sha256.Size), p.prefix...), sum[:]...))
	return c, err == nil
}
