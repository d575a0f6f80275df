package tree

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Root computes the root of files: it reads and hashes, and writes nothing. Files are read on all processors at once.
func Root(ctx context.Context, files []File, l Limits) (Summary, error) {
	b, err := build(ctx, files, l, 0)
	if err != nil {
		return Summary{}, err
	}
	return b.summary(), nil
}

// dag is a tree hashed: every block's address, and where its bytes are.
type dag struct {
	files    []File // in depth-first order
	leaves   [][]address
	content  [][]byte // of each file, if all of them fit into what may be kept; else nil
	sections []section
	root     address
	size     int64
}

// section is one block of a pack. A leaf's bytes are in its file, a node's are here.
type section struct {
	to     address
	file   int
	offset int64
	size   int
	node   []byte
}

func (b *dag) summary() Summary {
	return Summary{Root: b.root.cid(), Size: b.size, Files: len(b.files), Blocks: len(b.sections)}
}

// build checks files, hashes them and lays out the sections of their pack. It keeps the content of the files if that is
// at most keep bytes.
func build(ctx context.Context, files []File, l Limits, keep int64) (*dag, error) {
	files, err := sorted(files, l)
	if err != nil {
		return nil, err
	}
	b := &dag{files: files, leaves: make([][]address, len(files))}
	for _, f := range files {
		b.size += f.Size
	}
	if b.size <= keep {
		b.content = make([][]byte, len(files))
	}
	if err := b.hash(ctx); err != nil {
		return nil, err
	}
	lay := layout{dag: b, seen: make(map[address]bool, len(files))}
	top, err := lay.dir("", 0, len(files))
	if err != nil {
		return nil, err
	}
	b.root = top.to
	// A directory met again was reserved before its address was known.
	kept := b.sections[:0]
	for _, s := range b.sections {
		if s.size > 0 {
			kept = append(kept, s)
		}
	}
	b.sections = kept
	return b, nil
}

// hash fills the leaves. One goroutine a processor: more would only wait for the same cores.
func (b *dag) hash(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(b.files)) {
		g.Go(func() error {
			h := hasher{}
			for {
				i := int(next.Add(1) - 1)
				if i >= len(b.files) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if b.content != nil {
					h.buf = make([]byte, b.files[i].Size)
					b.content[i] = h.buf
				}
				var err error
				if b.leaves[i], err = h.file(&b.files[i], b.content != nil); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// hasher hashes one file after another with the same buffer.
type hasher struct {
	buf  []byte
	end  [1]byte   // for what should not be there
	pool []address // from which short lists of leaves are cut
}

// file reads f chunk by chunk into the start of h.buf, or if whole is set, one after another into all of it.
func (h *hasher) file(f *File, whole bool) (leaves []address, err error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errorsFirst(err, r.Close()) }()
	if need := int(min(f.Size, ChunkSize)); !whole && len(h.buf) < need {
		h.buf = make([]byte, min(max(need, 64<<10, 2*len(h.buf)), ChunkSize))
	}
	leaves = h.list(int((f.Size + ChunkSize - 1) / ChunkSize))
	for i := range leaves {
		off := int64(i) * ChunkSize
		chunk := h.buf[:min(f.Size-off, ChunkSize)]
		if whole {
			chunk = h.buf[off:min(f.Size, off+ChunkSize)]
		}
		if _, err := io.ReadFull(r, chunk); err != nil {
			return nil, readFault(f, err)
		}
		leaves[i] = sum(rawLeaf, chunk)
	}
	if n, err := io.ReadFull(r, h.end[:]); n != 0 || !errors.Is(err, io.EOF) {
		return nil, readFault(f, err)
	}
	return leaves, nil
}

func (h *hasher) list(n int) []address {
	if len(h.pool) < n {
		h.pool = make([]address, max(n, 128))
	}
	l := h.pool[:n:n]
	h.pool = h.pool[n:]
	return l
}

// readFault tells a file that changed from one that cannot be read.
func readFault(f *File, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(f.Path, "changed while it was read")
	}
	return &ReadError{Path: f.Path, Err: err}
}

// ReadError is a failure to read a file that is being packed.
type ReadError struct {
	Path string
	Err  error
}

func (e *ReadError) Error() string { return "read " + e.Path + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// layout builds the nodes of a dag, bottom up, and lists the sections, top down.
type layout struct {
	*dag
	seen map[address]bool
}

// dir lays out the directory of files[lo:hi], which share the path prefix (empty or ending in a slash). Its depth is
// bounded by Limits.Depth, which is checked before.
func (l *layout) dir(prefix string, lo, hi int) (link, error) {
	slot := len(l.sections)
	l.sections = append(l.sections, section{})
	n := node{data: []byte(dirData), links: make([]link, 0, min(hi-lo, 256))}
	for lo < hi {
		elem, _, sub := strings.Cut(l.files[lo].Path[len(prefix):], "/")
		end, child := lo+1, link{}
		var err error
		if sub {
			deeper := l.files[lo].Path[:len(prefix)+len(elem)+1]
			for end < hi && strings.HasPrefix(l.files[end].Path, deeper) {
				end++
			}
			child, err = l.dir(deeper, lo, end)
		} else {
			child, err = l.file(lo)
		}
		if err != nil {
			return link{}, err
		}
		child.name = elem
		n.links = append(n.links, child)
		lo = end
	}
	block := n.encode()
	if len(block) > MaxBlock {
		return link{}, refuse(prefix, "has too many entries for one directory")
	}
	total, _ := n.total(len(block))
	to := sum(dagNode, block)
	if !l.seen[to] {
		l.seen[to] = true
		l.sections[slot] = section{to: to, size: len(block), node: block}
	}
	return link{to: to, tsize: total}, nil
}

// file lays out one file: nothing, a leaf, or a node over leaves.
func (l *layout) file(i int) (link, error) {
	f, leaves := &l.files[i], l.leaves[i]
	if !f.Exec && len(leaves) == 0 {
		return link{to: address{kind: emptyFile}}, nil
	}
	if !f.Exec && len(leaves) == 1 {
		l.leaf(i, 0)
		return link{to: leaves[0], tsize: uint64(f.Size)}, nil //nolint:gosec // G115: sizes are not negative
	}
	data, err := fileData(f.Size, f.Exec)
	if err != nil {
		return link{}, err
	}
	n := node{data: data, links: make([]link, len(leaves))}
	for j := range leaves {
		n.links[j] = link{to: leaves[j], tsize: uint64(min(f.Size-int64(j)*ChunkSize, ChunkSize))} //nolint:gosec // G115: sizes are not negative
	}
	block := n.encode()
	total, _ := n.total(len(block))
	to := sum(dagNode, block)
	if !l.seen[to] {
		l.seen[to] = true
		l.sections = append(l.sections, section{to: to, size: len(block), node: block})
	}
	for j := range leaves {
		l.leaf(i, j)
	}
	return link{to: to, tsize: total}, nil
}

func (l *layout) leaf(i, j int) {
	to := l.leaves[i][j]
	if l.seen[to] {
		return
	}
	l.seen[to] = true
	off := int64(j) * ChunkSize
	l.sections = append(l.sections, section{to: to, file: i, offset: off, size: int(min(l.files[i].Size-off, ChunkSize))})
}
