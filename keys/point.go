package keys

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"filippo.io/edwards25519"

	"pkg/lockfile/name"
)

var (
	errNoPoint   = errors.New("the public key is not a point of the curve")
	errSpelling  = errors.New("the public key is not in its canonical form")
	errLowOrder  = errors.New("the public key is of low order")
	errSignature = errors.New("the signature does not match")
)

// CheckPoint refuses a public key that is not the canonical encoding (RFC 8032
// §5.1.2) of a point, or whose point is of low order: every signature of such a
// key can be forged.
func CheckPoint(pub [32]byte) error {
	p, err := new(edwards25519.Point).SetBytes(pub[:])
	if err != nil {
		return errNoPoint
	}
	if [32]byte(p.Bytes()) != pub {
		return errSpelling
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return errLowOrder
	}
	return nil
}

// Public returns the key of an author, which CheckPoint accepts.
func Public(a name.Author) (ed25519.PublicKey, error) {
	parsed, err := name.ParseAuthor(string(a))
	if err != nil {
		return nil, err
	}
	pub := parsed.Key()
	if err := CheckPoint(pub); err != nil {
		return nil, fmt.Errorf("author %s: %w", a, err)
	}
	return pub[:], nil
}

// Verify checks an ed25519 signature (RFC 8032, without the cofactor, as
// crypto/ed25519 does) by a key that CheckPoint accepts.
func Verify(pub [32]byte, msg, sig []byte) error {
	if len(sig) != ed25519.SignatureSize || !ed25519.Verify(pub[:], msg, sig) {
		return errSignature
	}
	return CheckPoint(pub)
}
