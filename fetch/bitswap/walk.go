package bitswap

import (
	"math"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"

	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// walk is the blocks of one tree, or those wanted of it, in depth-first order, as far as they are known: a list whose head is the next block of
// the pack. A node that arrives puts what it links to behind itself. The list may name a block twice; it goes into the
// pack the first time only. What it makes of malformed nodes is nothing: package tree refuses them with better words.
type walk struct {
	want   swarm.Want
	head   *item
	blocks map[cid.Cid]*block
	items  int // ever in the list
	most   int // items
}

// item is a place in the list.
type item struct {
	b    *block
	next *item
}

// block is one block of a walk.
type block struct {
	cid    cid.Cid
	claim  int // bytes it may have, by the first link to it
	state  state
	data   []byte // while it is here
	first  *item  // where it was met first
	spread *item  // behind which its links are; nil: nowhere yet
	asked  bool   // somebody was, by its fetch
}

type state byte

const (
	open state = iota // not here yet
	here              // waits for its turn
	done              // in the pack
)

func newWalk(want swarm.Want, l tree.Limits) *walk {
	w := &walk{want: want, blocks: map[cid.Cid]*block{}}
	// Files, their nodes, directories and chunks; twice, as a node may be spread again.
	w.most = 2 * (3*l.Files + int(l.Bytes/tree.ChunkSize) + 1)
	if want.Scope != swarm.Leaves {
		w.head = w.add(link{want.Root, tree.MaxBlock}, nil)
		return w
	}
	for i := want.To - 1; i >= want.From; i-- {
		_, size := want.Of.Span(i)
		w.head = w.add(link{want.Of.Leaf(i), size}, w.head)
	}
	return w
}

// add puts a link into the list before next.
func (w *walk) add(l link, next *item) *item {
	w.items++
	b := w.blocks[l.to]
	it := &item{next: next}
	if b == nil {
		b = &block{cid: l.to, claim: l.claim, first: it}
		w.blocks[l.to] = b
	}
	it.b = b
	return it
}

// arrive takes the block's bytes, which are what its CID says. An error is a fault of the tree, whoever sent it.
func (w *walk) arrive(b *block, data []byte) error {
	b.state, b.data = here, data
	if len(data) > b.claim {
		return &tree.Error{Why: b.cid.String() + " is larger than the link to it says"}
	}
	return w.spread(b, b.first)
}

// spread puts what the block links to behind a place where it is met.
func (w *walk) spread(b *block, at *item) error {
	b.spread = at
	if b.cid.Type() != cid.DagProtobuf {
		return nil
	}
	all := links(b.data)
	for i := len(all) - 1; i >= 0; i-- {
		if w.want.Scope == swarm.Nodes && all[i].to.Type() == cid.Raw {
			continue
		}
		if w.items == w.most {
			return &tree.Error{Why: "links to more than a tree may hold"}
		}
		at.next = w.add(all[i], at.next)
	}
	return nil
}

// next returns the next block of the pack and its bytes, or nil if that is not here yet, or at the end.
func (w *walk) next() (*block, []byte, error) {
	for w.head != nil {
		it := w.head
		b := it.b
		if b.state == open {
			return nil, nil, nil
		}
		if b.state == here && b.spread != it {
			if err := w.spread(b, it); err != nil {
				return nil, nil, err
			}
		}
		w.head = it.next
		if b.state == here {
			data := b.data
			b.state, b.data, b.first, b.spread = done, nil, nil, nil
			return b, data, nil
		}
	}
	return nil, nil, nil
}

// link is what a node says of another block.
type link struct {
	to    cid.Cid
	claim int // bytes: of the block, or more if it is a node
}

// links returns what a dag-pb node links to, but for the empty file, which has no block. It is lenient where that costs
// nothing: package tree reads every node again, strictly. A node it cannot read, or that links to what no tree has, has
// no links.
func links(b []byte) []link {
	var all []link
	err := fields(b, func(num protowire.Number, _ uint64, val []byte) error {
		if num != 2 {
			return nil
		}
		var to []byte
		size := uint64(math.MaxUint64)
		if err := fields(val, func(num protowire.Number, n uint64, val []byte) error {
			switch num {
			case 1:
				to = val
			case 3:
				size = n
			}
			return nil
		}, kindBytes, kindBytes, kindNumber); err != nil {
			return err
		}
		if string(to) == emptyFile {
			return nil
		}
		if len(to) != 36 || string(to[:4]) != rawPrefix && string(to[:4]) != nodePrefix || size == 0 {
			return errMessage
		}
		c, err := cid.Cast(to)
		if err != nil {
			return err
		}
		all = append(all, link{c, int(min(size, tree.MaxBlock))}) //nolint:gosec // G115: bounded here
		return nil
	}, kindBytes, kindBytes)
	if err != nil {
		return nil
	}
	return all
}

// emptyFile is bafkqaaa, the identity CID of no bytes.
const emptyFile = "\x01\x55\x00\x00"
