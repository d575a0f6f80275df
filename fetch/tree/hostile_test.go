package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
)

// forge makes packs that Pack would not make: honest hashes over anything.
type forge struct {
	sections []byte
}

func (f *forge) add(to address, block []byte) {
	f.sections = binary.AppendUvarint(f.sections, uint64(cidSize+len(block)))
	f.sections = append(to.append(f.sections), block...)
}

func (f *forge) node(n node) address {
	b := n.encode()
	to := sum(dagNode, b)
	f.add(to, b)
	return to
}

func (f *forge) pack(tb testing.TB) []byte {
	tb.Helper()
	return squeeze(tb, f.sections)
}

func squeeze(tb testing.TB, b []byte) []byte {
	tb.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	if err != nil {
		tb.Fatal(err)
	}
	return enc.EncodeAll(b, nil)
}

func dirOf(links ...link) node { return node{data: []byte(dirData), links: links} }

// leafLink links to a leaf with this content, and says so.
func leafLink(name, content string) link {
	return link{name: name, to: sum(rawLeaf, []byte(content)), tsize: uint64(len(content))}
}

func nodeLink(name string, n node) link {
	b := n.encode()
	t, _ := n.total(len(b))
	return link{name: name, to: sum(dagNode, b), tsize: t}
}

func fileNode(tb testing.TB, d *pb.Data, links ...link) node {
	tb.Helper()
	b, err := proto.Marshal(d)
	if err != nil {
		tb.Fatal(err)
	}
	return node{data: b, links: links}
}

func execNode(tb testing.TB, content string) node {
	tb.Helper()
	d, err := fileData(int64(len(content)), true)
	if err != nil {
		tb.Fatal(err)
	}
	return node{data: d, links: []link{leafLink("", content)}}
}

// hostile is a pack that must be refused.
type hostile struct {
	name string
	root address
	pack []byte
	hash bool // by a HashError

	limits Limits // zero = Default()
}

// hostiles is the table of attacks. Each starts from "a directory with one file f that says hello" where it can.
func hostiles(tb testing.TB) []hostile {
	tb.Helper()
	var all []hostile
	add := func(name string, make func(f *forge) (address, []byte)) {
		f := &forge{}
		root, pack := make(f)
		if pack == nil {
			pack = f.pack(tb)
		}
		all = append(all, hostile{name: name, root: root, pack: pack})
	}
	leaf := func(f *forge, content string) { f.add(sum(rawLeaf, []byte(content)), []byte(content)) }
	// tree packs a directory and a leaf "hello" after it, whatever the directory says.
	tree := func(name string, links ...link) {
		add(name, func(f *forge) (address, []byte) {
			root := f.node(dirOf(links...))
			leaf(f, "hello")
			return root, nil
		})
	}
	hello := leafLink("f", "hello")
	named := func(name string) link { return leafLink(name, "hello") }

	for _, name := range []string{
		"", ".", "..", "a/b", "/etc/passwd", `..\x`, "a\x00", "a\n", "\u202e", "nul", "COM1.txt", "a.", "a ", "\xff", ".git", "C:",
		strings.Repeat("x", 256),
	} {
		tree("name "+name, named(name))
	}
	tree("same name twice", named("f"), named("f"))
	tree("collision in case", named("F"), named("f"))
	tree("collision in composition", named("e\u0301"), named("\u00e9"))
	tree("names out of order", named("g"), named("f"))
	tree("empty directory")
	tree("lying size: one more", link{name: "f", to: hello.to, tsize: 6})
	tree("lying size: one less", link{name: "f", to: hello.to, tsize: 4})
	tree("lying size: nothing", link{name: "f", to: hello.to})
	tree("lying size: huge", link{name: "f", to: hello.to, tsize: 1 << 40})
	tree("lying size: overflowing", link{name: "f", to: hello.to, tsize: 1<<64 - 1}, link{name: "g", to: hello.to, tsize: 6})
	tree("lying size the second time", hello, link{name: "g", to: hello.to, tsize: 4})
	tree("lying size of the empty file", hello, link{name: "g", to: address{kind: emptyFile}, tsize: 1})

	two := dirOf(hello, leafLink("g", "world"))
	add("missing block", func(f *forge) (address, []byte) {
		root := f.node(two)
		leaf(f, "hello")
		return root, nil
	})
	add("extra block", func(f *forge) (address, []byte) {
		root := f.node(dirOf(hello))
		leaf(f, "hello")
		leaf(f, "world")
		return root, nil
	})
	add("duplicate block", func(f *forge) (address, []byte) {
		root := f.node(dirOf(hello, named("g")))
		leaf(f, "hello")
		leaf(f, "hello")
		return root, nil
	})
	add("blocks out of order", func(f *forge) (address, []byte) {
		root := f.node(two)
		leaf(f, "world")
		leaf(f, "hello")
		return root, nil
	})
	add("leaf before the root", func(f *forge) (address, []byte) {
		leaf(f, "hello")
		return f.node(dirOf(hello)), nil
	})
	add("trailing byte", func(f *forge) (address, []byte) {
		root := f.node(dirOf(hello))
		leaf(f, "hello")
		f.sections = append(f.sections, 0)
		return root, nil
	})
	add("trailing bytes behind the stream", func(f *forge) (address, []byte) {
		root := f.node(dirOf(hello))
		leaf(f, "hello")
		return root, append(f.pack(tb), "rubbish"...)
	})
	add("hidden bytes in a skippable frame", func(f *forge) (address, []byte) {
		root := f.node(dirOf(hello))
		leaf(f, "hello")
		skip := binary.LittleEndian.AppendUint32([]byte{0x50, 0x2a, 0x4d, 0x18}, 1<<20)
		return root, append(append(f.pack(tb), skip...), make([]byte, 1<<20)...)
	})
	add("not zstd", func(f *forge) (address, []byte) {
		root := f.node(dirOf(hello))
		leaf(f, "hello")
		return root, f.sections
	})
	add("empty pack", func(f *forge) (address, []byte) { return f.node(dirOf(hello)), []byte{} })
	add("another tree", func(f *forge) (address, []byte) {
		f.node(dirOf(named("g")))
		leaf(f, "hello")
		d := dirOf(hello)
		return sum(dagNode, d.encode()), nil
	})
	add("length longer than needed", func(f *forge) (address, []byte) {
		d := dirOf(hello)
		b := d.encode()
		root := sum(dagNode, b)
		f.sections = append(f.sections, byte(cidSize+len(b))|0x80, 0)
		f.sections = append(root.append(f.sections), b...)
		leaf(f, "hello")
		return root, nil
	})
	add("section that claims the world", func(f *forge) (address, []byte) {
		d := dirOf(hello)
		root := sum(dagNode, d.encode())
		f.sections = root.append(binary.AppendUvarint(nil, 1<<60))
		return root, nil
	})
	add("directory larger than a block", func(f *forge) (address, []byte) {
		var links []link
		for i := range 15_000 {
			links = append(links, named(fmt.Sprintf("%0100d", i)))
		}
		root := f.node(dirOf(links...))
		leaf(f, "hello")
		return root, nil
	})
	add("root that is a file", func(f *forge) (address, []byte) {
		root := f.node(execNode(tb, "hello"))
		leaf(f, "hello")
		return root, nil
	})
	// child puts one node n under the name f, with the leaf hello behind it.
	child := func(name string, n node) {
		add(name, func(f *forge) (address, []byte) {
			root := f.node(dirOf(nodeLink("f", n)))
			f.node(n)
			leaf(f, "hello")
			return root, nil
		})
	}
	size5 := []uint64{5}
	one := leafLink("", "hello")
	file := pb.Data_File.Enum()
	child("symlink", fileNode(tb, &pb.Data{Type: pb.Data_Symlink.Enum(), Data: []byte("/etc/passwd")}))
	child("sharded directory", fileNode(tb, &pb.Data{Type: pb.Data_HAMTShard.Enum(), Fanout: proto.Uint64(256), HashType: proto.Uint64(0x22)}, hello))
	child("raw UnixFS node", fileNode(tb, &pb.Data{Type: pb.Data_Raw.Enum(), Data: []byte("hello")}))
	child("file with its bytes inline", fileNode(tb, &pb.Data{Type: file, Data: []byte("hello"), Filesize: proto.Uint64(5)}))
	child("file node where a leaf would do", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(5), Blocksizes: size5}, one))
	child("mode 0644", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(5), Blocksizes: size5, Mode: proto.Uint32(0o644)}, one))
	child("setuid", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(5), Blocksizes: size5, Mode: proto.Uint32(0o4755)}, one))
	child("with a time", fileNode(tb, &pb.Data{
		Type: file, Filesize: proto.Uint64(5), Blocksizes: size5, Mode: proto.Uint32(0o755),
		Mtime: &pb.IPFSTimestamp{Seconds: proto.Int64(1)},
	}, one))
	child("file size that its chunks do not have", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(6), Blocksizes: size5, Mode: proto.Uint32(0o755)}, one))
	child("chunk size that the chunk does not have", fileNode(tb, &pb.Data{
		Type: file, Filesize: proto.Uint64(6), Blocksizes: []uint64{6},
		Mode: proto.Uint32(0o755),
	}, link{to: one.to, tsize: 6}))
	child("chunks of other sizes", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(10), Blocksizes: []uint64{5, 5}, Mode: proto.Uint32(0o755)}, one, one))
	child("chunk with a name", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(5), Blocksizes: size5, Mode: proto.Uint32(0o755)}, hello))
	child("chunk count that does not fit", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(5), Blocksizes: size5, Mode: proto.Uint32(0o755)}))
	child("file larger than any", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(1 << 62), Mode: proto.Uint32(0o755)}))
	child("directory with a mode", fileNode(tb, &pb.Data{Type: pb.Data_Directory.Enum(), Mode: proto.Uint32(0o777)}, hello))
	child("node without UnixFS", node{links: []link{hello}})
	child("directory below that is empty", dirOf())
	child("chunk that is a node", fileNode(tb, &pb.Data{Type: file, Filesize: proto.Uint64(5), Blocksizes: size5, Mode: proto.Uint32(0o755)},
		nodeLink("", execNode(tb, "hello"))))
	add("size of a directory below that it does not have", func(f *forge) (address, []byte) {
		sub := dirOf(hello)
		l := nodeLink("d", sub)
		l.tsize++
		root := f.node(dirOf(l))
		f.node(sub)
		leaf(f, "hello")
		return root, nil
	})
	add("deeper than 32", func(f *forge) (address, []byte) {
		n := dirOf(hello)
		nodes := []node{n}
		for range 32 {
			n = dirOf(nodeLink("d", n))
			nodes = append(nodes, n)
		}
		var root address
		for i := range nodes {
			to := f.node(nodes[len(nodes)-1-i])
			if i == 0 {
				root = to
			}
		}
		leaf(f, "hello")
		return root, nil
	})
	all = append(all, bombs(tb)...)
	all = append(all, wrongHashes(tb)...)
	return all
}

// bombs are small packs that read out large.
func bombs(tb testing.TB) []hostile {
	tb.Helper()
	// 21 blocks that read out 1 GiB: a chunk of 1 KiB… doubled by directories of two names for one directory.
	doubling := func(levels int, lie uint64, content string) hostile {
		n := dirOf(leafLink("f", content))
		nodes := []node{n}
		for range levels {
			a, b := nodeLink("a", n), nodeLink("b", n)
			if lie > 0 {
				a.tsize, b.tsize = lie, lie
			}
			n = dirOf(a, b)
			nodes = append(nodes, n)
		}
		f := &forge{}
		root := f.node(n)
		for i := len(nodes) - 2; i >= 0; i-- {
			f.node(nodes[i])
		}
		f.add(sum(rawLeaf, []byte(content)), []byte(content))
		return hostile{root: root, pack: f.pack(tb)}
	}
	mib := strings.Repeat("\x00", 1<<20)
	honest := doubling(19, 0, mib[:2048]) // 21 blocks, 1 GiB
	honest.name = "bomb of 21 blocks"
	lying := doubling(19, 100, mib[:2048])
	lying.name = "bomb of 21 blocks that claims to be small"
	many := doubling(9, 0, "x")
	many.name, many.limits = "bomb of 512 files", Limits{Files: 100, Bytes: 1 << 20, Depth: 32, PathBytes: 1024}
	// One file of 600 times the same chunk.
	size := uint64(600) << 20
	d, err := fileData(int64(size), false)
	if err != nil {
		tb.Fatal(err)
	}
	n := node{data: d}
	for range 600 {
		n.links = append(n.links, leafLink("", mib))
	}
	f := &forge{}
	root := f.node(dirOf(nodeLink("f", n)))
	f.node(n)
	f.add(sum(rawLeaf, []byte(mib)), []byte(mib))
	return []hostile{honest, lying, many, {name: "file of one chunk 600 times", root: root, pack: f.pack(tb)}}
}

// wrongHashes are packs whose blocks are not what their CIDs say.
func wrongHashes(tb testing.TB) []hostile {
	tb.Helper()
	d := dirOf(leafLink("f", "hello"))
	root := sum(dagNode, d.encode())
	var leaf, node, big forge
	leaf.node(d)
	leaf.add(sum(rawLeaf, []byte("hello")), []byte("jello"))
	e := dirOf(leafLink("g", "hello"))
	node.add(root, e.encode())
	mib := bytes.Repeat([]byte{1}, 1<<20)
	two := dirOf(link{name: "f", to: sum(rawLeaf, mib), tsize: 1 << 20})
	bigRoot := big.node(two)
	mib[1<<19] ^= 1
	big.add(two.links[0].to, mib)
	return []hostile{
		{name: "leaf of another content", root: root, pack: leaf.pack(tb), hash: true},
		{name: "node of another content", root: root, pack: node.pack(tb), hash: true},
		{name: "large leaf with one bit flipped", root: bigRoot, pack: big.pack(tb), hash: true},
	}
}

// cage is a folder to unpack into, inside a folder in which nothing may change.
func cage(tb testing.TB) (inside, outside string) {
	tb.Helper()
	outside = tb.TempDir()
	inside = filepath.Join(outside, "in")
	if err := os.Mkdir(inside, 0o755); err != nil {
		tb.Fatal(err)
	}
	return inside, outside
}

func unpackInto(tb testing.TB, inside string, h hostile) error {
	tb.Helper()
	dst, err := os.OpenRoot(inside)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = dst.Close() }()
	if h.limits == (Limits{}) {
		h.limits = Default()
	}
	_, _, err = Unpack(tb.Context(), bytes.NewReader(h.pack), h.root.cid(), dst, h.limits)
	return err
}

// emitted adds up what lies in a folder, and fails for anything that is neither file nor directory.
func emitted(tb testing.TB, dir string) (bytes int64) {
	tb.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && !info.Mode().IsRegular() {
			tb.Errorf("%s is %v", p, info.Mode())
		}
		bytes += info.Size()
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return bytes
}

func TestHostilePacksAreRefused(t *testing.T) {
	t.Parallel()
	for _, h := range hostiles(t) {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			inside, outside := cage(t)
			err := unpackInto(t, inside, h)
			var refused *Error
			var hash *HashError
			if h.hash && !errors.As(err, &hash) || !h.hash && !errors.As(err, &refused) {
				t.Fatalf("got %T: %v", err, err)
			}
			if n := emitted(t, inside); n > 8<<20 {
				t.Errorf("%d bytes were written before it was refused", n)
			}
			if entries, _ := os.ReadDir(outside); len(entries) != 1 {
				t.Errorf("the outside changed: %v", entries)
			}
		})
	}
}

func TestForgeMakesGoodPacksToo(t *testing.T) {
	t.Parallel()
	f := &forge{}
	exec := execNode(t, "hello")
	root := f.node(dirOf(nodeLink("bin", exec), leafLink("f", "hello"), link{name: "g", to: address{kind: emptyFile}}))
	f.node(exec)
	f.add(sum(rawLeaf, []byte("hello")), []byte("hello"))
	inside, _ := cage(t)
	if err := unpackInto(t, inside, hostile{root: root, pack: f.pack(t)}); err != nil {
		t.Fatal(err)
	}
}

func TestPackCutAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	f := &forge{}
	sub := dirOf(leafLink("a", "hello"), leafLink("b", strings.Repeat("world", 30)))
	root := f.node(dirOf(nodeLink("d", sub), leafLink("e", "more")))
	f.node(sub)
	for _, s := range []string{"hello", strings.Repeat("world", 30), "more"} {
		f.add(sum(rawLeaf, []byte(s)), []byte(s))
	}
	base, tries := t.TempDir(), 0
	refused := func(pack []byte, what string, n int) {
		t.Helper()
		tries++
		inside := filepath.Join(base, strconv.Itoa(tries))
		if err := os.Mkdir(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		var e *Error
		if err := unpackInto(t, inside, hostile{root: root, pack: pack}); !errors.As(err, &e) {
			t.Fatalf("%s cut at %d: got %v, want an Error", what, n, err)
		}
	}
	whole := f.pack(t)
	for n := range whole {
		refused(whole[:n], "pack", n)
	}
	for n := 0; n < len(f.sections); n += 7 {
		refused(squeeze(t, f.sections[:n]), "sections", n)
	}
}

func TestTransportErrorIsNotBlamedOnThePack(t *testing.T) {
	t.Parallel()
	f := &forge{}
	root := f.node(dirOf(leafLink("f", "hello")))
	inside, _ := cage(t)
	dst, err := os.OpenRoot(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dst.Close() }()
	broken := errors.New("connection reset")
	pack := f.pack(t)
	r := iotest.DataErrReader(bytes.NewReader(pack[:len(pack)-3]))
	_, _, err = Unpack(t.Context(), &thenError{r, broken}, root.cid(), dst, Default())
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
