// Package block holds the rules for content addresses: which CIDs we accept,
// and how they are made, read and compared with bytes.
//
// A CID is version 1, its codec is raw, dag-pb or dag-cbor, and its hash is
// sha2-256 with all 32 bytes. The binary form is therefore always 36 bytes:
//
//	0x01 codec 0x12 0x20 digest[32]
//
// and the text form is 'b' and lower-case base32 without padding. The one
// exception is the empty file, which is the identity CID of no bytes
// (bafkqaaa), because bitswap servers never serve the empty raw block. No
// other identity CID is accepted: it would carry bytes nobody hashed.
//
// Everything here is safe for concurrent use.
package block

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// MaxSize is the largest block we accept or make, in bytes: 1 MiB.
const MaxSize = 1 << 20

// Len is the number of bytes of a binary CID other than Empty's.
const Len = 4 + sha256.Size

// emptyCID is the binary form of Empty.
const emptyCID = "\x01\x55\x00\x00"

const maxText = 64

// Sum returns the CID of data under codec, which must be cid.Raw,
// cid.DagProtobuf or cid.DagCBOR; it panics on another. Of empty data it
// returns the sha2-256 CID, not Empty.
func Sum(codec uint64, data []byte) cid.Cid {
	return Of(codec, sha256.Sum256(data))
}

// Of returns the CID with a digest computed elsewhere, with the codecs of Sum.
func Of(codec uint64, digest [32]byte) cid.Cid {
	if !known(codec) {
		panic(fmt.Sprintf("block: codec %#x", codec))
	}
	var mh [2 + sha256.Size]byte
	mh[0], mh[1] = multihash.SHA2_256, sha256.Size
	copy(mh[2:], digest[:])
	return cid.NewCidV1(codec, mh[:])
}

// Empty returns the CID of the empty file, bafkqaaa.
func Empty() cid.Cid {
	return cid.NewCidV1(cid.Raw, multihash.Multihash{multihash.IDENTITY, 0})
}

// Digest returns the sha2-256 digest inside c, and false if c is Empty or not
// a CID that Check accepts.
func Digest(c cid.Cid) (digest [32]byte, ok bool) {
	s := c.KeyString()
	if !standard(s) {
		return digest, false
	}
	copy(digest[:], s[4:])
	return digest, true
}

// Matches reports whether c is the address of data. It is false for every CID
// that Check refuses.
func Matches(c cid.Cid, data []byte) bool {
	s := c.KeyString()
	if s == emptyCID {
		return len(data) == 0
	}
	if !standard(s) {
		return false
	}
	sum := sha256.Sum256(data)
	return s[4:] == string(sum[:])
}

// Check refuses every CID but those of the package comment.
func Check(c cid.Cid) error {
	if s := c.KeyString(); s == emptyCID || standard(s) {
		return nil
	}
	return explain(c)
}

// Parse reads the text form, of which there is exactly one for a CID.
func Parse(s string) (cid.Cid, error) {
	if len(s) > maxText {
		return cid.Undef, fmt.Errorf("invalid CID: %d characters", len(s))
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("invalid CID %q: %w", s, err)
	}
	if err := Check(c); err != nil {
		return cid.Undef, fmt.Errorf("invalid CID %q: %w", s, err)
	}
	if c.String() != s {
		return cid.Undef, fmt.Errorf("invalid CID %q: not the canonical spelling of %s", s, c)
	}
	return c, nil
}

// Decode reads the binary form, which must be all of b. It keeps no reference
// to b.
func Decode(b []byte) (cid.Cid, error) {
	c, n, err := Read(b)
	if err != nil {
		return cid.Undef, err
	}
	if n != len(b) {
		return cid.Undef, fmt.Errorf("invalid CID: %d bytes after it", len(b)-n)
	}
	return c, nil
}

// Read reads the binary form at the start of b and returns its length in
// bytes. It keeps no reference to b.
func Read(b []byte) (c cid.Cid, n int, err error) {
	switch {
	case len(b) >= len(emptyCID) && string(b[:len(emptyCID)]) == emptyCID:
		n = len(emptyCID)
	case len(b) >= Len && header(b[0], b[1], b[2], b[3]):
		n = Len
	case len(b) < Len:
		return cid.Undef, 0, fmt.Errorf("invalid CID: %d bytes, want %d", len(b), Len)
	default:
		return cid.Undef, 0, fmt.Errorf("invalid CID: begins with % x; want version 1, raw, dag-pb or dag-cbor, sha2-256", b[:4])
	}
	c, err = cid.Cast(b[:n])
	if err != nil {
		return cid.Undef, 0, fmt.Errorf("invalid CID: %w", err)
	}
	return c, n, nil
}

func known(codec uint64) bool {
	return codec == cid.Raw || codec == cid.DagProtobuf || codec == cid.DagCBOR
}

func header(version, codec, hash, size byte) bool {
	return version == 1 && known(uint64(codec)) && hash == multihash.SHA2_256 && size == sha256.Size
}

func standard(s string) bool {
	return len(s) == Len && header(s[0], s[1], s[2], s[3])
}

// explain says which rule c breaks.
func explain(c cid.Cid) error {
	if !c.Defined() {
		return errors.New("CID is undefined")
	}
	p := c.Prefix()
	switch {
	case p.Version != 1:
		return fmt.Errorf("CID version is %d, want 1", p.Version)
	case !known(p.Codec):
		return fmt.Errorf("CID codec is %#x, want raw, dag-pb or dag-cbor", p.Codec)
	case p.MhType == multihash.IDENTITY:
		return errors.New("CID carries its content; only that of the empty file may")
	case p.MhType != multihash.SHA2_256:
		return fmt.Errorf("CID hash is %#x, want sha2-256", p.MhType)
	}
	return fmt.Errorf("CID hash has %d bytes, want %d", p.MhLength, sha256.Size)
}
