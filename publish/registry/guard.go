//go:build unix

package registry

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"pkg/keys/namespace"
)

// guard is the signer of the log: a note.Signer that compares each checkpoint
// with the last one it signed, and records it durably, before it signs. The
// record lies outside the data directory, so that neither a restored backup
// nor a bug of the log can make it sign two histories.
type guard struct {
	signer note.Signer
	path   string // the record
	disk   disk
	// leaf returns the last leaf of the log when it has size leaves.
	leaf func(size uint64) ([]byte, error)

	mu     sync.Mutex
	closed bool
	err    error // why the last signature was refused, nil if it was not
	// signed is sent to after each answer, so that a waiter looks again.
	signed chan struct{}
}

// guardError is a refusal to sign: it means that the data directory is not
// what it was, and no retry helps.
type guardError struct{ path, why string }

func (e *guardError) Error() string {
	return fmt.Sprintf("the log's signer refuses: %s (its record is %s)", e.why, e.path)
}

func newGuard(signer note.Signer, path string, d disk) *guard {
	return &guard{signer: signer, path: path, disk: d, signed: make(chan struct{}, 1)}
}

// Name returns the log's origin.
func (g *guard) Name() string { return g.signer.Name() }

// KeyHash returns the log key's hash.
func (g *guard) KeyHash() uint32 { return g.signer.KeyHash() }

// Sign signs the checkpoint msg if it extends the last one signed.
func (g *guard) Sign(msg []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sig, err := g.sign(msg)
	g.err = err
	select {
	case g.signed <- struct{}{}:
	default:
	}
	return sig, err
}

func (g *guard) sign(msg []byte) ([]byte, error) {
	if g.closed {
		return nil, errors.New("the log is closed")
	}
	next, err := parseBody(msg)
	if err != nil {
		return nil, g.refuse("%v", err)
	}
	// The record is read each time: after a failed write only the disk
	// knows what was recorded.
	last, err := g.last()
	if err != nil {
		return nil, err
	}
	if err := g.check(last, next); err != nil {
		return nil, err
	}
	if last == nil || last.size != next.size {
		if err := g.disk.Replace(g.path, msg, 0o600); err != nil {
			return nil, fmt.Errorf("record what is to be signed: %w", err)
		}
	}
	return g.signer.Sign(msg)
}

func (g *guard) check(last, next *signedTree) error {
	if next.origin != g.signer.Name() {
		return g.refuse("a checkpoint of %q, the log is %q", next.origin, g.signer.Name())
	}
	if last != nil {
		switch {
		case last.origin != next.origin:
			return g.refuse("the record is of another log, %q", last.origin)
		case next.size < last.size:
			return g.refuse("size %d, but %d was signed before", next.size, last.size)
		case next.size == last.size && next.root != last.root:
			return g.refuse("size %d with root %s, but root %s was signed before", next.size, next.root, last.root)
		}
	}
	if next.size == 0 {
		return nil
	}
	leaf, err := g.leaf(next.size)
	if err != nil {
		return fmt.Errorf("read the last leaf: %w", err)
	}
	c, err := namespace.DecodeCommit(leaf)
	if err != nil {
		return g.refuse("the last leaf is not a commit: %v", err)
	}
	if c.N != next.size-1 {
		return g.refuse("the last leaf of size %d says n = %d", next.size, c.N)
	}
	return nil
}

func (g *guard) refuse(format string, args ...any) error {
	return &guardError{g.path, fmt.Sprintf(format, args...)}
}

// last returns the record, nil if there is none.
func (g *guard) last() (*signedTree, error) {
	b, err := os.ReadFile(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := parseBody(b)
	if err != nil {
		return nil, g.refuse("the record cannot be read: %v", err)
	}
	return t, nil
}

// failure returns why the last signature was refused.
func (g *guard) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// forget drops the answer to an earlier checkpoint, so that a waiter sees only
// what comes.
func (g *guard) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.err = nil
	select {
	case <-g.signed:
	default:
	}
}

func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// signedTree is the body of a checkpoint.
type signedTree struct {
	origin string
	size   uint64
	root   tlog.Hash
}

// parseBody parses the text a log signs: origin, size and root, each a line
// (C2SP tlog-checkpoint without extension lines). It is also the record's
// format.
func parseBody(b []byte) (*signedTree, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) != 4 || lines[0] == "" || lines[3] != "" {
		return nil, errors.New("not the three lines of a checkpoint")
	}
	size, err := strconv.ParseUint(lines[1], 10, 63)
	if err != nil || strconv.FormatUint(size, 10) != lines[1] {
		return nil, fmt.Errorf("size %q", lines[1])
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != tlog.HashSize {
		return nil, fmt.Errorf("root %q", lines[2])
	}
	return &signedTree{lines[0], size, tlog.Hash(root)}, nil
}

// noteBody returns the signed text of a note.
func noteBody(text []byte) []byte {
	if i := bytes.LastIndex(text, []byte("\n\n")); i >= 0 {
		return text[:i+1]
	}
	return nil
}
