package bitswap

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"pkg/fetch/tree"
)

// collect reads messages until n blocks and presences have come.
func (w *wirePeer) collect(n int) (blocks map[cid.Cid][]byte, order []cid.Cid, haves, dontHaves map[cid.Cid]bool) {
	w.t.Helper()
	blocks, haves, dontHaves = map[cid.Cid][]byte{}, map[cid.Cid]bool{}, map[cid.Cid]bool{}
	for n > 0 {
		var m *pb.Message
		select {
		case m = <-w.came:
		case <-time.After(20 * time.Second):
			w.t.Fatalf("%d answers are missing", n)
		}
		n -= len(m.GetPayload()) + len(m.GetBlockPresences()) + len(m.GetBlocks())
		for _, p := range m.GetPayload() {
			c, ok := payload{p.GetPrefix(), p.GetData()}.address()
			if !ok {
				w.t.Fatalf("a block with prefix %x", p.GetPrefix())
			}
			blocks[c] = p.GetData()
			order = append(order, c)
		}
		for _, p := range m.GetBlockPresences() {
			c, err := cid.Cast(p.GetCid())
			if err != nil {
				w.t.Fatal(err)
			}
			if p.GetType() == pb.Message_Have {
				haves[c] = true
			} else {
				dontHaves[c] = true
			}
		}
	}
	return blocks, order, haves, dontHaves
}

func store3() (*memory, [3]cid.Cid) {
	m := &memory{blocks: map[cid.Cid][]byte{}}
	var ids [3]cid.Cid
	for i := range ids {
		b := fmt.Appendf(nil, "block %d", i)
		ids[i] = rawCID(b)
		m.blocks[ids[i]] = b
	}
	return m, ids
}

func TestWantsAreAnswered(t *testing.T) {
	t.Parallel()
	m, ids := store3()
	empty, absent := rawCID(nil), rawCID([]byte("absent"))
	m.blocks[empty] = []byte{}
	identity, err := cid.Decode("bafkqaaa")
	if err != nil {
		t.Fatal(err)
	}
	large := rawCID(make([]byte, 1)) // claims to be 3 MiB
	m.blocks[large] = make([]byte, 3<<20)
	x, at := newExchange(t, Options{Blocks: m})
	w := newWirePeer(t, at, protocol120)
	silent := wantBlock(rawCID([]byte("also absent")), 1)
	silent.SendDontHave = false
	w.send(wants(true, silent, wantBlock(ids[0], 1), wantHave(ids[1]), wantBlock(absent, 1), wantHave(rawCID([]byte("absent too"))),
		wantBlock(empty, 1), wantBlock(identity, 1), wantBlock(large, 1)))
	blocks, _, haves, dontHaves := w.collect(7)
	if len(blocks) != 1 || !bytes.Equal(blocks[ids[0]], m.blocks[ids[0]]) {
		t.Errorf("got blocks %q, want one of %s", blocks, ids[0])
	}
	if len(haves) != 1 || !haves[ids[1]] {
		t.Errorf("got HAVE %v, want %s", haves, ids[1])
	}
	if len(dontHaves) != 5 || !dontHaves[absent] || !dontHaves[empty] || !dontHaves[identity] || !dontHaves[large] {
		t.Errorf("got DONT_HAVE %v, want the absent, the empty, the inline and the large one", dontHaves)
	}
	// Again: nothing is remembered of what was answered.
	w.send(wants(false, wantBlock(ids[0], 1)))
	if blocks, _, _, _ := w.collect(1); len(blocks) != 1 {
		t.Errorf("got %d blocks, want 1", len(blocks))
	}
	for x.Stats().Peers[w.h.ID()].Blocks != 2 { // counted once it is sent
		runtime.Gosched()
	}
	if st := x.Stats(); st.Served.Bytes != 14 || st.Served.Absent != 6 || st.Wants != 0 {
		t.Errorf("got %+v, want 14 bytes, 6 absent, none pending", st)
	}
}

func TestOldProtocolsAreServed(t *testing.T) {
	t.Parallel()
	m, ids := store3()
	_, at := newExchange(t, Options{Blocks: m})
	for _, p := range protocols()[1:] {
		w := newWirePeer(t, at, p)
		w.send(wants(true, wantBlock(rawCID([]byte("absent")), 2), wantBlock(ids[2], 1)))
		got := <-w.came
		var data []byte
		if p == protocol110 {
			data = got.GetPayload()[0].GetData()
		} else {
			data = got.GetBlocks()[0]
		}
		if !bytes.Equal(data, m.blocks[ids[2]]) || len(got.GetBlockPresences()) > 0 {
			t.Errorf("%s: got %v", p, got)
		}
	}
}

// TestQueueOfAServer holds cancels, full wantlists, priorities and bounds against the queue itself.
func TestQueueOfAServer(t *testing.T) {
	t.Parallel()
	_, ids := store3()
	gate := &memory{blocks: map[cid.Cid][]byte{}}
	x, _ := newExchange(t, Options{Blocks: gate, Limits: Limits{PeerWants: 100, Wants: 250, Peers: 4}})
	x.server.turn.TryAcquire(int64(runtime.GOMAXPROCS(0))) // nobody looks anything up
	defer x.server.turn.Release(int64(runtime.GOMAXPROCS(0)))
	parse := func(m *pb.Message) *message {
		got, err := parseMessage(frame(m)[uvarintLen(frame(m)):])
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	cancel := &pb.Message_Wantlist_Entry{Block: ids[1].Bytes(), Cancel: true}
	x.server.take("a", parse(wants(false, wantBlock(ids[0], 1), wantBlock(ids[1], 2), wantHave(ids[2]))))
	x.server.take("a", parse(wants(false, cancel, wantBlock(ids[2], 7))))
	l := x.server.ledgers["a"]
	if len(l.wants) != 2 || l.wants[ids[2]].have || l.queue[0].cid != ids[2] {
		t.Errorf("got %d wants, first %s; want 2, the want-block of the highest priority first", len(l.wants), l.queue[0].cid)
	}
	x.server.take("a", parse(wants(true, wantBlock(ids[1], 1))))
	if len(l.wants) != 1 || len(l.queue) != 1 || x.server.wants != 1 {
		t.Errorf("a full wantlist left %d wants, %d in all", len(l.wants), x.server.wants)
	}
	var many []*pb.Message_Wantlist_Entry
	for i := range 5000 {
		many = append(many, wantBlock(rawCID(fmt.Append(nil, i)), int32(i)))
	}
	flood := parse(wants(false, many...))
	if len(flood.entries) != maxEntries || flood.dropped != 5000-maxEntries {
		t.Errorf("%d entries were read, %d dropped", len(flood.entries), flood.dropped)
	}
	for _, p := range []peer.ID{"a", "b", "c", "d", "e"} {
		x.server.take(p, flood)
	}
	for p, want := range map[peer.ID]int{"a": 100, "b": 100, "c": sureWants, "d": sureWants} {
		if got := len(x.server.ledgers[p].wants); got != want {
			t.Errorf("%s has %d wants, want %d", p, got, want)
		}
	}
	if len(x.server.ledgers) != 4 {
		t.Errorf("%d ledgers, want 4", len(x.server.ledgers))
	}
	for _, p := range []peer.ID{"a", "b", "c", "d"} {
		x.server.forget(p)
	}
	x.server.mu.Lock() // those who served them are ending now
	defer x.server.mu.Unlock()
	if x.server.wants != 0 || len(x.server.ledgers) != 0 {
		t.Errorf("%d wants and %d ledgers are left of peers that are gone", x.server.wants, len(x.server.ledgers))
	}
}

func uvarintLen(b []byte) int {
	n := 1
	for b[n-1] >= 0x80 {
		n++
	}
	return n
}

func TestMessagesAreBatched(t *testing.T) {
	t.Parallel()
	var files []tree.File
	for i := range 2000 {
		files = append(files, bytesFile(fmt.Sprint(i), content(fmt.Sprint(i), 1500), false))
	}
	s := newSample(t, files)
	_, at := newExchange(t, Options{Blocks: s})
	w := newWirePeer(t, at, protocol120)
	var entries []*pb.Message_Wantlist_Entry
	for i, c := range s.order[1:801] {
		entries = append(entries, wantBlock(c, int32(1000-i)))
	}
	w.send(wants(false, entries...))
	messages, blocks := 0, 0
	for blocks < 800 {
		m := <-w.came
		blocks += len(m.GetPayload())
		messages++
	}
	if messages > 5 {
		t.Errorf("800 blocks of 1500 bytes came in %d messages", messages)
	}
}

func TestUnfinishedMessageIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	m, _ := store3()
	_, at := newExchange(t, Options{Blocks: m, Stall: 50 * time.Millisecond})
	for _, begin := range [][]byte{{0xe8, 0x07, 1}, {0x80, 0x80, 0x80, 0x01, 1}, {0xff, 0xff, 0xff, 0xff, 0x7f}} {
		w := newWirePeer(t, at, protocol120)
		if _, err := w.s.Write(begin); err != nil {
			t.Fatal(err)
		}
		if _, err := w.s.Read(make([]byte, 1)); err == nil {
			t.Errorf("%x: the stream was not reset", begin)
		}
	}
}

func TestUploadIsAskedBeforeBytesLeave(t *testing.T) {
	t.Parallel()
	want := mixed(t)
	asked := make(chan int, 10_000)
	_, at := newExchange(t, Options{Blocks: want, Upload: func(_ context.Context, _ peer.ID, n int) error {
		asked <- n
		return nil
	}})
	x, _ := newExchange(t, Options{})
	if _, missing, err := get(t, x.Source(at), want.root); err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	close(asked)
	sum := 0
	for n := range asked {
		if n > chunk {
			t.Errorf("asked for %d bytes at a time", n)
		}
		sum += n
	}
	if sum < len(want.plain)*9/10 {
		t.Errorf("asked for %d bytes, %d were sent", sum, len(want.plain))
	}
}

// TestWaitForUploadIsNotThePeers: who waits for Upload is not let go as one who takes nothing.
func TestWaitForUploadIsNotThePeers(t *testing.T) {
	t.Parallel()
	m, ids := store3()
	asked, sent := make(chan struct{}), make(chan struct{})
	x, at := newExchange(t, Options{Blocks: m, Upload: func(context.Context, peer.ID, int) error {
		close(asked)
		<-sent
		return nil
	}})
	w := newWirePeer(t, at, protocol120)
	w.send(wants(true, wantBlock(ids[0], 1)))
	<-asked
	for range 3 {
		x.server.cut()
	}
	close(sent)
	if blocks, _, _, _ := w.collect(1); len(blocks) != 1 {
		t.Errorf("got %d blocks, want 1", len(blocks))
	}
	x.server.mu.Lock()
	defer x.server.mu.Unlock()
	if x.server.ledgers[w.h.ID()].slow {
		t.Error("the peer was let go")
	}
}

// TestMadeMessageCountsOnce: while peers wait for Upload each holds its message, no more, and so others are served too.
func TestMadeMessageCountsOnce(t *testing.T) {
	t.Parallel()
	const size, peers = 1 << 20, 3 // with what is counted twice, there would be room for two
	b := content("a", size)
	m := &memory{blocks: map[cid.Cid][]byte{rawCID(b): b}}
	asked, sent := make(chan struct{}, 1000), make(chan struct{})
	x, at := newExchange(t, Options{Blocks: m, Limits: Limits{Sending: 4 << 20}, Upload: func(context.Context, peer.ID, int) error {
		asked <- struct{}{}
		<-sent
		return nil
	}})
	var all []*wirePeer
	for range peers {
		w := newWirePeer(t, at, protocol120)
		w.send(wants(true, wantBlock(rawCID(b), 1)))
		all = append(all, w)
	}
	late := time.After(20 * time.Second)
	for range all {
		select {
		case <-asked:
		case <-late:
			t.Error("a peer waits for the others")
		}
	}
	close(sent)
	for _, w := range all {
		w.collect(1)
	}
	for x.Stats().Served.Blocks != peers { // counted once it is sent
		runtime.Gosched()
	}
	for !x.server.sending.TryAcquire(4 << 20) { // given back right after
		runtime.Gosched()
	}
}

// TestFloodIsBounded has many peers ask for all there is, on many streams, and take nothing. Their wants cost little, and
// a good client gets its tree.
func TestFloodIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: not in short mode")
	}
	var files []tree.File
	for i := range 8 {
		files = append(files, bytesFile(fmt.Sprint(i), content(fmt.Sprint(i), 1<<20), false))
	}
	s := newSample(t, files)
	x, at := newExchange(t, Options{Blocks: s})
	good, _ := newExchange(t, Options{})
	var entries []*pb.Message_Wantlist_Entry
	for _, c := range s.order {
		entries = append(entries, wantBlock(c, 1))
	}
	for i := range 6000 {
		entries = append(entries, wantBlock(rawCID(fmt.Append(nil, i)), 1))
	}
	bomb := frame(wants(false, entries...))
	peers := make([]*wirePeer, 12)
	for i := range peers {
		peers[i] = newWirePeer(t, at, protocol120)
		peers[i].came = make(chan *pb.Message) // takes one message and then nothing
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	stop, under := make(chan struct{}), make(chan struct{}, len(peers))
	done := make(chan struct{}, len(peers))
	for _, w := range peers {
		go func() {
			defer func() { done <- struct{}{} }()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if n == 2 {
					under <- struct{}{}
				}
				s := w.s
				if n%4 > 0 { // further streams, as many as it may
					var err error
					if s, err = w.h.NewStream(t.Context(), w.to, protocol120); err != nil {
						continue
					}
				}
				if _, err := s.Write(bomb); err != nil {
					_ = s.Reset()
					if s == w.s {
						if w.s, err = w.h.NewStream(t.Context(), w.to, protocol120); err != nil {
							return
						}
					}
				}
			}
		}()
	}
	for range peers {
		<-under
	}
	start := time.Now()
	_, missing, err := get(t, good.Source(at), s.root)
	took := time.Since(start)
	if err != nil || len(missing) > 0 {
		t.Error(missing, err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	st := x.Stats()
	close(stop)
	for range peers {
		<-done
	}
	grew := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("the flood of %d peers takes %d MiB of heap, %d wants pending, %d dropped; the good client's 8 MiB took %v",
		len(peers), grew>>20, st.Wants, st.Overflow, took)
	if grew > 64<<20 {
		t.Errorf("the flood takes %d MiB, want less than 64", grew>>20)
	}
}
