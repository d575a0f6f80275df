package tlog

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"pkg/keys"
)

// Signature types of C2SP signed-note verifier keys.
const (
	algEd25519     = 0x01
	algCosignature = 0x04
	algMLDSA       = 0x06
)

const maxKeyText = 4 << 10 // bytes of a vkey; an ML-DSA-44 one is 1.8 KB

// GenerateLogKey makes the Ed25519 key pair of a log: skey is the secret signer text, vkey what trust roots name.
func GenerateLogKey(rand io.Reader, origin string) (skey, vkey string, err error) {
	if !validKeyName(origin) {
		return "", "", fmt.Errorf("generate log key: %q cannot name a key", origin)
	}
	return note.GenerateKey(rand, origin)
}

// NewSigner returns the signer of a secret key text made by GenerateLogKey.
func NewSigner(skey string) (note.Signer, error) { return note.NewSigner(skey) }

// NewLogVerifier returns the verifier of a log's vkey (type 0x01). Only its canonical spelling and points that are no
// low-order trap are accepted.
func NewLogVerifier(vkey string) (note.Verifier, error) {
	k, err := parseKey(vkey, algEd25519)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// NewWitnessVerifier returns the verifier of a witness's vkey (type 0x04, C2SP tlog-cosignature): the signatures it
// verifies are a timestamp and an Ed25519 signature over it and the checkpoint.
func NewWitnessVerifier(vkey string) (note.Verifier, error) {
	k, err := parseKey(vkey, algCosignature)
	if err != nil {
		return nil, err
	}
	return k, nil
}

// key is a parsed vkey; it is the note.Verifier of its type.
type key struct {
	name string
	hash uint32
	alg  byte
	pub  [32]byte
}

// Name returns the key name.
func (k *key) Name() string { return k.name }

// KeyHash returns the key ID.
func (k *key) KeyHash() uint32 { return k.hash }

// Verify reports whether sig is this key's signature of the note text msg.
func (k *key) Verify(msg, sig []byte) bool {
	if k.alg == algEd25519 {
		return ed25519.Verify(k.pub[:], msg, sig)
	}
	t, ok := cosignedAt(sig)
	return ok && ed25519.Verify(k.pub[:], cosignedMessage(t, msg), sig[8:])
}

func (k *key) String() string { return formatKey(k.name, k.alg, k.pub) }

func parseKey(vkey string, alg byte) (*key, error) {
	bad := func(why string) (*key, error) { return nil, fmt.Errorf("verifier key %.80q: %s", vkey, why) }
	if len(vkey) > maxKeyText {
		return bad("too long")
	}
	name, rest, _ := strings.Cut(vkey, "+")
	_, text, _ := strings.Cut(rest, "+")
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(data) == 0 || !validKeyName(name) {
		return bad("want name+id+base64")
	}
	switch {
	case data[0] == algMLDSA:
		return bad("ML-DSA-44 keys are not supported yet")
	case data[0] != alg:
		return bad(fmt.Sprintf("its signature type is 0x%02x, want 0x%02x", data[0], alg))
	case len(data) != 33:
		return bad("an Ed25519 key has 32 bytes")
	}
	k := &key{name: name, alg: alg, pub: [32]byte(data[1:]), hash: keyHash(name, alg, [32]byte(data[1:]))}
	if k.String() != vkey {
		return bad("its id is wrong or it is not written canonically")
	}
	if err := keys.CheckPoint(k.pub); err != nil {
		return nil, fmt.Errorf("verifier key %.80q: %w", vkey, err)
	}
	return k, nil
}

func formatKey(name string, alg byte, pub [32]byte) string {
	data := append([]byte{alg}, pub[:]...)
	return fmt.Sprintf("%s+%08x+%s", name, keyHash(name, alg, pub), base64.StdEncoding.EncodeToString(data))
}

// keyHash is the key ID of C2SP signed-note.
func keyHash(name string, alg byte, pub [32]byte) uint32 {
	b := append([]byte(name), '\n', alg)
	sum := sha256.Sum256(append(b, pub[:]...))
	return binary.BigEndian.Uint32(sum[:4])
}

// validKeyName is the rule of C2SP signed-note for key names.
func validKeyName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.Contains(name, "+") &&
		strings.IndexFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) < 0
}

// Cosigner signs checkpoints as a witness does; it is a note.Signer. It keeps no state: whoever holds one checks
// consistency with what it signed before.
type Cosigner struct {
	name string
	key  keys.Key
	now  func() time.Time
}

// NewCosigner returns the cosigner of key under a schema-less URL as name, telling time by now. One key serves one
// cosigner name only (C2SP tlog-cosignature).
func NewCosigner(name string, key keys.Key, now func() time.Time) (*Cosigner, error) {
	if !validKeyName(name) {
		return nil, fmt.Errorf("new cosigner: %q cannot name a key", name)
	}
	return &Cosigner{name: name, key: key, now: now}, nil
}

// Name returns the key name.
func (c *Cosigner) Name() string { return c.name }

// KeyHash returns the key ID.
func (c *Cosigner) KeyHash() uint32 { return keyHash(c.name, algCosignature, c.key.Public()) }

// VerifierKey returns the vkey that policies name.
func (c *Cosigner) VerifierKey() string { return formatKey(c.name, algCosignature, c.key.Public()) }

// Sign returns the timestamped signature of the note text msg.
func (c *Cosigner) Sign(msg []byte) ([]byte, error) {
	if _, _, _, err := parseBody(msg); err != nil {
		return nil, fmt.Errorf("cosign: %w", err)
	}
	t := c.now().Unix()
	if t < 0 {
		return nil, errors.New("cosign: the clock stands before 1970")
	}
	sig := binary.BigEndian.AppendUint64(nil, uint64(t))
	return append(sig, c.key.Sign(cosignedMessage(t, msg))...), nil
}

// cosignedMessage is what an Ed25519 cosigner signs (C2SP tlog-cosignature).
func cosignedMessage(t int64, body []byte) []byte {
	return append(fmt.Appendf(nil, "cosignature/v1\ntime %d\n", t), body...)
}

// cosignedAt returns the timestamp of a timestamped_signature.
func cosignedAt(sig []byte) (int64, bool) {
	if len(sig) != 8+ed25519.SignatureSize || sig[0] > 0x7f {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(sig)), true //nolint:gosec // the top bit is clear
}
