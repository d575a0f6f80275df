package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/multiformats/go-multibase"
)

const (
	// secretPrefix begins the one line of a plain key that is no comment.
	secretPrefix = "pkg-secret-key:" //nolint:gosec // G101: it names the secret that follows

	// maxFile bounds the bytes of a key file.
	maxFile = 16 << 10

	// maxWork bounds the scrypt work, 2^maxWork rounds, that a file can ask of its
	// reader: about four times what age writes, 4 GiB of memory.
	maxWork = 20
)

var (
	// ErrPassphraseNeeded says that a key is encrypted and no passphrase was given.
	ErrPassphraseNeeded = errors.New("the key is encrypted: a passphrase is needed")

	// ErrPassphrase says that the passphrase is not the one of the key.
	ErrPassphrase = errors.New("wrong passphrase")

	errEmptyPassphrase = errors.New("the passphrase is empty")
	errNoKey           = errors.New("not a key file")
	errDamaged         = errors.New("the key file is damaged: its secret is of another key than it says")
)

// PermError says that others than the owner could read or replace a key.
type PermError struct {
	Path string
	Mode os.FileMode
	Want os.FileMode
}

// Error names the file and its mode.
func (e *PermError) Error() string {
	return fmt.Sprintf("%s has mode %04o: others can reach the key in it", e.Path, e.Mode.Perm())
}

// Help returns the command that puts it right.
func (e *PermError) Help() string { return fmt.Sprintf("chmod %o %s", e.Want, e.Path) }

// EncodeFile returns the text of a key file. Without a passphrase (nil) that is
//
//	# did:key:z6Mk…
//	pkg-secret-key:z3u2…
//
// where the secret is in multibase base58btc, multicodec ed25519-priv (W3C
// Controlled Identifiers, secretKeyMultibase). With one it is the same text as
// an armored age file for that passphrase (scrypt, C2SP age.md), which the age
// tool opens as well.
func EncodeFile(k Key, passphrase []byte) ([]byte, error) { return encodeFile(k, passphrase, 0) }

func encodeFile(k Key, passphrase []byte, work int) ([]byte, error) {
	seed := k.Seed()
	secret, err := multibase.Encode(multibase.Base58BTC, append(secretCodec(), seed[:]...))
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	text := fmt.Appendf(nil, "# %s\n%s%s\n", k.Author(), secretPrefix, secret)
	if passphrase == nil {
		return text, nil
	}
	if len(passphrase) == 0 {
		return nil, errEmptyPassphrase
	}
	to, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	if work > 0 {
		to.SetWorkFactor(work)
	}
	var out bytes.Buffer
	armored := armor.NewWriter(&out)
	w, err := age.Encrypt(armored, to)
	if err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close(), armored.Close()); err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	return out.Bytes(), nil
}

// DecodeFile reads the text of a key file; the passphrase is not looked at if the
// file is plain. Without the passphrase it needs the error is
// ErrPassphraseNeeded, with another ErrPassphrase.
func DecodeFile(b, passphrase []byte) (Key, error) {
	if len(b) > maxFile {
		return Key{}, fmt.Errorf("decode key: %w: %d bytes", errNoKey, len(b))
	}
	if !isEncrypted(b) {
		return ParseText(string(b))
	}
	if len(passphrase) == 0 {
		return Key{}, ErrPassphraseNeeded
	}
	id, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return Key{}, fmt.Errorf("decrypt key: %w", err)
	}
	id.SetMaxWorkFactor(maxWork)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(b)), id)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return Key{}, ErrPassphrase
	}
	if err != nil {
		return Key{}, fmt.Errorf("decrypt key: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFile))
	if err != nil {
		return Key{}, fmt.Errorf("decrypt key: %w", err)
	}
	return ParseText(string(text))
}

// isEncrypted reports whether a key file is an age file.
func isEncrypted(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(b), []byte(armor.Header))
}

// ParseText reads a plain key, the whole file or its secret alone, as in the
// environment of a CI job. Errors never show any of it.
func ParseText(s string) (Key, error) {
	if len(s) > maxFile {
		return Key{}, errNoKey
	}
	var k Key
	var author string
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		comment, isComment := strings.CutPrefix(line, "#")
		comment = strings.TrimSpace(comment)
		switch {
		case isComment && strings.HasPrefix(comment, "did:key:"):
			author = comment
		case isComment || line == "":
		case !k.IsZero():
			return Key{}, fmt.Errorf("%w: it holds more than one secret", errNoKey)
		default:
			var err error
			if k, err = parseSecret(line); err != nil {
				return Key{}, err
			}
		}
	}
	switch {
	case k.IsZero():
		return Key{}, fmt.Errorf("%w: it holds no secret", errNoKey)
	case author != "" && author != string(k.Author()):
		return Key{}, errDamaged
	}
	return k, nil
}

func parseSecret(line string) (Key, error) {
	text, ok := strings.CutPrefix(line, secretPrefix)
	if !ok || len(text) > 128 || !strings.HasPrefix(text, "z") {
		return Key{}, fmt.Errorf("%w: its line does not begin with %sz", errNoKey, secretPrefix)
	}
	_, b, err := multibase.Decode(text)
	if err != nil {
		return Key{}, fmt.Errorf("%w: the secret is not base58", errNoKey)
	}
	seed, ok := bytes.CutPrefix(b, secretCodec())
	if !ok || len(seed) != 32 {
		return Key{}, fmt.Errorf("%w: the secret is not an ed25519 key", errNoKey)
	}
	return FromSeed([32]byte(seed)), nil
}

// secretCodec is the multicodec ed25519-priv, 0x1300, as a varint.
func secretCodec() []byte { return []byte{0x80, 0x26} }

// ReadFile reads a key file that nobody but its owner may read; if others may
// the error is a *PermError (not on Windows, where a file's mode does not say).
func ReadFile(path string, passphrase []byte) (Key, error) {
	b, err := readPrivate(path)
	if err != nil {
		return Key{}, err
	}
	k, err := DecodeFile(b, passphrase)
	if err != nil {
		return Key{}, fmt.Errorf("read key %s: %w", path, err)
	}
	return k, nil
}

// readPrivate reads a small regular file that is its owner's alone. It asks the
// open file, so that what it checked is what it reads.
func readPrivate(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, fmt.Errorf("read key %s: %w: not a regular file", path, errNoKey)
	}
	f, err := os.Open(path) //nolint:gosec // G304: the path of a key is the user's to choose
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	if !private(info, 0o077) {
		if _, err := DecodeFile(b, nil); errors.Is(err, errNoKey) { // nobody should change the mode of what is no key
			return nil, fmt.Errorf("read key %s: %w", path, err)
		}
		return nil, &PermError{Path: path, Mode: info.Mode(), Want: 0o600}
	}
	return b, nil
}
