package tlog

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"pkg/keys"
)

const proofHeader = "c2sp.org/tlog-proof@v1"

// Proof says that a leaf lies in a log (C2SP tlog-proof v1). It claims; [Proof.Check] proves.
type Proof struct {
	Extra      []byte // opaque, not authenticated; nil when absent
	Index      int64  // of the leaf
	Hashes     []Hash // the audit path, from the leaf's sibling up to a child of the root
	Checkpoint []byte // a signed note, verbatim
}

// ParseProof reads a tlog-proof file strictly: Format of the result gives the same bytes. The checkpoint in it must have
// the shape of one but is not verified. Nothing returned aliases b.
func ParseProof(b []byte) (Proof, error) {
	if len(b) > MaxProof {
		return Proof{}, errors.New("malformed proof: too large")
	}
	bad := func(what string) (Proof, error) { return Proof{}, fmt.Errorf("malformed proof: %s", what) }
	var p Proof
	rest := string(b)
	next := func() (string, bool) {
		line, after, ok := strings.Cut(rest, "\n")
		rest = after
		return line, ok
	}
	if line, ok := next(); !ok || line != proofHeader {
		return bad("not a " + proofHeader + " file")
	}
	line, ok := next()
	if extra, is := strings.CutPrefix(line, "extra "); ok && is {
		data, err := base64.StdEncoding.DecodeString(extra)
		if err != nil || len(data) == 0 {
			return bad("bad extra data")
		}
		p.Extra = data
		line, ok = next()
	}
	index, is := strings.CutPrefix(line, "index ")
	if !ok || !is {
		return bad("no index")
	}
	var err error
	if p.Index, err = parseDecimal(index); err != nil || p.Index >= MaxSize {
		return bad("bad index")
	}
	for {
		if line, ok = next(); !ok {
			return bad("no checkpoint")
		}
		if line == "" {
			break
		}
		h, err := parseHash(line)
		if err != nil || len(p.Hashes) == maxHashes {
			return bad("bad hash")
		}
		p.Hashes = append(p.Hashes, h)
	}
	p.Checkpoint = []byte(rest)
	if _, _, _, err := ParseCheckpoint(p.Checkpoint); err != nil {
		return Proof{}, err
	}
	if !bytes.Equal(p.Format(), b) {
		return bad("not canonical")
	}
	return p, nil
}

// Format returns the tlog-proof file of p.
func (p Proof) Format() []byte {
	b := []byte(proofHeader + "\n")
	if len(p.Extra) > 0 {
		b = append(b, "extra "...)
		b = base64.StdEncoding.AppendEncode(b, p.Extra)
		b = append(b, '\n')
	}
	b = append(b, "index "...)
	b = strconv.AppendInt(b, p.Index, 10)
	b = append(b, '\n')
	for _, h := range p.Hashes {
		b = base64.StdEncoding.AppendEncode(b, h[:])
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(b, p.Checkpoint...)
}

// Check proves that leaf is the entry p.Index of the log at cp; if not it returns a *keys.TrustError.
func (p Proof) Check(leaf []byte, cp Checkpoint) error {
	err := tlog.CheckRecord(p.Hashes, cp.Size, cp.Root, p.Index, LeafHash(leaf))
	if err == nil {
		return nil
	}
	return &keys.TrustError{
		Subject:  cp.Origin,
		What:     "the leaf is not in the signed log",
		Ours:     fmt.Sprintf("root %s of %d leaves", formatHash(cp.Root), cp.Size),
		Theirs:   fmt.Sprintf("leaf %d with hash %s", p.Index, formatHash(LeafHash(leaf))),
		Evidence: []keys.Evidence{{Name: "proof", Data: p.Format()}},
	}
}

// CheckConsistency proves that the log of newSize leaves begins with the log of oldSize leaves (RFC 6962, section 2.1.2);
// if not it returns a *keys.TrustError without evidence, which the caller adds. Sizes are at least 1. Equal sizes need
// equal roots and an empty proof.
func CheckConsistency(proof []Hash, newSize int64, newRoot Hash, oldSize int64, oldRoot Hash) error {
	e := &keys.TrustError{
		Subject: "transparency log",
		Ours:    fmt.Sprintf("root %s of %d leaves", formatHash(oldRoot), oldSize),
		Theirs:  fmt.Sprintf("root %s of %d leaves", formatHash(newRoot), newSize),
	}
	switch {
	case oldSize < 1 || newSize < 1:
		return errors.New("check consistency: an empty log has no history")
	case newSize < oldSize:
		e.What = "the log shrank"
	case newSize == oldSize && newRoot != oldRoot:
		e.What = "the log has two histories of one size"
	case newSize == oldSize && len(proof) == 0:
		return nil
	case newSize > oldSize && tlog.CheckTree(proof, newSize, newRoot, oldSize, oldRoot) == nil:
		return nil
	default:
		e.What = "the log is not proved to continue the history known here"
	}
	return e
}

// AppendHashes appends the hashes to b, 32 bytes each: the form in which a proof travels apart from a file.
func AppendHashes(b []byte, hashes []Hash) []byte {
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

// ParseHashes reads what AppendHashes wrote, at most 64 hashes.
func ParseHashes(b []byte) ([]Hash, error) {
	if len(b)%HashSize != 0 || len(b) > maxHashes*HashSize {
		return nil, errors.New("malformed proof: bad length")
	}
	hashes := make([]Hash, 0, len(b)/HashSize)
	for ; len(b) > 0; b = b[HashSize:] {
		hashes = append(hashes, Hash(b[:HashSize]))
	}
	return hashes, nil
}
