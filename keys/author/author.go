// Package author holds the author's log of a package: who its author is, what
// was released, and what became of it, in entries that the author signs and
// anybody may serve.
//
// An entry is an envelope of package keys over the domain [Domain]. Its body is
// the dag-cbor map
//
//	{b, i, k, t, v: 1, pkg, prev}
//
// i is the index of the entry, prev the RFC 6962 root of the bodies before it
// (at i = 0, of no leaves), pkg the SHA-256 of the first body, which is the
// package id and so is absent in the first, t the author's own clock, k the kind
// and b what the kind says:
//
//	genesis    {name, next, root: {keys, threshold}, origin, release: [{key, until}…]}
//	release    {bin, deps: [{name, optional?, registry?, constraint}…], root, size, files,
//	            license, version, description, attestations: [{cid, type}…]}
//	yank       {reason, version}, and unyank
//	deprecate  {use, message, versions}
//	keys       {next, root, release}
//	disown     {from, reason}
//	seal       {}
//
// Bodies are the leaves of the log. Because prev covers all before it, one
// signature vouches for the whole history, and an entry cannot be moved to
// another place, package or registry: the genesis names its registry, and every
// later entry the genesis.
//
// # Authority
//
// A root set is up to 16 keys of which threshold must sign. A release key signs
// by itself, until its time is over. People know and pin a package by the first
// key of its first root set, the author: it must sign the genesis, or anybody
// could name the key of another there.
//
//	genesis                          the root set it names, its first key included; more may sign (a scope's owner)
//	release, yank, unyank, deprecate a release key that is not expired, or the root set
//	keys                             the root set, and the new one, whose hash is next if next was announced
//	disown, seal                     the root set
//
// What counts is the authority at that point of the log, and of expiry the time
// of the namespace commit that recorded the entry, which the author cannot
// forge. Except for the genesis, a signature of a key that has no part in the
// package is an error. [State.Apply] is the only place that decides all this.
//
// # Pages
//
// Entries travel in pages of [PageSize] envelopes, a dag-cbor list each, under an
// [Index] that says which commit recorded which entries. [Follow] reads what is
// new of a log and believes it only if it leads to the size and root that the
// namespace recorded.
package author

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"pkg/keys"
	"pkg/keys/internal/cbor"
)

const (
	// Domain is what the signatures of an entry are for.
	Domain = "pkg author entry v1\n"

	// PageSize is the number of entries in every page but the last.
	PageSize = 64

	// MaxEntry bounds the bytes of an entry, with its signatures.
	MaxEntry = 8 << 10

	// MaxSize bounds the number of entries of a log.
	MaxSize = 1 << 20
)

// Kind says what an entry does.
type Kind string

// The kinds.
const (
	KindGenesis   Kind = "genesis"
	KindRelease   Kind = "release"
	KindYank      Kind = "yank"
	KindUnyank    Kind = "unyank"
	KindDeprecate Kind = "deprecate"
	KindKeys      Kind = "keys"
	KindDisown    Kind = "disown"
	KindSeal      Kind = "seal"
)

const (
	version = 1

	maxTime = 1 << 40 // unix seconds
)

// Body is what the author signs. Exactly the field that Kind names is set; Yank
// serves yank and unyank, a seal has none.
type Body struct {
	Pkg  [32]byte // package id; zero in a genesis
	I    uint64
	Prev [32]byte
	T    int64 // unix seconds, as the author says
	Kind Kind

	Genesis   *Genesis
	Release   *Release
	Yank      *Yank
	Deprecate *Deprecate
	Keys      *Keys
	Disown    *Disown
}

// Entry is one signed line of the log. Its slices must not be changed.
type Entry struct {
	Body       Body
	Leaf       []byte // the bytes of the body
	Raw        []byte // the envelope
	Signatures []keys.Signature
}

// ID returns the package id that a genesis entry makes.
func (e Entry) ID() [32]byte { return sha256.Sum256(e.Leaf) }

// Sign makes an entry of b, signed by ks. It sorts what the format wants sorted,
// fills in the Prev of a genesis, which can be one only, and refuses what Decode
// would, and what nobody should write: a constraint that does not parse.
func Sign(b Body, ks ...keys.Key) (Entry, error) {
	if len(ks) == 0 {
		return Entry{}, errors.New("sign entry: no key")
	}
	if err := b.checkConstraints(); err != nil {
		return Entry{}, fmt.Errorf("sign entry: %w", err)
	}
	if b.Kind == KindGenesis && b.Prev == ([32]byte{}) {
		b.Prev = rootOf(nil)
	}
	leaf, err := b.encode()
	if err != nil {
		return Entry{}, fmt.Errorf("sign entry: %w", err)
	}
	e, err := Decode(keys.SignEnvelope(Domain, leaf, ks...))
	if err != nil {
		return Entry{}, fmt.Errorf("sign entry: %w", err)
	}
	return e, nil
}

// Decode reads an entry strictly and verifies its signatures; one that does not
// match is a *keys.TrustError. Whether those who signed may say so is for
// [State.Apply]. The entry aliases raw.
func Decode(raw []byte) (Entry, error) {
	leaf, sigs, err := keys.OpenEnvelope(Domain, raw, MaxEntry)
	if err != nil {
		return Entry{}, fmt.Errorf("author entry: %w", err)
	}
	e := Entry{Leaf: leaf, Raw: raw, Signatures: sigs}
	if e.Body, err = decodeBody(leaf); err != nil {
		return Entry{}, fmt.Errorf("author entry: %w", err)
	}
	return e, nil
}

var (
	errFields  = errors.New("the fields are not those of the format")
	errVersion = errors.New("the version is unknown")
	errBounds  = errors.New("a number is out of bounds")
	errKind    = errors.New("the kind is unknown")
	errPkg     = errors.New("the genesis, and no other entry, is without a package id")
	errContent = errors.New("the content is not that of the kind")
)

// encode returns the bytes of the body.
func (b *Body) encode() ([]byte, error) {
	content, err := b.content()
	if err != nil {
		return nil, err
	}
	genesis := b.Kind == KindGenesis
	fields := 7
	if genesis {
		fields--
	}
	out := cbor.AppendMap(make([]byte, 0, 512), fields)
	out = content(cbor.AppendText(out, "b"))
	out = cbor.AppendUint(cbor.AppendText(out, "i"), b.I)
	out = cbor.AppendText(cbor.AppendText(out, "k"), string(b.Kind))
	out = cbor.AppendInt(cbor.AppendText(out, "t"), b.T)
	out = cbor.AppendUint(cbor.AppendText(out, "v"), version)
	if !genesis {
		out = cbor.AppendBytes(cbor.AppendText(out, "pkg"), b.Pkg[:])
	}
	return cbor.AppendBytes(cbor.AppendText(out, "prev"), b.Prev[:]), nil
}

// part is the content of one kind.
type part interface{ append(out []byte) []byte }

// content returns the writer of what b says, and an error unless exactly the one content of the kind is there.
func (b *Body) content() (func([]byte) []byte, error) {
	all := []struct {
		there bool
		part  part
		kinds []Kind
	}{
		{b.Genesis != nil, b.Genesis, []Kind{KindGenesis}},
		{b.Release != nil, b.Release, []Kind{KindRelease}},
		{b.Yank != nil, b.Yank, []Kind{KindYank, KindUnyank}},
		{b.Deprecate != nil, b.Deprecate, []Kind{KindDeprecate}},
		{b.Keys != nil, b.Keys, []Kind{KindKeys}},
		{b.Disown != nil, b.Disown, []Kind{KindDisown}},
	}
	write := func(out []byte) []byte { return cbor.AppendMap(out, 0) }
	found := b.Kind == KindSeal
	for _, c := range all {
		if c.there != slices.Contains(c.kinds, b.Kind) {
			return nil, fmt.Errorf("%w: %q", errContent, b.Kind)
		}
		if c.there {
			write, found = c.part.append, true
		}
	}
	if !found {
		return nil, fmt.Errorf("%w: %q", errKind, b.Kind)
	}
	return write, nil
}

// decodeBody reads a body. The content comes before the kind that says how to read it, so it is read second.
func decodeBody(leaf []byte) (b Body, err error) {
	r := cbor.NewReader(leaf)
	fields := r.Map()
	r.Key("b")
	from := r.Pos()
	r.Skip()
	content := r.Slice(from)
	r.Key("i")
	b.I = r.Uint()
	r.Key("k")
	b.Kind = Kind(r.Text(16))
	r.Key("t")
	b.T = r.Int()
	r.Key("v")
	if r.Uint() != version {
		r.Fail(errVersion)
	}
	withPkg := r.OptKey("pkg")
	if withPkg {
		b.Pkg = r.Bytes32()
	}
	r.Key("prev")
	b.Prev = r.Bytes32()
	if err := r.End(); err != nil {
		return Body{}, err
	}
	genesis := b.Kind == KindGenesis
	switch {
	case withPkg && fields != 7, !withPkg && fields != 6:
		return Body{}, errFields
	case genesis == withPkg:
		return Body{}, errPkg
	case b.I >= MaxSize, b.T < 0, b.T > maxTime, genesis && b.I != 0, !genesis && b.I == 0:
		return Body{}, errBounds
	}
	if err := b.readContent(content); err != nil {
		return Body{}, fmt.Errorf("%s: %w", b.Kind, err)
	}
	return b, nil
}

func (b *Body) readContent(content []byte) error {
	r := cbor.NewReader(content)
	switch b.Kind {
	case KindGenesis:
		b.Genesis = readGenesis(r)
	case KindRelease:
		b.Release = readRelease(r)
	case KindYank, KindUnyank:
		b.Yank = readYank(r)
	case KindDeprecate:
		b.Deprecate = readDeprecate(r)
	case KindKeys:
		b.Keys = readKeys(r)
	case KindDisown:
		b.Disown = readDisown(r)
	case KindSeal:
		readMap(r, 0)
	default:
		return errKind
	}
	return r.End()
}

// readMap reads the start of a map of n pairs.
func readMap(r *cbor.Reader, n int) {
	if r.Map() != n {
		r.Fail(errFields)
	}
}
