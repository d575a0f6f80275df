package vmap

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"
)

// Change sets the value of a name, or removes the name where the value is empty.
type Change struct {
	Name  string
	Value []byte
}

// item is an entry with its key at hand.
type item struct {
	key   hash
	name  string
	value []byte // empty in a change that removes
}

// Build makes the map of entries, hands every block to put (children before parents, the root last) and returns the root.
// No two entries may have one name. put owns the bytes it is given.
func Build(entries []Entry, put func(c cid.Cid, block []byte) error) (cid.Cid, error) {
	items := make([]item, len(entries))
	for i, e := range entries {
		if err := checkEntry(e.Name, e.Value); err != nil {
			return cid.Undef, err
		}
		items[i] = item{key: hashOf(e.Name), name: e.Name, value: e.Value}
	}
	sortByKey(items)
	for i := 1; i < len(items); i++ {
		if items[i-1].name == items[i].name {
			return cid.Undef, fmt.Errorf("two map entries named %q", items[i].name)
		}
	}
	w := writer{put: put}
	t, err := w.build(items, 0)
	if err != nil {
		return cid.Undef, err
	}
	return w.save(t)
}

// Apply changes the map at root and returns the new root, which is the root that Build makes of the resulting entries.
// Only blocks on the way to a change are read, each verified, and only new blocks are put, as Build puts them. Of two
// changes of one name the later counts; removing what is not there changes nothing.
func Apply(ctx context.Context, blocks Blocks, root cid.Cid, changes []Change,
	put func(c cid.Cid, block []byte) error,
) (cid.Cid, error) {
	last := make(map[string][]byte, len(changes))
	for _, c := range changes {
		last[c.Name] = c.Value
	}
	items := make([]item, 0, len(last))
	for name, value := range last {
		if err := checkName(name); err != nil {
			return cid.Undef, err
		}
		if len(value) > MaxValue {
			return cid.Undef, checkEntry(name, value)
		}
		items = append(items, item{key: hashOf(name), name: name, value: value})
	}
	sortByKey(items)
	if err := checkLink(root); err != nil {
		return cid.Undef, err
	}
	if len(items) == 0 {
		return root, nil
	}
	w := writer{ctx: ctx, blocks: blocks, put: put}
	t, err := w.apply(root, items, 0)
	if err != nil {
		return cid.Undef, err
	}
	return w.save(t)
}

// sortByKey orders items so that those of any subtree stand together.
func sortByKey(items []item) {
	slices.SortFunc(items, func(a, b item) int { return bytes.Compare(a.key[:], b.key[:]) })
}

// part cuts off the leading items whose nibble at depth d is i.
func part(items []item, d, i int) (head, rest []item) {
	n := 0
	for n < len(items) && items[n].key.nibble(d) == i {
		n++
	}
	return items[:n], items[n:]
}

// tree is a subtree in hand: saved if c is defined, else a leaf of items or an interior of kids. The zero tree is empty.
type tree struct {
	c     cid.Cid
	items []item // of a leaf, sorted by key
	kids  *[width]cid.Cid
}

func (t *tree) empty() bool { return !t.c.Defined() && t.kids == nil && len(t.items) == 0 }

type writer struct {
	ctx    context.Context //nolint:containedctx // lives for one Apply
	blocks Blocks
	put    func(cid.Cid, []byte) error
}

// save puts the block of t if it is new. An empty tree is saved as the empty leaf.
func (w *writer) save(t tree) (cid.Cid, error) {
	if t.c.Defined() {
		return t.c, nil
	}
	var block []byte
	if t.kids != nil {
		block = encodeInterior(t.kids)
	} else {
		byName := slices.SortedFunc(slices.Values(t.items), func(a, b item) int { return cmp.Compare(a.name, b.name) })
		block = encodeLeaf(byName)
	}
	c := linkTo(block)
	return c, w.put(c, block)
}

// build makes the subtree at depth d of items, which are sorted by key; all below its top is saved.
func (w *writer) build(items []item, d int) (tree, error) {
	if len(items) <= Bucket {
		return tree{items: items}, nil
	}
	if d >= MaxDepth {
		return tree{}, errors.New("map: more names share one SHA-256 than a leaf holds")
	}
	var kids [width]cid.Cid
	for i := range kids {
		var sub []item
		if sub, items = part(items, d, i); len(sub) == 0 {
			continue
		}
		t, err := w.build(sub, d+1)
		if err != nil {
			return tree{}, err
		}
		if kids[i], err = w.save(t); err != nil {
			return tree{}, err
		}
	}
	return tree{kids: &kids}, nil
}

// apply makes the subtree that changes, sorted by key and at least one, turn the subtree c at depth d into.
func (w *writer) apply(c cid.Cid, changes []item, d int) (tree, error) {
	n, err := w.load(c, &changes[0].key, d)
	if err != nil {
		return tree{}, err
	}
	if n.inner == nil {
		return w.build(merge(n.items(), changes), d)
	}
	path, removes := changes[0].key, false
	for _, c := range changes {
		removes = removes || len(c.value) == 0
	}
	var subs [width]tree
	for i := range subs {
		var sub []item
		if sub, changes = part(changes, d, i); n.has(i) {
			subs[i].c = n.link(i)
		}
		switch {
		case len(sub) == 0:
		case !n.has(i):
			subs[i], err = w.build(merge(nil, sub), d+1)
		default:
			subs[i], err = w.apply(subs[i].c, sub, d+1)
		}
		if err != nil {
			return tree{}, err
		}
	}
	if removes {
		if items, ok, err := w.collapse(&subs, path, d); err != nil || ok {
			return tree{items: items}, err
		}
	}
	var kids [width]cid.Cid
	for i, t := range subs {
		if t.empty() {
			continue
		}
		if kids[i], err = w.save(t); err != nil {
			return tree{}, err
		}
	}
	return tree{kids: &kids}, nil
}

// collapse returns all items under subs, the children at depth d+1 on path, if one leaf holds them. It reads unchanged
// children only until they are too many; an interior always is.
func (w *writer) collapse(subs *[width]tree, path hash, d int) (items []item, ok bool, err error) {
	for i := range subs {
		if subs[i].kids != nil {
			return nil, false, nil
		}
		items = append(items, subs[i].items...)
	}
	for i := range subs {
		if len(items) > Bucket {
			return nil, false, nil
		}
		if !subs[i].c.Defined() {
			continue
		}
		path.set(d, i)
		n, err := w.load(subs[i].c, &path, d+1)
		if err != nil || n.inner != nil {
			return nil, false, err
		}
		items = append(items, n.items()...)
	}
	sortByKey(items)
	return items, len(items) <= Bucket, nil
}

// load gets the block c at depth d on the path of h.
func (w *writer) load(c cid.Cid, h *hash, d int) (node, error) {
	data, err := fetch(w.ctx, w.blocks, c)
	if err != nil {
		return node{}, err
	}
	n, err := decode(data, h, d)
	if err != nil {
		return node{}, distrust(c, data, err)
	}
	return n, nil
}

// items returns the entries of a leaf, sorted by key.
func (n *node) items() []item {
	var items []item
	for name, value := range n.entries() {
		items = append(items, item{key: sha256.Sum256(name), name: string(name), value: value})
	}
	sortByKey(items)
	return items
}

// merge applies changes to old; both are sorted by key, and so is the result.
func merge(old, changes []item) []item {
	out := make([]item, 0, len(old)+len(changes))
	for len(old) > 0 || len(changes) > 0 {
		order := -1
		switch {
		case len(old) == 0:
			order = 1
		case len(changes) > 0:
			order = bytes.Compare(old[0].key[:], changes[0].key[:])
		}
		if order < 0 {
			out, old = append(out, old[0]), old[1:]
			continue
		}
		if order == 0 {
			old = old[1:]
		}
		if len(changes[0].value) > 0 {
			out = append(out, changes[0])
		}
		changes = changes[1:]
	}
	return out
}
