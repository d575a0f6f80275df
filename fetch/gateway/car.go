package gateway

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/fetch/tree"
)

// bufferBytes is how much of a CAR is gathered for one write.
const bufferBytes = 64 << 10

// car answers with a CAR. An error it returns came before the first byte.
func (h *Handler) car(w http.ResponseWriter, r *http.Request, q *query) error {
	roots, err := resolve(r.Context(), h.Blocks, q)
	if err != nil {
		return err
	}
	end := roots[len(roots)-1]
	from, done := h.source(r, q)
	defer done()
	if err := h.there(r, from, end); err != nil {
		return err
	}
	h.head(w, q, roots)
	dups := "n"
	if q.dups {
		dups = "y"
	}
	w.Header().Set("Content-Type", carType+"; version=1; order="+q.order+"; dups="+dups)
	w.Header().Set("Content-Disposition", `attachment; filename="`+end.String()+`.car"`)
	w.Header().Set("Accept-Ranges", "none")
	if r.Method == http.MethodHead {
		return nil
	}
	ctx := r.Context()
	out := bufio.NewWriterSize(&pacer{w: w, more: func() { h.deadline(ctx, w) }}, bufferBytes)
	wk := &walk{from: from, out: out, dups: q.dups, limits: h.limits(), seen: map[cid.Cid]struct{}{}}
	if err := errors.Join(wk.run(ctx, roots, q), out.Flush()); err != nil {
		panic(http.ErrAbortHandler) // part of it is out: the only honest end now is to break the connection
	}
	return nil
}

// there asks for a block so that it is known before the first byte is sent that it can be.
func (h *Handler) there(r *http.Request, from Blocks, c cid.Cid) error {
	if _, packed := from.(*packed); packed || isIdentity(c) {
		return nil
	}
	if sizes, ok := h.Blocks.(sizer); ok {
		_, err := sizes.Size(r.Context(), c)
		return err
	}
	_, err := h.Blocks.Block(r.Context(), c)
	return err
}

// source returns where the blocks of a CAR come from: a pack, if it is all of one.
func (h *Handler) source(r *http.Request, q *query) (from Blocks, done func()) {
	whole := len(q.names) == 0 && q.scope == scopeAll && !q.dups && q.root.Prefix().Codec == cid.DagProtobuf
	if h.Packs == nil || !whole || r.Method == http.MethodHead {
		return h.Blocks, func() {}
	}
	p, err := h.openPack(q.root)
	if err != nil {
		return h.Blocks, func() {} // which says what is wrong
	}
	return p, func() { h.closePack(p) }
}

// resolve follows the path and returns the CIDs on it, of which the first is the root.
func resolve(ctx context.Context, from Blocks, q *query) ([]cid.Cid, error) {
	roots := []cid.Cid{q.root}
	for _, name := range q.names {
		at := roots[len(roots)-1]
		if at.Prefix().Codec != cid.DagProtobuf {
			return nil, store.ErrNotFound // nothing is below it
		}
		block, err := from.Block(ctx, at)
		if err != nil {
			return nil, err
		}
		n, err := parseNode(block)
		if err != nil {
			return nil, err
		}
		c, ok := n.child(name)
		if !ok {
			return nil, store.ErrNotFound
		}
		roots = append(roots, c)
	}
	return roots, nil
}

// walk writes the blocks of a DAG in depth-first order.
type walk struct {
	from   Blocks
	out    *bufio.Writer
	dups   bool
	limits tree.Limits
	seen   map[cid.Cid]struct{}
	blocks int    // asked for
	head   []byte // scratch
}

var errLimits = errors.New("more than a tree may hold")

// run writes the header, the blocks above the end of the path, and from there on what is in scope.
func (w *walk) run(ctx context.Context, roots []cid.Cid, q *query) error {
	end := len(roots) - 1
	if _, err := w.out.Write(carHeader(roots[end])); err != nil {
		return err
	}
	for _, c := range roots[:end] {
		if _, err := w.block(ctx, c); err != nil {
			return err
		}
	}
	switch q.scope {
	case scopeBlock:
		_, err := w.block(ctx, roots[end])
		return err
	case scopeEntity:
		return w.entity(ctx, roots[end], q.bytes)
	default:
		return w.all(ctx, roots[end], 0)
	}
}

// carHeader is the header of a CARv1, https://ipld.io/specs/transport/car/carv1/: a length and {roots: [c], version: 1}
// as dag-cbor.
func carHeader(c cid.Cid) []byte {
	raw := c.Bytes()
	b := append([]byte("\xa2\x65roots\x81\xd8\x2a"), bytesHead(len(raw)+1)...)
	b = append(append(b, 0), raw...)
	b = append(b, "\x67version\x01"...)
	return append(binary.AppendUvarint(nil, uint64(len(b))), b...)
}

// bytesHead is the CBOR head of a byte string of up to 65,535 bytes.
func bytesHead(n int) []byte {
	switch {
	case n < 24:
		return []byte{byte(0x40 + n)}
	case n < 1<<8:
		return []byte{0x58, byte(n)}
	default:
		return []byte{0x59, byte(n >> 8), byte(n)}
	}
}

// block writes one block and returns its bytes, which are good until the next call. They are nil if there is nothing
// to send, because c carries its content or was sent before.
func (w *walk) block(ctx context.Context, c cid.Cid) ([]byte, error) {
	if isIdentity(c) {
		return nil, nil
	}
	if !w.dups {
		if _, ok := w.seen[c]; ok {
			return nil, nil
		}
		w.seen[c] = struct{}{}
	}
	data, err := w.get(ctx, c)
	if err != nil {
		return nil, err
	}
	w.head = binary.AppendUvarint(w.head[:0], uint64(c.ByteLen()+len(data))) //nolint:gosec // G115: lengths are not negative
	w.head = append(w.head, c.KeyString()...)
	if _, err := w.out.Write(w.head); err != nil {
		return nil, err
	}
	_, err = w.out.Write(data)
	return data, err
}

// get asks for one block, as long as no more were asked for than a tree can have.
func (w *walk) get(ctx context.Context, c cid.Cid) ([]byte, error) {
	// A directory is a node; a file is a node and a leaf at most, or as many more leaves as it has chunks.
	if w.blocks++; int64(w.blocks) > 4*int64(w.limits.Files)+w.limits.Bytes/tree.ChunkSize {
		return nil, errLimits
	}
	data, err := w.from.Block(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("read block %s: %w", c, err)
	}
	return data, nil
}

// node writes one block and returns it as a node, or nil if there is nothing below it. A block that was sent before is
// read again with again; else nothing below it is new.
func (w *walk) node(ctx context.Context, c cid.Cid, depth int, again bool) (*node, error) {
	if depth > w.limits.Depth+2 { // the root, the directories, a file and its leaves
		return nil, errLimits
	}
	data, err := w.block(ctx, c)
	if err != nil || c.Prefix().Codec != cid.DagProtobuf {
		return nil, err
	}
	if data == nil && again && !isIdentity(c) {
		data, err = w.get(ctx, c)
	}
	if err != nil || data == nil {
		return nil, err
	}
	return parseNode(data)
}

// all writes everything below c.
func (w *walk) all(ctx context.Context, c cid.Cid, depth int) error {
	n, err := w.node(ctx, c, depth, false)
	if err != nil || n == nil {
		return err
	}
	for i := range n.links {
		if err := w.all(ctx, n.links[i].to, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// entity writes the file at c, or its bytes in s, or the one block of whatever else is there.
func (w *walk) entity(ctx context.Context, c cid.Cid, s *span) error {
	n, err := w.node(ctx, c, 0, true)
	if err != nil || n == nil || n.kind != kindFile && n.kind != kindRaw {
		return err
	}
	lo, hi := s.within(n.length())
	return w.part(ctx, n, lo, hi, 0)
}

// part writes what holds the bytes from lo up to hi of the file n.
func (w *walk) part(ctx context.Context, n *node, lo, hi int64, depth int) error {
	if len(n.sizes) != len(n.links) {
		return errNode // it is no file
	}
	at := n.here
	for i := range n.links {
		start, end := at, at+n.sizes[i]
		if at = end; end <= lo || start >= hi {
			continue
		}
		below, err := w.node(ctx, n.links[i].to, depth+1, true)
		if err != nil {
			return err
		}
		if below == nil {
			continue
		}
		if below.length() != n.sizes[i] {
			return errNode
		}
		if err := w.part(ctx, below, lo-start, hi-start, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// pacer lets more time pass for each stretch that is written.
type pacer struct {
	w    io.Writer
	left int
	more func()
}

func (p *pacer) Write(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		if p.left == 0 {
			p.more()
			p.left = stretch
		}
		var m int
		m, err = p.w.Write(b[n : n+min(len(b)-n, p.left)])
		n += m
		p.left -= m
	}
	return n, err
}
