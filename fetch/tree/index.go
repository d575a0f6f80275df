package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
)

// Index says where the blocks of an unpacked tree are: leaves in its files, nodes in the index itself. Blocks that are
// held by several files are listed once.
type Index struct {
	Files  []IndexFile  // in depth-first order
	Blocks []IndexBlock // in the order of the pack
}

// IndexFile is one file of an unpacked tree.
type IndexFile struct {
	Path string
	Size int64
	Exec bool
}

// IndexBlock is one block of an unpacked tree.
type IndexBlock struct {
	to     address
	File   int    // leaf: which of Index.Files holds it
	Offset int64  // leaf: from where, in bytes
	Size   int    // bytes of the block
	Node   []byte // the whole block, if it is not a leaf
}

// CID returns the address of the block.
func (b *IndexBlock) CID() cid.Cid { return b.to.cid() }

// Find returns the block with address c.
func (x *Index) Find(c cid.Cid) (*IndexBlock, bool) {
	to, ok := addressOf(c.Bytes())
	if !ok {
		return nil, false
	}
	for i := range x.Blocks {
		if x.Blocks[i].to == to {
			return &x.Blocks[i], true
		}
	}
	return nil, false
}

const indexMagic = "pkg index v1\n"

var errIndex = errors.New("malformed index")

// Encode returns the index as it is stored: the line "pkg index v1", the number of files and for each the length of its
// path, the path, 2 × its size + 1 if executable; then the number of blocks and for each its digest and 0 for a leaf
// (file, offset, size) or 1 for a node (length, bytes). Numbers are minimal uvarints.
func (x *Index) Encode() []byte {
	b := binary.AppendUvarint([]byte(indexMagic), uint64(len(x.Files)))
	for _, f := range x.Files {
		b = append(binary.AppendUvarint(b, uint64(len(f.Path))), f.Path...)
		size := uint64(f.Size) << 1 //nolint:gosec // G115: bounded by what is there
		if f.Exec {
			size |= 1
		}
		b = binary.AppendUvarint(b, size)
	}
	b = binary.AppendUvarint(b, uint64(len(x.Blocks)))
	for i := range x.Blocks {
		k := &x.Blocks[i]
		b = append(append(b, k.to.digest[:]...), byte(k.to.kind))
		if k.to.kind == dagNode {
			b = append(binary.AppendUvarint(b, uint64(len(k.Node))), k.Node...)
			continue
		}
		b = binary.AppendUvarint(b, uint64(k.File))   //nolint:gosec // G115: bounded by what is there
		b = binary.AppendUvarint(b, uint64(k.Offset)) //nolint:gosec // G115: bounded by what is there
		b = binary.AppendUvarint(b, uint64(k.Size))   //nolint:gosec // G115: bounded by what is there
	}
	return b
}

// DecodeIndex reads what Encode wrote and refuses everything else. The nodes alias b.
func DecodeIndex(b []byte) (*Index, error) {
	rest, ok := bytes.CutPrefix(b, []byte(indexMagic))
	if !ok {
		return nil, errIndex
	}
	d := indexReader{b: rest}
	x := &Index{}
	files := d.count(2)
	if files > 0 {
		x.Files = make([]IndexFile, files)
	}
	for i := range x.Files {
		path := string(d.bytes())
		size := d.number()
		x.Files[i] = IndexFile{Path: path, Size: int64(size >> 1), Exec: size&1 == 1} //nolint:gosec // G115: bounded by what is there
	}
	if n := d.count(34); n > 0 {
		x.Blocks = make([]IndexBlock, n)
	}
	for i := range x.Blocks {
		d.block(&x.Blocks[i], x.Files)
	}
	if d.bad || len(d.b) > 0 {
		return nil, fmt.Errorf("%w at byte %d", errIndex, len(b)-len(d.b))
	}
	return x, nil
}

// indexReader reads from the start of b; once bad it yields zeros.
type indexReader struct {
	b   []byte
	bad bool
}

func (d *indexReader) number() uint64 {
	v, n := minimalUvarint(d.b)
	if d.bad || n == 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of items of at least size bytes each, so that a lie allocates nothing.
func (d *indexReader) count(size int) int {
	v := d.number()
	if v > uint64(len(d.b)/size) { //nolint:gosec // G115: bounded by what is there
		d.bad = true
		return 0
	}
	return int(v) //nolint:gosec // G115: bounded by what is there
}

func (d *indexReader) bytes() []byte {
	v := d.number()
	return d.take(v)
}

func (d *indexReader) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	val := d.b[:n:n]
	d.b = d.b[n:]
	return val
}

func (d *indexReader) block(k *IndexBlock, files []IndexFile) {
	copy(k.to.digest[:], d.take(32))
	kinds := d.take(1)
	if d.bad {
		return
	}
	switch k.to.kind = kind(kinds[0]); k.to.kind {
	case dagNode:
		k.Node = d.bytes()
		k.Size = len(k.Node)
	case rawLeaf:
		file, off, size := d.number(), d.number(), d.number()
		if d.bad || file >= uint64(len(files)) || size > MaxBlock || off > uint64(files[file].Size) || //nolint:gosec // G115: bounded by what is there
			size > uint64(files[file].Size)-off { //nolint:gosec // G115: bounded by what is there
			d.bad = true
			return
		}
		k.File, k.Offset, k.Size = int(file), int64(off), int(size) //nolint:gosec // G115: bounded by what is there
	default:
		d.bad = true
	}
}
