package namespace

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/keys/internal/cbor"
	"pkg/lockfile/block"
)

// Status is what the registry lets be done with a name. The zero Status is invalid.
type Status uint8

// The statuses of a name.
const (
	Active   Status = 1 + iota
	Frozen          // nothing new is recorded
	Removed         // not offered for new resolutions; its history stays and the name is not given away
	Reserved        // never claimed, and not to be claimed; such a record has no log
)

func (s Status) String() string {
	switch s {
	case Active:
		return "active"
	case Frozen:
		return "frozen"
	case Removed:
		return "removed"
	case Reserved:
		return "reserved"
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// parseStatus is the inverse of String for valid statuses.
func parseStatus(s string) (Status, bool) {
	for v := Active; v <= Reserved; v++ {
		if v.String() == s {
			return v, true
		}
	}
	return 0, false
}

// Record is what the namespace says of one name: the value of the map.
type Record struct {
	Status     Status
	ID         [32]byte // package id
	Epoch      uint64   // how many times the name was transferred
	Size       uint64   // entries of the author log
	Log        [32]byte // root of the author log
	Index      cid.Cid  // of the author log's pages index
	Since      uint64   // commit that recorded the claim, or the last transfer
	Former     []Former // logs that held the name before, oldest first
	Advisories []cid.Cid
}

// Former is the log that a name left in a transfer.
type Former struct {
	ID    [32]byte
	Size  uint64
	Log   [32]byte
	Index cid.Cid
}

const recordVersion = 1

// Encode returns the map value of r. DecodeRecord says whether it is a valid one.
func (r *Record) Encode() []byte {
	b := make([]byte, 0, 160+len(r.Former)*128+len(r.Advisories)*48)
	b = cbor.AppendList(b, 10)
	b = cbor.AppendUint(b, recordVersion)
	b = cbor.AppendUint(b, uint64(r.Status))
	b = cbor.AppendBytes(b, r.ID[:])
	b = cbor.AppendUint(b, r.Epoch)
	b = cbor.AppendUint(b, r.Size)
	b = cbor.AppendBytes(b, r.Log[:])
	b = appendLink(b, r.Index)
	b = cbor.AppendUint(b, r.Since)
	b = cbor.AppendList(b, len(r.Former))
	for _, f := range r.Former {
		b = cbor.AppendList(b, 4)
		b = cbor.AppendBytes(b, f.ID[:])
		b = cbor.AppendUint(b, f.Size)
		b = cbor.AppendBytes(b, f.Log[:])
		b = appendLink(b, f.Index)
	}
	b = cbor.AppendList(b, len(r.Advisories))
	for _, c := range r.Advisories {
		b = appendLink(b, c)
	}
	return b
}

// DecodeRecord reads a map value strictly: Encode of the result gives the same bytes.
func DecodeRecord(b []byte) (*Record, error) {
	d := cbor.NewReader(b)
	if d.List() != 10 || d.Uint() != recordVersion {
		return nil, malformed("record", d, "unknown version")
	}
	r := &Record{}
	status := d.Uint()
	r.ID = d.Bytes32()
	r.Epoch, r.Size = d.Uint(), d.Uint()
	r.Log = d.Bytes32()
	r.Index = optionalLink(d)
	r.Since = d.Uint()
	if n := d.List(); n > maxFormer {
		d.Fail(errBounds)
	} else {
		for range n {
			if d.List() != 4 {
				return nil, malformed("record", d, "bad former log")
			}
			f := Former{ID: d.Bytes32(), Size: d.Uint(), Log: d.Bytes32(), Index: d.Link()}
			if err := f.check(); d.Err() == nil && err != nil {
				return nil, malformed("record", d, err.Error())
			}
			r.Former = append(r.Former, f)
		}
	}
	if n := d.List(); n > maxAdvisories {
		d.Fail(errBounds)
	} else {
		for range n {
			r.Advisories = append(r.Advisories, d.Link())
		}
	}
	if d.End() != nil || status > uint64(Reserved) {
		return nil, malformed("record", d, "unknown status")
	}
	r.Status = Status(status)
	if err := r.check(); err != nil {
		return nil, malformed("record", d, err.Error())
	}
	return r, nil
}

func (f *Former) check() error { return checkLog(f.ID, f.Size, f.Index) }

func (r *Record) check() error {
	if r.Status < Active || r.Epoch > maxCount || r.Since > maxCount {
		return errBounds
	}
	for _, c := range r.Advisories {
		if err := block.Check(c); err != nil {
			return err
		}
	}
	if r.Status == Reserved {
		if r.ID != [32]byte{} || r.Size != 0 || r.Log != [32]byte{} || r.Index.Defined() {
			return errors.New("a reserved name has no log")
		}
		return nil
	}
	return checkLog(r.ID, r.Size, r.Index)
}

func checkLog(id [32]byte, size uint64, index cid.Cid) error {
	if id == [32]byte{} || size == 0 || size > maxCount || !index.Defined() {
		return errors.New("a log without an id, entries or an index")
	}
	if err := block.Check(index); err != nil {
		return err
	}
	if index.Prefix().Codec != cid.DagCBOR {
		return errors.New("a log index that is not dag-cbor")
	}
	return nil
}

// Known is what is known of a name from a lock or from local state. Zero fields are unknown.
type Known struct {
	ID    [32]byte
	Epoch uint64
	Size  uint64   // entries of the author log seen
	Log   [32]byte // its root at Size
}

// Check checks that r is a later statement of the package known by the name n: the same package id, in no earlier epoch,
// with a log no shorter. Anything else is a *keys.TrustError that says which.
func (r *Record) Check(n string, known Known) error {
	distrust := func(what, ours, theirs string) error {
		return &keys.TrustError{
			Subject: n, What: what, Ours: ours, Theirs: theirs,
			Evidence: []keys.Evidence{{Name: "record", Data: r.Encode()}},
		}
	}
	if known.ID != [32]byte{} && known.ID != r.ID {
		what := "the name now belongs to another package"
		for _, f := range r.Former {
			if f.ID == known.ID {
				what = "the name was transferred to another author"
			}
		}
		return distrust(what, "package "+hex.EncodeToString(known.ID[:]), "package "+hex.EncodeToString(r.ID[:]))
	}
	if r.Epoch < known.Epoch {
		return distrust("the record is older than the one known here",
			fmt.Sprintf("epoch %d", known.Epoch), fmt.Sprintf("epoch %d", r.Epoch))
	}
	if known.ID == [32]byte{} {
		return nil
	}
	if r.Size < known.Size {
		return distrust("entries of the author log are hidden",
			fmt.Sprintf("%d entries", known.Size), fmt.Sprintf("%d entries", r.Size))
	}
	if r.Size == known.Size && known.Log != [32]byte{} && r.Log != known.Log {
		return distrust("the author log has two histories of one size",
			"root "+hex.EncodeToString(known.Log[:]), "root "+hex.EncodeToString(r.Log[:]))
	}
	return nil
}

// appendLink appends a link, or null for an undefined CID.
func appendLink(b []byte, c cid.Cid) []byte {
	if !c.Defined() {
		return cbor.AppendNull(b)
	}
	return cbor.AppendLink(b, c)
}

// optionalLink reads what appendLink wrote.
func optionalLink(d *cbor.Reader) cid.Cid {
	if d.Null() {
		return cid.Undef
	}
	return d.Link()
}

// malformed is the error of d, or why if d read well.
func malformed(what string, d *cbor.Reader, why string) error {
	if err := d.Err(); err != nil {
		return fmt.Errorf("malformed %s: %w", what, err)
	}
	return fmt.Errorf("malformed %s: %s", what, why)
}
