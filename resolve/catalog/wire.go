package catalog

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"pkg/keys/tlog"
	"pkg/lockfile/block"
)

// Limits of a lookup. A server refuses more, a client stops reading.
const (
	MaxNames   = 4096     // names in one request
	MaxRequest = 1 << 20  // bytes of a request
	MaxAnswer  = 64 << 20 // bytes of an answer
)

// ContentType is the media type of an answer to POST /lookup.
const ContentType = "application/vnd.pkg.lookup"

// A LookupRequest asks for all that proves what the registry says of Names.
type LookupRequest struct {
	Names   []string          `json:"names"`
	Size    int64             `json:"size,omitempty"`    // size of the head the client has, 0 = none
	Closure bool              `json:"closure,omitempty"` // their dependencies too, transitively
	Known   map[string]uint64 `json:"known,omitempty"`   // entries of each author log the client has
}

// ParseLookupRequest reads a request as a server must: bounded and strict.
func ParseLookupRequest(r io.Reader) (LookupRequest, error) {
	var req LookupRequest
	b, err := io.ReadAll(io.LimitReader(r, MaxRequest+1))
	if err != nil {
		return req, fmt.Errorf("read lookup: %w", err)
	}
	if len(b) > MaxRequest {
		return req, fmt.Errorf("lookup larger than %d bytes", MaxRequest)
	}
	if err := json.Unmarshal(b, &req); err != nil {
		return LookupRequest{}, fmt.Errorf("lookup: %w", err)
	}
	if len(req.Names) > MaxNames || len(req.Known) > MaxNames {
		return LookupRequest{}, fmt.Errorf("lookup of more than %d names", MaxNames)
	}
	if req.Size < 0 {
		return LookupRequest{}, errors.New("lookup with a negative size")
	}
	return req, nil
}

// The kinds of section in an answer.
const (
	KindHead        = 'H' // a head file
	KindConsistency = 'C' // proof from the size asked with to the head's: n times 32 bytes
	KindBlock       = 'B' // CID, then the block
	KindEnd         = 'E' // empty: the answer is whole
)

// ErrTruncated says that an answer ended before its last section.
var ErrTruncated = errors.New("lookup answer is truncated")

// WriteSection writes one section: the length of kind and payload as a uvarint,
// the kind, the payload. The payload may come in parts.
func WriteSection(w io.Writer, kind byte, payload ...[]byte) error {
	n := 1
	for _, p := range payload {
		n += len(p)
	}
	head := binary.AppendUvarint(make([]byte, 0, 11), uint64(n)) //nolint:gosec // a length is never negative
	if _, err := w.Write(append(head, kind)); err != nil {
		return err
	}
	for _, p := range payload {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// WriteBlock writes a block section.
func WriteBlock(w io.Writer, c cid.Cid, data []byte) error {
	return WriteSection(w, KindBlock, c.Bytes(), data)
}

// FormatConsistency returns the payload of a consistency section.
func FormatConsistency(proof []tlog.Hash) []byte { return tlog.AppendHashes(nil, proof) }

// ParseConsistency reads the payload of a consistency section.
func ParseConsistency(b []byte) ([]tlog.Hash, error) {
	proof, err := tlog.ParseHashes(b)
	if err != nil {
		return nil, fmt.Errorf("consistency section: %w", err)
	}
	return proof, nil
}

// ParseBlock splits the payload of a block section. Nothing says yet that the
// data hashes to the CID. The data aliases b.
func ParseBlock(b []byte) (cid.Cid, []byte, error) {
	c, n, err := block.Read(b)
	if err != nil {
		return cid.Undef, nil, fmt.Errorf("block section: %w", err)
	}
	return c, b[n:], nil
}

// ReadSections reads an answer of at most limit bytes, section by section, up
// to and without the end section; each payload may be kept. It returns
// ErrTruncated if the answer stops before its end, and the first error of each.
func ReadSections(r io.Reader, limit int64, each func(kind byte, payload []byte) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	for left := limit; ; {
		n, err := binary.ReadUvarint(br)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return ErrTruncated
		case err != nil:
			return fmt.Errorf("read lookup: %w", err)
		case n == 0 || n > block.MaxSize+128:
			return fmt.Errorf("lookup section of %d bytes", n)
		case int64(n) > left:
			return fmt.Errorf("lookup answer larger than %d bytes", limit)
		}
		left -= int64(n)
		b, err := readSection(br, int(n))
		if err != nil {
			return err
		}
		if b[0] == KindEnd {
			if n != 1 {
				return errors.New("lookup end section is not empty")
			}
			return nil
		}
		if err := each(b[0], b[1:]); err != nil {
			return err
		}
	}
}

// readSection reads n bytes, allocating no more than came.
func readSection(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		k := len(b)
		b = append(b, make([]byte, min(n-k, max(k, step)))...)
		if _, err := io.ReadFull(r, b[k:]); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, ErrTruncated
			}
			return nil, fmt.Errorf("read lookup: %w", err)
		}
	}
	return b, nil
}
