package tree

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxNodes bounds the bytes of all nodes of a tree, which are kept while it is unpacked. Default limits cannot
	// need a third of it.
	maxNodes = 32 << 20
	// maxWindow bounds the memory that a pack can make the decompressor take.
	maxWindow = 8 << 20
)

// readAhead is about how far the decompressor is ahead of the blocks, in bytes of the pack.
const readAhead = 2 << 20

// waste is the largest pack that may hold plain bytes of sections: room for frame headers, none for hidden bytes.
func waste(plain int64) int64 { return plain + plain>>6 + 64<<10 }

// Unpack reads the pack of root and writes the tree into dst, which must be empty: directories 0755, files 0444 or, if
// executable, 0555. It is one pass: each block is verified before any of it is written and each file is written once.
// Everything in the pack is doubted: paths and collisions are checked directory by directory before anything of it is
// made, sizes must be what they were claimed to be, the limits count what is emitted, and a pack with a block missing,
// left over, repeated or out of order is refused. After an error dst holds rubbish, to be thrown away by the caller.
//
// A block that is not what its CID says is a [*HashError]; any other fault of the pack is an [*Error]. Neither is cured
// by asking again. Errors of the reader and of the disk are returned as they are, with how much of the pack was read: 0
// where that is more than the blocks in it account for.
func Unpack(ctx context.Context, pack io.Reader, root cid.Cid, dst *os.Root, l Limits) (Summary, *Index, error) {
	to, ok := addressOf(root.Bytes())
	if !ok || to.kind != dagNode {
		return Summary{}, nil, refuse("", "%s cannot be the root of a tree", root)
	}
	packed := &countReader{r: pack, max: l.PackBytes()}
	dec, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.IgnoreChecksum(true))
	if err != nil {
		return Summary{}, nil, fmt.Errorf("start the decompressor: %w", err)
	}
	defer dec.Close()
	u := unpacker{
		in: sectionReader{r: bufio.NewReaderSize(dec, 64<<10), packed: packed}, budget: budget{Limits: l},
		nodes: make(map[address][]byte), leaves: make(map[address]int), index: &Index{},
	}
	if err := u.run(ctx, to, dst); err != nil {
		if cause := packed.err.Load(); cause != nil {
			err = *cause // the transport broke; what the decoder made of that is not the cause
		}
		var part Summary
		if n := packed.n.Load(); n <= waste(u.in.plain)+readAhead {
			part.PackSize = n
		}
		return part, nil, err
	}
	return Summary{
		Root: root, Size: u.bytes, Files: u.files, Blocks: len(u.index.Blocks), PackSize: packed.n.Load(),
	}, u.index, nil
}

// unpacker walks the DAG depth first and takes a block from the pack wherever it meets one for the first time.
type unpacker struct {
	in sectionReader
	budget
	out    *writer
	nodes  map[address][]byte // every node seen, for when it is met again
	bulk   int                // bytes in nodes
	leaves map[address]int    // every leaf seen: its place in index.Blocks
	index  *Index
	stack  []level
}

// level is a directory or file that is being walked.
type level struct {
	node
	path string // of the directory, with a trailing slash unless it is the root
	next int    // which link is next
	dir  *outDir
	file *outFile // nil in a directory
}

func (u *unpacker) run(ctx context.Context, root address, dst *os.Root) error {
	u.out = startWriter(ctx, dst)
	err := u.walk(ctx, root)
	for i := range u.stack {
		u.stack[i].leave()
	}
	if werr := u.out.finish(err != nil); err == nil {
		err = werr
	}
	return err
}

func (u *unpacker) walk(ctx context.Context, root address) error {
	block, err := u.nodeBlock(root, "")
	if err != nil {
		return err
	}
	n, err := u.node(block, "", nil)
	if err != nil {
		return err
	}
	if string(n.data) != dirData {
		return refuse("", "the root is not a directory")
	}
	// All that is below is already claimed here, so a bomb with honest sizes goes no further; one that lies is caught
	// at the first node whose links do not add up.
	if t, _ := n.total(len(block)); t > uint64(u.Bytes)+maxNodes { //nolint:gosec // G115: sizes and limits are not negative, and bounded before
		return refuse("", "the files hold more than %d bytes", u.Bytes)
	}
	if err := u.enter(n, "", u.out.top); err != nil {
		return err
	}
	for len(u.stack) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		top := &u.stack[len(u.stack)-1]
		if top.next == len(top.links) {
			top.leave()
			u.stack = u.stack[:len(u.stack)-1]
			continue
		}
		l := &top.links[top.next]
		top.next++
		if top.file != nil {
			err = u.chunk(top, l)
		} else {
			err = u.entry(top, l)
		}
		if err != nil {
			return err
		}
	}
	return u.in.end()
}

func (l *level) leave() {
	if l.file != nil {
		l.file.release()
	} else {
		l.dir.release()
	}
}

// nodeBlock returns the block of a node: from memory if it was met before, else it must be next in the pack.
func (u *unpacker) nodeBlock(to address, path string) ([]byte, error) {
	if b, ok := u.nodes[to]; ok {
		return b, nil
	}
	size, err := u.in.next(to, path)
	if err != nil {
		return nil, err
	}
	if u.bulk += size; u.bulk > maxNodes {
		return nil, refuse(path, "the directories need more than %d bytes", maxNodes)
	}
	block := make([]byte, size)
	if err := u.in.read(block); err != nil {
		return nil, err
	}
	if got := sum(dagNode, block); got != to {
		return nil, &HashError{Want: to.cid(), Got: got.cid(), Path: path}
	}
	u.nodes[to] = block
	u.index.Blocks = append(u.index.Blocks, IndexBlock{to: to, Size: size, Node: block})
	return block, nil
}

// node decodes a block and holds it to the size that the link to it claimed.
func (u *unpacker) node(block []byte, path string, l *link) (node, error) {
	n, err := decodeNode(block)
	if err != nil {
		return n, refuse(path, "is %v", err)
	}
	total, ok := n.total(len(block))
	if !ok || l != nil && total != l.tsize {
		return n, refuse(path, "claims a size that its content does not have")
	}
	return n, nil
}

// enter checks a directory whole and puts it on the stack.
func (u *unpacker) enter(n node, path string, dir *outDir) error {
	u.stack = append(u.stack, level{node: n, path: path, dir: dir})
	if len(n.links) == 0 {
		return refuse(path, "is an empty directory")
	}
	names := make(siblings, len(n.links))
	for i := range n.links {
		l := &n.links[i]
		if why := nameFault(l.name); why != "" {
			return refuse(path+l.name, "%s", why)
		}
		if i > 0 && n.links[i-1].name >= l.name {
			return refuse(path+l.name, "is out of order or there twice")
		}
		if old := names.add(l.name); old != "" {
			return refuse(path+l.name, "collides with %q", path+old)
		}
	}
	return nil
}

// entry emits one name of a directory.
func (u *unpacker) entry(in *level, l *link) error {
	path := in.path + l.name
	switch l.to.kind {
	case emptyFile:
		if l.tsize != 0 {
			return refuse(path, "claims a size that its content does not have")
		}
		f, err := u.file(in.dir, l.name, path, 0, false)
		if err != nil {
			return err
		}
		f.release()
		return nil
	case rawLeaf:
		if l.tsize == 0 || l.tsize > ChunkSize {
			return refuse(path, "is a leaf of %d bytes", l.tsize)
		}
		f, err := u.file(in.dir, l.name, path, int64(l.tsize), false)
		if err != nil {
			return err
		}
		defer f.release()
		return u.leaf(f, l.to, 0, int(l.tsize))
	}
	block, err := u.nodeBlock(l.to, path)
	if err != nil {
		return err
	}
	n, err := u.node(block, path, l)
	if err != nil {
		return err
	}
	if string(n.data) != dirData {
		return u.enterFile(in.dir, l.name, path, n)
	}
	if err := u.dir(path); err != nil {
		return err
	}
	d, err := in.dir.mkdir(l.name)
	if err != nil {
		return err
	}
	return u.enter(n, path+"/", d)
}

// enterFile checks a file node whole and puts it on the stack.
func (u *unpacker) enterFile(dir *outDir, name, path string, n node) error {
	size, exec, err := parseFile(n.data)
	if err != nil {
		return refuse(path, "is %v", err)
	}
	if chunks := (size + ChunkSize - 1) / ChunkSize; chunks != int64(len(n.links)) || !exec && chunks < 2 {
		return refuse(path, "has %d chunks for %d bytes", len(n.links), size)
	}
	for i := range n.links {
		l := &n.links[i]
		if l.name != "" || l.to.kind != rawLeaf || l.tsize != uint64(min(size-int64(i)*ChunkSize, ChunkSize)) { //nolint:gosec // G115: sizes and limits are not negative, and bounded before
			return refuse(path, "has a chunk that is not as this format has it")
		}
	}
	f, err := u.file(dir, name, path, size, exec)
	if err != nil {
		return err
	}
	u.stack = append(u.stack, level{node: n, path: path, file: f})
	return nil
}

// chunk emits one leaf of a file.
func (u *unpacker) chunk(in *level, l *link) error {
	return u.leaf(in.file, l.to, int64(in.next-1)*ChunkSize, int(l.tsize)) //nolint:gosec // G115: sizes and limits are not negative, and bounded before
}

// file counts a file and makes it known to the index. The caller releases it.
func (u *unpacker) file(dir *outDir, name, path string, size int64, exec bool) (*outFile, error) {
	if err := u.budget.file(path, size); err != nil {
		return nil, err
	}
	u.index.Files = append(u.index.Files, IndexFile{Path: path, Size: size, Exec: exec})
	return u.out.file(dir, name, path, exec), nil
}

// leaf emits size bytes of f: those of the next section, or of a leaf met before.
func (u *unpacker) leaf(f *outFile, to address, off int64, size int) error {
	if i, ok := u.leaves[to]; ok {
		b := &u.index.Blocks[i]
		if b.Size != size {
			return refuse(f.path, "claims a size that its content does not have")
		}
		return u.out.again(f, off, i, u.index.Files[b.File].Path, b.Offset, size)
	}
	got, err := u.in.next(to, f.path)
	if err != nil {
		return err
	}
	if got != size {
		return refuse(f.path, "claims a size that its content does not have")
	}
	buf, err := u.out.room(size)
	if err != nil {
		return err
	}
	if err := u.in.read(buf); err != nil {
		return err
	}
	i := len(u.index.Blocks)
	u.leaves[to] = i
	u.index.Blocks = append(u.index.Blocks, IndexBlock{to: to, File: len(u.index.Files) - 1, Offset: off, Size: size})
	u.out.leaf(f, off, i, to, buf)
	return nil
}

// sectionReader takes a pack apart. It trusts nothing but the limits it is given.
type sectionReader struct {
	r      *bufio.Reader
	packed *countReader
	plain  int64 // bytes of sections so far
}

// next reads the head of the next section, which must be that of want, and returns the size of its block.
func (s *sectionReader) next(want address, path string) (int, error) {
	got, n, size, err := s.head(path)
	if err != nil {
		return 0, err
	}
	if got != want {
		return 0, refuse(path, "the pack holds %s where %s is due", got.cid(), want.cid())
	}
	return size, s.skip(n, size)
}

// any is next for whatever comes.
func (s *sectionReader) any() (to address, size int, err error) {
	to, n, size, err := s.head("")
	if err != nil {
		return to, 0, err
	}
	return to, size, s.skip(n, size)
}

// head looks at the head of the next section, which has n bytes.
func (s *sectionReader) head(path string) (to address, n, size int, err error) {
	head, err := s.r.Peek(binary.MaxVarintLen32 + cidSize)
	v, n := minimalUvarint(head)
	if n == 0 || len(head) < n+cidSize {
		if err == nil || errors.Is(err, io.EOF) {
			err = refuse(path, "is missing: the pack is cut short or malformed")
		}
		return to, 0, 0, packFault(err)
	}
	if v < cidSize+1 || v > cidSize+MaxBlock {
		return to, 0, 0, refuse(path, "has a block of a size that cannot be")
	}
	to, ok := addressOf(head[n : n+cidSize])
	if !ok {
		return to, 0, 0, refuse(path, "has a block of a kind that cannot be")
	}
	return to, n + cidSize, int(v) - cidSize, nil //nolint:gosec // G115: sizes and limits are not negative, and bounded before
}

// skip goes past the head of a section.
func (s *sectionReader) skip(n, size int) error {
	_, err := s.r.Discard(n)
	s.plain += int64(n) + int64(size)
	return err
}

func (s *sectionReader) read(block []byte) error {
	if _, err := io.ReadFull(s.r, block); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return refuse("", "the pack is cut short")
		}
		return packFault(err)
	}
	return nil
}

// end holds the pack to having nothing more.
func (s *sectionReader) end() error {
	if _, err := s.r.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			return refuse("", "the pack holds more than its tree")
		}
		return packFault(err)
	}
	if s.packed.n.Load() > waste(s.plain) {
		return refuse("", "the pack is larger than what it holds")
	}
	return nil
}

// packFault turns what the decompressor says of malformed bytes into an Error.
func packFault(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return err
	}
	return refuse("", "the pack is not valid zstd: %v", err)
}

// countReader counts the bytes of a pack, ends it when there are more than there can be, and keeps the error that ended
// it, if that was not its end. The decompressor reads it from a goroutine of its own.
type countReader struct {
	r   io.Reader
	max int64
	n   atomic.Int64
	err atomic.Pointer[error]
}

func (c *countReader) Read(b []byte) (int, error) {
	if c.n.Load() > c.max {
		return 0, refuse("", "the pack is larger than what it may hold")
	}
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		c.err.Store(&err)
	}
	return n, err
}
