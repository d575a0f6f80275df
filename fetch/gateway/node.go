package gateway

import (
	"errors"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"
)

// kind is a UnixFS type.
type kind uint64

// The types of https://specs.ipfs.tech/unixfs/ that are looked into; any other DAG is walked by its links.
const (
	kindRaw       kind = 0
	kindDirectory kind = 1
	kindFile      kind = 2
	kindNone      kind = 99 // not UnixFS
)

// node is a dag-pb block. It shares no memory with the block.
type node struct {
	links []link
	kind  kind
	sizes []int64 // file: how many bytes each link has
	here  int64   // file: how many bytes the node itself has, before those of its links
}

type link struct {
	name string
	to   cid.Cid
}

var errNode = errors.New("malformed dag-pb node")

// parseNode reads a dag-pb block, of any writer: https://ipld.io/specs/codecs/dag-pb/spec/.
func parseNode(b []byte) (*node, error) {
	n := &node{kind: kindNone}
	var data []byte
	ok := fields(b, func(num protowire.Number, v []byte, _ uint64) bool {
		switch num {
		case 1:
			data = v
		case 2:
			l, ok := parseLink(v)
			n.links = append(n.links, l)
			return ok
		}
		return true
	})
	if !ok {
		return nil, errNode
	}
	if data != nil && !n.parseData(data) {
		return nil, errNode
	}
	return n, nil
}

// fields calls each with every field of a message: v if it is bytes, else n.
func fields(b []byte, each func(num protowire.Number, v []byte, n uint64) bool) bool {
	for len(b) > 0 {
		num, kind, size := protowire.ConsumeTag(b)
		if size < 0 {
			return false
		}
		b = b[size:]
		var v []byte
		var n uint64
		switch kind {
		case protowire.BytesType:
			v, size = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			n, size = protowire.ConsumeVarint(b)
		default:
			size = protowire.ConsumeFieldValue(num, kind, b)
		}
		if size < 0 || !each(num, v, n) {
			return false
		}
		b = b[size:]
	}
	return true
}

func parseLink(b []byte) (l link, ok bool) {
	var err error
	ok = fields(b, func(num protowire.Number, v []byte, _ uint64) bool {
		switch num {
		case 1:
			l.to, err = cid.Cast(v)
		case 2:
			l.name = string(v)
		}
		return err == nil
	})
	return l, ok && l.to.Defined()
}

// parseData reads the UnixFS message, if it is one.
func (n *node) parseData(b []byte) bool {
	var total uint64
	ok := fields(b, func(num protowire.Number, v []byte, value uint64) bool {
		switch num {
		case 1:
			n.kind = kind(value)
		case 2:
			n.here = int64(len(v))
		case 4:
			if v != nil { // packed
				return unpack(v, func(x uint64) bool { return n.size(x, &total) })
			}
			return n.size(value, &total)
		}
		return true
	})
	if !ok {
		*n = node{links: n.links, kind: kindNone}
	}
	return n.kind != kindFile && n.kind != kindRaw || len(n.sizes) == len(n.links)
}

// size adds the size of a link, as long as their sum is one of a file.
func (n *node) size(v uint64, total *uint64) bool {
	n.sizes = append(n.sizes, int64(v)) //nolint:gosec // G115: refused if it does not fit
	*total += v
	return v < 1<<62 && *total < 1<<62
}

func unpack(b []byte, each func(uint64) bool) bool {
	for len(b) > 0 {
		v, size := protowire.ConsumeVarint(b)
		if size < 0 || !each(v) {
			return false
		}
		b = b[size:]
	}
	return true
}

// length is the number of bytes of a file.
func (n *node) length() int64 {
	sum := n.here
	for _, s := range n.sizes {
		sum += s
	}
	return sum
}

// child returns what a directory has under a name.
func (n *node) child(name string) (cid.Cid, bool) {
	if n.kind != kindDirectory {
		return cid.Undef, false
	}
	for i := range n.links {
		if n.links[i].name == name {
			return n.links[i].to, true
		}
	}
	return cid.Undef, false
}
