package namespace_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/note"
	xtlog "golang.org/x/mod/sumdb/tlog"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/keys/tlog"
	"pkg/lockfile/block"
)

const start = 1_800_000_000 // unix seconds of commit 0

// registry is a namespace log in memory: commit n is made at start + 60n.
type registry struct {
	trust  namespace.Trust
	raw    []byte
	id     cid.Cid
	signer note.Signer
	leaves [][]byte
	hashes []tlog.Hash
	seed   int // of its history: registries of one origin and different seeds are forks
}

func key(n byte) keys.Key { return keys.FromSeed([32]byte{n, 7}) }

func set(threshold uint64, ns ...byte) author.RootSet {
	s := author.RootSet{Threshold: threshold}
	for _, n := range ns {
		s.Keys = append(s.Keys, key(n).Public())
	}
	for i := range s.Keys { // in order
		for j := range i {
			if bytes.Compare(s.Keys[i][:], s.Keys[j][:]) < 0 {
				s.Keys[i], s.Keys[j] = s.Keys[j], s.Keys[i]
			}
		}
	}
	return s
}

func link(text string) cid.Cid { return block.Sum(cid.DagCBOR, []byte(text)) }

func newRegistry(tb testing.TB, origin string, seed int) *registry {
	tb.Helper()
	skey, vkey, err := tlog.GenerateLogKey(rand.NewChaCha8([32]byte{1}), origin)
	if err != nil {
		tb.Fatal(err)
	}
	r := &registry{seed: seed}
	if r.signer, err = tlog.NewSigner(skey); err != nil {
		tb.Fatal(err)
	}
	r.trust = namespace.Trust{Origin: origin, Keys: set(1, 1), Logs: []string{vkey}, MaxAge: 3600}
	r.raw = namespace.SignTrust(r.trust, key(1))
	if r.trust, r.id, err = namespace.OpenTrust(r.raw); err != nil {
		tb.Fatal(err)
	}
	r.grow(tb, 12)
	return r
}

func (r *registry) commit(n int) namespace.Commit {
	c := namespace.Commit{N: uint64(n), T: start + 60*int64(n), M: link(fmt.Sprint("map", r.seed, n))}
	if n > 0 {
		c.P = link(fmt.Sprint("map", r.seed, n-1))
	}
	if n%2 == 1 {
		c.O, c.Count = link(fmt.Sprint("ops", n)), 3
	}
	return c
}

func (r *registry) grow(tb testing.TB, size int) {
	tb.Helper()
	for n := len(r.leaves); n < size; n++ {
		r.add(tb, r.commit(n).Encode())
	}
}

func (r *registry) add(tb testing.TB, leaf []byte) {
	tb.Helper()
	more, err := xtlog.StoredHashes(int64(len(r.leaves)), leaf, r.reader())
	if err != nil {
		tb.Fatal(err)
	}
	r.leaves, r.hashes = append(r.leaves, leaf), append(r.hashes, more...)
}

func (r *registry) reader() xtlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = r.hashes[x]
		}
		return out, nil
	}
}

// file returns the head file of the first size commits, showing the leaf at index, cosigned by cosigners.
func (r *registry) file(tb testing.TB, size, index int64, cosigners ...note.Signer) []byte {
	tb.Helper()
	root, err := xtlog.TreeHash(size, r.reader())
	if err != nil {
		tb.Fatal(err)
	}
	text := tlog.FormatCheckpoint(r.trust.Origin, size, root)
	checkpoint, err := note.Sign(&note.Note{Text: text}, append([]note.Signer{r.signer}, cosigners...)...)
	if err != nil {
		tb.Fatal(err)
	}
	path, err := xtlog.ProveRecord(size, index, r.reader())
	if err != nil {
		tb.Fatal(err)
	}
	p := tlog.Proof{Extra: r.leaves[index], Index: index, Hashes: path, Checkpoint: checkpoint}
	return p.Format()
}

func (r *registry) head(tb testing.TB, size int64, cosigners ...note.Signer) namespace.Head {
	tb.Helper()
	h, err := namespace.OpenHead(r.file(tb, size, size-1, cosigners...), r.trust)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func (r *registry) consistency(tb testing.TB, size, old int64) []tlog.Hash {
	tb.Helper()
	proof, err := xtlog.ProveTree(size, old, r.reader())
	if err != nil {
		tb.Fatal(err)
	}
	return proof
}

func witness(tb testing.TB, n byte, at int64) *tlog.Cosigner {
	tb.Helper()
	c, err := tlog.NewCosigner(fmt.Sprintf("w%d.example", n), key(100+n), func() time.Time { return time.Unix(at, 0) })
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// distrusts fails unless err is a trust error with evidence that shows every one of pieces.
func distrusts(tb testing.TB, err error, pieces ...[]byte) {
	tb.Helper()
	e, ok := errors.AsType[*keys.TrustError](err)
	if !ok {
		tb.Errorf("error %v, want a trust error", err)
		return
	}
	if e.What == "" || e.Ours == "" || e.Theirs == "" {
		tb.Errorf("trust error %+v does not show both sides", e)
	}
	for i, p := range pieces {
		found := false
		for _, ev := range e.Evidence {
			found = found || bytes.Equal(ev.Data, p)
		}
		if !found {
			tb.Errorf("trust error %v: piece %d is not among its evidence", err, i)
		}
	}
}
