package vmap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"iter"

	"github.com/ipfs/go-cid"

	"pkg/keys/internal/cbor"
	"pkg/lockfile/block"
)

const (
	width = 16

	// linkPrefix begins the binary CID of every map block: version 1, dag-cbor, SHA-256 of 32 bytes.
	linkPrefix = "\x01\x71\x12\x20"
	linkSize   = len(linkPrefix) + sha256.Size

	// interiorPrefix is what an interior block begins with: a map of one pair, the key "k", a list of 16.
	interiorPrefix = "\xa1\x61k\x90"
	// childPrefix is a link up to its digest: tag 42, a byte string of 37, the multibase zero, the CID.
	childPrefix = "\xd8\x2a\x58\x25\x00" + linkPrefix
	null        = 0xf6
)

// node is a verified block: a leaf if inner is nil.
type node struct {
	data  []byte
	inner *inner
}

// inner is what an interior block holds.
type inner struct {
	count   int           // children
	digests [width]uint16 // where in data; 0 where there is no child
	kids    [width]*node  // those a Reader has been to
}

var (
	errEntries = errors.New("it holds entries that do not belong there")
	errOrder   = errors.New("its entries are not in order")
	errCount   = errors.New("it has the wrong number of entries")
	errDepth   = errors.New("it lies deeper than a map can be")
	errForm    = errors.New("it is neither a leaf nor an interior block")
)

// decode reads the block found at depth d on the path of h. It accepts the canonical form only. The node aliases data.
func decode(data []byte, h *hash, d int) (node, error) {
	if len(data) > 2 && data[2] == interiorPrefix[2] {
		in, err := decodeInterior(data, d)
		return node{data: data, inner: in}, err
	}
	return node{data: data}, checkLeaf(data, h, d)
}

func checkLeaf(data []byte, h *hash, d int) error {
	r := cbor.NewReader(data)
	if r.Map() != 1 {
		return or(r.Err(), errForm)
	}
	r.Key("e")
	count := r.List()
	if r.Err() == nil && (count > Bucket || count == 0 && d > 0) {
		return errCount
	}
	var last []byte
	for range count {
		if r.List() != 2 {
			return or(r.Err(), errForm)
		}
		name, value := r.Bytes(), r.Bytes()
		if r.Err() != nil {
			return r.Err()
		}
		if len(name) == 0 || len(name) > MaxName || len(value) == 0 || len(value) > MaxValue {
			return errEntries
		}
		if bytes.Compare(last, name) >= 0 {
			return errOrder
		}
		if sum := hash(sha256.Sum256(name)); !sum.under(h, d) {
			return errEntries
		}
		last = name
	}
	return r.End()
}

// decodeInterior knows that its canonical form leaves nothing open but which children there are.
func decodeInterior(data []byte, d int) (*inner, error) {
	if d >= MaxDepth {
		return nil, errDepth
	}
	if len(data) < len(interiorPrefix) || string(data[:len(interiorPrefix)]) != interiorPrefix {
		return nil, errForm
	}
	in, at := &inner{}, len(interiorPrefix)
	for i := range width {
		switch rest := data[at:]; {
		case len(rest) > 0 && rest[0] == null:
			at++
		case len(rest) >= len(childPrefix)+sha256.Size && string(rest[:len(childPrefix)]) == childPrefix:
			in.digests[i] = uint16(at + len(childPrefix)) //nolint:gosec // below 16 times the size of a link
			in.count++
			at += len(childPrefix) + sha256.Size
		default:
			return nil, errForm
		}
	}
	if at != len(data) {
		return nil, errForm
	}
	if in.count == 0 {
		return nil, errCount
	}
	return in, nil
}

func or(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// entries yields the names and values of a leaf.
func (n *node) entries() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		r := cbor.NewReader(n.data)
		r.Map()
		r.Key("e")
		for range r.List() {
			r.List()
			if name, value := r.Bytes(), r.Bytes(); !yield(name, value) {
				return
			}
		}
	}
}

// find returns the value of name in a leaf, or nil.
func (n *node) find(name string) []byte {
	for have, value := range n.entries() {
		if string(have) == name {
			return value
		}
	}
	return nil
}

// has reports whether an interior has an i-th child.
func (n *node) has(i int) bool { return n.inner.digests[i] != 0 }

// link returns the CID of the i-th child, which it has.
func (n *node) link(i int) cid.Cid {
	at := int(n.inner.digests[i])
	return cid.NewCidV1(cid.DagCBOR, n.data[at-2:at+sha256.Size]) // a multihash is two bytes and the digest
}

// encodeLeaf returns the block of items, which are sorted by name.
func encodeLeaf(items []item) []byte {
	size := 8
	for _, it := range items {
		size += len(it.name) + len(it.value) + 10
	}
	b := make([]byte, 0, size)
	b = cbor.AppendMap(b, 1)
	b = cbor.AppendText(b, "e")
	b = cbor.AppendList(b, len(items))
	for _, it := range items {
		b = cbor.AppendList(b, 2)
		b = cbor.AppendBytes(b, []byte(it.name))
		b = cbor.AppendBytes(b, it.value)
	}
	return b
}

// encodeInterior returns the block of the given children, Undef where there is none.
func encodeInterior(kids *[width]cid.Cid) []byte {
	b := make([]byte, 0, 8+width*(linkSize+6))
	b = cbor.AppendMap(b, 1)
	b = cbor.AppendText(b, "k")
	b = cbor.AppendList(b, width)
	for _, c := range kids {
		if c.Defined() {
			b = cbor.AppendLink(b, c)
		} else {
			b = cbor.AppendNull(b)
		}
	}
	return b
}

// linkTo returns the CID of a block.
func linkTo(data []byte) cid.Cid { return block.Sum(cid.DagCBOR, data) }
