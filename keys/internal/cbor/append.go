package cbor

import (
	"encoding/binary"
	"math"

	"github.com/ipfs/go-cid"
)

// AppendMap appends the start of a map of n pairs, which the caller appends in canonical order.
func AppendMap(b []byte, n int) []byte {
	return appendHead(b, majorMap, uint64(n)) //nolint:gosec // G115: a length is not negative
}

// AppendList appends the start of a list of n items.
func AppendList(b []byte, n int) []byte {
	return appendHead(b, majorList, uint64(n)) //nolint:gosec // G115: a length is not negative
}

// AppendText appends a text string, which must be valid UTF-8.
func AppendText(b []byte, s string) []byte {
	return append(appendHead(b, majorText, uint64(len(s))), s...)
}

// AppendBytes appends a byte string.
func AppendBytes(b, s []byte) []byte {
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

// AppendUint appends an unsigned integer.
func AppendUint(b []byte, n uint64) []byte { return appendHead(b, majorUint, n) }

// AppendInt appends an integer.
func AppendInt(b []byte, n int64) []byte {
	if n < 0 {
		return appendHead(b, majorInt, uint64(-1-n)) //nolint:gosec // G115: n is negative, so -1-n is not
	}
	return appendHead(b, majorUint, uint64(n))
}

// AppendLink appends a link to c, which must be defined.
func AppendLink(b []byte, c cid.Cid) []byte {
	s := c.KeyString()
	b = append(b, majorTag<<5|24, linkTag)
	b = appendHead(b, majorBytes, uint64(1+len(s))) //nolint:gosec // G115: a length is not negative
	return append(append(b, 0), s...)
}

// AppendNull appends null.
func AppendNull(b []byte) []byte { return append(b, initialNull) }

// AppendBool appends true or false.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, initialTrue)
	}
	return append(b, initialFalse)
}

func appendHead(b []byte, major byte, n uint64) []byte {
	major <<= 5
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}
