//go:build unix

package registry

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/publish/internal/file"
)

const (
	settingsFile = "registry.json"
	logKeyFile   = "log.key"
	rootKeyFile  = "root.key"
	incomplete   = "incomplete" // there while the registry is being created
	maxOrigin    = 256          // bytes
	maxAge       = 24 * 3600    // seconds after which a head is stale
)

// Init creates a registry in dir, which must not exist or be empty, and returns
// its id. An Init that was interrupted is begun again by the next.
//
// dir then holds log.key and root.key (0600), registry.json, the journal, the
// lock file, store (packs) and public (what readers see). The signer's record
// is dir.signed, beside it.
func Init(ctx context.Context, dir, origin string, o InitOptions) (id string, err error) {
	if err := checkOrigin(origin); err != nil {
		return "", err
	}
	s := newServer(dir, Config{Passphrase: o.Passphrase, Now: o.Now, Logger: o.Logger})
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("init registry: %w", err)
	}
	if err := s.acquire(ctx); err != nil {
		return "", fmt.Errorf("init registry %s: %w", dir, err)
	}
	err = errors.Join(s.create(ctx, origin), s.release())
	if err != nil {
		return "", fmt.Errorf("init registry %s: %w", dir, err)
	}
	return s.settings.ID, nil
}

// Embedded opens the registry in dir as Open does, and creates it first if
// there is none. It waits for another writer to finish.
func Embedded(ctx context.Context, dir string, cfg Config) (*Server, error) {
	cfg.Wait = true
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("embedded registry: %w", err)
	}
	s := newServer(dir, cfg)
	if err := s.acquire(ctx); err != nil {
		return nil, fmt.Errorf("embedded registry %s: %w", dir, err)
	}
	marked := exists(filepath.Join(dir, incomplete))
	if marked && s.whole() {
		if err := s.unmark(); err != nil {
			return nil, fmt.Errorf("embedded registry %s: %w", dir, errors.Join(err, s.release()))
		}
	} else if marked || !s.made() {
		if err := s.create(ctx, LocalOrigin); err != nil {
			return nil, fmt.Errorf("embedded registry %s: %w", dir, errors.Join(err, s.release()))
		}
		lock := s.lock
		s = newServer(dir, cfg)
		s.lock = lock
	}
	err := s.load()
	if err == nil {
		err = s.start(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("embedded registry %s: %w", dir, errors.Join(err, s.release()))
	}
	return s, nil
}

// create makes the registry in the locked directory.
func (s *Server) create(ctx context.Context, origin string) error {
	if err := s.clear(); err != nil {
		return err
	}
	signer, vkey, err := s.newLogKey(origin)
	if err != nil {
		return err
	}
	if err := s.newTrust(origin, vkey); err != nil {
		return err
	}
	s.guard = newGuard(signer, Signed(s.dir), s.disk)
	if s.log, err = openLog(ctx, s.public, s.guard, s.cfg.CheckpointInterval); err != nil {
		return err
	}
	defer s.log.Close()
	s.seq = s.log
	first, err := firstCommit(s.cfg.Now().Unix())
	if err != nil {
		return err
	}
	if err := s.journal.append(first); err != nil {
		return err
	}
	s.pending = &first
	if err := s.finishPending(ctx); err != nil {
		return err
	}
	return s.unmark()
}

// whole reports whether an interrupted creation lacked only its last step. The
// head is written durably after all the rest; somebody may have read it.
func (s *Server) whole() bool {
	return exists(filepath.Join(s.public, "head")) && exists(filepath.Join(s.dir, settingsFile)) && exists(Signed(s.dir)) && s.complete() == nil
}

// unmark ends the creation.
func (s *Server) unmark() error {
	if err := os.Remove(filepath.Join(s.dir, incomplete)); err != nil {
		return err
	}
	return errors.Join(file.SyncDir(s.dir), file.SyncDir(filepath.Dir(filepath.Clean(s.dir))))
}

// clear prepares the directory: it marks it as incomplete and removes what an
// interrupted creation left, of which nobody was told anything.
func (s *Server) clear() error {
	marker := filepath.Join(s.dir, incomplete)
	names, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	_, unmarked := os.Stat(marker)
	if _, err := os.Stat(filepath.Join(s.dir, settingsFile)); err == nil && unmarked != nil {
		return errors.New("there is a registry already")
	}
	for _, e := range names {
		if unmarked != nil && e.Name() != "lock" && !isTemp(e, incomplete) {
			return fmt.Errorf("the directory is not empty: it has %q", e.Name())
		}
	}
	if _, err := os.Stat(Signed(s.dir)); err == nil && unmarked != nil {
		why := Signed(s.dir) + " exists: a registry was here, and its log must not be begun anew"
		return &DamageError{Dir: s.dir, Why: why, Help: s.restore(".")}
	}
	if err := s.disk.Replace(marker, nil, 0o600); err != nil {
		return err
	}
	for _, e := range names {
		if e.Name() != "lock" && e.Name() != incomplete {
			if err := os.RemoveAll(filepath.Join(s.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := s.clearSigned(); err != nil {
		return err
	}
	for _, d := range []string{s.public, s.blocks.dir, filepath.Join(s.public, "trust"), Content(s.dir)} {
		if err := os.MkdirAll(d, 0o755); err != nil { //nolint:gosec // public files are for everybody
			return err
		}
	}
	return os.Symlink(filepath.Join("..", "store", "packs"), filepath.Join(s.public, "packs"))
}

// isTemp reports whether e is what a crash left of writing the file base: it has
// the name that package file gives, and only who holds the lock writes it.
func isTemp(e fs.DirEntry, base string) bool {
	random, ok := strings.CutPrefix(e.Name(), "."+base+".tmp")
	return ok && e.Type().IsRegular() && random != "" && strings.Trim(random, "0123456789") == ""
}

// clearSigned removes the signer's record and what a crash left of writing it.
func (s *Server) clearSigned() error {
	dir, base := filepath.Split(Signed(s.dir))
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == base || isTemp(e, base) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// newLogKey makes and saves the log's key.
func (s *Server) newLogKey(origin string) (note.Signer, string, error) {
	k, err := s.newKey(logKeyFile)
	if err != nil {
		return nil, "", err
	}
	signer, vkey, err := logSigner(k, origin)
	return signer, vkey, err
}

func (s *Server) newKey(file string) (keys.Key, error) {
	k, err := keys.Generate(rand.Reader)
	if err != nil {
		return k, err
	}
	b, err := keys.EncodeFile(k, s.cfg.Passphrase)
	if err != nil {
		return k, err
	}
	return k, s.disk.Replace(filepath.Join(s.dir, file), b, 0o600)
}

// newTrust makes the root key, trust root 0 and the settings.
func (s *Server) newTrust(origin, vkey string) error {
	root, err := s.newKey(rootKeyFile)
	if err != nil {
		return err
	}
	raw := namespace.SignTrust(namespace.Trust{
		Origin: origin,
		Keys:   author.RootSet{Keys: [][32]byte{root.Public()}, Threshold: 1},
		Logs:   []string{vkey},
		MaxAge: maxAge,
	}, root)
	trust, id, err := namespace.OpenTrust(raw)
	if err != nil {
		return err
	}
	s.trust, s.settings = trust, settings{Origin: origin, ID: id.String()}
	if err := s.disk.Replace(filepath.Join(s.public, "trust", "0"), raw, 0o644); err != nil {
		return err
	}
	b, err := json.MarshalIndent(s.settings, "", "  ")
	if err != nil {
		return err
	}
	return s.disk.Replace(filepath.Join(s.dir, settingsFile), append(b, '\n'), 0o644)
}

// checkOrigin refuses what cannot be a log's origin line and key name (C2SP
// tlog-checkpoint, signed-note).
func checkOrigin(origin string) error {
	bad := func(why string) error { return fmt.Errorf("origin %q: %s", origin, why) }
	switch {
	case origin == "":
		return bad("it is empty; a host name such as registry.example.org is right")
	case len(origin) > maxOrigin:
		return bad("it is longer than 256 bytes")
	case !utf8.ValidString(origin):
		return bad("it is not UTF-8")
	case strings.Contains(origin, "://"):
		return bad("it has a scheme; write it without")
	case strings.Contains(origin, "+"):
		return bad("it has a plus sign")
	}
	for _, r := range origin {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return bad("it has a space or an unprintable character")
		}
	}
	return nil
}

// readSigner reads the log's key.
func readSigner(path, origin string, passphrase []byte) (note.Signer, error) {
	k, err := keys.ReadFile(path, passphrase)
	if err != nil {
		return nil, fmt.Errorf("log key: %w", err)
	}
	signer, _, err := logSigner(k, origin)
	return signer, err
}

// logSigner returns the signer and the verifier key of a log key (C2SP
// signed-note, algorithm 1).
func logSigner(k keys.Key, origin string) (note.Signer, string, error) {
	pub, seed := k.Public(), k.Seed()
	vkey, err := note.NewEd25519VerifierKey(origin, pub[:])
	if err != nil {
		return nil, "", err
	}
	hash := strings.Split(strings.TrimPrefix(vkey, origin), "+")[1]
	data := append([]byte{1}, seed[:]...)
	signer, err := note.NewSigner("PRIVATE+KEY+" + origin + "+" + hash + "+" + base64.StdEncoding.EncodeToString(data))
	clear(data)
	return signer, vkey, err
}

// readTrust reads the registry's trust roots, from 0 on, and returns the last.
func readTrust(public, id string) (namespace.Trust, error) {
	var trust namespace.Trust
	for n := 0; ; n++ {
		raw, err := os.ReadFile(filepath.Join(public, "trust", strconv.Itoa(n))) //nolint:gosec // below our directory
		if errors.Is(err, fs.ErrNotExist) && n > 0 {
			return trust, nil
		}
		if err != nil {
			return trust, err
		}
		if n > 0 {
			if trust, err = trust.Next(raw); err != nil {
				return trust, fmt.Errorf("trust root %d: %w", n, err)
			}
			continue
		}
		first, c, err := namespace.OpenTrust(raw)
		if err != nil {
			return trust, fmt.Errorf("trust root 0: %w", err)
		}
		if c.String() != id {
			return trust, fmt.Errorf("trust root 0 is %s, the registry's id is %s", c, id)
		}
		trust = first
	}
}
