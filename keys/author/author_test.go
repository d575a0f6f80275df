package author_test

import (
	"bytes"
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/block"
)

// full is a release with everything in it.
func full() author.Body {
	b := release("1.2.3-rc.1+build")
	b.Pkg, b.I = [32]byte{7}, 1
	b.Release.Description = "pads on the left"
	b.Release.Bin = map[string]string{"pad": "bin/pad.js", "z": "z", "a-longer-one": "bin/x"}
	b.Release.Deps = []author.Dependency{
		{Name: "scope/b", Constraint: "~1.2", Registry: block.Sum(cid.DagCBOR, nil).String()},
		{Name: "a", Constraint: "^1.0.0 || >=3", Optional: true},
	}
	b.Release.Attestations = []author.Attestation{{Type: "sbom", CID: block.Sum(cid.Raw, []byte("b"))}, {Type: "build", CID: block.Sum(cid.Raw, nil)}}
	return b
}

// bodies is one of each kind.
func bodies() []author.Body {
	a, b := key(1), key(2)
	next := author.RootHash(set(1, b))
	g := genesis(set(2, a, b))
	g.Genesis.Next = &next
	g.Genesis.Release = []author.ReleaseKey{{Key: b.Public(), Until: 99}, {Key: a.Public()}}
	all := []author.Body{
		g, release("1.0.0"), full(), yank("1.0.0"),
		{Kind: author.KindUnyank, Yank: &author.Yank{Version: "1.0.0"}},
		{Kind: author.KindDeprecate, Deprecate: &author.Deprecate{Versions: "^1", Message: "m", Use: "u"}},
		rotate(set(1, b), nil), rotate(set(1, b), &next, author.ReleaseKey{Key: a.Public()}),
		{Kind: author.KindDisown, Disown: &author.Disown{From: 3, Reason: "stolen"}},
		{Kind: author.KindSeal},
	}
	for i := range all[1:] {
		all[i+1].Pkg, all[i+1].I, all[i+1].T = [32]byte{7}, uint64(i+1), int64(i)*1e6
	}
	return all
}

// Decode and Sign are inverse to each other, both ways.
func TestEntriesComeBack(t *testing.T) {
	t.Parallel()
	for _, b := range bodies() {
		e := mustSign(t, b, key(1), key(2))
		back, err := author.Decode(e.Raw)
		if err != nil {
			t.Errorf("%s: %v", b.Kind, err)
			continue
		}
		if diff := cmp.Diff(e, back, cmp.Comparer(cid.Cid.Equals)); diff != "" {
			t.Errorf("%s (-signed +decoded):\n%s", b.Kind, diff)
		}
		again := mustSign(t, back.Body, key(2), key(1))
		if !bytes.Equal(again.Raw, e.Raw) {
			t.Errorf("%s: %x signed again is %x", b.Kind, e.Raw, again.Raw)
		}
		ignore := cmpopts.IgnoreFields(author.Body{}, "Prev", "Genesis", "Release", "Keys") // sorted since
		if diff := cmp.Diff(b, back.Body, ignore); diff != "" {
			t.Errorf("%s (-want +got):\n%s", b.Kind, diff)
		}
	}
	e := mustSign(t, full(), key(1))
	if e.Body.Release.Deps[0].Name != "a" || !e.Body.Release.Deps[0].Optional || e.Body.Release.Attestations[0].Type != "build" {
		t.Errorf("lists are not sorted: %+v", e.Body.Release)
	}
	if diff := cmp.Diff(full().Release.Bin, e.Body.Release.Bin); diff != "" {
		t.Error(diff)
	}
}

func TestPackageIDIsTheHashOfTheGenesisBody(t *testing.T) {
	t.Parallel()
	e := mustSign(t, genesis(set(1, key(1))), key(1))
	if e.ID() != sha256.Sum256(e.Leaf) || !bytes.Contains(e.Raw, e.Leaf) {
		t.Error("it is not")
	}
	more := mustSign(t, genesis(set(1, key(1))), key(1), key(2))
	if more.ID() != e.ID() {
		t.Error("the id depends on who signed")
	}
}

// No byte of an entry can change without notice.
func TestChangedEntryIsRefused(t *testing.T) {
	t.Parallel()
	e := mustSign(t, full(), key(1))
	for i := range e.Raw {
		bad := bytes.Clone(e.Raw)
		bad[i] ^= 1 << (i % 8)
		if _, err := author.Decode(bad); err == nil {
			t.Fatalf("accepted with byte %d changed", i)
		}
		if _, err := author.Decode(e.Raw[:i]); err == nil {
			t.Fatalf("accepted when cut at %d", i)
		}
	}
	if _, err := author.Decode(append(bytes.Clone(e.Raw), 0)); err == nil {
		t.Error("a trailing byte is accepted")
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	with := func(change func(r *author.Release)) author.Body {
		b := full()
		change(b.Release)
		return b
	}
	dep := func(d author.Dependency) author.Body {
		return with(func(r *author.Release) { r.Deps = []author.Dependency{d} })
	}
	bin := func(command, path string) author.Body {
		return with(func(r *author.Release) { r.Bin = map[string]string{command: path} })
	}
	root := func(s author.RootSet) author.Body { return genesis(s) }
	relKeys := func(ks ...author.ReleaseKey) author.Body {
		b := genesis(set(1, key(1)))
		b.Genesis.Release = ks
		return b
	}
	a := key(1).Public()
	seventeen := author.RootSet{Threshold: 1}
	for i := range byte(17) {
		seventeen.Keys = append(seventeen.Keys, key(i).Public())
	}
	tests := map[string]author.Body{
		"no kind":                  {},
		"an unknown kind":          {Kind: "gift"},
		"a kind without content":   {Kind: author.KindRelease},
		"content of another kind":  {Kind: author.KindYank, Disown: &author.Disown{}},
		"two contents":             {Kind: author.KindYank, Yank: yank("1.0.0").Yank, Disown: &author.Disown{}},
		"a seal with content":      {Kind: author.KindSeal, Disown: &author.Disown{}},
		"a negative time":          {Kind: author.KindSeal, T: -1},
		"a time far away":          {Kind: author.KindSeal, T: 1 << 41},
		"a loose version":          release("v1.2"),
		"no version":               release(""),
		"no root":                  with(func(r *author.Release) { r.Root = cid.Undef }),
		"a huge size":              with(func(r *author.Release) { r.Size = 1 << 60 }),
		"a huge number of files":   with(func(r *author.Release) { r.Files = 1 << 40 }),
		"text that is not UTF-8":   with(func(r *author.Release) { r.Description = "\xff" }),
		"a long license":           with(func(r *author.Release) { r.License = strings.Repeat("x", 300) }),
		"more than an entry holds": with(func(r *author.Release) { r.Attestations = many(400) }),
		"an invalid dependency":    dep(author.Dependency{Name: "Foo_Bar", Constraint: "*"}),
		"no constraint":            dep(author.Dependency{Name: "foo"}),
		"a bad constraint":         dep(author.Dependency{Name: "foo", Constraint: "banana"}),
		"a registry by URL":        dep(author.Dependency{Name: "foo", Constraint: "*", Registry: "https://x.example"}),
		"a dependency twice": with(func(r *author.Release) {
			r.Deps = []author.Dependency{{Name: "foo", Constraint: "1"}, {Name: "foo", Constraint: "2"}}
		}),
		"an attestation without a type": with(func(r *author.Release) { r.Attestations[0].Type = "" }),
		"an attestation without a CID":  with(func(r *author.Release) { r.Attestations[0].CID = cid.Undef }),
		"a command with a path":         bin("../x", "x"),
		"a hidden command":              bin(".x", "x"),
		"a command outside":             bin("x", "../x"),
		"an absolute command":           bin("x", "/bin/sh"),
		"a command with a backslash":    bin("x", `a\b`),
		"the package as a command":      bin("x", "."),
		"no command":                    bin("", "x"),
		"yank of no version":            yank(""),
		"a bad deprecation":             {Kind: author.KindDeprecate, Deprecate: &author.Deprecate{Versions: "banana"}},
		"no root keys":                  root(author.RootSet{Threshold: 1}),
		"a threshold of none":           root(author.RootSet{Keys: [][32]byte{a}}),
		"a threshold above":             root(author.RootSet{Keys: [][32]byte{a}, Threshold: 2}),
		"too many root keys":            root(seventeen),
		"a root key of low order":       root(author.Single([32]byte{1})),
		"a root key off the curve":      root(author.Single([32]byte{2})),
		"a release key of low order":    relKeys(author.ReleaseKey{}),
		"a release key twice":           relKeys(author.ReleaseKey{Key: a}, author.ReleaseKey{Key: a, Until: 5}),
		"a release key before time":     relKeys(author.ReleaseKey{Key: a, Until: -1}),
		"no name":                       {Kind: author.KindGenesis, Genesis: &author.Genesis{Origin: origin, Root: set(1, key(1))}},
		"no origin":                     {Kind: author.KindGenesis, Genesis: &author.Genesis{Name: pkgName, Root: set(1, key(1))}},
	}
	for rule, b := range tests {
		if b.Kind != author.KindGenesis {
			b.Pkg, b.I = [32]byte{7}, 1
		}
		if e, err := author.Sign(b, key(1)); err == nil {
			t.Errorf("%s: accepted as %x", rule, e.Raw)
		}
	}
	b := author.Body{Kind: author.KindSeal, I: 1}
	if _, err := author.Sign(b, key(1)); err != nil {
		t.Errorf("the seal the others are twins of: %v", err)
	}
	if _, err := author.Sign(b); err == nil {
		t.Error("an entry without a key is accepted")
	}
	b.I = 0
	if _, err := author.Sign(b, key(1)); err == nil {
		t.Error("a seal in the place of the genesis is accepted")
	}
	g := genesis(set(1, key(1)))
	g.I = 1
	if _, err := author.Sign(g, key(1)); err == nil {
		t.Error("a genesis in another place is accepted")
	}
}

func many(n int) []author.Attestation {
	var all []author.Attestation
	for i := range n {
		all = append(all, author.Attestation{Type: "t", CID: block.Sum(cid.Raw, []byte{byte(i), byte(i >> 8)})})
	}
	return all
}

// A constraint that only others understand hides nothing.
func TestDecodeTakesAnUnknownConstraint(t *testing.T) {
	t.Parallel()
	b := full()
	b.Release.Deps = []author.Dependency{{Name: "foo", Constraint: "1.2.3"}}
	e := mustSign(t, b, key(1))
	leaf := bytes.Replace(e.Leaf, []byte("1.2.3"), []byte("#_#_#"), 1)
	leaf = bytes.Replace(leaf, []byte("#_#_#-rc.1"), []byte("1.2.3-rc.1"), 1)
	raw := keys.SignEnvelope(author.Domain, leaf, key(1))
	got, err := author.Decode(raw)
	if err != nil || got.Body.Release.Deps[0].Constraint != "#_#_#" {
		t.Errorf("got %+v, %v", got.Body.Release, err)
	}
}

// FuzzDecode signs arbitrary bodies, which gets the fuzzer behind the signature.
func FuzzDecode(f *testing.F) {
	for _, b := range bodies() {
		f.Add(mustSign(f, b, key(1)).Leaf)
	}
	f.Fuzz(func(t *testing.T, leaf []byte) {
		raw := keys.SignEnvelope(author.Domain, leaf, key(1))
		e, err := author.Decode(raw)
		if err != nil {
			return
		}
		again, err := author.Sign(e.Body, key(1))
		if err != nil {
			if e.Body.Release != nil || e.Body.Deprecate != nil {
				return // a constraint that only others understand
			}
			t.Fatalf("%x is read and cannot be signed: %v", leaf, err)
		}
		if !bytes.Equal(again.Raw, raw) {
			t.Fatalf("%x came back as %x", raw, again.Raw)
		}
		s := &author.State{}
		if err := s.Apply(e, author.Recorded{}); err == nil && s.Size != 1 {
			t.Fatal("an entry that was applied does not count")
		}
	})
}

func FuzzDecodePage(f *testing.F) {
	l := grown(f, 3)
	f.Add(author.EncodePage(l.raws))
	f.Add([]byte{0x81, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		raws, err := author.DecodePage(b)
		if err == nil && !bytes.Equal(author.EncodePage(raws), b) {
			t.Fatalf("%x came back as %x", b, author.EncodePage(raws))
		}
	})
}

func FuzzDecodeIndex(f *testing.F) {
	l := grown(f, 70)
	l.store()
	f.Add(l.index.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := author.DecodeIndex(b)
		if err == nil && !bytes.Equal(x.Encode(), b) {
			t.Fatalf("%x came back as %x", b, x.Encode())
		}
	})
}
