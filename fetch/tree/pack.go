package tree

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// frameSize is how many bytes of sections one zstd frame holds, give or take a block. Frames are compressed
// independently, so that all processors work on one pack; smaller ones would compress worse.
const frameSize = 1 << 20

// keepBytes is up to how many bytes of files stay in memory, so as to be read and hashed once.
const keepBytes = 64 << 20

// Pack writes the pack of files to w and returns its summary. Files are read twice
// unless they are small: the root goes first, and is known last. A file that changes in between is an [*Error]. The same files give the same bytes, with this version of the
// compressor; what is promised is only the root.
func Pack(ctx context.Context, files []File, l Limits, w io.Writer) (Summary, error) {
	return pack(ctx, files, l, w, keepBytes)
}

func pack(ctx context.Context, files []File, l Limits, w io.Writer, keep int64) (Summary, error) {
	b, err := build(ctx, files, l, keep)
	if err != nil {
		return Summary{}, err
	}
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithWindowSize(1<<20))
	if err != nil {
		return Summary{}, fmt.Errorf("start the compressor: %w", err)
	}
	p := packer{dag: b, enc: enc}
	s := b.summary()
	s.PackSize, err = p.write(ctx, w)
	return s, err
}

type packer struct {
	*dag
	enc *zstd.Encoder
}

// frame is a run of sections, and the buffers it is made in.
type frame struct {
	lo, hi   int
	raw, out []byte
	read     leafReader
}

// write compresses frames side by side and writes them in order.
func (p *packer) write(ctx context.Context, w io.Writer) (int64, error) {
	g, ctx := errgroup.WithContext(ctx)
	workers := runtime.GOMAXPROCS(0)
	// Two frames a processor: one being made, one waiting for its turn to be written.
	idle := make(chan *frame, 2*workers)
	for range cap(idle) {
		idle <- &frame{}
	}
	type turn chan *frame
	turns := make(chan turn, cap(idle))
	jobs := make(chan func() error, cap(idle))
	g.Go(func() error {
		defer close(turns)
		defer close(jobs)
		for lo := 0; lo < len(p.sections); {
			var f *frame
			select {
			case f = <-idle:
			case <-ctx.Done():
				return ctx.Err()
			}
			f.lo, f.hi = lo, p.cut(lo)
			lo = f.hi
			done := make(turn, 1)
			jobs <- func() error {
				defer close(done)
				if err := p.make(f); err != nil {
					return err
				}
				done <- f
				return nil
			}
			turns <- done
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			for job := range jobs {
				if err := job(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	var size int64
	g.Go(func() error {
		for done := range turns {
			select {
			case f := <-done:
				if f == nil { // its maker failed, and reports it
					return nil
				}
				n, err := w.Write(f.out)
				if size += int64(n); err != nil {
					return err
				}
				idle <- f
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	err := g.Wait()
	return size, err
}

// cut returns the end of the frame that starts at section lo.
func (p *packer) cut(lo int) int {
	size := 0
	for lo < len(p.sections) && size < frameSize {
		size += p.sections[lo].size
		lo++
	}
	return lo
}

// make reads, checks and compresses the sections of f.
func (p *packer) make(f *frame) error {
	defer f.read.close()
	f.raw = f.raw[:0]
	for i := f.lo; i < f.hi; i++ {
		s := &p.sections[i]
		f.raw = binary.AppendUvarint(f.raw, uint64(cidSize+s.size)) //nolint:gosec // G115: sizes are not negative
		f.raw = s.to.append(f.raw)
		if s.node != nil {
			f.raw = append(f.raw, s.node...)
			continue
		}
		if p.content != nil {
			f.raw = append(f.raw, p.content[s.file][s.offset:][:s.size]...)
			continue
		}
		at := len(f.raw)
		f.raw = grow(f.raw, s.size)
		if err := f.read.leaf(&p.files[s.file], s, f.raw[at:]); err != nil {
			return err
		}
	}
	f.out = p.enc.EncodeAll(f.raw, f.out[:0])
	return nil
}

// grow extends b by n bytes of any content.
func grow(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		bigger := make([]byte, len(b), max(2*cap(b), len(b)+n, 256<<10))
		copy(bigger, b)
		b = bigger
	}
	return b[:len(b)+n]
}

// leafReader reads leaves in the order of a pack and keeps the file of the last one open.
type leafReader struct {
	file *File
	r    io.ReadCloser
	at   int64
}

func (lr *leafReader) leaf(f *File, s *section, buf []byte) error {
	if lr.file != f || lr.at != s.offset {
		lr.close()
		r, err := f.Open()
		if err != nil {
			return err
		}
		lr.file, lr.r, lr.at = f, r, 0
		if err := lr.skip(s.offset); err != nil {
			return readFault(f, err)
		}
	}
	if _, err := io.ReadFull(lr.r, buf); err != nil {
		return readFault(f, err)
	}
	lr.at += int64(len(buf))
	if sum(rawLeaf, buf) != s.to {
		return refuse(f.Path, "changed while it was read")
	}
	return nil
}

func (lr *leafReader) skip(n int64) (err error) {
	if n == 0 {
		return nil
	}
	if sk, ok := lr.r.(io.Seeker); ok {
		_, err = sk.Seek(n, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, lr.r, n)
	}
	lr.at = n
	return err
}

func (lr *leafReader) close() {
	if lr.r != nil {
		_ = lr.r.Close() // read only
	}
	*lr = leafReader{}
}
