package tree

import (
	"bytes"
	"io"
	"os"
	"testing"

	mdpb "github.com/ipfs/boxo/ipld/merkledag/pb"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
)

// thenError reads r and then fails.
type thenError struct {
	r   io.Reader
	err error
}

func (e *thenError) Read(b []byte) (int, error) {
	n, err := e.r.Read(b)
	if err == io.EOF {
		err = e.err
	}
	return n, err
}

// FuzzUnpack holds that whatever is accepted is exactly the tree that packs to that root.
func FuzzUnpack(f *testing.F) {
	good := &forge{}
	exec := execNode(f, "hello")
	good.node(dirOf(nodeLink("bin", exec), leafLink("f", "hello")))
	good.node(exec)
	good.add(sum(rawLeaf, []byte("hello")), []byte("hello"))
	f.Add(good.sections, true)
	f.Add(good.pack(f), false)
	for _, h := range hostiles(f) {
		if len(h.pack) < 4<<10 {
			f.Add(h.pack, false)
		}
	}
	f.Fuzz(func(t *testing.T, pack []byte, sections bool) {
		if sections { // mutations of what is inside find more than mutations of compressed bytes
			pack = squeeze(t, pack)
		}
		inside, outside := cage(t)
		l := Limits{Files: 50, Bytes: 1 << 20, Depth: 5, PathBytes: 100}
		dst, err := os.OpenRoot(inside)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = dst.Close() }()
		sum, x, err := Unpack(t.Context(), bytes.NewReader(pack), firstSection(pack).cid(), dst, l)
		if entries, _ := os.ReadDir(outside); len(entries) != 1 {
			t.Fatalf("the outside changed: %v", entries)
		}
		if n := emitted(t, inside); n > l.Bytes {
			t.Fatalf("%d bytes were written, over %d", n, l.Bytes)
		}
		if err != nil {
			return
		}
		files, err := Scan(inside, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Root(t.Context(), files, l)
		if err != nil || again.Root != sum.Root || again.Files != sum.Files || again.Size != sum.Size {
			t.Fatalf("unpacked %+v, which packs to %+v, %v", sum, again, err)
		}
		if y, err := DecodeIndex(x.Encode()); err != nil || !bytes.Equal(y.Encode(), x.Encode()) {
			t.Fatalf("index: %v", err)
		}
	})
}

// firstSection is the root that a pack is honest for, if it starts with any, so that fuzzing gets past the first check.
func firstSection(pack []byte) (to address) {
	to.kind = dagNode
	dec, err := zstd.NewReader(bytes.NewReader(pack), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return to
	}
	defer dec.Close()
	head := make([]byte, 3+cidSize)
	n, _ := io.ReadFull(dec, head)
	_, skip := minimalUvarint(head[:n])
	if skip == 0 || n < skip+cidSize {
		return to
	}
	if got, ok := addressOf(head[skip : skip+cidSize]); ok && got.kind == dagNode {
		return got
	}
	return to
}

// FuzzNode holds that decoding is strict: what is accepted encodes to the same bytes, and boxo reads the same from it.
func FuzzNode(f *testing.F) {
	for _, n := range []node{dirOf(), dirOf(leafLink("a", "x"), leafLink("b", "y")), execNode(f, "hello"), {}} {
		f.Add(n.encode())
	}
	f.Add([]byte{0x0a, 0x82, 0x00, 8, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := decodeNode(b)
		if err != nil {
			return
		}
		if again := n.encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes to %x", b, again)
		}
		var theirs mdpb.PBNode
		if err := proto.Unmarshal(b, &theirs); err != nil {
			t.Fatalf("boxo refuses %x: %v", b, err)
		}
		if len(theirs.GetLinks()) != len(n.links) || !bytes.Equal(theirs.GetData(), n.data) {
			t.Fatalf("boxo reads %x as %v", b, &theirs)
		}
		for i, l := range theirs.GetLinks() {
			if l.GetName() != n.links[i].name || l.GetTsize() != n.links[i].tsize || !bytes.Equal(l.GetHash(), n.links[i].to.append(nil)) {
				t.Fatalf("boxo reads link %d of %x as %v", i, b, l)
			}
		}
		size, exec, err := parseFile(n.data)
		if err != nil {
			return
		}
		if d, err := fileData(size, exec); err != nil || !bytes.Equal(d, n.data) {
			t.Fatalf("file data %x: %v", n.data, err)
		}
	})
}

// FuzzIndex holds that decoding is strict.
func FuzzIndex(f *testing.F) {
	f.Add((&Index{}).Encode())
	d := dirOf(leafLink("a", "hello"))
	x := &Index{
		Files: []IndexFile{{Path: "a", Size: 5}, {Path: "b", Size: 0, Exec: true}},
		Blocks: []IndexBlock{
			{to: sum(dagNode, d.encode()), Node: d.encode()},
			{to: sum(rawLeaf, []byte("hello")), Size: 5},
		},
	}
	f.Add(x.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := DecodeIndex(b)
		if err != nil {
			return
		}
		if again := x.Encode(); !bytes.Equal(again, b) {
			t.Fatalf("%x decodes, and encodes to %x", b, again)
		}
	})
}
