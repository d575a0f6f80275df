package author_test

import (
	"bytes"
	"testing"

	"pkg/keys/author"
)

func rotate(root author.RootSet, next *[32]byte, release ...author.ReleaseKey) author.Body {
	return author.Body{Kind: author.KindKeys, Keys: &author.Keys{Root: root, Next: next, Release: release}}
}

func TestGenesisIsSignedByItsRootSet(t *testing.T) {
	t.Parallel()
	a, b, c := key(1), key(2), key(3)
	l := emptyLog(t)
	l.refused("another key", genesis(set(1, a)), b)
	l.refused("one of two", genesis(set(2, a, b)), a)
	l.refused("one of two and a stranger", genesis(set(2, a, b)), a, c)
	l.add(genesis(set(2, a, b)), a, b, c) // c is the owner of its scope
}

// TestAuthorSignsTheGenesis: whoever may claim a name may name any keys as its
// root set, so the one by which people know and pin the package must agree.
func TestAuthorSignsTheGenesis(t *testing.T) {
	t.Parallel()
	victim, thief := key(1), key(2)
	if a, b := victim.Public(), thief.Public(); bytes.Compare(a[:], b[:]) > 0 {
		victim, thief = thief, victim
	}
	l := emptyLog(t)
	l.refused("by the other root key alone", genesis(set(1, victim, thief)), thief)
	l.add(genesis(set(1, victim, thief)), victim)
	if l.state.Author != victim.Author() {
		t.Errorf("author %s, want %s", l.state.Author, victim.Author())
	}
	l.add(release("1.0.0"), thief)
}

func TestWhoMaySignWhat(t *testing.T) {
	t.Parallel()
	root, other, rel, stranger := key(1), key(2), key(3), key(4)
	l := emptyLog(t)
	g := genesis(set(2, root, other))
	g.Genesis.Release = []author.ReleaseKey{{Key: rel.Public(), Until: 6000}}
	l.add(g, root, other)

	l.add(release("1.0.0"), rel)
	l.add(release("1.0.1"), root, other)
	l.add(yank("1.0.0"), rel)
	l.add(author.Body{Kind: author.KindUnyank, Yank: &author.Yank{Version: "1.0.0"}}, rel)
	l.add(author.Body{Kind: author.KindDeprecate, Deprecate: &author.Deprecate{Message: "m"}}, rel)
	l.refused("release by a stranger", release("2.0.0"), stranger)
	l.refused("release by one root key of two", release("2.0.0"), root)
	l.refused("release with a stranger beside", release("2.0.0"), rel, stranger)
	l.refused("yank by a stranger", yank("1.0.0"), stranger)
	seal := author.Body{Kind: author.KindSeal}
	disown := author.Body{Kind: author.KindDisown, Disown: &author.Disown{From: 1}}
	l.refused("seal by a release key", seal, rel)
	l.refused("seal by one root key of two", seal, root, rel)
	l.refused("disown by a release key", disown, rel)
	l.refused("disown with a stranger beside", disown, root, other, stranger)
	l.refused("keys by a release key", rotate(set(1, rel), nil), rel)

	e := l.sign(release("2.0.0"), rel)
	l.refusedEntry("a release key after its time", e, author.Recorded{Commit: 100, T: 6001})
	if err := l.state.Clone().Apply(e, author.Recorded{Commit: 100, T: 6000}); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	late := l.sign(release("2.0.0"), rel, root, other)
	if err := l.state.Clone().Apply(late, author.Recorded{Commit: 100, T: 6001}); err != nil {
		t.Errorf("after its time, with the root set: %v", err)
	}
	l.add(disown, root, other)
	l.add(seal, root, other)
}

// The author's own clock in the entry does not save an expired key.
func TestExpiryIsJudgedByTheCommitTime(t *testing.T) {
	t.Parallel()
	a, rel := key(1), key(2)
	l := emptyLog(t)
	g := genesis(set(1, a))
	g.Genesis.Release = []author.ReleaseKey{{Key: rel.Public(), Until: 6000}}
	l.add(g, a)
	b := l.state.Body(author.KindRelease, 0)
	b.T, b.Release = 10, release("1.0.0").Release
	l.refusedEntry("backdated", mustSign(t, b, rel), author.Recorded{Commit: 20, T: 7000})
	b.T = 1 << 35
	if err := l.state.Apply(mustSign(t, b, rel), author.Recorded{Commit: 20, T: 5999}); err != nil {
		t.Errorf("an author's clock in the future: %v", err)
	}
}

func TestRotationWithoutAnAnnouncement(t *testing.T) {
	t.Parallel()
	a, b, rel := key(1), key(2), key(3)
	l := newLog(t, set(1, a), a)
	l.refused("by the old set alone", rotate(set(1, b), nil), a)
	l.refused("by the new set alone", rotate(set(1, b), nil), b)
	l.refused("by strangers", rotate(set(1, b), nil), rel)
	l.refused("with a stranger beside", rotate(set(1, b), nil), a, b, rel)
	l.add(rotate(set(1, b), nil, author.ReleaseKey{Key: rel.Public()}), a, b)
	l.refused("the old key releases", release("1.0.0"), a)
	l.refused("the old key rotates back", rotate(set(1, a), nil), a)
	l.add(release("1.0.0"), rel)
	l.add(release("1.0.1"), b)
	if l.state.Author != a.Author() {
		t.Errorf("the author is %s now, want the first key %s", l.state.Author, a.Author())
	}
	if got := l.state.Releases[1].Signer; got != b.Author() {
		t.Errorf("signer %s, want %s", got, b.Author())
	}
	l.add(rotate(set(1, b), nil), b)
	l.refused("a release key that was taken away", release("1.0.2"), rel)
}

func TestRotationKeepsToTheAnnouncement(t *testing.T) {
	t.Parallel()
	a, b, c := key(1), key(2), key(3)
	announced, after := author.RootHash(set(2, b, c)), author.RootHash(set(1, a))
	l := emptyLog(t)
	g := genesis(set(1, a))
	g.Genesis.Next = &announced
	l.add(g, a)
	l.refused("to another set", rotate(set(1, c), nil), a, c)
	l.refused("to another threshold", rotate(set(1, b, c), nil), a, b, c)
	l.refused("to the set it has", rotate(set(1, a), nil), a)
	l.refused("with one of two new keys", rotate(set(2, b, c), nil), a, b)
	l.add(rotate(set(2, c, b), &after), a, b, c)
	l.refused("against the next announcement", rotate(set(1, b), nil), b, c)
	l.add(rotate(set(1, a), nil), a, b, c)
	l.add(release("1.0.0"), a)
}

// A threshold is of distinct keys: RootHash and Met do not count one twice.
func TestThresholdCountsKeysOnce(t *testing.T) {
	t.Parallel()
	a, b := key(1), key(2)
	l := emptyLog(t)
	l.refused("one key signs twice", genesis(set(2, a, b)), a, a)
	if _, err := author.Sign(genesis(set(2, a, a)), a); err == nil {
		t.Error("a threshold that cannot be met is accepted")
	}
	if author.RootHash(set(1, a, b)) != author.RootHash(set(1, b, a)) {
		t.Error("RootHash depends on the order")
	}
	if author.RootHash(set(1, a, b)) == author.RootHash(set(2, a, b)) {
		t.Error("RootHash does not cover the threshold")
	}
}
