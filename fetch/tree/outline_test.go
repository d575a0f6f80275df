package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/zstd"
)

// built packs files and returns the root, the index and the pack.
func built(tb testing.TB, files []File) (cid.Cid, *Index, []byte) {
	tb.Helper()
	var pack bytes.Buffer
	s, err := Pack(tb.Context(), files, Default(), &pack)
	if err != nil {
		tb.Fatal(err)
	}
	dst, err := os.OpenRoot(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	_, x, err := Unpack(tb.Context(), bytes.NewReader(pack.Bytes()), s.Root, dst, Default())
	if err := errors.Join(err, dst.Close()); err != nil {
		tb.Fatal(err)
	}
	return s.Root, x, pack.Bytes()
}

func nodesOf(tb testing.TB, x *Index) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := x.WriteNodes(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// varied has everything that a tree can have: chunks, executables, empty files, the same content and the same folder twice.
func varied() []File {
	files := []File{
		text("a/empty", ""), text("a/one", "1"), text("b/one", "1"), text("b/empty", ""),
		text("large", strings.Repeat("0123456789abcdef", 2*ChunkSize/16)+"end"), text("run", "#!"),
	}
	files[len(files)-1].Exec = true
	for i := range 50 {
		files = append(files, text(fmt.Sprintf("many/f%02d", i), fmt.Sprint(i%30)))
	}
	return files
}

// TestOutlineNamesEveryBlock: nodes and leaves together are the pack, byte for byte but for compression, in its order.
func TestOutlineNamesEveryBlock(t *testing.T) {
	t.Parallel()
	root, x, pack := built(t, varied())
	o, err := ReadNodes(bytes.NewReader(nodesOf(t, x)), root, Default())
	if err != nil {
		t.Fatal(err)
	}
	leaves := x.Leaves()
	if o.Leaves() != len(leaves) || o.Leaves() == 0 {
		t.Fatalf("%d leaves, the index has %d", o.Leaves(), len(leaves))
	}
	content := map[int][]byte{}
	for i := range leaves {
		if o.Leaf(i) != leaves[i].CID() {
			t.Fatalf("leaf %d is %s, in the index %s", i, o.Leaf(i), leaves[i].CID())
		}
	}
	plain := plainOf(t, pack)
	blocks := sectionsOf(t, plain)
	for i := 0; i < o.Leaves(); i += 7 {
		hi := min(i+7, o.Leaves())
		var b bytes.Buffer
		if err := WriteLeaves(&b, leaves[i:hi], func(b *IndexBlock) ([]byte, error) { return blocks[b.CID()], nil }); err != nil {
			t.Fatal(err)
		}
		if err := o.ReadLeaves(&b, i, hi, func(i int, block []byte) error {
			content[i] = bytes.Clone(block)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	var again bytes.Buffer
	if err := o.Pack(t.Context(), &again, func(_ context.Context, i int, _ []byte) ([]byte, error) { return content[i], nil }); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(plainOf(t, again.Bytes()), plain) {
		t.Error("the pack made of parts is another")
	}
}

// TestHostileOutlinesAreRefused: whatever is wrong with nodes or leaves, it is an Error or HashError and nothing is taken.
func TestHostileOutlinesAreRefused(t *testing.T) {
	t.Parallel()
	root, x, pack := built(t, varied())
	nodes := plainOf(t, nodesOf(t, x))
	o, err := ReadNodes(bytes.NewReader(nodesOf(t, x)), root, Default())
	if err != nil {
		t.Fatal(err)
	}
	blocks := sectionsOf(t, plainOf(t, pack))
	leaf := func(i int) []byte { return sectionOf(x.Leaves()[i].to, blocks[o.Leaf(i)]) }
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":         {},
		"cut short":       nodes[:len(nodes)-1],
		"one node less":   nodes[:firstLen(nodes)],
		"more at the end": append(bytes.Clone(nodes), leaf(0)...),
		"a byte changed":  flip(nodes, len(nodes)-1),
		"another order":   append(bytes.Clone(nodes[firstLen(nodes):]), nodes[:firstLen(nodes)]...),
		"the whole pack":  plainOf(t, pack),
	} {
		if _, err := ReadNodes(bytes.NewReader(squeeze(t, b)), root, Default()); !isFault(err) {
			t.Errorf("nodes, %s: got %v", name, err)
		}
	}
	if _, err := ReadNodes(strings.NewReader("no zstd"), root, Default()); !isFault(err) {
		t.Errorf("rubbish: got %v", err)
	}
	if _, err := ReadNodes(bytes.NewReader(nodesOf(t, x)), o.Leaf(0), Default()); !isFault(err) {
		t.Errorf("a leaf as the root: got %v", err)
	}
	small := Default()
	small.Bytes = 1000
	if _, err := ReadNodes(bytes.NewReader(nodesOf(t, x)), root, small); !isFault(err) {
		t.Errorf("more bytes than may be: got %v", err)
	}
	small = Default()
	small.Depth = 0
	if _, err := ReadNodes(bytes.NewReader(nodesOf(t, x)), root, small); !isFault(err) {
		t.Errorf("deeper than may be: got %v", err)
	}
	broken := errors.New("connection lost")
	if _, err := ReadNodes(io.MultiReader(bytes.NewReader(nodesOf(t, x)[:10]), iotest.ErrReader(broken)), root, Default()); !errors.Is(err, broken) {
		t.Errorf("a broken transport: got %v", err)
	}
	two := append(leaf(0), leaf(1)...)
	for name, b := range map[string][]byte{
		"nothing":        {},
		"one missing":    leaf(0),
		"one more":       append(bytes.Clone(two), leaf(2)...),
		"twice the same": append(leaf(0), leaf(0)...),
		"swapped":        append(leaf(1), leaf(0)...),
		"a byte changed": flip(two, len(two)-1),
		"a bomb":         append(bytes.Clone(two), make([]byte, 64<<20)...),
	} {
		n := 0
		if err := o.ReadLeaves(bytes.NewReader(squeeze(t, b)), 0, 2, func(i int, block []byte) error {
			if n++; !o.Matches(i, block) {
				t.Errorf("%s: a wrong leaf was passed on", name)
			}
			return nil
		}); !isFault(err) || n > 2 {
			t.Errorf("leaves, %s: got %v after %d leaves", name, err, n)
		}
	}
	mine := errors.New("disk full")
	if err := o.ReadLeaves(bytes.NewReader(squeeze(t, two)), 0, 2, func(int, []byte) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("our own failure: got %v", err)
	}
}

// FuzzNodes holds that no bytes make an outline of another root, or more than the limits allow.
func FuzzNodes(f *testing.F) {
	root, x, pack := built(f, varied())
	f.Add(nodesOf(f, x))
	f.Add(pack)
	f.Add([]byte{})
	l := Default()
	l.Bytes = 8 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ReadNodes(bytes.NewReader(b), root, l)
		if err != nil {
			return
		}
		if o.Leaves() != len(x.Leaves()) || o.Bytes() > l.Bytes {
			t.Fatalf("%d leaves of %d bytes", o.Leaves(), o.Bytes())
		}
	})
}

// plainOf undoes the compression of a pack.
func plainOf(tb testing.TB, pack []byte) []byte {
	tb.Helper()
	dec, err := zstd.NewReader(bytes.NewReader(pack))
	if err != nil {
		tb.Fatal(err)
	}
	defer dec.Close()
	b, err := io.ReadAll(dec)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// firstLen is how many bytes the first section has.
func firstLen(b []byte) int {
	v, n := binary.Uvarint(b)
	return n + int(v)
}

// sectionsOf lists the blocks of sections by address.
func sectionsOf(tb testing.TB, b []byte) map[cid.Cid][]byte {
	tb.Helper()
	blocks := map[cid.Cid][]byte{}
	for len(b) > 0 {
		_, n := binary.Uvarint(b)
		to, ok := addressOf(b[n : n+cidSize])
		if !ok {
			tb.Fatal("no address")
		}
		end := firstLen(b)
		blocks[to.cid()] = b[n+cidSize : end]
		b = b[end:]
	}
	return blocks
}

// isFault says whether an error puts the blame on the bytes.
func isFault(err error) bool {
	_, bad := errors.AsType[*Error](err)
	_, hash := errors.AsType[*HashError](err)
	return bad || hash
}

// text is a file.
func text(path, content string) File {
	return File{Path: path, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func sectionOf(to address, block []byte) []byte {
	return append(to.append(binary.AppendUvarint(nil, uint64(cidSize+len(block)))), block...)
}
