package name

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// From the did:key specification, §7 test vectors (ed25519).
const vector = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"

func TestAuthorRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var key [32]byte
		copy(key[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		a := AuthorOf(key)
		if !strings.HasPrefix(string(a), "did:key:z6Mk") {
			t.Fatalf("AuthorOf(%x) = %s", key, a)
		}
		b, err := ParseAuthor(a.String())
		if err != nil || b != a || b.Key() != key {
			t.Fatalf("ParseAuthor(%s) = %s, %v; key %x, want %x", a, b, err, b.Key(), key)
		}
	})
}

func TestAuthorIsCanonicalEd25519(t *testing.T) {
	t.Parallel()
	if _, err := ParseAuthor(vector); err != nil {
		t.Errorf("ParseAuthor(%s): %v", vector, err)
	}
	for _, in := range []string{
		"",
		"z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
		"did:key:",
		"did:key:z",
		"did:web:example.org",
		vector[:len(vector)-1],
		vector + "1",
		vector + " ",
		"DID:KEY:" + vector[8:],
		"did:key:z1" + vector[9:],
		// secp256k1 and X25519 keys of the same specification.
		"did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
		"did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc",
		"did:key:uAQID", // another base
		"did:key:z" + strings.Repeat("1", 1<<16),
	} {
		if a, err := ParseAuthor(in); err == nil {
			t.Errorf("ParseAuthor(%.80q) = %s", in, a)
		} else if len(err.Error()) > 600 {
			t.Errorf("ParseAuthor of %d bytes: message of %d bytes", len(in), len(err.Error()))
		}
	}
}

func TestShortFitsAColumn(t *testing.T) {
	t.Parallel()
	if got, want := Author(vector).Short(), "did:key:z6Mk…mDooWp"; utf8.RuneCountInString(got) > 24 || got != want {
		t.Errorf("Short = %q, want %q", got, want)
	}
	if got := Author("").Short(); got != "" {
		t.Errorf("Short of no author = %q", got)
	}
}

func TestTextMarshalingKeepsNoAuthor(t *testing.T) {
	t.Parallel()
	for _, in := range []Author{"", vector} {
		b, err := in.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var out Author
		if err := out.UnmarshalText(b); err != nil || out != in {
			t.Errorf("%q comes back as %q, %v", in, out, err)
		}
	}
	var n Name
	for in, ok := range map[string]bool{"a/b": true, "scope/": true, "A": false} {
		if err := n.UnmarshalText([]byte(in)); (err == nil) != ok {
			t.Errorf("Name.UnmarshalText(%q): %v", in, err)
		}
	}
}

func FuzzParseAuthor(f *testing.F) {
	f.Add(vector)
	f.Add("did:key:z6LSbysY2xFMRpGMhb7tFTLMpeuPRaqaWM1yECx2AtzE3KCc")
	f.Add("did:key:z")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAuthor(s)
		if err != nil {
			return
		}
		if string(a) != s || AuthorOf(a.Key()) != a {
			t.Fatalf("ParseAuthor(%q) = %q, again %q", s, a, AuthorOf(a.Key()))
		}
	})
}
