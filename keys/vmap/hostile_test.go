package vmap_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"pkg/keys/internal/cbor"
	"pkg/keys/vmap"
	"pkg/lockfile/block"
)

// pairs encodes a leaf of name, value, name, value … in the order given.
func pairs(kv ...string) []byte {
	b := cbor.AppendMap(nil, 1)
	b = cbor.AppendList(cbor.AppendText(b, "e"), len(kv)/2)
	for i := 0; i < len(kv); i += 2 {
		b = cbor.AppendList(b, 2)
		b = cbor.AppendBytes(b, []byte(kv[i]))
		b = cbor.AppendBytes(b, []byte(kv[i+1]))
	}
	return b
}

// interior encodes a block with the given children.
func interior(width int, kids map[int]cid.Cid) []byte {
	b := cbor.AppendMap(nil, 1)
	b = cbor.AppendList(cbor.AppendText(b, "k"), width)
	for i := range width {
		if c, ok := kids[i]; ok {
			b = cbor.AppendLink(b, c)
		} else {
			b = cbor.AppendNull(b)
		}
	}
	return b
}

func nibble(name string, d int) int {
	h := sha256.Sum256([]byte(name))
	return int(h[d/2]>>(4*(1-d%2))) & 15
}

// TestForgedBlocksAreDistrusted gives well-hashed blocks that no Build makes.
func TestForgedBlocksAreDistrusted(t *testing.T) {
	t.Parallel()
	var many []string
	for i := range vmap.Bucket + 1 {
		many = append(many, fmt.Sprintf("n%02d", i), "v")
	}
	at := nibble("name", 0)
	leaf := pairs("name", "v")
	with := func(m *memory, leaf []byte, i int) []byte {
		other := m.add(pairs("other", "v"))
		return interior(16, map[int]cid.Cid{i: m.add(leaf), (i + 1) % 16: other})
	}
	for name, make := range map[string]func(m *memory) []byte{
		"nothing":               func(*memory) []byte { return nil },
		"a number":              func(*memory) []byte { return []byte{1} },
		"an empty map":          func(*memory) []byte { return []byte{0xa0} },
		"another key":           func(*memory) []byte { return bytes.Replace(leaf, []byte("ae"), []byte("af"), 1) },
		"two keys":              func(*memory) []byte { return append([]byte{0xa2}, append(leaf[1:], leaf[1:]...)...) },
		"trailing byte":         func(*memory) []byte { return append(bytes.Clone(leaf), 0) },
		"long form":             func(*memory) []byte { return slices.Concat(leaf[:3], []byte{0x98, 1}, leaf[4:]) },
		"indefinite list":       func(*memory) []byte { return slices.Concat(leaf[:3], []byte{0x9f}, leaf[4:], []byte{0xff}) },
		"names as text":         func(*memory) []byte { return bytes.Replace(leaf, []byte{0x44}, []byte{0x64}, 1) },
		"17 entries":            func(*memory) []byte { return pairs(many...) },
		"unsorted":              func(*memory) []byte { return pairs("name", "v", "aaaa", "v") },
		"one name twice":        func(*memory) []byte { return pairs("name", "v", "name", "w") },
		"empty name":            func(*memory) []byte { return pairs("", "v", "name", "v") },
		"empty value":           func(*memory) []byte { return pairs("name", "") },
		"long value":            func(*memory) []byte { return pairs("name", string(bytes.Repeat([]byte("v"), vmap.MaxValue+1))) },
		"pair of three":         func(*memory) []byte { return append(bytes.Replace(leaf, []byte{0x82}, []byte{0x83}, 1), 0) },
		"huge":                  func(*memory) []byte { return bytes.Repeat([]byte{0x61}, vmap.MaxBlock+1) },
		"no children":           func(*memory) []byte { return interior(16, nil) },
		"15 children":           func(m *memory) []byte { return interior(15, map[int]cid.Cid{at: m.add(leaf)}) },
		"17 children":           func(m *memory) []byte { return interior(17, map[int]cid.Cid{at: m.add(leaf)}) },
		"single leaf below":     func(m *memory) []byte { return interior(16, map[int]cid.Cid{at: m.add(leaf)}) },
		"empty leaf below":      func(m *memory) []byte { return with(m, pairs(), at) },
		"entry under another":   func(m *memory) []byte { return with(m, pairs("name", "v", "zzz", "v"), at) },
		"link to raw":           func(*memory) []byte { return interior(16, map[int]cid.Cid{at: block.Sum(cid.Raw, leaf)}) },
		"link to the empty CID": func(*memory) []byte { return interior(16, map[int]cid.Cid{at: block.Empty()}) },
	} {
		m := newMemory()
		root := m.add(make(m))
		if v, err := vmap.Lookup(t.Context(), m, root, "name"); !isTrust(err) || v != nil {
			t.Errorf("%s: Lookup = %q, %v; want a trust error", name, v, err)
		}
		if err := vmap.Walk(t.Context(), m, root, func(string, []byte) error { return nil }); !isTrust(err) {
			t.Errorf("%s: Walk: %v; want a trust error", name, err)
		}
		if name == "single leaf below" {
			continue // Apply leaves this to Walk
		}
		if _, err := vmap.Apply(t.Context(), m, root, []vmap.Change{{"name", []byte("w")}}, m.put); !isTrust(err) {
			t.Errorf("%s: Apply: %v; want a trust error", name, err)
		}
	}
}

// TestDepthIsBounded follows a chain of interior blocks along the path of a name: a digest has 64 nibbles, and the 65th
// interior is refused without another read.
func TestDepthIsBounded(t *testing.T) {
	t.Parallel()
	m := newMemory()
	kid := m.add(pairs("name", "v"))
	for d := vmap.MaxDepth + 5; d >= 0; d-- {
		i := 0
		if d < vmap.MaxDepth {
			i = nibble("name", d)
		}
		kid = m.add(interior(16, map[int]cid.Cid{i: kid}))
	}
	if _, err := vmap.Lookup(t.Context(), m, kid, "name"); !isTrust(err) {
		t.Errorf("Lookup: %v; want a trust error", err)
	}
	if len(m.gets) != vmap.MaxDepth+1 {
		t.Errorf("read %d blocks, want %d", len(m.gets), vmap.MaxDepth+1)
	}
	if err := vmap.Walk(t.Context(), m, kid, nil); !isTrust(err) {
		t.Errorf("Walk: %v; want a trust error", err)
	}
	if _, err := vmap.Apply(t.Context(), m, kid, []vmap.Change{{Name: "name"}}, m.put); !isTrust(err) {
		t.Errorf("Apply: %v; want a trust error", err)
	}
}

func TestWalkSeesASubtreeThatFitsOneLeaf(t *testing.T) {
	t.Parallel()
	m := newMemory()
	kids := map[int]cid.Cid{}
	for i := range 20 {
		name := fmt.Sprintf("p%d", i)
		kids[nibble(name, 0)] = m.add(pairs(name, "v"))
	}
	root := m.add(interior(16, kids))
	if err := vmap.Walk(t.Context(), m, root, func(string, []byte) error { return nil }); !isTrust(err) {
		t.Errorf("Walk: %v; want a trust error", err)
	}
}

func TestBlocksAreDagCBOR(t *testing.T) {
	t.Parallel()
	m := newMemory()
	build(t, m, numbered(100))
	for c, b := range m.blocks {
		n := basicnode.Prototype.Any.NewBuilder()
		if err := dagcbor.Decode(n, bytes.NewReader(b)); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		var again bytes.Buffer
		if err := dagcbor.Encode(n.Build(), &again); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Errorf("%s: the ipld encoder writes %x, we %x (%v)", c, again.Bytes(), b, err)
		}
	}
}

// FuzzBlock reads foreign bytes as the root of a map. Whatever a lookup believes of a leaf, Build writes to the same bytes.
func FuzzBlock(f *testing.F) {
	m := newMemory()
	f.Add(m.blocks[build(f, m, numbered(2))])
	f.Add(m.blocks[build(f, m, numbered(40))])
	f.Add(m.blocks[build(f, m, nil)])
	f.Fuzz(func(t *testing.T, b []byte) {
		m := newMemory()
		root := m.add(b)
		if _, err := vmap.Lookup(t.Context(), m, root, "p1"); err != nil {
			return
		}
		if err := cbor.Valid(b); err != nil {
			t.Fatalf("believed %x: %v", b, err)
		}
		var entries []vmap.Entry
		err := vmap.Walk(t.Context(), m, root, func(name string, value []byte) error {
			entries = append(entries, vmap.Entry{Name: name, Value: value})
			return nil
		})
		if err != nil {
			return // an interior whose children are not here
		}
		if again, err := vmap.Build(entries, m.put); err != nil || again != root {
			t.Errorf("believed %x, Build writes %x (%v)", b, m.blocks[again], err)
		}
	})
}
