package namespace

import (
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"pkg/keys/author"
	"pkg/keys/internal/cbor"
	"pkg/lockfile/block"
	"pkg/lockfile/name"
)

// MaxOps bounds the bytes of an ops block.
const MaxOps = 1 << 20

// The kinds of Op.
const (
	OpClaim    = "claim"             // Genesis
	OpHead     = "head"              // Entries: the author log grows by these
	OpAnnounce = "announce-transfer" // To, At, Reason, By
	OpTransfer = "transfer"          // Genesis, Reason, By
	OpStatus   = "status"            // Status, Reason, By
	OpReserve  = "reserve"           // Reason, By
	OpAdvisory = "advisory"          // CID
)

// Op is one change of the namespace. The fields its kind does not name are zero.
type Op struct {
	Kind    string
	Name    name.Name
	Genesis []byte   // author envelope; beneath a scope it is signed by the scope's root set too
	Entries [][]byte // author envelopes, oldest first, at least one
	Status  Status
	To      [32]byte // package id of the announced genesis
	At      int64    // unix seconds, the earliest time of the transfer
	Reason  string   // not empty, for people
	By      string   // who decided, for people; not empty
	CID     cid.Cid  // of an OSV document
}

// Ops is what one commit changed, in order.
type Ops []Op

// The fields of an op, in canonical order.
const (
	fieldAt = 1 << iota
	fieldBy
	fieldOp
	fieldTo
	fieldCID
	fieldName
	fieldReason
	fieldStatus
	fieldEntries
	fieldGenesis
)

// fieldsOf returns which fields an op of the kind has, or 0 for an unknown kind.
func fieldsOf(kind string) int {
	const all = fieldOp | fieldName
	switch kind {
	case OpClaim:
		return all | fieldGenesis
	case OpHead:
		return all | fieldEntries
	case OpAnnounce:
		return all | fieldTo | fieldAt | fieldReason | fieldBy
	case OpTransfer:
		return all | fieldGenesis | fieldReason | fieldBy
	case OpStatus:
		return all | fieldStatus | fieldReason | fieldBy
	case OpReserve:
		return all | fieldReason | fieldBy
	case OpAdvisory:
		return all | fieldCID
	}
	return 0
}

// EncodeOps returns the ops block, or an error if ops are none, too many for one block, or not valid.
func EncodeOps(ops Ops) ([]byte, error) {
	if len(ops) == 0 {
		return nil, errors.New("encode ops: there are none")
	}
	b := cbor.AppendMap(nil, 2)
	b = cbor.AppendUint(cbor.AppendText(b, "v"), 1)
	b = cbor.AppendList(cbor.AppendText(b, "ops"), len(ops))
	for i := range ops {
		if err := ops[i].check(); err != nil {
			return nil, fmt.Errorf("encode op %d: %w", i, err)
		}
		b = ops[i].append(b)
	}
	if len(b) > MaxOps {
		return nil, fmt.Errorf("encode ops: %d bytes are more than %d", len(b), MaxOps)
	}
	return b, nil
}

// Size returns how many bytes o adds to an ops block, so that a writer can fill one.
func (o *Op) Size() int { return len(o.append(nil)) }

func (o *Op) append(b []byte) []byte {
	fields := fieldsOf(o.Kind)
	b = cbor.AppendMap(b, bits.OnesCount(uint(fields))) //nolint:gosec // a mask is not negative
	text := func(field int, key, value string) {
		if fields&field != 0 {
			b = cbor.AppendText(cbor.AppendText(b, key), value)
		}
	}
	if fields&fieldAt != 0 {
		b = cbor.AppendInt(cbor.AppendText(b, "at"), o.At)
	}
	text(fieldBy, "by", o.By)
	text(fieldOp, "op", o.Kind)
	if fields&fieldTo != 0 {
		b = cbor.AppendBytes(cbor.AppendText(b, "to"), o.To[:])
	}
	if fields&fieldCID != 0 {
		b = appendLink(cbor.AppendText(b, "cid"), o.CID)
	}
	text(fieldName, "name", string(o.Name))
	text(fieldReason, "reason", o.Reason)
	text(fieldStatus, "status", o.Status.String())
	if fields&fieldEntries != 0 {
		b = cbor.AppendList(cbor.AppendText(b, "entries"), len(o.Entries))
		for _, e := range o.Entries {
			b = cbor.AppendBytes(b, e)
		}
	}
	if fields&fieldGenesis != 0 {
		b = cbor.AppendBytes(cbor.AppendText(b, "genesis"), o.Genesis)
	}
	return b
}

// DecodeOps reads an ops block strictly: EncodeOps of the result gives the same bytes. The envelopes in it are not opened;
// they alias b.
func DecodeOps(b []byte) (Ops, error) {
	if len(b) > MaxOps {
		return nil, errors.New("malformed ops: too large")
	}
	d := cbor.NewReader(b)
	if d.Map() != 2 {
		return nil, malformed("ops", d, "wrong number of fields")
	}
	d.Key("v")
	if d.Uint() != 1 {
		return nil, malformed("ops", d, "unknown version")
	}
	d.Key("ops")
	n := d.List()
	if d.Err() == nil && n == 0 {
		return nil, malformed("ops", d, "there are none")
	}
	var ops Ops
	for range n {
		o, err := readOp(d)
		if err != nil {
			return nil, err
		}
		ops = append(ops, o)
	}
	if d.End() != nil {
		return nil, malformed("ops", d, "")
	}
	return ops, nil
}

func readOp(d *cbor.Reader) (o Op, err error) {
	count, fields := d.Map(), 0
	has := func(field int, key string) bool {
		if !d.OptKey(key) {
			return false
		}
		fields |= field
		return true
	}
	if has(fieldAt, "at") {
		o.At = d.Int()
	}
	if has(fieldBy, "by") {
		o.By = d.Text(maxText)
	}
	if has(fieldOp, "op") {
		o.Kind = d.Text(32)
	}
	if has(fieldTo, "to") {
		o.To = d.Bytes32()
	}
	if has(fieldCID, "cid") {
		o.CID = d.Link()
	}
	if has(fieldName, "name") {
		o.Name = name.Name(d.Text(256))
	}
	if has(fieldReason, "reason") {
		o.Reason = d.Text(maxText)
	}
	if has(fieldStatus, "status") {
		var ok bool
		if o.Status, ok = parseStatus(d.Text(32)); !ok {
			return Op{}, malformed("op", d, "unknown status")
		}
	}
	if has(fieldEntries, "entries") {
		for range d.List() {
			if e := d.Bytes(); d.Err() == nil {
				o.Entries = append(o.Entries, e)
			}
		}
	}
	if has(fieldGenesis, "genesis") {
		o.Genesis = d.Bytes()
	}
	if d.Err() != nil || fields != fieldsOf(o.Kind) || count != bits.OnesCount(uint(fields)) { //nolint:gosec // a mask is not negative
		return Op{}, malformed("op", d, "unknown kind or wrong fields")
	}
	if err := o.check(); err != nil {
		return Op{}, malformed("op", d, err.Error())
	}
	return o, nil
}

// check checks what the kind of o says of its fields.
func (o *Op) check() error {
	fields := fieldsOf(o.Kind)
	if fields == 0 {
		return fmt.Errorf("unknown kind %q", o.Kind)
	}
	if err := checkName(o.Name); err != nil {
		return err
	}
	if fields&fieldReason != 0 && (!plain(o.Reason) || !plain(o.By)) {
		return errors.New("no reason or nobody who decided, or one too long")
	}
	if fields&fieldStatus != 0 && (o.Status < Active || o.Status > Removed) {
		return errors.New("a status that cannot be set")
	}
	if fields&fieldAt != 0 && (o.At < 0 || o.At > maxTime) {
		return errBounds
	}
	if fields&fieldTo != 0 && o.To == [32]byte{} {
		return errors.New("a transfer to nobody")
	}
	if fields&fieldCID != 0 {
		return block.Check(o.CID)
	}
	if fields&fieldEntries != 0 && len(o.Entries) == 0 {
		return errors.New("no entries")
	}
	if fields&fieldGenesis != 0 {
		return checkEntrySize(o.Genesis)
	}
	for _, e := range o.Entries {
		if err := checkEntrySize(e); err != nil {
			return err
		}
	}
	return nil
}

func checkEntrySize(e []byte) error {
	if len(e) == 0 || len(e) > author.MaxEntry {
		return fmt.Errorf("an entry of %d bytes", len(e))
	}
	return nil
}

func checkName(n name.Name) error {
	var parsed name.Name
	var err error
	if n.IsScope() {
		parsed, err = name.ParseScope(string(n))
	} else {
		parsed, err = name.Parse(string(n))
	}
	if err == nil && parsed != n {
		err = fmt.Errorf("name %q is not written as it should be", string(n))
	}
	return err
}

// plain reports whether s is text that people can be shown a reason by.
func plain(s string) bool { return s != "" && len(s) <= maxText && utf8.ValidString(s) }
