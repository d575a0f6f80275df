package namespace_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/note"

	"pkg/keys"
	"pkg/keys/namespace"
	"pkg/keys/tlog"
	"pkg/keys/vmap"
	"pkg/lockfile/name"
)

func TestOpenHeadBelievesTheSignedLastCommit(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	for size := int64(1); size <= 12; size++ {
		raw := r.file(t, size, size-1)
		h, err := namespace.OpenHead(raw, r.trust)
		if err != nil {
			t.Fatalf("size %d: %v", size, err)
		}
		if want := r.commit(int(size) - 1); h.Commit != want || h.AsOf != want.T || !bytes.Equal(h.Raw, raw) {
			t.Errorf("size %d: %+v, want commit %+v", size, h, want)
		}
		p, err := tlog.ParseProof(raw)
		if err != nil {
			t.Fatal(err)
		}
		if again := namespace.FormatHead(p.Checkpoint, h.Commit, p.Hashes); !bytes.Equal(again, raw) {
			t.Errorf("FormatHead differs from the file:\n%s\n%s", again, raw)
		}
	}
}

func TestOpenHeadRefusesForgeries(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	fork := newRegistry(t, "reg.example", 2)
	other := newRegistry(t, "other.example", 1)
	good := r.file(t, 9, 8)
	forged := fork.file(t, 9, 8)
	p, err := tlog.ParseProof(good)
	if err != nil {
		t.Fatal(err)
	}
	p.Extra = r.commit(7).Encode()
	junk := newRegistry(t, "reg.example", 1)
	junk.add(t, []byte("no commit"))
	moved := newRegistry(t, "reg.example", 1)
	moved.add(t, moved.commit(20).Encode())
	for name, raw := range map[string][]byte{
		"not the last commit": r.file(t, 9, 7),
		"another commit":      p.Format(),
		"another registry":    other.file(t, 9, 8),
		"a path of a fork":    append(forged[:bytes.Index(forged, []byte("\n\n"))], good[bytes.Index(good, []byte("\n\n")):]...),
		"a leaf of junk":      junk.file(t, 13, 12),
		"a commit elsewhere":  moved.file(t, 13, 12),
	} {
		_, err := namespace.OpenHead(raw, r.trust)
		if err == nil {
			t.Errorf("%s: believed", name)
		}
		t.Run(name, func(t *testing.T) { t.Parallel(); distrusts(t, err, raw) })
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := namespace.OpenHead(bad, r.trust); err == nil {
			t.Errorf("believed with byte %d flipped", i)
		}
		if _, err := namespace.OpenHead(good[:i], r.trust); err == nil {
			t.Errorf("believed when cut at byte %d", i)
		}
	}
	if _, err := namespace.OpenHead([]byte("<html>log in</html>"), r.trust); err == nil || errors.As(err, new(*keys.TrustError)) {
		t.Errorf("a web page: error %v, want a plain one", err)
	}
}

func TestHeadFollowsOnlyItsOwnPast(t *testing.T) {
	t.Parallel()
	r, fork := newRegistry(t, "reg.example", 1), newRegistry(t, "reg.example", 2)
	for size := int64(1); size <= 12; size++ {
		h := r.head(t, size)
		for old := int64(1); old <= 12; old++ {
			was := r.head(t, old)
			if old > size {
				distrusts(t, h.Follows(was, nil), h.Raw, was.Raw)
				continue
			}
			proof := r.consistency(t, size, old)
			if err := h.Follows(was, proof); err != nil {
				t.Errorf("%d after %d: %v", size, old, err)
			}
			lie := fork.head(t, old)
			distrusts(t, h.Follows(lie, proof), h.Raw, lie.Raw)
			distrusts(t, h.Follows(was, append(proof, tlog.Hash{})), h.Raw, was.Raw)
			if old < size {
				distrusts(t, h.Follows(was, nil), h.Raw, was.Raw)
			}
		}
	}
	other := newRegistry(t, "other.example", 1)
	distrusts(t, other.head(t, 9).Follows(r.head(t, 3), other.consistency(t, 9, 3)))
}

func TestTimeOfTheLogNeverRunsBackwards(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	c := r.commit(12)
	c.T = start
	r.add(t, c.Encode())
	h, was := r.head(t, 13), r.head(t, 12)
	distrusts(t, h.Follows(was, r.consistency(t, 13, 12)), h.Raw, was.Raw)
}

func TestFreshnessGoesByMaxAge(t *testing.T) {
	t.Parallel()
	h := newRegistry(t, "reg.example", 1).head(t, 1)
	hour := time.Hour
	for _, tt := range []struct {
		after time.Duration
		want  namespace.Freshness
		err   bool
	}{
		{-namespace.Skew - time.Second, namespace.Expired, true},
		{-namespace.Skew, namespace.Fresh, false},
		{0, namespace.Fresh, false},
		{hour, namespace.Fresh, false},
		{hour + 1, namespace.Stale, false},
		{7 * hour, namespace.Stale, false},
		{7*hour + 1, namespace.Expired, false},
	} {
		got, err := h.Freshness(time.Unix(start, 0).Add(tt.after), hour)
		if got != tt.want || (err != nil) != tt.err {
			t.Errorf("after %v: %v, %v; want %v, error %v", tt.after, got, err, tt.want, tt.err)
		}
		if tt.err {
			distrusts(t, err, h.Raw)
		}
	}
}

func TestWitnessesSetTheAge(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	r.trust.Policy = fmt.Sprintf("witness A %s\nwitness B %s\nwitness C %s\ngroup G 2 A B C\nquorum G\n",
		witness(t, 1, 0).VerifierKey(), witness(t, 2, 0).VerifierKey(), witness(t, 3, 0).VerifierKey())
	if err := r.trust.Check(); err != nil {
		t.Fatal(err)
	}
	h := r.head(t, 3, witness(t, 1, start+900), witness(t, 2, start+700), witness(t, 3, start+100))
	if h.AsOf != start+700 || len(h.Checkpoint.Cosigned) != 3 {
		t.Errorf("AsOf = start+%d with %d cosignatures, want start+700", h.AsOf-start, len(h.Checkpoint.Cosigned))
	}
	raw := r.file(t, 3, 2, witness(t, 1, start+900))
	_, err := namespace.OpenHead(raw, r.trust)
	distrusts(t, err, raw)
}

func TestAcceptRemembersWhatOnlyGoesForward(t *testing.T) {
	t.Parallel()
	r, fork := newRegistry(t, "reg.example", 1), newRegistry(t, "reg.example", 2)
	first := r.head(t, 4)
	seen, err := namespace.Seen{Trust: [][]byte{r.raw}}.Accept(r.trust, first, nil)
	if err != nil || seen.Ratchet != first.AsOf || !bytes.Equal(seen.Head, first.Raw) {
		t.Fatalf("first head: %+v, %v", seen, err)
	}
	if size, err := seen.Size(); size != 4 || err != nil {
		t.Errorf("Size = %d, %v", size, err)
	}
	if h, ok, err := seen.Last(); !ok || err != nil || h.Commit != first.Commit {
		t.Errorf("Last = %+v, %v, %v", h, ok, err)
	}
	again, err := seen.Accept(r.trust, first, nil)
	if err != nil || !again.Equal(seen) {
		t.Errorf("the same head again: %+v, %v", again, err)
	}
	next := r.head(t, 9)
	later, err := seen.Accept(r.trust, next, r.consistency(t, 9, 4))
	if err != nil || later.Ratchet != next.AsOf || !bytes.Equal(later.Head, next.Raw) || len(later.Trust) != 1 {
		t.Errorf("a later head: %+v, %v", later, err)
	}
	for name, h := range map[string]namespace.Head{
		"older": r.head(t, 3), "same size, other history": fork.head(t, 4), "other history": fork.head(t, 9),
	} {
		kept, err := seen.Accept(r.trust, h, fork.consistency(t, 9, 4))
		if !kept.Equal(seen) {
			t.Errorf("%s: %+v is remembered", name, kept)
		}
		t.Run(name, func(t *testing.T) { t.Parallel(); distrusts(t, err, h.Raw, first.Raw) })
	}
}

func TestAcceptRatchetsCosignatureTimes(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	r.trust.Policy = "witness A " + witness(t, 1, 0).VerifierKey() + "\nquorum A\n"
	at := func(size, t0 int64) namespace.Head { return r.head(t, size, witness(t, 1, start+t0)) }
	seen, err := namespace.Seen{}.Accept(r.trust, at(4, 1000), nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := seen.Accept(r.trust, at(4, 900), nil); err != nil || !s.Equal(seen) {
		t.Errorf("older cosignature of the head seen: %+v, %v; want no change", s, err)
	}
	if s, err := seen.Accept(r.trust, at(4, 1100), nil); err != nil || s.Ratchet != start+1100 {
		t.Errorf("newer cosignature of the head seen: %+v, %v", s, err)
	}
	if s, err := seen.Accept(r.trust, at(5, 800), r.consistency(t, 5, 4)); err != nil || s.Ratchet != start+1000 {
		t.Errorf("clocks a little apart: %+v, %v", s, err)
	}
	h := at(5, 600)
	_, err = seen.Accept(r.trust, h, r.consistency(t, 5, 4))
	distrusts(t, err, h.Raw, seen.Head)
}

func TestSeenSurvivesRotationOfTheLogKey(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	seen, err := namespace.Seen{Trust: [][]byte{r.raw}}.Accept(r.trust, r.head(t, 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := tlog.GenerateLogKey(bytes.NewReader(bytes.Repeat([]byte{9}, 64)), "reg.example")
	if err != nil {
		t.Fatal(err)
	}
	next := r.trust
	next.N, next.Logs = 1, []string{vkey}
	seen, trust, err := seen.Advance(r.trust, namespace.SignTrust(next, key(1)))
	if err != nil {
		t.Fatal(err)
	}
	raw := r.file(t, 6, 5)
	_, err = namespace.OpenHead(raw, trust)
	distrusts(t, err, raw) // signed by the old key
	if r.signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	r.trust = trust
	if seen, err = seen.Accept(trust, r.head(t, 6), r.consistency(t, 6, 4)); err != nil {
		t.Fatal(err)
	}
	if again, id, err := namespace.OpenChain(r.id, seen.Trust); err != nil || again.N != 1 || id != r.id {
		t.Errorf("OpenChain: root %d, %v", again.N, err)
	}
}

func TestResetStopsUntilAccepted(t *testing.T) {
	t.Parallel()
	r, fork := newRegistry(t, "reg.example", 1), newRegistry(t, "reg.example", 2)
	seen, err := namespace.Seen{Trust: [][]byte{r.raw}}.Accept(r.trust, r.head(t, 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := fork.head(t, 3)
	next := r.trust
	next.N, next.Reset = 1, &namespace.Reset{Size: 3, Root: kept.Checkpoint.Root}
	raw := namespace.SignTrust(next, key(1))
	stopped, trust, err := seen.Advance(r.trust, raw)
	if e, ok := errors.AsType[*namespace.ResetError](err); !ok || e.Trust.N != 1 || trust.N != 0 || !stopped.Equal(seen) {
		t.Fatalf("Advance to a reset: root %d, %v", trust.N, err)
	}
	if seen, trust, err = seen.AcceptReset(r.trust, raw); err != nil || seen.Head != nil || len(seen.Trust) != 2 {
		t.Fatalf("AcceptReset: %+v, %v", seen, err)
	}
	lie := r.head(t, 9)
	_, err = seen.Accept(trust, lie, r.consistency(t, 9, 3))
	distrusts(t, err, lie.Raw)
	if _, err := seen.Accept(trust, fork.head(t, 9), fork.consistency(t, 9, 3)); err != nil {
		t.Errorf("the log as reset: %v", err)
	}
}

type blocks map[cid.Cid][]byte

func (b blocks) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	if data, ok := b[c]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func TestLookupSaysPresentAbsentForgedOrUnavailable(t *testing.T) {
	t.Parallel()
	record := sample()
	b := blocks{}
	root, err := vmap.Build([]vmap.Entry{
		{Name: "left-pad", Value: record.Encode()}, {Name: "forged", Value: []byte("junk")},
	}, func(c cid.Cid, data []byte) error { b[c] = data; return nil })
	if err != nil {
		t.Fatal(err)
	}
	reader := vmap.NewReader(b, root)
	got, err := namespace.Lookup(t.Context(), reader, "left-pad")
	if err != nil || !bytes.Equal(got.Encode(), record.Encode()) {
		t.Errorf("present: %+v, %v", got, err)
	}
	if got, err := namespace.Lookup(t.Context(), reader, "right-pad"); got != nil || err != nil {
		t.Errorf("absent: %+v, %v", got, err)
	}
	_, err = namespace.Lookup(t.Context(), reader, "forged")
	distrusts(t, err, []byte("junk"))
	empty := vmap.NewReader(blocks{}, root)
	for _, n := range []name.Name{"left-pad", "right-pad"} {
		if got, err := namespace.Lookup(t.Context(), empty, n); got != nil || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s unavailable: %+v, %v", n, got, err)
		}
	}
}

func FuzzOpenHead(f *testing.F) {
	r := newRegistry(f, "reg.example", 1)
	f.Add(r.file(f, 9, 8))
	f.Add(r.file(f, 1, 0))
	f.Add(r.file(f, 9, 3))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := namespace.OpenHead(raw, r.trust)
		if err != nil {
			return
		}
		if h.Commit != r.commit(int(h.Checkpoint.Size)-1) {
			t.Errorf("believed %+v", h)
		}
	})
}

func BenchmarkOpenHead(b *testing.B) {
	r := newRegistry(b, "reg.example", 1)
	r.trust.Policy = fmt.Sprintf("witness A %s\nwitness B %s\ngroup G 2 A B\nquorum G\n",
		witness(b, 1, 0).VerifierKey(), witness(b, 2, 0).VerifierKey())
	raw := r.file(b, 12, 11, witness(b, 1, start), witness(b, 2, start))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := namespace.OpenHead(raw, r.trust); err != nil {
			b.Fatal(err)
		}
	}
}
