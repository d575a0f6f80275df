package name

import (
	"errors"
	"fmt"
	"strings"

	"github.com/multiformats/go-multibase"
)

// Author is an author's public key as a did:key, for example
// did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp. The zero value is
// no author.
//
// The text after "did:key:" is the multibase base58btc form of the multicodec
// prefix 0xed 0x01 and the 32 key bytes (W3C CCG, The did:key Method, §3).
type Author string

const (
	didPrefix = "did:key:"
	// maxAuthor bounds what is decoded: base58 takes quadratic time.
	maxAuthor = len(didPrefix) + 64
)

// ParseAuthor checks that s is the canonical did:key of 32 bytes marked as an
// ed25519 key. Whether those bytes are a point that may sign is for the keys
// room to say.
func ParseAuthor(s string) (Author, error) {
	key, err := decodeAuthor(s)
	if err != nil {
		return "", fmt.Errorf("invalid author %s: %w", quote(s), err)
	}
	if a := AuthorOf(key); string(a) != s {
		return "", fmt.Errorf("invalid author %s: not the canonical spelling of %s", quote(s), a)
	}
	return Author(s), nil
}

// AuthorOf returns the did:key of an ed25519 public key.
func AuthorOf(pub [32]byte) Author {
	b := append([]byte{0xed, 0x01}, pub[:]...)
	s, err := multibase.Encode(multibase.Base58BTC, b)
	if err != nil {
		panic("name: base58btc is not supported: " + err.Error())
	}
	return Author(didPrefix + s)
}

// String returns the did:key.
func (a Author) String() string { return string(a) }

// Key returns the 32 bytes of the public key. It panics if a was made neither
// by ParseAuthor nor by AuthorOf.
func (a Author) Key() [32]byte {
	key, err := decodeAuthor(string(a))
	if err != nil {
		panic("name: Author not made by this package: " + err.Error())
	}
	return key
}

// Short returns a form for screens, of at most 24 characters: enough to
// recognise a key, never enough to check one.
func (a Author) Short() string {
	s := string(a)
	if len(s) <= len(didPrefix)+12 {
		return s
	}
	return s[:len(didPrefix)+4] + "…" + s[len(s)-6:]
}

// MarshalText returns the did:key.
func (a Author) MarshalText() ([]byte, error) { return []byte(a), nil }

// UnmarshalText accepts what ParseAuthor accepts, and the empty text as no
// author.
func (a *Author) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*a = ""
		return nil
	}
	v, err := ParseAuthor(string(b))
	if err != nil {
		return err
	}
	*a = v
	return nil
}

func decodeAuthor(s string) (key [32]byte, err error) {
	enc, ok := strings.CutPrefix(s, didPrefix)
	if !ok {
		return key, fmt.Errorf("it does not begin with %q", didPrefix)
	}
	if len(s) > maxAuthor {
		return key, errors.New("it is too long")
	}
	if !strings.HasPrefix(enc, "z") {
		return key, errors.New("not base58btc, which begins with z")
	}
	_, b, err := multibase.Decode(enc)
	if err != nil {
		return key, fmt.Errorf("base58btc: %w", err)
	}
	if len(b) != 34 || b[0] != 0xed || b[1] != 0x01 {
		return key, errors.New("not an ed25519 key")
	}
	copy(key[:], b[2:])
	return key, nil
}
