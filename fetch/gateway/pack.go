package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/zstd"

	"pkg/lockfile/block"
)

// maxWindow bounds the memory that a pack can make a decompressor take, as package tree does.
const maxWindow = 8 << 20

var errDecoders = errors.New("all decoders are in use")

// decoders lends decoders, maxDecoders at a time. The zero decoders is ready.
type decoders struct {
	mu   sync.Mutex
	lent int
	idle []*decoder
}

// take lends a decoder.
func (d *decoders) take() (*decoder, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lent == maxDecoders {
		return nil, errDecoders
	}
	if n := len(d.idle); n > 0 {
		out := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.lent++
		return out, nil
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow), zstd.IgnoreChecksum(true))
	if err != nil {
		return nil, err
	}
	d.lent++
	return &decoder{zstd: z, buf: bufio.NewReaderSize(nil, bufferBytes)}, nil
}

// give gives one back; nil if it is of no use any more.
func (d *decoders) give(one *decoder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lent--
	if one != nil {
		d.idle = append(d.idle, one)
	}
}

// decoder reads the sections of a pack. It costs a millisecond to make, so it is kept.
type decoder struct {
	zstd *zstd.Decoder
	buf  *bufio.Reader
	data []byte // the latest block
}

// packed yields the blocks of a tree out of its pack as long as they are asked for in its order, which is that of a
// walk, and all others out of next. Each is checked. It is for one goroutine, and a block is good until the next call.
type packed struct {
	next Blocks
	file *os.File
	dec  *decoder // nil once the pack and the walk have parted
	idle *decoder
}

// openPack starts to read the pack of root.
func (h *Handler) openPack(root cid.Cid) (*packed, error) {
	f, _, err := h.Packs.OpenPack(root)
	if err != nil {
		return nil, err
	}
	d, err := h.decoders.take()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := d.zstd.Reset(f); err != nil {
		h.decoders.give(nil)
		return nil, errors.Join(err, f.Close())
	}
	d.buf.Reset(d.zstd)
	p := &packed{next: h.Blocks, file: f, dec: d, idle: d}
	if c, err := d.peek(); err != nil || !bytes.Equal(c, root.Bytes()) {
		h.closePack(p)
		return nil, errPack
	}
	return p, nil
}

// closePack ends what openPack began.
func (h *Handler) closePack(p *packed) {
	_ = p.file.Close() // read only
	if p.idle.zstd.Reset(nil) != nil {
		p.idle = nil
	}
	h.decoders.give(p.idle)
}

var errPack = errors.New("not the pack of this tree")

// Block implements Blocks.
func (p *packed) Block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.dec != nil {
		if data, err := p.dec.block(c); err == nil {
			return data, nil
		}
		p.dec = nil
	}
	return p.next.Block(ctx, c)
}

// peek returns the CID of the next section.
func (d *decoder) peek() ([]byte, error) {
	_, n, err := d.length()
	if err != nil {
		return nil, err
	}
	b, err := d.buf.Peek(n + block.Len)
	if err != nil {
		return nil, err
	}
	return b[n:], nil
}

// length reads how long the next section is, and how many bytes say so.
func (d *decoder) length() (size, n int, err error) {
	b, err := d.buf.Peek(binary.MaxVarintLen64)
	if len(b) == 0 {
		return 0, 0, err
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || v < block.Len || v > block.Len+block.MaxSize {
		return 0, 0, errPack
	}
	return int(v), n, nil
}

// block returns the block of the next section, if that is c.
func (d *decoder) block(c cid.Cid) ([]byte, error) {
	size, n, err := d.length()
	if err != nil {
		return nil, err
	}
	head, err := d.buf.Peek(n + block.Len)
	if err != nil {
		return nil, err
	}
	if string(head[n:]) != c.KeyString() {
		return nil, errPack
	}
	if _, err := d.buf.Discard(len(head)); err != nil {
		return nil, err
	}
	size -= block.Len
	if cap(d.data) < size {
		d.data = make([]byte, max(size, bufferBytes))
	}
	d.data = d.data[:size]
	if _, err := io.ReadFull(d.buf, d.data); err != nil {
		return nil, err
	}
	if !block.Matches(c, d.data) {
		return nil, errPack
	}
	return d.data, nil
}
