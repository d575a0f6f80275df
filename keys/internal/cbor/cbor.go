// Package cbor reads and writes the canonical dag-cbor that everything signed
// is made of: RFC 8949 narrowed by the IPLD DAG-CBOR specification, and here
// narrowed once more to what our formats use.
//
//	unsigned and negative integers in the range of uint64 and int64
//	byte strings, text strings of valid UTF-8
//	lists, maps with text keys, sorted by length and then bytewise, unique
//	links: tag 42 over a byte string of 0x00 and a CID that lockfile/block accepts
//	true, false, null
//
// Every length and integer takes its shortest form. Indefinite lengths,
// floats, other tags and other simple values do not exist. So a value has one
// encoding: what a [Reader] accepts, the Append functions write back byte for
// byte.
//
// A Reader walks the bytes in the order the caller names, keeps its first
// error, and copies nothing: a decoder lists the fields of its format, once in
// the writer and once in the reader, in canonical order:
//
//	r := cbor.NewReader(b)
//	if r.Map() != 2 {
//		r.Fail(errFields)
//	}
//	r.Key("n")
//	c.N = r.Uint()
//	r.Key("map")
//	c.Map = r.Link()
//	return r.End()
//
// Keys a decoder takes from the bytes, rather than listing them, it checks with
// [Before].
//
// The general decoder of go-ipld-prime builds a tree of nodes and costs several
// times the hashing of the same block; it is the oracle of the tests.
package cbor

import (
	"errors"
	"fmt"
)

// MaxDepth is how deep lists, maps and links may nest in what Skip and Valid accept.
const MaxDepth = 32

// The major types of RFC 8949 §3.1, in the top three bits of an initial byte.
const (
	majorUint  = 0
	majorInt   = 1
	majorBytes = 2
	majorText  = 3
	majorList  = 4
	majorMap   = 5
	majorTag   = 6

	initialFalse = 0xf4
	initialTrue  = 0xf5
	initialNull  = 0xf6

	// linkTag marks a CID, registered for IPLD; its initial bytes are d8 2a.
	linkTag = 42
)

// Error says where, in bytes from the start, and why reading stopped.
type Error struct {
	Pos int
	Err error
}

// Error returns the reason and the position.
func (e *Error) Error() string {
	return fmt.Sprintf("dag-cbor at byte %d: %v", e.Pos, e.Err)
}

// Unwrap returns the reason.
func (e *Error) Unwrap() error { return e.Err }

var (
	errShort    = errors.New("the data ends early")
	errMinimal  = errors.New("a number is not in its shortest form")
	errForm     = errors.New("the form does not exist in dag-cbor")
	errUint     = errors.New("want an unsigned integer")
	errInt      = errors.New("want an integer of 64 bits")
	errBytes    = errors.New("want a byte string")
	errLength   = errors.New("a byte string has the wrong length")
	errText     = errors.New("want a text string")
	errTextLong = errors.New("a text string is too long")
	errUTF8     = errors.New("a text string is not UTF-8")
	errList     = errors.New("want a list")
	errMap      = errors.New("want a map")
	errBool     = errors.New("want true or false")
	errLink     = errors.New("want a link")
	errOrder    = errors.New("map keys are not in canonical order")
	errDepth    = errors.New("values nest too deep")
	errTrailing = errors.New("bytes follow the value")
)

// Before reports whether the map key a sorts before b: the shorter first, then
// bytewise. Equal keys do not.
func Before(a, b string) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

// Valid reports, as an error, what keeps b from being exactly one value as the
// package comment has it, nested at most MaxDepth deep.
func Valid(b []byte) error {
	r := Reader{buf: b}
	r.Skip()
	return r.End()
}
