package author_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/block"
)

const (
	origin  = "registry.example/log"
	pkgName = "left-pad"
)

// key returns a key that is the same in every run.
func key(n byte) keys.Key { return keys.FromSeed(sha256.Sum256([]byte{n})) }

// set returns a root set of keys.
func set(threshold uint64, ks ...keys.Key) author.RootSet {
	s := author.RootSet{Threshold: threshold}
	for _, k := range ks {
		s.Keys = append(s.Keys, k.Public())
	}
	return s
}

func genesis(root author.RootSet) author.Body {
	return author.Body{T: 1000, Kind: author.KindGenesis, Genesis: &author.Genesis{Origin: origin, Name: pkgName, Root: root}}
}

func release(version string) author.Body {
	return author.Body{Kind: author.KindRelease, Release: &author.Release{
		Version: version, Root: block.Sum(cid.DagProtobuf, []byte(version)), Size: 100, Files: 2, License: "MIT",
	}}
}

func yank(version string) author.Body {
	return author.Body{Kind: author.KindYank, Yank: &author.Yank{Version: version, Reason: "broken"}}
}

// log is an author log in the making, with every commit that recorded it.
type log struct {
	t     testing.TB
	state *author.State
	raws  [][]byte
	index author.Index
	block map[cid.Cid][]byte
	gets  []cid.Cid
}

func emptyLog(tb testing.TB) *log {
	tb.Helper()
	return &log{t: tb, state: &author.State{}, block: make(map[cid.Cid][]byte)}
}

func newLog(tb testing.TB, root author.RootSet, ks ...keys.Key) *log {
	tb.Helper()
	l := emptyLog(tb)
	l.add(genesis(root), ks...)
	return l
}

// sign makes the next entry.
func (l *log) sign(b author.Body, ks ...keys.Key) author.Entry {
	l.t.Helper()
	next := l.state.Body(b.Kind, int64(1000+l.state.Size))
	b.Pkg, b.I, b.Prev, b.T = next.Pkg, next.I, next.Prev, next.T
	e, err := author.Sign(b, ks...)
	if err != nil {
		l.t.Fatal(err)
	}
	return e
}

// now is when the next entry would be recorded.
func (l *log) now() author.Recorded {
	return author.Recorded{Commit: 10 * (l.state.Size + 1), T: int64(5000 + l.state.Size)}
}

func (l *log) add(b author.Body, ks ...keys.Key) {
	l.t.Helper()
	l.put(l.sign(b, ks...), l.now())
}

func (l *log) put(e author.Entry, at author.Recorded) {
	l.t.Helper()
	if err := l.state.Apply(e, at); err != nil {
		l.t.Fatal(err)
	}
	l.raws = append(l.raws, e.Raw)
	l.index.At = append(l.index.At, author.At{Size: l.state.Size, Commit: at.Commit, T: at.T})
}

// refused applies an entry that must be a *keys.TrustError with the entry as evidence, and change nothing.
func (l *log) refused(rule string, b author.Body, ks ...keys.Key) {
	l.t.Helper()
	l.refusedEntry(rule, l.sign(b, ks...), l.now())
}

func (l *log) refusedEntry(rule string, e author.Entry, at author.Recorded) {
	l.t.Helper()
	before := fmt.Sprintf("%+v", l.state)
	err := l.state.Apply(e, at)
	trust, ok := errors.AsType[*keys.TrustError](err)
	if !ok {
		l.t.Errorf("%s: got %v, want a *TrustError", rule, err)
		return
	}
	if len(trust.Evidence) == 0 || string(trust.Evidence[0].Data) != string(e.Raw) {
		l.t.Errorf("%s: the evidence is not the entry", rule)
	}
	if after := fmt.Sprintf("%+v", l.state); after != before {
		l.t.Errorf("%s: the refused entry changed the state from\n%s to\n%s", rule, before, after)
	}
}

// store puts pages and index in place and returns the index CID.
func (l *log) store() cid.Cid {
	l.index.Pages = nil
	for i := 0; i < len(l.raws); i += author.PageSize {
		page := author.EncodePage(l.raws[i:min(i+author.PageSize, len(l.raws))])
		l.index.Pages = append(l.index.Pages, l.keep(page))
	}
	return l.keep(l.index.Encode())
}

func (l *log) keep(b []byte) cid.Cid {
	c := block.Sum(cid.DagCBOR, b)
	l.block[c] = b
	return c
}

// Get implements author.Blocks.
func (l *log) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	l.gets = append(l.gets, c)
	b, ok := l.block[c]
	if !ok {
		return nil, errAbsent
	}
	return b, nil
}

var errAbsent = errors.New("no such block")

func (l *log) follow(ctx context.Context, from *author.State) (*author.State, error) {
	l.gets = nil
	return author.Follow(ctx, from, l, l.state.ID, l.state.Size, l.state.LogRoot(), l.store())
}
