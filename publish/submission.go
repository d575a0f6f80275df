package publish

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"pkg/keys/author"
	"pkg/lockfile/block"
)

// Limits of one submission. They bound what a registry reads before it has
// decided anything.
const (
	MaxEntries = 64      // envelopes in one submission
	MaxPacks   = 16      // packs in one submission
	MaxPack    = 1 << 30 // bytes of one compressed pack
	maxCID     = 64      // bytes of a binary CID we accept
)

// Submission is what a publisher hands to a registry: signed envelopes and
// the packs of the roots they name. The envelopes are the wire format; nothing
// around them carries meaning.
type Submission struct {
	// Entries are author log envelopes in the order they are to be recorded:
	// a scope's genesis, a package's genesis, then the entries that follow.
	// All of them are recorded in one commit, or none.
	Entries [][]byte
	// Packs hold the content of the released roots. A root the registry
	// already has may be left out.
	Packs []Pack
}

// Pack is one compressed stream of a root's blocks.
type Pack struct {
	Root cid.Cid
	Size int64 // bytes of the stream
	// Open returns the stream from its start. It may be called more than
	// once, when a submission is sent again.
	Open func() (io.ReadCloser, error)
}

// Registry is the side of a registry that is written to. Reading is
// catalog.Registry's part. Push returns nil when every entry is recorded under
// a signed checkpoint, which includes the case that they were recorded before:
// pushing the same bytes again is harmless. A refusal is a *RefusedError.
// Implementations are safe for concurrent use.
type Registry interface {
	Push(ctx context.Context, s Submission) error
}

// RefusedError is a registry's answer to a submission it does not record.
type RefusedError struct {
	Status int    // the HTTP status that stands for the reason (409, 413, 422, 429, …)
	Reason string // one sentence
	Help   string // what to do; may be empty
}

// Error returns the reason.
func (e *RefusedError) Error() string { return "registry refused: " + e.Reason }

// WriteSubmission writes the body of POST /entry: a uvarint count, each
// envelope behind its uvarint length, then each pack as uvarint CID length,
// CID, uvarint pack length, pack.
func WriteSubmission(w io.Writer, s Submission) error {
	head := binary.AppendUvarint(nil, uint64(len(s.Entries)))
	for _, e := range s.Entries {
		head = binary.AppendUvarint(head, uint64(len(e)))
		head = append(head, e...)
	}
	if _, err := w.Write(head); err != nil {
		return fmt.Errorf("write entries: %w", err)
	}
	for _, p := range s.Packs {
		if err := writePack(w, p); err != nil {
			return fmt.Errorf("write pack %s: %w", p.Root, err)
		}
	}
	return nil
}

func writePack(w io.Writer, p Pack) error {
	b := p.Root.Bytes()
	head := binary.AppendUvarint(nil, uint64(len(b)))
	head = append(head, b...)
	head = binary.AppendUvarint(head, uint64(p.Size)) //nolint:gosec // a size is not negative
	if _, err := w.Write(head); err != nil {
		return err
	}
	r, err := p.Open()
	if err != nil {
		return err
	}
	n, err := io.Copy(w, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return err
	}
	if n != p.Size {
		return fmt.Errorf("%d bytes, expected %d", n, p.Size)
	}
	return nil
}

// SubmissionReader reads the body of POST /entry. It is not safe for
// concurrent use.
type SubmissionReader struct {
	r     *bufio.Reader
	pack  *io.LimitedReader
	packs int
}

// NewSubmissionReader returns a reader of r. The caller limits r as a whole.
func NewSubmissionReader(r io.Reader) *SubmissionReader {
	return &SubmissionReader{r: bufio.NewReader(r)}
}

// Entries reads the envelopes, which come first. They are not decoded.
func (s *SubmissionReader) Entries() ([][]byte, error) {
	n, err := binary.ReadUvarint(s.r)
	if err != nil {
		return nil, fmt.Errorf("read the number of entries: %w", noEOF(err))
	}
	if n == 0 || n > MaxEntries {
		return nil, fmt.Errorf("%d entries in a submission, 1 to %d are allowed", n, MaxEntries)
	}
	entries := make([][]byte, n)
	for i := range entries {
		size, err := binary.ReadUvarint(s.r)
		if err != nil {
			return nil, fmt.Errorf("read the size of entry %d: %w", i, noEOF(err))
		}
		if size == 0 || size > author.MaxEntry {
			return nil, fmt.Errorf("entry %d has %d bytes, at most %d are allowed", i, size, author.MaxEntry)
		}
		entries[i] = make([]byte, size)
		if _, err := io.ReadFull(s.r, entries[i]); err != nil {
			return nil, fmt.Errorf("read entry %d: %w", i, noEOF(err))
		}
	}
	return entries, nil
}

// Pack returns the next pack's root, size and stream, and io.EOF after the
// last. The stream is valid until the next call, which skips what is left.
func (s *SubmissionReader) Pack() (root cid.Cid, size int64, r io.Reader, err error) {
	if s.pack != nil {
		if _, err := io.Copy(io.Discard, s.pack); err != nil {
			return cid.Undef, 0, nil, fmt.Errorf("read pack: %w", err)
		}
		if s.pack.N > 0 {
			return cid.Undef, 0, nil, fmt.Errorf("read pack: %w", io.ErrUnexpectedEOF)
		}
	}
	if _, err := s.r.Peek(1); err != nil {
		return cid.Undef, 0, nil, err
	}
	if s.packs++; s.packs > MaxPacks {
		return cid.Undef, 0, nil, fmt.Errorf("more than %d packs in a submission", MaxPacks)
	}
	root, err = s.root()
	if err != nil {
		return cid.Undef, 0, nil, fmt.Errorf("read pack root: %w", noEOF(err))
	}
	n, err := binary.ReadUvarint(s.r)
	if err != nil {
		return cid.Undef, 0, nil, fmt.Errorf("read pack size: %w", noEOF(err))
	}
	if n == 0 || n > MaxPack {
		return cid.Undef, 0, nil, fmt.Errorf("pack %s has %d bytes, at most %d are allowed", root, n, MaxPack)
	}
	s.pack = &io.LimitedReader{R: s.r, N: int64(n)}
	return root, int64(n), s.pack, nil
}

func (s *SubmissionReader) root() (cid.Cid, error) {
	n, err := binary.ReadUvarint(s.r)
	if err != nil {
		return cid.Undef, err
	}
	if n == 0 || n > maxCID {
		return cid.Undef, fmt.Errorf("a CID of %d bytes", n)
	}
	var buf [maxCID]byte
	if _, err := io.ReadFull(s.r, buf[:n]); err != nil {
		return cid.Undef, err
	}
	return block.Decode(buf[:n])
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// BytesPack is a pack held in memory.
func BytesPack(root cid.Cid, b []byte) Pack {
	return Pack{Root: root, Size: int64(len(b)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}
