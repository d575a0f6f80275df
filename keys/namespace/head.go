package namespace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"pkg/keys"
	"pkg/keys/tlog"
	"pkg/keys/vmap"
	"pkg/lockfile/name"
)

// MaxHead bounds the bytes of a head file.
const MaxHead = tlog.MaxProof

// Skew is how far clocks of honest machines may lie apart.
const Skew = 5 * time.Minute

// Head is the state of a registry that somebody signed: a checkpoint and the commit that is its last leaf.
type Head struct {
	Checkpoint tlog.Checkpoint
	Commit     Commit
	AsOf       int64  // unix seconds: when a quorum of witnesses saw it, or when the commit was made if none is asked
	Raw        []byte // the file
}

// FormatHead returns the head file of a signed checkpoint, its last leaf and the audit path of that leaf.
func FormatHead(checkpoint []byte, c Commit, path []tlog.Hash) []byte {
	p := tlog.Proof{Extra: c.Encode(), Index: int64(c.N), Hashes: path, Checkpoint: checkpoint} //nolint:gosec // bounded by the log
	return p.Format()
}

// OpenHead verifies a head file under the trust root t: the checkpoint is of its origin, signed by its log, witnessed as its
// policy asks, and the commit is the last leaf of that checkpoint. Malformed files give plain errors, all else that is
// wrong a *keys.TrustError with the file as evidence.
func OpenHead(raw []byte, t Trust) (Head, error) {
	logs, policy, err := t.verifiers()
	if err != nil {
		return Head{}, fmt.Errorf("open head of %s: %w", t.Origin, err)
	}
	p, err := tlog.ParseProof(raw)
	if err != nil {
		return Head{}, fmt.Errorf("open head of %s: %w", t.Origin, err)
	}
	cp, err := tlog.OpenCheckpoint(p.Checkpoint, t.Origin, logs, policy)
	if err != nil {
		return Head{}, withHead(err, raw)
	}
	h, err := openLeaf(raw, p, cp)
	if err != nil {
		return Head{}, withHead(err, raw)
	}
	if h.AsOf = h.Commit.T; policy.Witnessed() {
		h.AsOf, _ = policy.QuorumTime(cp.Cosigned)
	}
	return h, nil
}

// reopen reads a head that was verified before it was stored, by a trust root that may have been replaced since.
func reopen(raw []byte) (Head, error) {
	p, err := tlog.ParseProof(raw)
	if err != nil {
		return Head{}, fmt.Errorf("open stored head: %w", err)
	}
	cp := tlog.Checkpoint{Text: p.Checkpoint}
	if cp.Origin, cp.Size, cp.Root, err = tlog.ParseCheckpoint(p.Checkpoint); err != nil {
		return Head{}, fmt.Errorf("open stored head: %w", err)
	}
	return openLeaf(raw, p, cp)
}

// openLeaf proves and decodes the last leaf.
func openLeaf(raw []byte, p tlog.Proof, cp tlog.Checkpoint) (Head, error) {
	distrust := func(what, ours, theirs string) (Head, error) {
		return Head{}, &keys.TrustError{Subject: cp.Origin, What: what, Ours: ours, Theirs: theirs}
	}
	if p.Index != cp.Size-1 {
		return distrust("the head does not show the last commit",
			fmt.Sprintf("a log of %d commits", cp.Size), fmt.Sprintf("commit %d", p.Index))
	}
	if err := p.Check(p.Extra, cp); err != nil {
		return Head{}, err
	}
	c, err := DecodeCommit(p.Extra)
	if err != nil {
		return distrust("the last leaf of the log is no commit", "a commit", err.Error())
	}
	if c.N != uint64(p.Index) { //nolint:gosec // a parsed index is not negative
		return distrust("a commit stands in the wrong place of the log",
			fmt.Sprintf("leaf %d", p.Index), fmt.Sprintf("commit %d", c.N))
	}
	return Head{Checkpoint: cp, Commit: c, AsOf: c.T, Raw: bytes.Clone(raw)}, nil
}

// withHead makes the head file the evidence of a trust error.
func withHead(err error, raw []byte) error {
	if e, ok := errors.AsType[*keys.TrustError](err); ok {
		e.Evidence = []keys.Evidence{{Name: "head", Data: bytes.Clone(raw)}}
	}
	return err
}

// Follows proves that h continues old, by an RFC 6962 consistency proof from old's size to h's, which is empty for equal
// sizes. A smaller log, another one of the same size, one that does not begin with old and time running backwards are
// *keys.TrustErrors with both heads as evidence.
func (h Head) Follows(old Head, proof []tlog.Hash) error {
	distrust := func(what, ours, theirs string) error {
		return &keys.TrustError{Subject: h.Checkpoint.Origin, What: what, Ours: ours, Theirs: theirs, Evidence: []keys.Evidence{
			{Name: "head known here", Data: old.Raw},
			{Name: "head served", Data: h.Raw},
			{Name: "consistency proof", Data: tlog.AppendHashes(nil, proof)},
		}}
	}
	now, was := h.Checkpoint, old.Checkpoint
	if now.Origin != was.Origin {
		return distrust("the head is of another log", was.Origin, now.Origin)
	}
	if now.Size < was.Size {
		return distrust("the registry serves an older head than before",
			fmt.Sprintf("%d commits, the last at %s", was.Size, date(old.Commit.T)),
			fmt.Sprintf("%d commits, the last at %s", now.Size, date(h.Commit.T)))
	}
	if err := tlog.CheckConsistency(proof, now.Size, now.Root, was.Size, was.Root); err != nil {
		e, ok := errors.AsType[*keys.TrustError](err)
		if !ok {
			return err
		}
		return distrust(e.What, e.Ours, e.Theirs)
	}
	if h.Commit.T < old.Commit.T {
		return distrust("time runs backwards in the log", date(old.Commit.T), date(h.Commit.T))
	}
	return nil
}

// Freshness says how much a head may be relied on for what is new.
type Freshness int

// The freshness of a head, by multiples of the registry's max-age (a day if it names none).
const (
	Fresh   Freshness = iota // not older than max-age
	Stale                    // older: worth a warning
	Expired                  // older than seven times max-age: no new resolution from it
)

func (f Freshness) String() string {
	switch f {
	case Fresh:
		return "fresh"
	case Stale:
		return "stale"
	case Expired:
		return "expired"
	}
	return fmt.Sprintf("freshness %d", int(f))
}

// Age returns how long before now the head was vouched for.
func (h Head) Age(now time.Time) time.Duration { return now.Sub(time.Unix(h.AsOf, 0)) }

// Freshness judges the age of h against maxAge; see [Trust.Age]. A head from more than Skew in the future is a
// *keys.TrustError: it or the clock here is wrong.
func (h Head) Freshness(now time.Time, maxAge time.Duration) (Freshness, error) {
	age := h.Age(now)
	switch {
	case age < -Skew:
		return Expired, &keys.TrustError{
			Subject: h.Checkpoint.Origin, What: "the head is from the future, or the clock here is wrong",
			Ours: date(now.Unix()), Theirs: date(h.AsOf), Evidence: []keys.Evidence{{Name: "head", Data: h.Raw}},
		}
	case age <= maxAge:
		return Fresh, nil
	case age <= 7*maxAge:
		return Stale, nil
	}
	return Expired, nil
}

// Lookup returns what the map read by r says of n, or nil if it proves that there is no such name. A record that does not
// decode is a *keys.TrustError: the registry signed it.
func Lookup(ctx context.Context, r *vmap.Reader, n name.Name) (*Record, error) {
	value, err := r.Lookup(ctx, name.Canonical(string(n)))
	if err != nil || value == nil {
		return nil, err
	}
	record, err := DecodeRecord(value)
	if err != nil {
		return nil, &keys.TrustError{
			Subject: string(n), What: "the registry's record of the name is not a record",
			Ours: "map " + r.Root().String(), Theirs: err.Error(),
			Evidence: []keys.Evidence{{Name: "record", Data: bytes.Clone(value)}},
		}
	}
	return record, nil
}

func date(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
