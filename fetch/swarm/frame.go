package swarm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
)

// maxCID is the longest CID there is, in bytes.
const maxCID = 36

var errFrame = errors.New("malformed answer")

// appendFrame appends the head of a frame: what goes before the pack.
func appendFrame(b []byte, root cid.Cid, size int64) []byte {
	raw := root.Bytes()
	b = append(binary.AppendUvarint(b, uint64(len(raw))), raw...)
	return binary.AppendUvarint(b, uint64(size)) //nolint:gosec // G115: sizes are not negative, and at most limit
}

// readFrame reads the head of a frame. The pack follows: size bytes, at most limit.
func readFrame(r *bufio.Reader, limit int64) (root cid.Cid, size int64, err error) {
	n, err := readUvarint(r)
	if err != nil {
		return cid.Undef, 0, err
	}
	if n == 0 || n > maxCID {
		return cid.Undef, 0, fmt.Errorf("%w: a CID of %d bytes", errFrame, n)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return cid.Undef, 0, cut(err)
	}
	if root, err = block.Decode(raw); err != nil {
		return cid.Undef, 0, fmt.Errorf("%w: %w", errFrame, err)
	}
	v, err := readUvarint(r)
	if err != nil {
		return cid.Undef, 0, err
	}
	if v > uint64(limit) { //nolint:gosec // G115: sizes are not negative, and at most limit
		return cid.Undef, 0, fmt.Errorf("%w: a pack of %d bytes, over %d", errFrame, v, limit)
	}
	return root, int64(v), nil //nolint:gosec // G115: sizes are not negative, and at most limit
}

// readUvarint reads a minimal uvarint.
func readUvarint(r *bufio.Reader) (uint64, error) {
	b, err := r.Peek(binary.MaxVarintLen64)
	v, n := binary.Uvarint(b)
	if n == 0 && err != nil {
		return 0, cut(err)
	}
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, fmt.Errorf("%w: a number that is none", errFrame)
	}
	_, err = r.Discard(n)
	return v, err
}

// cut says that an answer ended too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
