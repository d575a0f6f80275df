package tree

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/zstd"
)

// Outline is a tree without its content: its nodes, and the addresses and sizes of its leaves. Leaves are numbered in the
// order of the pack. Nodes alone travel as a pack whose leaves are left out, leaves as a pack that holds nothing else.
//
// An outline is proof of which blocks a root has. What may be in a tree is for [Unpack] to say: it reads what Pack writes.
type Outline struct {
	Root     cid.Cid
	sections []outlined
	leaves   []outlinedLeaf
	bytes    int64
}

// outlined is a section of the pack: a node, or if that is nil, a leaf.
type outlined struct {
	to   address
	node []byte
	leaf int
}

type outlinedLeaf struct {
	to   address
	size int
	at   int64 // bytes of the leaves before it
}

// Leaves is how many leaves there are; each is counted once, however many files share it.
func (o *Outline) Leaves() int { return len(o.leaves) }

// Bytes is how many bytes the leaves have.
func (o *Outline) Bytes() int64 { return o.bytes }

// Leaf returns the address of a leaf.
func (o *Outline) Leaf(i int) cid.Cid { return o.leaves[i].to.cid() }

// Span says where a leaf lies if all are laid end to end, and its size, in bytes.
func (o *Outline) Span(i int) (at int64, size int) { return o.leaves[i].at, o.leaves[i].size }

// Matches says whether data is the leaf i.
func (o *Outline) Matches(i int, data []byte) bool { return sum(rawLeaf, data) == o.leaves[i].to }

// ReadNodes reads a pack that holds the nodes of root alone. Faults are as those of [Unpack].
func ReadNodes(pack io.Reader, root cid.Cid, l Limits) (*Outline, error) {
	to, ok := addressOf(root.Bytes())
	if !ok || to.kind != dagNode {
		return nil, refuse("", "%s cannot be the root of a tree", root)
	}
	r := outliner{o: &Outline{Root: root}, limits: l, seen: map[address]uint64{}}
	err := readSections(pack, waste(maxNodes), func(in *sectionReader) error {
		r.in = in
		return r.node(to, link{}, 0)
	})
	if err != nil {
		return nil, err
	}
	return r.o, nil
}

// readSections opens a pack of at most so many bytes, which use must read to its end.
func readSections(pack io.Reader, most int64, use func(*sectionReader) error) error {
	packed := &countReader{r: pack, max: most}
	dec, ok := decoders.Get().(*zstd.Decoder)
	if !ok {
		var err error
		if dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.IgnoreChecksum(true)); err != nil {
			return fmt.Errorf("start the decompressor: %w", err)
		}
	}
	if err := dec.Reset(packed); err != nil {
		return fmt.Errorf("start the decompressor: %w", err)
	}
	in := &sectionReader{r: bufio.NewReaderSize(dec, 64<<10), packed: packed}
	err := use(in)
	if err == nil {
		err = in.end()
	}
	if err != nil {
		if cause := packed.err.Load(); cause != nil {
			err = *cause
		}
	}
	if dec.Reset(nil) == nil {
		decoders.Put(dec)
	}
	return err
}

// decoders and encoder are kept, as making one takes longer than a small part.
var (
	decoders sync.Pool //nolint:gochecknoglobals // as said
	//nolint:gochecknoglobals // as said
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
			zstd.WithWindowSize(1<<20))
	})
)

// outliner reads nodes depth first.
type outliner struct {
	o      *Outline
	in     *sectionReader
	limits Limits
	seen   map[address]uint64 // of leaves: their size
	bulk   int
}

// node reads the node to, which by links to, and all below it.
func (r *outliner) node(to address, by link, depth int) error {
	if depth > r.limits.Depth {
		return refuse("", "is deeper than %d", r.limits.Depth)
	}
	size, err := r.in.next(to, by.name)
	if err != nil {
		return err
	}
	if r.bulk += size; r.bulk > maxNodes {
		return refuse("", "the directories need more than %d bytes", maxNodes)
	}
	block := make([]byte, size)
	if err := r.in.read(block); err != nil {
		return err
	}
	if got := sum(dagNode, block); got != to {
		return &HashError{Want: to.cid(), Got: got.cid(), Path: by.name}
	}
	n, err := decodeNode(block)
	if err != nil {
		return refuse(by.name, "is %v", err)
	}
	r.seen[to] = 0
	r.o.sections = append(r.o.sections, outlined{to: to, node: block})
	for _, l := range n.links {
		known, met := r.seen[l.to]
		switch {
		case l.to.kind == emptyFile:
		case l.to.kind == rawLeaf && (l.tsize == 0 || l.tsize > ChunkSize || met && known != l.tsize):
			return refuse(l.name, "is a leaf of %d bytes", l.tsize)
		case met:
		case l.to.kind == rawLeaf:
			if err := r.leaf(l); err != nil {
				return err
			}
		default:
			if err := r.node(l.to, l, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *outliner) leaf(l link) error {
	size := int(l.tsize) //nolint:gosec // G115: at most ChunkSize
	r.seen[l.to] = l.tsize
	r.o.sections = append(r.o.sections, outlined{to: l.to, leaf: len(r.o.leaves)})
	r.o.leaves = append(r.o.leaves, outlinedLeaf{l.to, size, r.o.bytes})
	if r.o.bytes += int64(size); r.o.bytes > r.limits.Bytes {
		return refuse("", "the files hold more than %d bytes", r.limits.Bytes)
	}
	return nil
}

// ReadLeaves reads a pack that holds the leaves from up to, but not including, to, and calls use for each. The block is
// good until use returns.
func (o *Outline) ReadLeaves(pack io.Reader, from, to int, use func(i int, block []byte) error) error {
	if from < 0 || to > len(o.leaves) || from >= to {
		return fmt.Errorf("no leaves from %d to %d of %d", from, to, len(o.leaves))
	}
	last := o.leaves[to-1]
	plain := last.at + int64(last.size) - o.leaves[from].at
	return readSections(pack, waste(plain+int64(to-from)*(cidSize+binary.MaxVarintLen32)), func(in *sectionReader) error {
		buf := make([]byte, 0, min(plain, ChunkSize))
		for i := from; i < to; i++ {
			l := &o.leaves[i]
			size, err := in.next(l.to, "")
			if err != nil {
				return err
			}
			if size != l.size {
				return refuse("", "has a leaf of %d bytes that should have %d", size, l.size)
			}
			buf = append(buf[:0], make([]byte, size)...)
			if err := in.read(buf); err != nil {
				return err
			}
			if got := sum(rawLeaf, buf); got != l.to {
				return &HashError{Want: l.to.cid(), Got: got.cid()}
			}
			if err := use(i, buf); err != nil {
				return err
			}
		}
		return nil
	})
}

// Salvage reads as much of a whole pack as there is, and calls use for each leaf of o that is in it, checked. An error is
// one of use.
func (o *Outline) Salvage(pack io.Reader, use func(i int, block []byte) error) error {
	at := make(map[address]int, len(o.leaves))
	for i := range o.leaves {
		at[o.leaves[i].to] = i
	}
	var own error
	_ = readSections(pack, waste(o.bytes+maxNodes), func(in *sectionReader) error { // where it ends is where it was cut off
		var buf []byte
		for own == nil {
			to, size, err := in.any()
			if err != nil {
				return err
			}
			buf = append(buf[:0], make([]byte, size)...)
			if err := in.read(buf); err != nil {
				return err
			}
			if i, ok := at[to]; ok && o.Matches(i, buf) {
				own = use(i, buf)
			}
		}
		return own
	})
	return own
}

// Pack writes the whole pack. leaf returns the bytes of a leaf, in buf if they fit; it is called in the order of leaves.
func (o *Outline) Pack(ctx context.Context, w io.Writer, leaf func(ctx context.Context, i int, buf []byte) ([]byte, error)) error {
	p, err := newSectionWriter(w)
	if err != nil {
		return err
	}
	buf := make([]byte, 0, ChunkSize)
	for i := range o.sections {
		s := &o.sections[i]
		data := s.node
		if data == nil {
			if data, err = leaf(ctx, s.leaf, buf); err != nil {
				return err
			}
		}
		if err := p.add(s.to, data); err != nil {
			return err
		}
	}
	return p.flush()
}

// sectionWriter writes sections in frames, each compressed by itself.
type sectionWriter struct {
	w        io.Writer
	enc      *zstd.Encoder
	raw, out []byte
}

func newSectionWriter(w io.Writer) (*sectionWriter, error) {
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("start the compressor: %w", err)
	}
	return &sectionWriter{w: w, enc: enc}, nil
}

func (p *sectionWriter) add(to address, block []byte) error {
	p.raw = binary.AppendUvarint(p.raw, uint64(cidSize+len(block))) //nolint:gosec // G115: sizes are not negative
	p.raw = append(to.append(p.raw), block...)
	if len(p.raw) < frameSize {
		return nil
	}
	return p.flush()
}

func (p *sectionWriter) flush() error {
	if len(p.raw) == 0 {
		return nil
	}
	p.out = p.enc.EncodeAll(p.raw, p.out[:0])
	p.raw = p.raw[:0]
	_, err := p.w.Write(p.out)
	return err
}

// WriteNodes writes the pack that [ReadNodes] reads.
func (x *Index) WriteNodes(w io.Writer) error {
	p, err := newSectionWriter(w)
	if err != nil {
		return err
	}
	for i := range x.Blocks {
		b := &x.Blocks[i]
		if b.to.kind != dagNode {
			continue
		}
		if err := p.add(b.to, b.Node); err != nil {
			return err
		}
	}
	return p.flush()
}

// WriteLeaves writes the pack that [Outline.ReadLeaves] reads: of leaves, which are some of those of an index. read
// returns the bytes of each.
func WriteLeaves(w io.Writer, leaves []*IndexBlock, read func(b *IndexBlock) ([]byte, error)) error {
	p, err := newSectionWriter(w)
	if err != nil {
		return err
	}
	for _, b := range leaves {
		data, err := read(b)
		if err != nil {
			return err
		}
		if err := p.add(b.to, data); err != nil {
			return err
		}
	}
	return p.flush()
}

// Leaves lists the leaves in the order in which an [Outline] numbers them.
func (x *Index) Leaves() []*IndexBlock {
	leaves := make([]*IndexBlock, 0, len(x.Blocks))
	for i := range x.Blocks {
		if x.Blocks[i].to.kind == rawLeaf {
			leaves = append(leaves, &x.Blocks[i])
		}
	}
	return leaves
}
