package bitswap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// get fetches roots and returns their packs without compression.
func get(t *testing.T, s *Source, roots ...cid.Cid) (packs map[cid.Cid][]byte, missing []swarm.Want, err error) {
	t.Helper()
	packs = map[cid.Cid][]byte{}
	missing, err = s.Content(t.Context(), swarm.Ask(roots...), func(w swarm.Want, size int64, pack io.Reader) error {
		b, err := io.ReadAll(pack)
		if err != nil {
			return err
		}
		if size >= 0 && int64(len(b)) != size {
			t.Errorf("a pack of %d bytes was said to have %d", len(b), size)
		}
		packs[w.Root] = unzstd(t, b)
		return nil
	})
	return packs, missing, err
}

func TestFetchedPackIsThePackOfTheTree(t *testing.T) {
	t.Parallel()
	want, small := mixed(t), newSample(t, []tree.File{bytesFile("a", []byte("a"), false)})
	other := &memory{blocks: small.blocks}
	maps.Copy(other.blocks, want.blocks)
	srv, at := newExchange(t, Options{Blocks: other})
	x, _ := newExchange(t, Options{})
	got, missing, err := get(t, x.Source(at), want.root, small.root, want.root)
	if err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	if !bytes.Equal(got[want.root], want.plain) || !bytes.Equal(got[small.root], small.plain) {
		t.Error("the packs are other than those that tree.Pack makes")
	}
	if st := x.Stats(); st.Duplicates != 0 || st.Unrequested != 0 || len(st.Liars) != 0 {
		t.Errorf("got %+v, want no duplicates, nothing unrequested", st)
	}
	if st := srv.Stats(); st.Served.Blocks != int64(len(other.blocks)) || st.Served.Absent != 0 {
		t.Errorf("sent %+v, want %d blocks once each", st.Served, len(other.blocks))
	}
}

func TestFetchedTreeIsInstalled(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	_, at := newExchange(t, Options{Blocks: want})
	x, _ := newExchange(t, Options{})
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := st.Batch()
	missing, err := x.Source(at).Content(t.Context(), swarm.Ask(want.root), func(w swarm.Want, _ int64, pack io.Reader) error {
		_, err := b.Put(t.Context(), w.Root, pack)
		return err
	})
	if err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !st.Has(want.root) {
		t.Error("the root is not in the store")
	}
}

func TestBlocksComeFromWhoHasThem(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	var infos []peer.AddrInfo
	for half := range 2 {
		part := &memory{blocks: map[cid.Cid][]byte{}}
		for i, c := range want.order {
			if i%2 == half || i == 0 {
				part.blocks[c] = want.blocks[c]
			}
		}
		_, at := newExchange(t, Options{Blocks: part})
		infos = append(infos, at)
	}
	x, _ := newExchange(t, Options{Patience: time.Minute})
	got, missing, err := get(t, x.Source(infos...), want.root)
	if err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	if !bytes.Equal(got[want.root], want.plain) {
		t.Error("wrong pack")
	}
	if d := x.Stats().Duplicates; d != 0 {
		t.Errorf("%d duplicates", d)
	}
}

func TestIncompleteRootIsMissing(t *testing.T) {
	t.Parallel()
	want, other := mixed(t), newSample(t, []tree.File{bytesFile("a", []byte("a"), false)})
	none := newSample(t, []tree.File{bytesFile("b", []byte("b"), false)})
	delete(want.blocks, want.order[len(want.order)/2])
	maps.Copy(want.blocks, other.blocks)
	_, at := newExchange(t, Options{Blocks: want})
	x, _ := newExchange(t, Options{})
	got, missing, err := get(t, x.Source(at), none.root, want.root, other.root)
	if err != nil || len(missing) != 2 || missing[0].Root != none.root || missing[1].Root != want.root || len(got) != 1 {
		t.Errorf("got %d packs, missing %v, %v; want one pack, %s and %s missing", len(got), missing, err, none.root, want.root)
	}
}

func TestErrorOfEachIsReturnedAsItIs(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	_, at := newExchange(t, Options{Blocks: want})
	x, _ := newExchange(t, Options{})
	mine := errors.New("mine")
	if _, err := x.Source(at).Content(t.Context(), swarm.Ask(want.root), func(swarm.Want, int64, io.Reader) error { return mine }); err != mine { //nolint:errorlint // as it is
		t.Errorf("got %v, want %v", err, mine)
	}
	// each need not read.
	if missing, err := x.Source(at).Content(t.Context(), swarm.Ask(want.root), func(swarm.Want, int64, io.Reader) error { return nil }); err != nil || len(missing) > 0 {
		t.Error(missing, err)
	}
}

func TestUnreachablePeerIsAnError(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	h := newHost(t)
	at := info(h)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	x, _ := newExchange(t, Options{})
	var src *swarm.SourceError
	if _, _, err := get(t, x.Source(at), want.root); !errors.As(err, &src) {
		t.Errorf("got %v, want a SourceError", err)
	}
	if _, _, err := get(t, x.Source(), want.root); !errors.Is(err, errNoPeers) {
		t.Errorf("got %v, want %v", err, errNoPeers)
	}
	// Others make up for it.
	_, good := newExchange(t, Options{Blocks: want})
	if _, missing, err := get(t, x.Source(at, good), want.root); err != nil || len(missing) > 0 {
		t.Error(missing, err)
	}
}

// fake answers wantlists as the test says. answer is called for one message at a time.
func fake(tb testing.TB, answer func(w *pb.Message, send func(*pb.Message), conn network.Conn)) peer.AddrInfo {
	tb.Helper()
	h := newHost(tb)
	h.SetStreamHandler(protocol120, func(in network.Stream) {
		defer func() { _ = in.Reset() }()
		r := bufio.NewReader(in)
		var out network.Stream
		for {
			m, err := readPB(r)
			if err != nil {
				return
			}
			answer(m, func(m *pb.Message) {
				if out == nil {
					if out, err = h.NewStream(context.Background(), in.Conn().RemotePeer(), protocol120); err != nil {
						return
					}
				}
				_, _ = out.Write(frame(m))
			}, in.Conn())
		}
	})
	return info(h)
}

// honest answers some entries from blocks.
func honest(s *sample, entries []*pb.Message_Wantlist_Entry) *pb.Message {
	m := &pb.Message{}
	for _, e := range entries {
		if c, err := cid.Cast(e.GetBlock()); err == nil && !e.GetCancel() {
			m.Payload = append(m.Payload, &pb.Message_Block{Prefix: c.Prefix().Bytes(), Data: s.blocks[c]})
		}
	}
	return m
}

func TestLiarIsDroppedAndNamed(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	lie := func(m *pb.Message, send func(*pb.Message), _ network.Conn) {
		answer := honest(want, m.GetWantlist().GetEntries())
		for _, p := range answer.Payload {
			if len(p.Data) == 700 { // of f100
				p.Data = content("lie", 700)
			}
		}
		send(answer)
	}
	liar := fake(t, lie)
	x, _ := newExchange(t, Options{})
	var hash *tree.HashError
	_, _, err := get(t, x.Source(liar), want.root)
	if !errors.As(err, &hash) || hash.Source != liar.ID.String() {
		t.Errorf("got %v, want a HashError of %s", err, liar.ID)
	}
	if got := rawCID(content("lie", 700)); hash != nil && hash.Got != got {
		t.Errorf("got a lie of %s, want %s", hash.Got, got)
	}
	// Others make up for it, and it is named even so. The good peer sends nothing before the liar has.
	want.gate = make(chan struct{})
	var lied sync.Once
	_, good := newExchange(t, Options{Blocks: want})
	x, _ = newExchange(t, Options{Patience: 100 * time.Millisecond})
	liar = fake(t, func(m *pb.Message, send func(*pb.Message), _ network.Conn) {
		for _, e := range m.GetWantlist().GetEntries() {
			send(&pb.Message{Payload: []*pb.Message_Block{{Prefix: []byte(rawPrefix), Data: append([]byte("lie "), e.GetBlock()...)}}})
		}
		lied.Do(func() { close(want.gate) })
	})
	got, missing, err := get(t, x.Source(liar, good), want.root)
	if err != nil || len(missing) > 0 || !bytes.Equal(got[want.root], want.plain) {
		t.Fatal(missing, err)
	}
	if lie := x.Stats().Liars[liar.ID]; !errors.As(lie, &hash) || hash.Source != liar.ID.String() {
		t.Errorf("the liar is named as %v", lie)
	}
}

func TestUnrequestedBlocksAreIgnoredAndCounted(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	at := fake(t, func(m *pb.Message, send func(*pb.Message), _ network.Conn) {
		answer := honest(want, m.GetWantlist().GetEntries())
		// After all that was asked for; and all of it twice.
		answer.Payload = append(answer.Payload, &pb.Message_Block{Prefix: []byte(rawPrefix), Data: []byte("more")})
		answer.Payload = append(answer.Payload, answer.Payload[:len(answer.Payload)-1]...)
		send(answer)
	})
	x, _ := newExchange(t, Options{})
	want.plain, want.order = nil, nil
	single := newSample(t, []tree.File{bytesFile("a", []byte("a"), false)})
	want.blocks = single.blocks
	got, missing, err := get(t, x.Source(at), single.root)
	if err != nil || len(missing) > 0 || !bytes.Equal(got[single.root], single.plain) {
		t.Fatal(missing, err)
	}
	if st := x.Stats(); st.Unrequested == 0 || st.Duplicates == 0 || len(st.Liars) > 0 {
		t.Errorf("got %d unrequested, %d duplicates, liars %v; want some, some, none", st.Unrequested, st.Duplicates, st.Liars)
	}
}

func TestWorkMovesOffAPeerThatIsSilentOrGone(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]func(conn network.Conn){
		"silent": func(network.Conn) {},
		"gone":   func(conn network.Conn) { _ = conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := mixed(t)
			_, good := newExchange(t, Options{Blocks: want})
			bad := fake(t, func(_ *pb.Message, _ func(*pb.Message), conn network.Conn) { then(conn) })
			x, _ := newExchange(t, Options{Patience: 80 * time.Millisecond})
			got, missing, err := get(t, x.Source(bad, good), want.root)
			if err != nil || len(missing) > 0 || !bytes.Equal(got[want.root], want.plain) {
				t.Fatal(missing, err)
			}
		})
	}
}

func TestSilentPeerAloneIsAnError(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	bad := fake(t, func(*pb.Message, func(*pb.Message), network.Conn) {})
	x, _ := newExchange(t, Options{Patience: 80 * time.Millisecond, Stall: time.Second})
	var silent *SilentError
	if _, _, err := get(t, x.Source(bad), want.root); !errors.As(err, &silent) || silent.Peer != bad.ID {
		t.Errorf("got %v, want a SilentError of %s", err, bad.ID)
	}
}

func TestIdlePeerHelpsAtTheEnd(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	// One peer answers all but a few blocks and stays busy with presences, which is progress of a kind.
	slow := fake(t, func(m *pb.Message, send func(*pb.Message), _ network.Conn) {
		var rest []*pb.Message_Wantlist_Entry
		for i, e := range m.GetWantlist().GetEntries() {
			if i%8 != 0 {
				rest = append(rest, e)
			}
		}
		send(honest(want, rest))
	})
	_, good := newExchange(t, Options{Blocks: want})
	x, _ := newExchange(t, Options{Patience: 200 * time.Millisecond, Stall: time.Minute})
	got, missing, err := get(t, x.Source(slow, good), want.root)
	if err != nil || len(missing) > 0 || !bytes.Equal(got[want.root], want.plain) {
		t.Fatal(missing, err)
	}
}

func TestCancelledFetchEnds(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	want.gate = make(chan struct{}, 1)
	want.gate <- struct{}{} // the root, and no more
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, at := newExchange(t, Options{Blocks: want, Upload: func(context.Context, peer.ID, int) error {
		cancel()
		return nil
	}})
	x, _ := newExchange(t, Options{})
	_, err := x.Source(at).Content(ctx, swarm.Ask(want.root), func(_ swarm.Want, _ int64, pack io.Reader) error {
		_, err := io.Copy(io.Discard, pack)
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func TestPeersShareTheWork(t *testing.T) {
	t.Parallel()
	var files []tree.File
	for i := range 2000 {
		files = append(files, bytesFile(fmt.Sprintf("d%d/%d", i%9, i), content(fmt.Sprint(i), 3000), false))
	}
	want := newSample(t, files)
	var servers []*Exchange
	var infos []peer.AddrInfo
	for range 3 {
		srv, at := newExchange(t, Options{Blocks: want})
		servers, infos = append(servers, srv), append(infos, at)
	}
	x, _ := newExchange(t, Options{Patience: time.Minute})
	got, missing, err := get(t, x.Source(infos...), want.root)
	if err != nil || len(missing) > 0 || !bytes.Equal(got[want.root], want.plain) {
		t.Fatal(missing, err)
	}
	if d := x.Stats().Duplicates; d != 0 {
		t.Errorf("%d duplicates", d)
	}
	for _, srv := range servers {
		if n := srv.Stats().Served.Blocks; n == 0 {
			t.Error("one of three peers sent nothing of 2,000 blocks")
		}
	}
}

// TestMemoryOfAFetchIsBounded reads slowly: what was sent is never far ahead of what was read.
func TestMemoryOfAFetchIsBounded(t *testing.T) {
	t.Parallel()
	var files []tree.File
	for i := range 24 {
		files = append(files, bytesFile(fmt.Sprintf("%02d", i/8)+"/"+fmt.Sprint(i), content(fmt.Sprint(i), 1<<20), false))
	}
	want := newSample(t, files)
	_, at := newExchange(t, Options{Blocks: want})
	x, _ := newExchange(t, Options{Limits: Limits{Buffer: 2 << 20}})
	// The reader is behind by what is compressed and buffered besides.
	const besides = 6 << 20
	missing, err := x.Source(at).Content(t.Context(), swarm.Ask(want.root), func(_ swarm.Want, _ int64, pack io.Reader) error {
		buf := make([]byte, 256<<10)
		var read int64
		for {
			n, err := io.ReadFull(pack, buf)
			read += int64(n)
			want.mu.Lock()
			ahead := want.sent - read
			want.mu.Unlock()
			if ahead > 2*2<<20+besides {
				return fmt.Errorf("%d bytes were sent that are not read", ahead)
			}
			if err != nil {
				if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
					return nil
				}
				return err
			}
		}
	})
	if err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
}

// TestPartsComeByBitswap: the nodes alone and then leaves alone, which together are the tree, and nothing twice.
func TestPartsComeByBitswap(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	srv, at := newExchange(t, Options{Blocks: want})
	x, _ := newExchange(t, Options{})
	src := x.Source(at)
	var o *tree.Outline
	missing, err := src.Content(t.Context(), swarm.Request{Wants: []swarm.Want{{Root: want.root, Scope: swarm.Nodes}}}, func(_ swarm.Want, _ int64, pack io.Reader) (err error) {
		o, err = tree.ReadNodes(pack, want.root, tree.Default())
		return err
	})
	if err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	var wants []swarm.Want
	for i := 0; i < o.Leaves(); i += 40 {
		wants = append(wants, swarm.Want{Root: want.root, Scope: swarm.Leaves, Of: o, From: i, To: min(i+40, o.Leaves())})
	}
	leaves := map[int][]byte{}
	missing, err = src.Content(t.Context(), swarm.Request{Wants: wants}, func(w swarm.Want, _ int64, pack io.Reader) error {
		return o.ReadLeaves(pack, w.From, w.To, func(i int, b []byte) error {
			leaves[i] = bytes.Clone(b)
			return nil
		})
	})
	if err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	var pack bytes.Buffer
	if err := o.Pack(t.Context(), &pack, func(_ context.Context, i int, _ []byte) ([]byte, error) { return leaves[i], nil }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(unzstd(t, pack.Bytes()), want.plain) {
		t.Error("the parts are not those of the tree")
	}
	if st, served := x.Stats(), srv.Stats().Served.Blocks; st.Duplicates != 0 || st.Unrequested != 0 || served != int64(len(want.order)) {
		t.Errorf("got %+v, and %d blocks were served of %d", st, served, len(want.order))
	}
}
