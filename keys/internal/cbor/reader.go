package cbor

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
)

// Reader walks encoded bytes. After the first error every method returns a zero
// value and moves no further, so a caller may check once, at the end. Slices it
// returns alias the bytes it reads. It is not safe for concurrent use.
type Reader struct {
	buf []byte
	off int
	err error
}

// NewReader returns a Reader at the start of b, which must not change while it is used.
func NewReader(b []byte) *Reader { return &Reader{buf: b} }

// Err returns the first error, an *Error.
func (r *Reader) Err() error { return r.err }

// End returns the first error; bytes not yet read are one.
func (r *Reader) End() error {
	if r.err == nil && r.off != len(r.buf) {
		r.Fail(errTrailing)
	}
	return r.err
}

// Fail records err as what is wrong at this place, unless an error is recorded already.
func (r *Reader) Fail(err error) {
	if r.err == nil {
		r.err = &Error{Pos: r.off, Err: err}
	}
}

// Pos returns the number of bytes read.
func (r *Reader) Pos() int { return r.off }

// Slice returns the bytes read since Pos was from, or nil after an error.
func (r *Reader) Slice(from int) []byte {
	if r.err != nil {
		return nil
	}
	return r.buf[from:r.off:r.off]
}

// Map reads the start of a map and returns its number of pairs, each at least two bytes of what remains.
func (r *Reader) Map() int {
	n := r.head(majorMap, errMap)
	if n > r.rest()/2 {
		r.Fail(errShort)
	}
	return r.count(n)
}

// List reads the start of a list and returns its number of items, each at least one byte of what remains.
func (r *Reader) List() int {
	n := r.head(majorList, errList)
	if n > r.rest() {
		r.Fail(errShort)
	}
	return r.count(n)
}

// Key reads the map key k; any other is an error. Canonical order holds because callers name keys in that order.
func (r *Reader) Key(k string) {
	at := r.off
	if got := r.text(); r.err == nil && string(got) != k {
		r.off = at
		r.Fail(fmt.Errorf("want the field %q", k))
	}
}

// OptKey reads the map key k if it is next, and reports whether it was.
func (r *Reader) OptKey(k string) bool {
	if r.err != nil || r.off == len(r.buf) || r.buf[r.off]>>5 != majorText {
		return false
	}
	at := r.off
	if got := r.text(); r.err != nil || string(got) != k {
		r.off = at
		return false
	}
	return true
}

// Uint reads an unsigned integer.
func (r *Reader) Uint() uint64 { return r.head(majorUint, errUint) }

// Int reads an integer of int64.
func (r *Reader) Int() int64 {
	major := uint64(majorUint)
	if r.err == nil && r.off < len(r.buf) && r.buf[r.off]>>5 == majorInt {
		major = majorInt
	}
	at := r.off
	n := r.head(byte(major), errInt)
	if n > math.MaxInt64 {
		r.off = at
		r.Fail(errInt)
		return 0
	}
	if major == majorInt && r.err == nil {
		return -1 - int64(n)
	}
	return int64(n)
}

// Bytes reads a byte string.
func (r *Reader) Bytes() []byte { return r.take(r.head(majorBytes, errBytes)) }

// BytesN reads a byte string of exactly n bytes.
func (r *Reader) BytesN(n int) []byte {
	at := r.off
	b := r.Bytes()
	if r.err == nil && len(b) != n {
		r.off = at
		r.Fail(errLength)
		return nil
	}
	return b
}

// Bytes32 reads a byte string of exactly 32 bytes: a hash or a key.
func (r *Reader) Bytes32() (out [32]byte) {
	copy(out[:], r.BytesN(len(out)))
	return out
}

// Text reads a text string of at most limit bytes.
func (r *Reader) Text(limit int) string {
	at := r.off
	b := r.text()
	if len(b) > limit {
		r.off = at
		r.Fail(errTextLong)
		return ""
	}
	return string(b)
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	if r.err == nil && r.off < len(r.buf) {
		switch r.buf[r.off] {
		case initialTrue:
			r.off++
			return true
		case initialFalse:
			r.off++
			return false
		}
	}
	r.Fail(errBool)
	return false
}

// Null reads null if it is next, and reports whether it was.
func (r *Reader) Null() bool {
	if r.err != nil || r.off == len(r.buf) || r.buf[r.off] != initialNull {
		return false
	}
	r.off++
	return true
}

// Link reads a link, which must be a CID that lockfile/block accepts.
func (r *Reader) Link() cid.Cid {
	at := r.off
	b := r.LinkBytes()
	if r.err != nil {
		return cid.Undef
	}
	c, err := block.Decode(b)
	if err != nil {
		r.off = at
		r.Fail(err)
		return cid.Undef
	}
	return c
}

// LinkBytes reads a link as Link does and returns the binary CID.
func (r *Reader) LinkBytes() []byte {
	at := r.off
	tag := r.head(majorTag, errLink)
	b := r.Bytes()
	if r.err != nil {
		return nil
	}
	if tag != linkTag || len(b) == 0 || b[0] != 0 {
		r.off = at
		r.Fail(errLink)
		return nil
	}
	if err := checkLink(b[1:]); err != nil {
		r.off = at
		r.Fail(err)
		return nil
	}
	return b[1:]
}

// checkLink is block.Decode without the allocation where the CID is of the common shape.
func checkLink(b []byte) error {
	if len(b) == block.Len && b[0] == 1 && b[2] == 0x12 && b[3] == 0x20 &&
		(b[1] == cid.DagCBOR || b[1] == cid.Raw || b[1] == cid.DagProtobuf) {
		return nil
	}
	_, err := block.Decode(b)
	return err
}

// text reads a text string.
func (r *Reader) text() []byte {
	at := r.off
	b := r.take(r.head(majorText, errText))
	if !utf8.Valid(b) {
		r.off = at
		r.Fail(errUTF8)
		return nil
	}
	return b
}

// take returns the next n bytes.
func (r *Reader) take(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > r.rest() {
		r.Fail(errShort)
		return nil
	}
	from := r.off
	r.off += int(n) //nolint:gosec // G115: at most what remains
	return r.buf[from:r.off:r.off]
}

// rest is the number of bytes not yet read.
func (r *Reader) rest() uint64 {
	return uint64(len(r.buf) - r.off) //nolint:gosec // G115: off is within buf
}

// count is n as an int, and zero after an error.
func (r *Reader) count(n uint64) int {
	if r.err != nil {
		return 0
	}
	return int(n) //nolint:gosec // G115: at most what remains
}

// head reads an initial byte of the given major type with its argument, in the shortest form (RFC 8949 §3, §4.2.1).
func (r *Reader) head(major byte, wrong error) uint64 {
	if r.err != nil {
		return 0
	}
	rest := r.buf[r.off:]
	if len(rest) == 0 {
		r.Fail(errShort)
		return 0
	}
	if rest[0]>>5 != major {
		r.Fail(wrong)
		return 0
	}
	info := rest[0] & 31
	if info < 24 {
		r.off++
		return uint64(info)
	}
	if info > 27 {
		r.Fail(errForm)
		return 0
	}
	size := 1 << (info - 24)
	if len(rest) <= size {
		r.Fail(errShort)
		return 0
	}
	var n uint64
	for _, c := range rest[1 : 1+size] {
		n = n<<8 | uint64(c)
	}
	if n < 24 || size > 1 && n>>(4*size) == 0 {
		r.Fail(errMinimal)
		return 0
	}
	r.off += 1 + size
	return n
}
