package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/proto"
)

// address is a CID of the three kinds a tree is made of, comparable and without a heap allocation.
type address struct {
	kind   kind
	digest [sha256.Size]byte
}

type kind byte

const (
	rawLeaf kind = iota
	dagNode
	emptyFile // bafkqaaa, the identity CID of no bytes
)

const cidSize = 4 + sha256.Size // bytes of a binary CIDv1 with a sha2-256 digest

const (
	rawPrefix   = "\x01\x55\x12\x20"
	nodePrefix  = "\x01\x70\x12\x20"
	emptyBinary = "\x01\x55\x00\x00"
)

func sum(k kind, block []byte) address { return address{k, sha256.Sum256(block)} }

func (a address) append(b []byte) []byte {
	switch a.kind {
	case emptyFile:
		return append(b, emptyBinary...)
	case dagNode:
		b = append(b, nodePrefix...)
	default:
		b = append(b, rawPrefix...)
	}
	return append(b, a.digest[:]...)
}

func (a address) cid() cid.Cid {
	_, c, err := cid.CidFromBytes(a.append(make([]byte, 0, cidSize)))
	if err != nil {
		panic("tree: " + err.Error()) // all three prefixes are well formed
	}
	return c
}

// addressOf reads a binary CID, all of b.
func addressOf(b []byte) (address, bool) {
	var a address
	if string(b) == emptyBinary {
		a.kind = emptyFile
		return a, true
	}
	if len(b) != cidSize {
		return a, false
	}
	switch string(b[:4]) {
	case rawPrefix:
	case nodePrefix:
		a.kind = dagNode
	default:
		return a, false
	}
	copy(a.digest[:], b[4:])
	return a, true
}

// node is one dag-pb block: a directory or a file of several chunks.
type node struct {
	links []link
	data  []byte // UnixFS
}

type link struct {
	name  string
	to    address
	tsize uint64 // bytes of all blocks below, shared ones counted each time, as Kubo counts
}

// Tags of the dag-pb fields: number<<3 | wire type.
const (
	tagData  = 1<<3 | 2
	tagLink  = 2<<3 | 2
	tagHash  = 1<<3 | 2
	tagName  = 2<<3 | 2
	tagTsize = 3 << 3
)

// dirData is the UnixFS message of every directory: Type = Directory.
const dirData = "\x08\x01"

// encode writes the canonical dag-pb form: links in the order given, then the data.
func (n *node) encode() []byte {
	size := len(n.data) + 8
	for i := range n.links {
		size += len(n.links[i].name) + cidSize + 24
	}
	b := make([]byte, 0, size)
	for i := range n.links {
		l := &n.links[i]
		hash := cidSize
		if l.to.kind == emptyFile {
			hash = len(emptyBinary)
		}
		inner := 1 + uvarintLen(uint64(hash)) + hash + //nolint:gosec // G115: bounded before
			1 + uvarintLen(uint64(len(l.name))) + len(l.name) + 1 + uvarintLen(l.tsize)
		b = binary.AppendUvarint(append(b, tagLink), uint64(inner))             //nolint:gosec // G115: bounded before
		b = l.to.append(binary.AppendUvarint(append(b, tagHash), uint64(hash))) //nolint:gosec // G115: bounded before
		b = append(binary.AppendUvarint(append(b, tagName), uint64(len(l.name))), l.name...)
		b = binary.AppendUvarint(append(b, tagTsize), l.tsize)
	}
	b = binary.AppendUvarint(append(b, tagData), uint64(len(n.data)))
	return append(b, n.data...)
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

var errNode = errors.New("not a canonical dag-pb node")

// decodeNode reads exactly what encode writes and nothing else: fields complete and in order, minimal numbers, no
// other CIDs than a tree has, no trailing bytes. The data aliases b.
func decodeNode(b []byte) (node, error) {
	var n node
	for len(b) > 0 && b[0] == tagLink {
		inner, rest, ok := cutBytes(b[1:])
		if !ok {
			return node{}, errNode
		}
		l, ok := decodeLink(inner)
		if !ok {
			return node{}, errNode
		}
		n.links = append(n.links, l)
		b = rest
	}
	if len(b) == 0 || b[0] != tagData {
		return node{}, errNode
	}
	data, rest, ok := cutBytes(b[1:])
	if !ok || len(rest) > 0 {
		return node{}, errNode
	}
	n.data = data
	return n, nil
}

func decodeLink(b []byte) (l link, ok bool) {
	if len(b) == 0 || b[0] != tagHash {
		return l, false
	}
	hash, b, ok := cutBytes(b[1:])
	if !ok || len(b) == 0 || b[0] != tagName {
		return l, false
	}
	if l.to, ok = addressOf(hash); !ok {
		return l, false
	}
	name, b, ok := cutBytes(b[1:])
	if !ok || len(b) == 0 || b[0] != tagTsize {
		return l, false
	}
	l.name = string(name)
	tsize, n := minimalUvarint(b[1:])
	l.tsize = tsize
	return l, n > 0 && n == len(b)-1
}

// cutBytes reads a length and that many bytes from the start of b.
func cutBytes(b []byte) (val, rest []byte, ok bool) {
	v, n := minimalUvarint(b)
	if n == 0 || v > uint64(len(b)-n) { //nolint:gosec // G115: bounded before
		return nil, nil, false
	}
	return b[n : n+int(v)], b[n+int(v):], true //nolint:gosec // G115: bounded before
}

// minimalUvarint is binary.Uvarint that refuses forms longer than needed; n = 0 says so.
func minimalUvarint(b []byte) (v uint64, n int) {
	v, n = binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, 0
	}
	return v, n
}

// execMode is the one mode a file node may carry.
const execMode = 0o755

// fileData encodes the UnixFS message of a file with these chunks.
func fileData(size int64, exec bool) ([]byte, error) {
	d := &pb.Data{Type: pb.Data_File.Enum(), Filesize: new(uint64(size))} //nolint:gosec // G115: bounded before
	for left := size; left > 0; left -= ChunkSize {
		d.Blocksizes = append(d.Blocksizes, uint64(min(left, ChunkSize))) //nolint:gosec // G115: bounded before
	}
	if exec {
		d.Mode = new(uint32(execMode))
	}
	return proto.Marshal(d)
}

// parseFile reads the UnixFS message of a file: only what fileData writes is accepted.
func parseFile(data []byte) (size int64, exec bool, err error) {
	var d pb.Data
	if err := proto.Unmarshal(data, &d); err != nil {
		return 0, false, errors.New("not a UnixFS message")
	}
	if d.GetType() != pb.Data_File {
		return 0, false, errors.New("neither a file nor a plain directory")
	}
	if d.GetFilesize() > MaxLinks*ChunkSize {
		return 0, false, errors.New("a file that is too large")
	}
	size, exec = int64(d.GetFilesize()), d.Mode != nil //nolint:gosec // G115: bounded before
	want, err := fileData(size, exec)
	if err != nil {
		return 0, false, err
	}
	if !bytes.Equal(want, data) {
		return 0, false, errors.New("a file with other chunks, mode or fields than this format has")
	}
	return size, exec, nil
}

// total returns the cumulative size of the node's DAG, or false if its links claim more than can be.
func (n *node) total(block int) (uint64, bool) {
	t := uint64(block) //nolint:gosec // G115: bounded before
	for i := range n.links {
		if n.links[i].tsize > 1<<62 {
			return 0, false
		}
		if t += n.links[i].tsize; t > 1<<62 {
			return 0, false
		}
	}
	return t, true
}
