//go:build unix

package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"

	"pkg/keys/namespace"
	"pkg/lockfile/block"
)

// A registry's blocks are many small files, and one commit writes more than a
// hundred. Syncing each would cost more than the log does, so the blocks of a
// commit and its leaf are made durable by one write to the journal, and placed
// as files without a sync. After a crash the journal is replayed: the files are
// placed again, and a commit whose leaf did not reach the log is appended.
const (
	journalLimit = 16 << 20  // bytes after which the files are synced and the journal begins anew
	journalMax   = 256 << 20 // bytes of a journal we read
	recordHead   = 8 + sha256.Size
)

// record is one commit, complete: what the journal holds of it.
type record struct {
	commit namespace.Commit
	leaf   []byte // the commit, encoded
	blocks []rawBlock
}

type rawBlock struct {
	cid  cid.Cid
	data []byte
}

// journal is the file of the commits whose blocks may not be durable yet.
type journal struct {
	path  string
	disk  disk
	limit int64 // bytes, after which it is begun anew
	end   int64 // bytes of whole records
}

// read returns the records of the journal and finds its end. What follows the
// last whole record was never acknowledged and is overwritten by the next.
func (j *journal) read() ([]record, error) {
	info, err := os.Stat(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > journalMax {
		return nil, fmt.Errorf("%s has %d bytes", j.path, info.Size())
	}
	b, err := os.ReadFile(j.path)
	if err != nil {
		return nil, err
	}
	var records []record
	for {
		r, n, err := decodeRecord(b[j.end:])
		if err != nil {
			return records, nil
		}
		records = append(records, r)
		j.end += int64(n)
	}
}

// append makes r durable.
func (j *journal) append(r record) error {
	b := encodeRecord(r)
	if err := j.disk.Extend(j.path, j.end, b); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(j.path), err)
	}
	j.end += int64(len(b))
	return nil
}

// shrink makes the blocks durable that a long journal covers for, so that the
// next record may begin it anew. Until then the old records do no harm.
func (j *journal) shrink(blocks string) error {
	if j.end < j.limit {
		return nil
	}
	if err := j.disk.Sync(blocks); err != nil {
		return err
	}
	j.end = 0
	return nil
}

// encodeRecord returns length, SHA-256 and payload; the payload is the leaf and
// each block's CID and data, all behind uvarint lengths.
func encodeRecord(r record) []byte {
	n := len(r.leaf) + 16
	for _, b := range r.blocks {
		n += len(b.data) + 64
	}
	out := make([]byte, recordHead, recordHead+n)
	out = appendBytes(out, r.leaf)
	for _, b := range r.blocks {
		out = appendBytes(out, b.cid.Bytes())
		out = appendBytes(out, b.data)
	}
	binary.BigEndian.PutUint64(out, uint64(len(out)-recordHead)) //nolint:gosec // out begins with the head
	sum := sha256.Sum256(out[recordHead:])
	copy(out[8:], sum[:])
	return out
}

// decodeRecord reads the record at the start of b and returns its length.
func decodeRecord(b []byte) (r record, n int, err error) {
	if len(b) < recordHead {
		return record{}, 0, errTorn
	}
	size := binary.BigEndian.Uint64(b)
	if size > uint64(len(b)-recordHead) { //nolint:gosec // b is longer than the head
		return record{}, 0, errTorn
	}
	n = recordHead + int(size) //nolint:gosec // not more than len(b)
	payload := b[recordHead:n]
	if sum := sha256.Sum256(payload); !bytes.Equal(sum[:], b[8:recordHead]) {
		return record{}, 0, errTorn
	}
	if r.leaf, payload, err = cutBytes(payload); err != nil {
		return record{}, 0, err
	}
	if r.commit, err = namespace.DecodeCommit(r.leaf); err != nil {
		return record{}, 0, err
	}
	for len(payload) > 0 {
		var c, data []byte
		if c, payload, err = cutBytes(payload); err != nil {
			return record{}, 0, err
		}
		if data, payload, err = cutBytes(payload); err != nil {
			return record{}, 0, err
		}
		id, err := block.Decode(c)
		if err != nil {
			return record{}, 0, err
		}
		r.blocks = append(r.blocks, rawBlock{id, data})
	}
	return r, n, nil
}

var errTorn = errors.New("a torn record")

func appendBytes(b, data []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

func cutBytes(b []byte) (data, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) { //nolint:gosec // k is at most len(b)
		return nil, nil, errTorn
	}
	end := k + int(n) //nolint:gosec // not more than len(b)
	return b[k:end], b[end:], nil
}
