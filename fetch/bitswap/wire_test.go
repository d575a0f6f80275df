package bitswap

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// FuzzMessage holds parseMessage to what proto.Unmarshal reads, and both ends to bearing whatever it yields.
func FuzzMessage(f *testing.F) {
	m, ids := store3()
	for _, seed := range []*pb.Message{
		{},
		wants(true, wantBlock(ids[0], 3), wantHave(ids[1]), &pb.Message_Wantlist_Entry{Block: ids[2].Bytes(), Cancel: true, Priority: -1}),
		{Payload: []*pb.Message_Block{{Prefix: []byte(rawPrefix), Data: []byte("x")}, {}}, Blocks: [][]byte{{1}, {}}, PendingBytes: 7},
		{BlockPresences: []*pb.Message_BlockPresence{{Cid: ids[0].Bytes(), Type: pb.Message_DontHave}, {Type: 9}}},
	} {
		f.Add(frame(seed)[1:])
	}
	f.Add([]byte{0x0b, 0x0c}) // a group
	x, _ := newExchange(f, Options{Blocks: m})
	f.Fuzz(func(t *testing.T, b []byte) {
		var want pb.Message
		oracle := proto.Unmarshal(b, &want)
		got, err := parseMessage(b)
		if (err == nil) != (oracle == nil) {
			t.Fatalf("got %v, proto.Unmarshal says %v", err, oracle)
		}
		if err != nil {
			return
		}
		if diff := cmp.Diff(plainMessage(&want), again(got)); diff != "" && got.dropped == 0 {
			t.Error(diff)
		}
		if _, err := x.handle("fuzz", b); err != nil {
			t.Error(err)
		}
		links(b)
	})
}

// plainMessage is what of a message we look at.
func plainMessage(m *pb.Message) []byte {
	if w := m.GetWantlist(); w != nil {
		for _, e := range w.GetEntries() {
			if e.WantType != pb.Message_Wantlist_Have {
				e.WantType = pb.Message_Wantlist_Block
			}
			clean(e)
		}
		clean(w)
		if !w.GetFull() && len(w.GetEntries()) == 0 {
			m.Wantlist = nil
		}
	}
	for _, p := range m.GetPayload() {
		clean(p)
	}
	for _, p := range m.GetBlockPresences() {
		if p.Type != pb.Message_DontHave {
			p.Type = pb.Message_Have
		}
		clean(p)
	}
	m.PendingBytes = 0
	clean(m)
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	return b
}

func clean(m proto.Message) { m.ProtoReflect().SetUnknown(nil) }

// again is the message as protobuf.
func again(m *message) []byte {
	out := &pb.Message{}
	if m.full || len(m.entries) > 0 {
		out.Wantlist = &pb.Message_Wantlist{Full: m.full}
	}
	for _, e := range m.entries {
		t := pb.Message_Wantlist_Block
		if e.have {
			t = pb.Message_Wantlist_Have
		}
		out.Wantlist.Entries = append(out.Wantlist.Entries, &pb.Message_Wantlist_Entry{
			Block: e.cid, Priority: e.priority, Cancel: e.cancel, WantType: t, SendDontHave: e.dontHave,
		})
	}
	for _, p := range m.blocks {
		if p.prefix == nil {
			out.Blocks = append(out.Blocks, p.data)
		} else {
			out.Payload = append(out.Payload, &pb.Message_Block{Prefix: p.prefix, Data: p.data})
		}
	}
	for _, p := range m.presences {
		t := pb.Message_Have
		if p.dontHave {
			t = pb.Message_DontHave
		}
		out.BlockPresences = append(out.BlockPresences, &pb.Message_BlockPresence{Cid: p.cid, Type: t})
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(out)
	if err != nil {
		panic(err)
	}
	return b
}

// TestWalkIsInTheOrderOfThePack lets blocks arrive in any order that they can be known in.
func TestWalkIsInTheOrderOfThePack(t *testing.T) {
	t.Parallel()
	s := mixed(t)
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		w := newWalk(swarm.Want{Root: s.root}, tree.Default())
		var got []cid.Cid
		for w.head != nil {
			var known []*block
			for it := w.head; it != nil; it = it.next {
				if it.b.state == open {
					known = append(known, it.b)
				}
			}
			if len(known) > 0 {
				b := known[r.IntN(len(known))]
				if err := w.arrive(b, s.blocks[b.cid]); err != nil {
					t.Fatal(err)
				}
			}
			for {
				b, data, err := w.next()
				if err != nil {
					t.Fatal(err)
				}
				if b == nil {
					break
				}
				if !bytes.Equal(data, s.blocks[b.cid]) {
					t.Fatal("wrong bytes")
				}
				got = append(got, b.cid)
			}
		}
		if !slices.Equal(got, s.order) {
			t.Fatalf("%d blocks in another order than the pack's %d", len(got), len(s.order))
		}
	})
}

func TestBlockLargerThanItsLinkIsRefused(t *testing.T) {
	t.Parallel()
	s := newSample(t, []tree.File{bytesFile("a", []byte("abc"), false)})
	w := newWalk(swarm.Want{Root: s.root}, tree.Default())
	if err := w.arrive(w.head.b, s.blocks[s.root]); err != nil {
		t.Fatal(err)
	}
	if err := w.arrive(w.head.next.b, []byte("abcd")); err == nil {
		t.Error("4 bytes were taken where the link says 3")
	}
}

// TestBombIsBounded walks directories that link to each other a thousand times a level.
func TestBombIsBounded(t *testing.T) {
	t.Parallel()
	w := newWalk(swarm.Want{Root: rawCID(nil)}, tree.Limits{Files: 1000, Bytes: 1 << 20})
	leaf := rawCID([]byte("leaf"))
	node := func(to cid.Cid) []byte {
		var b []byte
		for range 1000 {
			l := append([]byte{0x0a, 36}, to.Bytes()...)
			l = append(l, 0x12, 0, 0x18, 1)
			b = append(append(b, 0x12, byte(len(l))), l...)
		}
		return append(b, 0x0a, 2, 8, 1)
	}
	top := node(leaf)
	blocks := map[cid.Cid][]byte{leaf: []byte("l")}
	for range 6 {
		c, _ := payload{prefix: []byte(nodePrefix), data: top}.address()
		blocks[c] = top
		w = newWalk(swarm.Want{Root: c}, tree.Limits{Files: 1000, Bytes: 1 << 20})
		top = node(c)
	}
	for steps := 0; w.head != nil && steps < 10_000; steps++ {
		for it := w.head; it != nil; it = it.next {
			if it.b.state == open {
				it.b.claim = tree.MaxBlock
				if err := w.arrive(it.b, blocks[it.b.cid]); err != nil {
					return // refused, as it should be
				}
				break
			}
		}
		if _, _, err := w.next(); err != nil {
			return
		}
	}
	if w.items > w.most {
		t.Errorf("%d items, at most %d wanted", w.items, w.most)
	}
}
