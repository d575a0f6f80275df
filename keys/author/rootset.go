package author

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"pkg/keys"
	"pkg/keys/internal/cbor"
)

// maxKeys bounds a root set and the release keys.
const maxKeys = 16

var (
	errKeyCount  = errors.New("wrong number of keys")
	errKeyOrder  = errors.New("keys are not sorted, each once")
	errThreshold = errors.New("the threshold is not between one and the number of keys")
)

// RootSet is who decides about a package: threshold of the keys, which are sorted and distinct, at most 16.
type RootSet struct {
	Keys      [][32]byte
	Threshold uint64
}

// Single returns the root set of one key.
func Single(key [32]byte) RootSet { return RootSet{Keys: [][32]byte{key}, Threshold: 1} }

// Check says what is wrong with a root set, if anything.
func (s RootSet) Check() error {
	if len(s.Keys) == 0 || len(s.Keys) > maxKeys {
		return fmt.Errorf("root set: %w: %d", errKeyCount, len(s.Keys))
	}
	if s.Threshold == 0 || s.Threshold > uint64(len(s.Keys)) {
		return fmt.Errorf("root set: %w", errThreshold)
	}
	for i, k := range s.Keys {
		if i > 0 && bytes.Compare(s.Keys[i-1][:], k[:]) >= 0 {
			return fmt.Errorf("root set: %w", errKeyOrder)
		}
		if err := keys.CheckPoint(k); err != nil {
			return fmt.Errorf("root set: %w", err)
		}
	}
	return nil
}

// Has reports whether key is one of the set.
func (s RootSet) Has(key [32]byte) bool { return slices.Contains(s.Keys, key) }

// Met reports whether enough keys of the set are among sigs, which are verified and distinct.
func (s RootSet) Met(sigs []keys.Signature) bool {
	var n uint64
	for _, sig := range sigs {
		if s.Has(sig.Key) {
			n++
		}
	}
	return s.Threshold > 0 && n >= s.Threshold
}

// RootHash returns the commitment to a root set that next announces: SHA-256 of its encoding {keys, threshold}.
func RootHash(s RootSet) [32]byte { return sha256.Sum256(s.sorted().append(nil)) }

// sorted returns the set with its keys sorted, each once.
func (s RootSet) sorted() RootSet {
	s.Keys = slices.Clone(s.Keys)
	slices.SortFunc(s.Keys, func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) })
	s.Keys = slices.Compact(s.Keys)
	return s
}

func (s RootSet) append(out []byte) []byte {
	out = cbor.AppendMap(out, 2)
	out = cbor.AppendList(cbor.AppendText(out, "keys"), len(s.Keys))
	for _, k := range s.Keys {
		out = cbor.AppendBytes(out, k[:])
	}
	return cbor.AppendUint(cbor.AppendText(out, "threshold"), s.Threshold)
}

func readRootSet(r *cbor.Reader) (s RootSet) {
	readMap(r, 2)
	r.Key("keys")
	n := r.List()
	if n > maxKeys {
		r.Fail(errKeyCount)
		return s
	}
	s.Keys = make([][32]byte, n)
	for i := range s.Keys {
		s.Keys[i] = r.Bytes32()
	}
	r.Key("threshold")
	s.Threshold = r.Uint()
	if r.Err() == nil {
		if err := s.Check(); err != nil {
			r.Fail(err)
		}
	}
	return s
}

// ReleaseKey is a key that may release by itself in what commits record up to and including the time Until.
type ReleaseKey struct {
	Key   [32]byte
	Until int64 // unix seconds; 0 is for ever
}

// valid reports whether the key may sign what is recorded at t.
func (k ReleaseKey) valid(t int64) bool { return k.Until == 0 || t <= k.Until }

func sortedReleaseKeys(ks []ReleaseKey) []ReleaseKey {
	ks = slices.Clone(ks)
	slices.SortFunc(ks, func(a, b ReleaseKey) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return ks
}

func appendReleaseKeys(out []byte, ks []ReleaseKey) []byte {
	out = cbor.AppendList(out, len(ks))
	for _, k := range sortedReleaseKeys(ks) {
		out = cbor.AppendMap(out, 2)
		out = cbor.AppendBytes(cbor.AppendText(out, "key"), k.Key[:])
		out = cbor.AppendInt(cbor.AppendText(out, "until"), k.Until)
	}
	return out
}

func readReleaseKeys(r *cbor.Reader) []ReleaseKey {
	n := r.List()
	if n > maxKeys {
		r.Fail(errKeyCount)
		return nil
	}
	var ks []ReleaseKey
	for i := range n {
		var k ReleaseKey
		readMap(r, 2)
		r.Key("key")
		k.Key = r.Bytes32()
		r.Key("until")
		k.Until = r.Int()
		if k.Until < 0 || k.Until > maxTime {
			r.Fail(errBounds)
		}
		if i > 0 && bytes.Compare(ks[i-1].Key[:], k.Key[:]) >= 0 {
			r.Fail(errKeyOrder)
		}
		if r.Err() != nil {
			return nil
		}
		if err := keys.CheckPoint(k.Key); err != nil {
			r.Fail(err)
		}
		ks = append(ks, k)
	}
	return ks
}

func appendNext(out []byte, next *[32]byte) []byte {
	if next == nil {
		return cbor.AppendNull(out)
	}
	return cbor.AppendBytes(out, next[:])
}

func readNext(r *cbor.Reader) *[32]byte {
	if r.Null() {
		return nil
	}
	next := r.Bytes32()
	return &next
}
