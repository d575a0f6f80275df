package author_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/semver"
)

func version(t *testing.T, s string) semver.Version {
	t.Helper()
	v, err := semver.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLogFoldsIntoItsState(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	l.add(release("1.0.0"), a)
	l.add(release("1.1.0"), a)
	l.add(release("2.0.0-rc.1"), a)
	l.add(yank("1.0.0"), a)
	l.add(author.Body{Kind: author.KindDeprecate, Deprecate: &author.Deprecate{Versions: "<1.1.0", Message: "old", Use: "right-pad"}}, a)
	l.add(author.Body{Kind: author.KindDisown, Disown: &author.Disown{From: 2, Reason: "stolen"}}, a)
	l.add(release("2.0.0"), a)
	s := l.state
	if s.ID == [32]byte{} || s.Origin != origin || s.Name != pkgName || s.Author != a.Author() || s.Size != 8 || s.Last != (author.Recorded{Commit: 80, T: 5007}) {
		t.Errorf("state %+v", s)
	}
	type row struct {
		Version            string
		Index, Commit      uint64
		Yanked, Disowned   bool
		YankReason, Advice string
	}
	var got []row
	for _, r := range s.Releases {
		if r.Signer != a.Author() {
			t.Errorf("%s is signed by %s", r.Version, r.Signer)
		}
		got = append(got, row{r.Version.String(), r.Index, r.Recorded.Commit, r.Yanked, r.Disowned, r.YankReason, r.Deprecated + r.Use})
	}
	want := []row{
		{"1.0.0", 1, 20, true, false, "broken", "oldright-pad"},
		{"1.1.0", 2, 30, false, true, "", ""},
		{"2.0.0-rc.1", 3, 40, false, true, "", ""},
		{"2.0.0", 7, 80, false, false, "", ""},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("releases (-want +got):\n%s", diff)
	}
	l.add(author.Body{Kind: author.KindUnyank, Yank: &author.Yank{Version: "1.0.0"}}, a)
	l.add(author.Body{Kind: author.KindDeprecate, Deprecate: &author.Deprecate{}}, a)
	if r := s.Find(version(t, "1.0.0")); r.Yanked || r.YankReason != "" || r.Deprecated != "" || r.Use != "" {
		t.Errorf("after unyank and undeprecate: %+v", r)
	}
	if s.Find(version(t, "9.0.0")) != nil {
		t.Error("found what was never released")
	}
}

func TestPlaceInTheLogIsChecked(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	l.add(release("1.0.0"), a)
	before := l.state.Clone()
	replay := l.sign(release("1.1.0"), a)
	l.put(replay, l.now())

	l.refusedEntry("the same entry again", replay, l.now())
	gap := l.state.Body(author.KindRelease, 1)
	gap.I++
	gap.Release = release("3.0.0").Release
	l.refusedEntry("a gap", mustSign(t, gap, a), l.now())
	l.refusedEntry("a second genesis", mustSign(t, genesis(set(1, a)), a), l.now())

	fork := before.Clone()
	other := author.Body{Pkg: before.ID, I: before.Size, Prev: before.LogRoot(), Kind: author.KindRelease, Release: release("9.9.9").Release}
	if err := fork.Apply(mustSign(t, other, a), l.now()); err != nil {
		t.Fatal(err)
	}
	next := fork.Body(author.KindRelease, 1)
	next.Release = release("10.0.0").Release
	l.refusedEntry("a fork", mustSign(t, next, a), l.now())

	empty := emptyLog(t)
	first := author.Body{Pkg: l.state.ID, I: 1, Prev: l.state.LogRoot(), Kind: author.KindRelease, Release: release("1.0.0").Release}
	empty.refusedEntry("a log without a genesis", mustSign(t, first, a), l.now())
	bad := genesis(set(1, a))
	bad.Prev = [32]byte{1}
	empty.refusedEntry("a genesis after something", mustSign(t, bad, a), l.now())
}

// An entry of one package, or of the same name in another registry, is none of this one even if all else is the same.
func TestEntryReplayedFromAnotherLogIsRefused(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	for rule, g := range map[string]author.Genesis{
		"another package":  {Origin: origin, Name: "right-pad", Root: set(1, a)},
		"another registry": {Origin: "elsewhere.example/log", Name: pkgName, Root: set(1, a)},
	} {
		s := &author.State{}
		if err := s.Apply(mustSign(t, author.Body{T: 1000, Kind: author.KindGenesis, Genesis: &g}, a), l.now()); err != nil {
			t.Fatal(err)
		}
		b := s.Body(author.KindRelease, 1)
		b.Release = release("1.0.0").Release
		l.refusedEntry(rule, mustSign(t, b, a), l.now())
		b.Prev = l.state.LogRoot() // only the package id tells them apart
		l.refusedEntry(rule+", with our root", mustSign(t, b, a), l.now())
	}
}

func TestVersionsAreReleasedOnce(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	l.add(release("1.0.0+linux"), a)
	l.add(release("1.0.0-rc.1"), a)
	l.refused("the same version", release("1.0.0+linux"), a)
	l.refused("other build metadata", release("1.0.0+darwin"), a)
	l.refused("no build metadata", release("1.0.0"), a)
	l.refused("a pre-release with build metadata", release("1.0.0-rc.1+x"), a)
	l.add(yank("1.0.0+linux"), a)
	l.refused("a yanked version", release("1.0.0"), a)
	l.refused("yank of a version that is not", yank("4.0.0"), a)
	l.refused("yank in another spelling", yank("1.0.0"), a)
	l.refused("disowning the future", author.Body{Kind: author.KindDisown, Disown: &author.Disown{From: 99}}, a)
}

func TestSealEndsTheLog(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	l.add(release("1.0.0"), a)
	l.add(author.Body{Kind: author.KindSeal}, a)
	l.refused("release", release("1.0.1"), a)
	l.refused("yank", yank("1.0.0"), a)
	l.refused("keys", author.Body{Kind: author.KindKeys, Keys: &author.Keys{Root: set(1, a)}}, a)
	l.refused("another seal", author.Body{Kind: author.KindSeal}, a)
}

// The frontier gives the roots that tlog computes from the whole log.
func TestFrontierMatchesTheWholeTree(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, hashes[i])
		}
		return out, nil
	})
	for i := range int64(70) {
		if i > 0 {
			l.add(release(fmt.Sprintf("0.0.%d", i)), a)
		}
		leaf, _, err := keys.SplitEnvelope(l.raws[i], author.MaxEntry)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := tlog.StoredHashes(i, leaf, read)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, stored...)
		want, err := tlog.TreeHash(i+1, read)
		if err != nil || l.state.LogRoot() != want {
			t.Fatalf("root of %d entries is %x, want %s, %v", i+1, l.state.LogRoot(), want, err)
		}
		if i > 0 && l.state.Releases[i-1].LogRoot != want {
			t.Fatalf("the release at %d names another root", i)
		}
	}
	if got, want := (&author.State{}).LogRoot(), sha256.Sum256(nil); got != want {
		t.Errorf("root of no entries is %x, want %x", got, want)
	}
}

func TestStateComesBackFromJSON(t *testing.T) {
	t.Parallel()
	a, b := key(1), key(2)
	next := author.RootHash(set(1, b))
	l := emptyLog(t)
	g := genesis(set(1, a))
	g.Genesis.Next, g.Genesis.Release = &next, []author.ReleaseKey{{Key: b.Public(), Until: 9000}}
	l.add(g, a)
	rel := release("1.0.0")
	rel.Release.Bin = map[string]string{"pad": "bin/pad"}
	rel.Release.Deps = []author.Dependency{{Name: "x", Constraint: "^1.0.0", Optional: true}}
	l.add(rel, b)
	l.add(yank("1.0.0"), a)
	text, err := json.Marshal(l.state)
	if err != nil {
		t.Fatal(err)
	}
	var back author.State
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b semver.Version) bool { return a.String() == b.String() })
	if diff := cmp.Diff(*l.state, back, same, cmpopts.IgnoreUnexported(author.State{}), cmpopts.EquateComparable(rel.Release.Root)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	l.state = &back
	l.add(release("1.0.1"), a)
	if got := l.state.Releases[0].Signer; got != b.Author() {
		t.Errorf("signer %s, want the release key %s", got, b.Author())
	}
}

func TestCloneIsApart(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	l.add(release("1.0.0"), a)
	c := l.state.Clone()
	l.add(yank("1.0.0"), a)
	l.add(release("1.0.1"), a)
	if c.Size != 2 || c.Releases[0].Yanked || len(c.Releases) != 1 || c.LogRoot() == l.state.LogRoot() {
		t.Errorf("the clone changed: %+v", c)
	}
}

// Of random histories, the fast index that Follow keeps and the plain search agree.
func TestFollowAgreesWithApply(t *testing.T) {
	t.Parallel()
	a := key(1)
	rapid.Check(t, func(rt *rapid.T) {
		l := newLog(t, set(1, a), a)
		n := rapid.IntRange(0, 12).Draw(rt, "entries")
		for i := range n {
			v := fmt.Sprintf("1.0.%d", i)
			if i > 0 && rapid.Bool().Draw(rt, "yank") {
				l.add(author.Body{Kind: author.KindDeprecate, Deprecate: &author.Deprecate{Versions: "<=" + v, Message: "m"}}, a)
			} else {
				l.add(release(v), a)
			}
		}
		got, err := l.follow(t.Context(), nil)
		if err != nil {
			rt.Fatal(err)
		}
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *l.state) {
			rt.Fatalf("got %+v, want %+v", got, l.state)
		}
	})
}

func mustSign(tb testing.TB, b author.Body, ks ...keys.Key) author.Entry {
	tb.Helper()
	e, err := author.Sign(b, ks...)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

func TestSubjectOfATrustErrorNamesTheEntry(t *testing.T) {
	t.Parallel()
	a := key(1)
	l := newLog(t, set(1, a), a)
	err := l.state.Apply(l.sign(release("1.0.0"), key(2)), l.now())
	if err == nil || !strings.Contains(err.Error(), `author log of "left-pad", entry 1: the entry is signed by no key that may release`) {
		t.Errorf("got %v", err)
	}
}
