// Package vmap is the verifiable map: from names to values, under one root CID.
//
// It is a hash trie whose shape depends on its entries alone, so that whoever holds the same entries computes the same
// root, in whatever order and batches they came. The key of an entry is SHA-256 of its name, read as 64 nibbles from the
// most significant. A subtree of at most 16 entries is exactly one leaf block, any other is an interior block whose
// sixteen children are chosen by the nibble at its depth. Both are canonical dag-cbor:
//
//	leaf      {"e": [[name, value] …]}     names and values as byte strings, sorted by name; 1–16 entries, 0 only as the root
//	interior  {"k": [16 × (null | link)]}  links to dag-cbor blocks
//
// A lookup walks from the root to a leaf and checks each block on its way: the CID, the canonical form, that every entry
// belongs under the path walked, the depth and the size. It ends at the entry or at the place where the entry would have
// to be, so absence costs what presence costs. A block that cannot be had is an error and never absence; a block that is
// not what its link or its place says is a *keys.TrustError.
//
//	r := vmap.NewReader(blocks, commit.M)
//	value, err := r.Lookup(ctx, "left-pad") // nil, nil: proved absent
//
// Writers use [Build] and [Apply]; auditors [Walk], which also checks what a single path cannot show.
package vmap

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"pkg/keys"
)

const (
	// Bucket is the largest number of entries in one leaf: with records of 122 bytes, 300 lookups in a million names then
	// fetch 722 KB, against 1,023 KB with 32.
	Bucket = 16
	// MaxDepth bounds the blocks between root and leaf: a SHA-256 digest has 64 nibbles.
	MaxDepth = 64
	// MaxBlock bounds the bytes of a block.
	MaxBlock = 1 << 20
	// MaxName bounds the bytes of a name.
	MaxName = 256
	// MaxValue bounds the bytes of a value; with MaxName it keeps any leaf below MaxBlock.
	MaxValue = 16 << 10
)

// Entry is one name with its value, which is never empty.
type Entry struct {
	Name  string
	Value []byte
}

// Blocks gets a block by its CID. What it returns is not trusted, and must not change afterwards. A block it does not
// have is an error.
type Blocks interface {
	Get(ctx context.Context, c cid.Cid) ([]byte, error)
}

// Lookup returns the value of name in the map at root, or nil if the map proves that it has none. Use a Reader for more
// than one name. The value aliases a block.
func Lookup(ctx context.Context, blocks Blocks, root cid.Cid, name string) ([]byte, error) {
	return NewReader(blocks, root).Lookup(ctx, name)
}

// hash is the key of a name.
type hash [sha256.Size]byte

func hashOf(name string) hash { return sha256.Sum256([]byte(name)) }

// nibble returns the d-th of the 64 nibbles.
func (h *hash) nibble(d int) int {
	if d%2 == 0 {
		return int(h[d/2] >> 4)
	}
	return int(h[d/2] & 15)
}

// set makes the d-th nibble i.
func (h *hash) set(d, i int) {
	if d%2 == 0 {
		h[d/2] = byte(i<<4) | h[d/2]&15
	} else {
		h[d/2] = h[d/2]&0xf0 | byte(i)
	}
}

// under reports whether h and o have their first d nibbles in common.
func (h *hash) under(o *hash, d int) bool {
	for i := range d / 2 {
		if h[i] != o[i] {
			return false
		}
	}
	return d%2 == 0 || h[d/2]>>4 == o[d/2]>>4
}

func checkEntry(name string, value []byte) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(value) == 0 || len(value) > MaxValue {
		return fmt.Errorf("map value of %q has %d bytes, want 1 to %d", name, len(value), MaxValue)
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > MaxName {
		return fmt.Errorf("map name has %d bytes, want 1 to %d", len(name), MaxName)
	}
	return nil
}

// checkLink refuses what is not a link of a map.
func checkLink(c cid.Cid) error {
	if s := c.KeyString(); len(s) != linkSize || s[:len(linkPrefix)] != linkPrefix {
		return fmt.Errorf("map block %s is not a dag-cbor SHA-256 CID", c)
	}
	return nil
}

// fetch gets a block and checks its bytes against its CID.
func fetch(ctx context.Context, blocks Blocks, c cid.Cid) ([]byte, error) {
	data, err := blocks.Get(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("map block %s: %w", c, err)
	}
	if len(data) > MaxBlock {
		return nil, distrust(c, data, errors.New("it is larger than a block may be"))
	}
	if sum := sha256.Sum256(data); c.KeyString()[len(linkPrefix):] != string(sum[:]) {
		return nil, &keys.TrustError{
			Subject: "map block", What: "the bytes served are not the block asked for",
			Ours: c.String(), Theirs: linkTo(data).String(), Evidence: evidence(c, data),
		}
	}
	return data, nil
}

// distrust reports a block with the right hash and the wrong content: whoever signed its root lies.
func distrust(c cid.Cid, data []byte, why error) error {
	return &keys.TrustError{
		Subject: "map block " + c.String(), What: "the map is not well formed",
		Ours: "a canonical map", Theirs: why.Error(), Evidence: evidence(c, data),
	}
}

func evidence(c cid.Cid, data []byte) []keys.Evidence {
	return []keys.Evidence{{Name: "block " + c.String(), Data: data[:min(len(data), MaxBlock)]}}
}
