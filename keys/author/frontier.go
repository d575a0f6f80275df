package author

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A frontier is what must be known of a log of size entries to extend it: the
// roots of its complete subtrees, one for each bit set in size, largest first
// (RFC 6962 §2.1, read from the right edge).

// rootOf returns the root of a log with that frontier.
func rootOf(frontier []tlog.Hash) tlog.Hash {
	if len(frontier) == 0 {
		return sha256.Sum256(nil)
	}
	last := len(frontier) - 1
	h := frontier[last]
	for _, left := range slices.Backward(frontier[:last]) {
		h = tlog.NodeHash(left, h)
	}
	return h
}

// push returns the frontier of a log of size entries and one more leaf. It does not change its argument.
func push(frontier []tlog.Hash, size uint64, leaf tlog.Hash) []tlog.Hash {
	carries := bits.TrailingZeros64(^size)
	keep := len(frontier) - carries
	for _, left := range slices.Backward(frontier[keep:]) {
		leaf = tlog.NodeHash(left, leaf)
	}
	return append(slices.Clone(frontier[:keep]), leaf)
}
