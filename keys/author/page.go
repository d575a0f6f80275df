package author

import (
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"pkg/keys/internal/cbor"
	"pkg/lockfile/block"
)

var (
	errPageCount = errors.New("the number of pages does not fit the size")
	errAt        = errors.New("the sizes and commits do not go up, or times go down")
	errEntryLong = errors.New("an entry is too long")
)

// EncodePage returns the block of 1 to 64 envelopes.
func EncodePage(raws [][]byte) []byte {
	n := 2
	for _, raw := range raws {
		n += len(raw)
	}
	b := cbor.AppendList(make([]byte, 0, n), len(raws))
	for _, raw := range raws {
		b = append(b, raw...)
	}
	return b
}

// DecodePage returns the envelopes of a page, which alias b. It does not look into them.
func DecodePage(b []byte) ([][]byte, error) {
	r := cbor.NewReader(b)
	n := r.List()
	if n == 0 || n > PageSize {
		r.Fail(errPageCount)
		n = 0
	}
	raws := make([][]byte, n)
	for i := range raws {
		from := r.Pos()
		r.Skip()
		raws[i] = r.Slice(from)
		if len(raws[i]) > MaxEntry {
			r.Fail(errEntryLong)
		}
		if r.Err() != nil {
			break
		}
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("author page: %w", err)
	}
	return raws, nil
}

// Index lists the pages of a log and says which commit recorded which entries:
//
//	{v: 1, at: [[size after, commit, time]…], pages: [link…]}
type Index struct {
	Pages []cid.Cid
	At    []At
}

// At says that a commit took a log to a size.
type At struct {
	Size   uint64 // entries after it
	Commit uint64
	T      int64 // of the commit, unix seconds
}

// Size returns the number of entries.
func (x Index) Size() uint64 {
	if len(x.At) == 0 {
		return 0
	}
	return x.At[len(x.At)-1].Size
}

// Encode returns the block of the index.
func (x Index) Encode() []byte {
	b := cbor.AppendMap(make([]byte, 0, 32+16*len(x.At)+44*len(x.Pages)), 3)
	b = cbor.AppendUint(cbor.AppendText(b, "v"), version)
	b = cbor.AppendList(cbor.AppendText(b, "at"), len(x.At))
	for _, at := range x.At {
		b = cbor.AppendList(b, 3)
		b = cbor.AppendUint(b, at.Size)
		b = cbor.AppendUint(b, at.Commit)
		b = cbor.AppendInt(b, at.T)
	}
	b = cbor.AppendList(cbor.AppendText(b, "pages"), len(x.Pages))
	for _, c := range x.Pages {
		b = cbor.AppendLink(b, c)
	}
	return b
}

// DecodeIndex reads an index: sizes and commits go up, times do not go down, and there are as many pages as the last size
// needs.
func DecodeIndex(b []byte) (Index, error) {
	if len(b) > block.MaxSize {
		return Index{}, fmt.Errorf("author index: %d bytes", len(b))
	}
	var x Index
	r := cbor.NewReader(b)
	readMap(r, 3)
	r.Key("v")
	if r.Uint() != version {
		r.Fail(errVersion)
	}
	r.Key("at")
	for i := range r.List() {
		at := readAt(r)
		if i > 0 && (at.Size <= x.At[i-1].Size || at.Commit <= x.At[i-1].Commit || at.T < x.At[i-1].T) {
			r.Fail(errAt)
		}
		if r.Err() != nil {
			break
		}
		x.At = append(x.At, at)
	}
	r.Key("pages")
	n := r.List()
	if uint64(n) != (x.Size()+PageSize-1)/PageSize || n == 0 {
		r.Fail(errPageCount)
	}
	for range n {
		c := r.Link()
		if r.Err() != nil {
			break
		}
		if c.Prefix().Codec != cid.DagCBOR {
			r.Fail(errContent)
			break
		}
		x.Pages = append(x.Pages, c)
	}
	if err := r.End(); err != nil {
		return Index{}, fmt.Errorf("author index: %w", err)
	}
	return x, nil
}

func readAt(r *cbor.Reader) (at At) {
	if r.List() != 3 {
		r.Fail(errFields)
	}
	at.Size, at.Commit, at.T = r.Uint(), r.Uint(), r.Int()
	if at.Size == 0 || at.Size > MaxSize || at.T < 0 || at.T > maxTime {
		r.Fail(errBounds)
	}
	return at
}
