package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"pkg/cmd/ui"
	"pkg/keys"

	"github.com/urfave/cli/v2"
)

// ring returns this user's keys.
func (e *Env) ring() (keys.Ring, error) {
	homes, err := e.Homes()
	if err != nil {
		return keys.Ring{}, err
	}
	return keys.Ring{Dir: homes.Keys, WorkFactor: e.WorkFactor}, nil
}

// keyFlags are for every command that signs.
func keyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "key", Usage: "sign with the key of this `NAME` (default: PKG_KEY, PKG_KEY_FILE, or the only key there is)"},
		passphraseFlag(),
	}
}

func passphraseFlag() cli.Flag {
	return &cli.StringFlag{Name: "passphrase-file", Usage: "the first line of `FILE` is the passphrase (PKG_KEY_PASSPHRASE_FILE)"}
}

// signer returns the key a command signs with: --key, else PKG_KEY (the key itself), else PKG_KEY_FILE, else the only key
// in the ring.
func (e *Env) signer(c *cli.Context) (keys.Key, error) {
	ask := e.asker(c)
	named := c.String("key")
	if text := e.Getenv("PKG_KEY"); named == "" && text != "" {
		k, err := keys.ParseText(text)
		if err != nil {
			return keys.Key{}, fail(exitFailed, "unset PKG_KEY", "read PKG_KEY: %w", err)
		}
		return k, nil
	}
	if file := e.Getenv("PKG_KEY_FILE"); named == "" && file != "" {
		path, err := e.envPath(file)
		if err != nil {
			return keys.Key{}, err
		}
		k, err := ask.unlock(c.Context, file, func(passphrase []byte) (keys.Key, error) { return keys.ReadFile(path, passphrase) })
		return k, withHelp(err, "unset PKG_KEY_FILE")
	}
	ring, err := e.ring()
	if err != nil {
		return keys.Key{}, err
	}
	if named == "" {
		if named, err = onlyKey(ring); err != nil {
			return keys.Key{}, err
		}
	}
	if !exists(filepath.Join(ring.Dir, named+".key")) {
		return keys.Key{}, fail(exitFailed, "pkg keys list", "there is no key %q in %s", named, ring.Dir)
	}
	k, err := ask.unlock(c.Context, named, func(passphrase []byte) (keys.Key, error) { return ring.Load(named, passphrase) })
	return k, withHelp(err, "pkg keys list")
}

// onlyKey returns the name of the ring's key if it has exactly one.
func onlyKey(ring keys.Ring) (string, error) {
	list, err := ring.List()
	switch {
	case err != nil:
		return "", err
	case len(list) == 0:
		return "", fail(exitFailed, "pkg keys new NAME", "there is no key to sign with in %s", ring.Dir)
	case len(list) > 1:
		var names []string
		for _, k := range list {
			names = append(names, k.Name)
		}
		return "", fail(exitUsage, "pkg keys list", "there are %d keys (%s): say which one with --key", len(list), strings.Join(names, ", "))
	}
	return list[0].Name, nil
}

// asker finds passphrases.
type asker struct {
	e    *Env
	file string
	path func(string) (string, error) // of file
}

func (e *Env) asker(c *cli.Context) asker {
	if file := c.String("passphrase-file"); file != "" {
		return asker{e: e, file: file, path: e.Path}
	}
	return asker{e: e, file: e.Getenv("PKG_KEY_PASSPHRASE_FILE"), path: e.envPath}
}

// unlock opens a key without a passphrase, and asks for one only if that is what is missing.
func (a asker) unlock(ctx context.Context, what string, open func(passphrase []byte) (keys.Key, error)) (keys.Key, error) {
	k, err := open(nil)
	if !errors.Is(err, keys.ErrPassphraseNeeded) {
		return k, err
	}
	passphrase, err := a.existing(ctx, what)
	if err != nil {
		return keys.Key{}, err
	}
	return open(passphrase)
}

// existing returns the passphrase of a key that has one.
func (a asker) existing(ctx context.Context, what string) ([]byte, error) {
	if a.file != "" {
		return a.read()
	}
	if !a.e.Interactive() {
		return nil, fail(exitFailed, "export PKG_KEY_PASSPHRASE_FILE=FILE",
			"the key %s is encrypted, and there is neither a passphrase file nor a terminal to ask at", what)
	}
	return a.ask(ctx, "passphrase of "+ui.Escape(what)+": ")
}

// chosen returns the passphrase for a new key.
func (a asker) chosen(ctx context.Context, what string) ([]byte, error) {
	if a.file != "" {
		return a.read()
	}
	if !a.e.Interactive() {
		return nil, fail(exitUsage, "pkg keys new "+what+" --no-passphrase",
			"a key is encrypted by default, and there is neither a passphrase file nor a terminal to ask at")
	}
	first, err := a.ask(ctx, "new passphrase of "+ui.Escape(what)+": ")
	if err != nil {
		return nil, err
	}
	second, err := a.ask(ctx, "the same again: ")
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(first, second):
		return nil, fail(exitFailed, "pkg keys new "+what, "the two passphrases differ")
	case len(first) == 0:
		return nil, fail(exitUsage, "pkg keys new "+what+" --no-passphrase", "the passphrase is empty")
	}
	return first, nil
}

// ask asks at the terminal. To end the input is to interrupt.
func (a asker) ask(ctx context.Context, prompt string) ([]byte, error) {
	b, err := ui.ReadPassword(ctx, a.e.Stdin, a.e.Stderr, prompt)
	if errors.Is(err, io.EOF) {
		return nil, fail(exitInterrupted, "", "interrupted")
	}
	return b, err
}

// read returns the first line of the passphrase file.
func (a asker) read() ([]byte, error) {
	path, err := a.path(a.file)
	if err != nil {
		return nil, err
	}
	b, mode, err := readSmall(path)
	if err != nil {
		return nil, fmt.Errorf("read the passphrase file: %w", err)
	}
	first, _, _ := bytes.Cut(b, []byte("\n"))
	first = bytes.TrimSuffix(first, []byte("\r"))
	if len(first) == 0 {
		return nil, fail(exitFailed, "$EDITOR "+a.file, "the passphrase file %s has an empty first line", a.file)
	}
	if runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 { // refused, it would break the secrets that CI mounts
		a.e.UI.Warn("warning", nil, "the passphrase file %s has mode %04o: others can reach it", a.file, mode.Perm())
	}
	return first, nil
}

// readSmall reads a file in which a key or a passphrase should be: a regular one of at most 64 KiB, and no device that
// never ends.
func readSmall(path string) ([]byte, fs.FileMode, error) {
	const most = 64 << 10
	look := "ls -ld " + path
	info, err := os.Stat(path) // opening a pipe would wait
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fail(exitFailed, look, "%s is not a regular file", path)
	}
	f, err := os.Open(path) //nolint:gosec // G304: the user names the file
	if err != nil {
		return nil, 0, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = fail(exitFailed, look, "%s has more than %d bytes", path, most)
	}
	return b, info.Mode(), err
}
