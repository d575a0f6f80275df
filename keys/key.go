package keys

import (
	"crypto/ed25519"
	"fmt"
	"io"

	"pkg/lockfile/name"
)

// Key is an ed25519 key pair. The zero Key is not one. It is immutable and safe
// for concurrent use; printed, it shows its public half.
type Key struct {
	priv ed25519.PrivateKey
}

// Generate makes a key of 32 bytes read from rand, which must be a source of
// secrets such as crypto/rand.Reader.
func Generate(rand io.Reader) (Key, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(rand, seed[:]); err != nil {
		return Key{}, fmt.Errorf("generate key: %w", err)
	}
	return FromSeed(seed), nil
}

// FromSeed returns the key of a seed (RFC 8032 calls it the private key).
func FromSeed(seed [32]byte) Key {
	return Key{priv: ed25519.NewKeyFromSeed(seed[:])}
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return k.priv == nil }

// Author returns the public half as a did:key.
func (k Key) Author() name.Author { return name.AuthorOf(k.Public()) }

// Public returns the public half.
func (k Key) Public() [32]byte { return [32]byte(k.priv[ed25519.SeedSize:]) }

// Seed returns the secret half.
func (k Key) Seed() [32]byte { return [32]byte(k.priv[:ed25519.SeedSize]) }

// Sign returns the 64 bytes of the signature of msg.
func (k Key) Sign(msg []byte) []byte { return ed25519.Sign(k.priv, msg) }

// String returns the did:key, never the secret.
func (k Key) String() string {
	if k.IsZero() {
		return "no key"
	}
	return string(k.Author())
}

// GoString returns the did:key, never the secret.
func (k Key) GoString() string { return k.String() }
