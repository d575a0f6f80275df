package keys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pkg/lockfile/name"
)

// Ring is a directory of keys. NAME.key is a key file as [EncodeFile] makes it,
// 0600 in a directory of mode 0700, and NAME.pub beside it is its did:key on a
// line, so that an encrypted key can be listed. No method replaces a key. The
// methods may be called concurrently, also by many processes.
type Ring struct {
	Dir string

	// WorkFactor makes encryption of new keys cheaper or dearer, 2^WorkFactor
	// rounds of scrypt; 0 is what age uses, about a second. For tests.
	WorkFactor int
}

// Info is what can be said of a key without opening it.
type Info struct {
	Name      string
	Author    name.Author // "" if the file is no key, or encrypted and its .pub is lost
	Encrypted bool
}

// maxKeyName bounds the bytes of a key's name.
const maxKeyName = 64

// validKeyName reports whether a name is of a–z, 0–9 and -, and neither empty nor too long.
func validKeyName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxKeyName
}

// NameError says that a key cannot have a name.
type NameError struct{ Name string }

// Error shows the name and the rule.
func (e *NameError) Error() string {
	return fmt.Sprintf("invalid key name %q: want 1 to 64 of a-z, 0-9 and -", e.Name)
}

// List returns the keys, sorted by name; none if there is no directory.
func (r Ring) List() ([]Info, error) {
	entries, err := os.ReadDir(r.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var out []Info
	for _, e := range entries {
		n, ok := strings.CutSuffix(e.Name(), ".key")
		if !ok || !validKeyName(n) || !e.Type().IsRegular() {
			continue
		}
		info, err := r.info(n)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list keys: %w", err)
		}
		out = append(out, info)
	}
	slices.SortFunc(out, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func (r Ring) info(n string) (Info, error) {
	b, err := readStart(r.path(n, ".key"))
	if err != nil {
		return Info{}, err
	}
	info := Info{Name: n, Encrypted: isEncrypted(b)}
	k, err := DecodeFile(b, nil)
	switch {
	case err == nil:
		info.Author = k.Author()
	case info.Encrypted:
		info.Author, _ = r.public(n)
	}
	return info, nil
}

// New keeps a key under a name that is not taken, encrypted unless passphrase is
// nil. If the name is taken the error is os.ErrExist.
func (r Ring) New(n string, k Key, passphrase []byte) error {
	if !validKeyName(n) {
		return &NameError{n}
	}
	b, err := encodeFile(k, passphrase, r.WorkFactor)
	if err != nil {
		return err
	}
	return r.add(n, k, b)
}

// Load opens a key. It refuses a file that others can read, with a *PermError,
// and is os.ErrNotExist if there is none of that name.
func (r Ring) Load(n string, passphrase []byte) (Key, error) {
	if !validKeyName(n) {
		return Key{}, &NameError{n}
	}
	path := r.path(n, ".key")
	k, err := ReadFile(path, passphrase)
	if err != nil {
		return Key{}, err
	}
	if a, err := r.public(n); err == nil && a != k.Author() {
		return Key{}, fmt.Errorf("read key %s: it is of %s, but %s says %s", path, k.Author(), r.path(n, ".pub"), a)
	}
	return k, nil
}

// Export returns the file of a key as it is: secret, and encrypted only if the
// key is. It refuses what Load refuses.
func (r Ring) Export(n string) ([]byte, error) {
	if !validKeyName(n) {
		return nil, &NameError{n}
	}
	return readPrivate(r.path(n, ".key"))
}

// Import keeps an exported file under a name that is not taken. It opens the key,
// to see that it can be, and keeps the file as it is, with its passphrase.
func (r Ring) Import(n string, b, passphrase []byte) (Key, error) {
	if !validKeyName(n) {
		return Key{}, &NameError{n}
	}
	k, err := DecodeFile(b, passphrase)
	if err != nil {
		return Key{}, fmt.Errorf("import key: %w", err)
	}
	return k, r.add(n, k, b)
}

// add writes the two files. The secret comes first: whoever places it owns the
// name, so that of two who try at once the loser touches nothing. A crash between
// the two leaves a key without a .pub, which Load does not need.
func (r Ring) add(n string, k Key, b []byte) error {
	if err := r.prepare(); err != nil {
		return err
	}
	path := r.path(n, ".key")
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("keep key %q: %w", n, os.ErrExist)
	}
	if err := r.write(path, b, false); err != nil {
		return fmt.Errorf("keep key %q: %w", n, err)
	}
	if err := r.write(r.path(n, ".pub"), fmt.Appendf(nil, "%s\n", k.Author()), true); err != nil {
		return fmt.Errorf("keep key %q: %w", n, err)
	}
	return nil
}

// prepare makes the directory, and refuses one in which others could put keys.
func (r Ring) prepare() error {
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return fmt.Errorf("make key directory: %w", err)
	}
	info, err := os.Stat(r.Dir)
	if err != nil {
		return fmt.Errorf("make key directory: %w", err)
	}
	if !private(info, 0o022) {
		return &PermError{Path: r.Dir, Mode: info.Mode(), Want: 0o700}
	}
	return nil
}

// write puts a file in place whole: temporary name, sync, then its name, then the
// directory is synced. Without replace a file of that name stays and the error is
// os.ErrExist, also if two processes try at once.
func (r Ring) write(path string, b []byte, replace bool) error {
	f, err := os.CreateTemp(r.Dir, ".new-*")
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: "make a file in", Path: r.Dir, Err: pe.Err} // not the temporary name, which says nothing
	} else if err != nil {
		return err
	}
	tmp := f.Name()
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = place(tmp, path, replace)
	}
	if err != nil {
		return errors.Join(err, ignoreAbsent(os.Remove(tmp)))
	}
	return syncDir(r.Dir)
}

// place gives the file its name.
func place(tmp, path string, replace bool) error {
	if replace {
		return os.Rename(tmp, path)
	}
	err := os.Link(tmp, path) // never replaces, unlike a rename
	switch {
	case err == nil:
		return os.Remove(tmp)
	case errors.Is(err, os.ErrExist):
		return os.ErrExist
	}
	// A file system without hard links.
	if _, err := os.Lstat(path); err == nil {
		return os.ErrExist
	}
	return os.Rename(tmp, path)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// public reads NAME.pub.
func (r Ring) public(n string) (name.Author, error) {
	b, err := readStart(r.path(n, ".pub"))
	if err != nil {
		return "", err
	}
	return name.ParseAuthor(strings.TrimSpace(string(b)))
}

// readStart reads a small regular file, and of a larger one enough to see that it is no key.
func readStart(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, fmt.Errorf("%s: %w: not a regular file", path, errNoKey)
	}
	f, err := os.Open(path) //nolint:gosec // G304: a file of the ring
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

func (r Ring) path(n, ext string) string { return filepath.Join(r.Dir, n+ext) }
