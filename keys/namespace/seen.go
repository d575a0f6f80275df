package namespace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pkg/keys"
	"pkg/keys/tlog"
)

// ErrChanged says that what is stored is not what the caller read: read again and decide again.
var ErrChanged = errors.New("the state of the registry was changed by another process")

// Seen is what a client remembers of one registry. The zero Seen knows nothing. It holds what was verified, so it is as
// trustworthy as the place where it is stored.
type Seen struct {
	Trust   [][]byte // signed trust roots from root 0
	Head    []byte   // the newest head believed
	Ratchet int64    // unix seconds: the latest AsOf believed
}

// Heads keeps what was seen of registries, by their id. It is safe for concurrent use, by other processes too.
type Heads interface {
	// Load returns what is remembered, the zero Seen if nothing is.
	Load(ctx context.Context, id string) (Seen, error)
	// Swap durably replaces old by new, or returns ErrChanged if what is stored is not old.
	Swap(ctx context.Context, id string, old, new Seen) error
}

// Equal reports whether s and o are the same.
func (s Seen) Equal(o Seen) bool {
	return s.Ratchet == o.Ratchet && bytes.Equal(s.Head, o.Head) && slices.EqualFunc(s.Trust, o.Trust, bytes.Equal)
}

// Size returns the commits of the newest head believed, 0 if there is none: where a consistency proof has to begin.
func (s Seen) Size() (int64, error) {
	if len(s.Head) == 0 {
		return 0, nil
	}
	h, err := reopen(s.Head)
	return h.Checkpoint.Size, err
}

// Last returns the newest head believed, false if there is none. Its signatures were verified before it was stored and
// are not verified again; AsOf is the time of its commit.
func (s Seen) Last() (Head, bool, error) {
	if len(s.Head) == 0 {
		return Head{}, false, nil
	}
	h, err := reopen(s.Head)
	return h, err == nil, err
}

// Advance verifies raw as the trust root after t, the last of s.Trust, and returns what to remember and the new root. A root
// with a Reset gives a *ResetError, and s and t remain in force.
func (s Seen) Advance(t Trust, raw []byte) (Seen, Trust, error) {
	next, err := t.Next(raw)
	if err != nil {
		return s, t, err
	}
	if next.Reset != nil {
		return s, t, &ResetError{Trust: next}
	}
	s.Trust = append(slices.Clone(s.Trust), bytes.Clone(raw))
	return s, next, nil
}

// AcceptReset is Advance for a person who accepts a root with a Reset: heads from before it are forgotten.
func (s Seen) AcceptReset(t Trust, raw []byte) (Seen, Trust, error) {
	next, err := t.Next(raw)
	if err != nil {
		return s, t, err
	}
	if next.Reset == nil {
		return s, t, fmt.Errorf("trust root %d resets nothing", next.N)
	}
	return Seen{Trust: append(slices.Clone(s.Trust), bytes.Clone(raw))}, next, nil
}

// Accept returns what to remember when h, opened under the trust root t, is to be believed: it continues the head seen
// before, by proof as in [Head.Follows], and was not vouched for earlier. The first head of a registry needs no proof,
// unless t resets the log, when proof begins at the size of the reset. A head that differs from the one seen in its
// signatures only never makes s older. Persist the result before using h.
func (s Seen) Accept(t Trust, h Head, proof []tlog.Hash) (Seen, error) {
	next := Seen{Trust: s.Trust, Head: h.Raw, Ratchet: max(s.Ratchet, h.AsOf)}
	old, ok, err := s.Last()
	if err != nil {
		return s, err
	}
	if !ok {
		if err := startsOver(t, h, proof); err != nil {
			return s, err
		}
		return next, nil
	}
	if err := h.Follows(old, proof); err != nil {
		return s, err
	}
	if h.Checkpoint.Size == old.Checkpoint.Size && h.AsOf <= s.Ratchet {
		return s, nil
	}
	if h.AsOf < s.Ratchet-int64(Skew/time.Second) {
		return s, &keys.TrustError{
			Subject: t.Origin, What: "the head was vouched for before one that it continues",
			Ours: date(s.Ratchet), Theirs: date(h.AsOf),
			Evidence: []keys.Evidence{{Name: "head known here", Data: s.Head}, {Name: "head served", Data: h.Raw}},
		}
	}
	return next, nil
}

// startsOver checks the first head after a reset against it.
func startsOver(t Trust, h Head, proof []tlog.Hash) error {
	if t.Reset == nil || t.Reset.Size == 0 {
		return nil
	}
	at := int64(t.Reset.Size) //nolint:gosec // bounded when decoded
	err := tlog.CheckConsistency(proof, h.Checkpoint.Size, h.Checkpoint.Root, at, t.Reset.Root)
	return withHead(err, h.Raw)
}
