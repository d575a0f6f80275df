package keys

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"pkg/keys/internal/cbor"
	"pkg/lockfile/name"
)

// MaxSignatures is how many signatures an envelope may carry.
const MaxSignatures = 64

// Signature is one signature of an envelope.
type Signature struct {
	Key [32]byte
	Sig [64]byte
}

var (
	errEnvelope = errors.New("an envelope is a list of a body and its signatures")
	errCount    = errors.New("wrong number of signatures")
	errSorted   = errors.New("signatures are not sorted by key, each key once")
)

// SignEnvelope returns the envelope of body, one canonical dag-cbor value, signed
// by each of ks for the purpose that domain names. A key given twice signs once.
// It takes at least one key.
func SignEnvelope(domain string, body []byte, ks ...Key) []byte {
	msg := message(domain, body)
	sigs := make([]Signature, 0, len(ks))
	for _, k := range ks {
		sigs = append(sigs, Signature{Key: k.Public(), Sig: [64]byte(k.Sign(msg))})
	}
	return JoinEnvelope(body, sigs)
}

// JoinEnvelope returns the envelope of body with signatures made elsewhere, in
// any order. A key that stands there twice is kept once.
func JoinEnvelope(body []byte, sigs []Signature) []byte {
	sigs = slices.Clone(sigs)
	slices.SortStableFunc(sigs, func(a, b Signature) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	sigs = slices.CompactFunc(sigs, func(a, b Signature) bool { return a.Key == b.Key })
	b := make([]byte, 0, len(body)+4+len(sigs)*(1+2+32+2+64))
	b = cbor.AppendList(b, 2)
	b = append(b, body...)
	b = cbor.AppendList(b, len(sigs))
	for _, s := range sigs {
		b = cbor.AppendList(b, 2)
		b = cbor.AppendBytes(b, s.Key[:])
		b = cbor.AppendBytes(b, s.Sig[:])
	}
	return b
}

// SizeError says that an envelope is longer than its kind may be.
type SizeError struct{ Size, Limit int } // bytes

func (e *SizeError) Error() string {
	return fmt.Sprintf("envelope of %d bytes, want at most %d", e.Size, e.Limit)
}

// SplitEnvelope reads an envelope of at most limit bytes strictly and verifies
// nothing. The body aliases b. A longer one is a *SizeError.
func SplitEnvelope(b []byte, limit int) (body []byte, sigs []Signature, err error) {
	if len(b) > limit {
		return nil, nil, &SizeError{len(b), limit}
	}
	r := cbor.NewReader(b)
	if r.List() != 2 {
		r.Fail(errEnvelope)
	}
	from := r.Pos()
	r.Skip()
	body = r.Slice(from)
	n := r.List()
	if n == 0 || n > MaxSignatures {
		r.Fail(errCount)
		n = 0
	}
	sigs = make([]Signature, n)
	for i := range sigs {
		if r.List() != 2 {
			r.Fail(errEnvelope)
		}
		s := &sigs[i]
		s.Key = r.Bytes32()
		copy(s.Sig[:], r.BytesN(len(s.Sig)))
		if i > 0 && bytes.Compare(sigs[i-1].Key[:], s.Key[:]) >= 0 {
			r.Fail(errSorted)
		}
		if r.Err() != nil {
			break
		}
	}
	if err := r.End(); err != nil {
		return nil, nil, fmt.Errorf("envelope: %w", err)
	}
	return body, sigs, nil
}

// OpenEnvelope is SplitEnvelope and verifies every signature, also those of keys
// that the caller does not know. One that does not match, or of a key that
// CheckPoint refuses, is a *TrustError.
func OpenEnvelope(domain string, b []byte, limit int) (body []byte, sigs []Signature, err error) {
	body, sigs, err = SplitEnvelope(b, limit)
	if err != nil {
		return nil, nil, err
	}
	msg := message(domain, body)
	for i := range sigs {
		if err := Verify(sigs[i].Key, msg, sigs[i].Sig[:]); err != nil {
			return nil, nil, &TrustError{
				Subject:  "envelope",
				What:     err.Error(),
				Theirs:   "signed as " + string(name.AuthorOf(sigs[i].Key)),
				Evidence: []Evidence{{Name: "envelope", Data: b}},
			}
		}
	}
	return body, sigs, nil
}

// Signed reports whether one of sigs, which are verified, is by key.
func Signed(sigs []Signature, key [ed25519.PublicKeySize]byte) bool {
	return slices.ContainsFunc(sigs, func(s Signature) bool { return s.Key == key })
}

// message is what is signed: the domain and the body.
func message(domain string, body []byte) []byte {
	return append(append(make([]byte, 0, len(domain)+len(body)), domain...), body...)
}
