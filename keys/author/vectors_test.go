package author_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pkg/keys"
	"pkg/keys/author"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// vectorFile is relative to this package.
const vectorFile = "../../testdata/vectors/author.json"

// vector is a log as others may check it: applied in order, the last entry is accepted or not. A negative one is the twin of
// the positive one before it.
type vector struct {
	Rule    string
	OK      bool
	ID      string // package id, hex
	Root    string // RFC 6962 root of the log, hex; without the last entry where it is refused
	Entries []vectorEntry
}

type vectorEntry struct {
	Raw    string // envelope, hex
	Commit uint64
	T      int64
}

// TestVectors reads the vectors and compares them with what the generator makes now (go test ./keys/author -update).
func TestVectors(t *testing.T) {
	t.Parallel()
	want := makeVectors(t)
	if *update {
		b, err := json.MarshalIndent(want, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(vectorFile), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorFile, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var got []vector
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the format changed (-now +vectors):\n%s", diff)
	}
	for _, v := range got {
		checkVector(t, v)
	}
}

func checkVector(t *testing.T, v vector) {
	t.Helper()
	s := &author.State{}
	for i, entry := range v.Entries {
		raw, err := hex.DecodeString(entry.Raw)
		if err != nil {
			t.Fatalf("%s: %v", v.Rule, err)
		}
		e, err := author.Decode(raw)
		if err == nil {
			err = s.Apply(e, author.Recorded{Commit: entry.Commit, T: entry.T})
		}
		if last := i == len(v.Entries)-1; err == nil && last && !v.OK {
			t.Errorf("%s: accepted", v.Rule)
		} else if err != nil && (!last || v.OK) {
			t.Errorf("%s: entry %d: %v", v.Rule, i, err)
		}
	}
	root := s.LogRoot()
	if got := hex.EncodeToString(root[:]); got != v.Root {
		t.Errorf("%s: root %s, want %s", v.Rule, got, v.Root)
	}
	if got := hex.EncodeToString(s.ID[:]); got != v.ID {
		t.Errorf("%s: id %s, want %s", v.Rule, got, v.ID)
	}
}

// vectors collects.
type vectors struct {
	*log
	out []vector
}

// yes records the log as it is.
func (v *vectors) yes(rule string) {
	v.out = append(v.out, v.vector(rule, true))
}

// no records the log with one more entry that is refused.
func (v *vectors) no(rule string, raw []byte) {
	x := v.vector(rule, false)
	at := v.now()
	x.Entries = append(x.Entries, vectorEntry{Raw: hex.EncodeToString(raw), Commit: at.Commit, T: at.T})
	v.out = append(v.out, x)
}

func (v *vectors) vector(rule string, ok bool) vector {
	root := v.state.LogRoot()
	x := vector{Rule: rule, OK: ok, ID: hex.EncodeToString(v.state.ID[:]), Root: hex.EncodeToString(root[:])}
	for i, raw := range v.raws {
		at := v.index.At[i]
		x.Entries = append(x.Entries, vectorEntry{Raw: hex.EncodeToString(raw), Commit: at.Commit, T: at.T})
	}
	return x
}

func makeVectors(t *testing.T) []vector {
	t.Helper()
	root, next, rel, stranger := key(1), key(2), key(3), key(4)
	announced := author.RootHash(set(1, next))
	g := genesis(set(1, root))
	g.Genesis.Next = &announced
	g.Genesis.Release = []author.ReleaseKey{{Key: rel.Public(), Until: 5003}}

	v := &vectors{log: emptyLog(t)}
	v.no("genesis signed by another key", v.sign(g, stranger).Raw)
	v.add(g, root)
	v.yes("genesis")

	v.no("gap", gap(t, v.state, root).Raw)
	v.no("entry of another package", elsewhere(t, v.state, root).Raw)
	v.no("another history", otherPrev(t, v.state, root).Raw)
	first := full()
	first.Release.Version = "1.0.0+one"
	v.no("release by a stranger", v.sign(first, stranger).Raw)
	v.no("release by the announced key", v.sign(first, next).Raw)
	good := v.sign(first, rel)
	v.no("signature of another purpose", keys.SignEnvelope("pkg trust root v1\n", good.Leaf, rel))
	v.no("trailing byte", append(append([]byte{}, good.Raw...), 0))
	long := append([]byte{0x98, 0x02}, good.Raw[1:]...)
	v.no("length not in its shortest form", long)
	v.add(first, rel)
	v.yes("release by a release key")

	v.no("version twice", v.sign(first, root).Raw)
	v.no("version with other build metadata", v.sign(release("1.0.0"), root).Raw)
	v.add(yank("1.0.0+one"), rel)
	v.yes("yank")
	v.add(author.Body{Kind: author.KindUnyank, Yank: &author.Yank{Version: "1.0.0+one"}}, rel)
	v.yes("unyank in the last second of the release key")
	v.no("release by an expired key", v.sign(release("1.1.0"), rel).Raw)
	v.add(author.Body{Kind: author.KindDeprecate, Deprecate: &author.Deprecate{Versions: "<2", Message: "old", Use: "right-pad"}}, root)
	v.yes("deprecate")

	v.no("rotation to a set not announced", v.sign(rotate(set(1, stranger), nil), root, stranger).Raw)
	v.no("rotation that the new key did not sign", v.sign(rotate(set(1, next), nil), root).Raw)
	v.add(rotate(set(1, next), nil), root, next)
	v.yes("rotation")
	v.no("release by the key before", v.sign(release("1.1.0"), root).Raw)
	v.add(author.Body{Kind: author.KindDisown, Disown: &author.Disown{From: 1, Reason: "stolen"}}, next)
	v.yes("disown")
	v.add(author.Body{Kind: author.KindSeal}, next)
	v.yes("seal")
	v.no("release after the seal", v.sign(release("1.1.0"), next).Raw)
	return v.out
}

func gap(t *testing.T, s *author.State, k keys.Key) author.Entry {
	t.Helper()
	b := s.Body(author.KindRelease, 1)
	b.I, b.Release = b.I+1, release("1.0.0").Release
	return mustSign(t, b, k)
}

func elsewhere(t *testing.T, s *author.State, k keys.Key) author.Entry {
	t.Helper()
	b := s.Body(author.KindRelease, 1)
	b.Pkg[0] ^= 1
	b.Release = release("1.0.0").Release
	return mustSign(t, b, k)
}

func otherPrev(t *testing.T, s *author.State, k keys.Key) author.Entry {
	t.Helper()
	b := s.Body(author.KindRelease, 1)
	b.Prev[0] ^= 1
	b.Release = release("1.0.0").Release
	return mustSign(t, b, k)
}
