package tlog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/note"

	"pkg/keys"
)

// Checkpoint is a verified tree head (C2SP tlog-checkpoint).
type Checkpoint struct {
	Origin   string
	Size     int64 // leaves
	Root     Hash
	Text     []byte        // the signed note, byte for byte as it was opened
	Cosigned []Cosignature // of the policy's witnesses, in note order
}

// Cosignature says that a witness saw the log in this state at T.
type Cosignature struct {
	Name string // the witness's name in the policy
	Key  string // the witness's key name in the note
	T    int64  // unix seconds, by the witness's clock
}

// ParseCheckpoint reads the signed note text without verifying any signature: for those who wrote it themselves, and for
// saying what an unbelievable checkpoint claims.
func ParseCheckpoint(text []byte) (origin string, size int64, root Hash, err error) {
	if len(text) > MaxCheckpoint {
		return "", 0, Hash{}, errors.New("checkpoint is too large")
	}
	split := bytes.LastIndex(text, []byte("\n\n"))
	if split < 0 {
		return "", 0, Hash{}, errors.New("checkpoint has no signature block")
	}
	return parseBody(text[:split+1])
}

// parseBody reads the note text of a checkpoint: origin, size, root and extension lines, none of them empty.
func parseBody(body []byte) (origin string, size int64, root Hash, err error) {
	bad := func(what string) (string, int64, Hash, error) {
		return "", 0, Hash{}, fmt.Errorf("malformed checkpoint: %s", what)
	}
	line := func() (string, bool) {
		l, rest, ok := bytes.Cut(body, []byte("\n"))
		body = rest
		return string(l), ok && len(l) > 0
	}
	origin, ok := line()
	if !ok {
		return bad("no origin")
	}
	text, ok := line()
	if !ok {
		return bad("no size")
	}
	if size, err = parseDecimal(text); err != nil || size > MaxSize {
		return bad("bad size")
	}
	if text, ok = line(); !ok {
		return bad("no root")
	}
	if root, err = parseHash(text); err != nil {
		return bad("bad root")
	}
	for len(body) > 0 { // extension lines are opaque to us
		if _, ok := line(); !ok {
			return bad("empty extension line")
		}
	}
	return origin, size, root, nil
}

// FormatCheckpoint returns the note text that a log signs, without extension lines.
func FormatCheckpoint(origin string, size int64, root Hash) string {
	return origin + "\n" + strconv.FormatInt(size, 10) + "\n" + formatHash(root) + "\n"
}

// OpenCheckpoint verifies the signed note text: it is a checkpoint of origin, signed by one of logs, and cosigned as
// policy wants it. The zero Policy asks for no witness. A signature that is missing or wrong, another origin and a missed
// quorum are *keys.TrustErrors with the checkpoint as evidence.
func OpenCheckpoint(text []byte, origin string, logs []note.Verifier, policy Policy) (Checkpoint, error) {
	if len(text) > MaxCheckpoint {
		return Checkpoint{}, errors.New("open checkpoint: too large")
	}
	distrust := func(what, ours, theirs string) (Checkpoint, error) {
		return Checkpoint{}, &keys.TrustError{
			Subject: origin, What: what, Ours: ours, Theirs: theirs,
			Evidence: []keys.Evidence{{Name: "checkpoint", Data: bytes.Clone(text)}},
		}
	}
	n, err := note.Open(text, policy.verifiers(logs))
	if bad, ok := errors.AsType[*note.InvalidSignatureError](err); ok {
		return distrust("a signature of the checkpoint is wrong", "the key "+bad.Name, "bytes it did not sign")
	}
	if _, ok := errors.AsType[*note.UnverifiedNoteError](err); ok {
		return distrust("the checkpoint is not signed by the log", names(logs), signedBy(text))
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	cp := Checkpoint{Text: bytes.Clone(text)}
	if cp.Origin, cp.Size, cp.Root, err = parseBody([]byte(n.Text)); err != nil {
		return Checkpoint{}, err
	}
	if cp.Origin != origin {
		return distrust("the checkpoint is of another log", origin, cp.Origin)
	}
	if !signed(n, logs) {
		return distrust("the checkpoint is not signed by the log", names(logs), signedBy(text))
	}
	if cp.Cosigned, err = policy.cosignatures(n); err != nil {
		return Checkpoint{}, err
	}
	if _, ok := policy.QuorumTime(cp.Cosigned); !ok {
		return distrust("the checkpoint lacks its witnesses", policy.describe(), cosignedBy(cp.Cosigned))
	}
	return cp, nil
}

// signed reports whether one of logs made a verified signature of n.
func signed(n *note.Note, logs []note.Verifier) bool {
	for _, s := range n.Sigs {
		for _, l := range logs {
			if s.Name == l.Name() && s.Hash == l.KeyHash() {
				return true
			}
		}
	}
	return false
}

// parseDecimal reads a non-negative number without sign or leading zeros.
func parseDecimal(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%q is not a decimal number", s)
	}
	return n, nil
}

// parseHash reads the one base64 spelling (RFC 4648, section 4) of a hash.
func parseHash(s string) (h Hash, err error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != HashSize || base64.StdEncoding.EncodeToString(b) != s {
		return Hash{}, fmt.Errorf("%q is not a hash", s)
	}
	return Hash(b), nil
}

func formatHash(h Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
