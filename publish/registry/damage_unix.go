//go:build unix

package registry

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pkg/keys"
)

// exists reports whether something is at path, which may be unreadable.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// complete names the parts of a registry that are missing. The store is
// looked at later, as only releases need it.
func (s *Server) complete() error {
	for _, rel := range []string{logKeyFile, "public/trust", "public/trust/0", "public/tile", "public/ipfs"} {
		if !exists(filepath.Join(s.dir, rel)) {
			return s.missing(rel)
		}
	}
	return nil
}

// missing says that a file or folder of the registry is not there.
func (s *Server) missing(rel string) error {
	return &DamageError{Dir: s.dir, Why: rel + " is missing", Help: s.restore(rel)}
}

// unusable says that a file of the registry is there and cannot be used. What
// is the system's or the user's to mend is returned as it is.
func (s *Server) unusable(rel string, err error) error {
	var path *fs.PathError
	var perm *keys.PermError
	switch {
	case errors.As(err, &path), errors.As(err, &perm), errors.Is(err, keys.ErrPassphrase), errors.Is(err, keys.ErrPassphraseNeeded):
		return err
	}
	return &DamageError{Dir: s.dir, Why: rel + " cannot be used: " + err.Error(), Help: s.restore(rel), err: err}
}

// damaged makes the error of reading the registry one that says what to do.
// What is no damage is returned as it is.
func (s *Server) damaged(err error) error {
	var known *DamageError
	var path *fs.PathError
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &path):
		rel, bad := filepath.Rel(s.dir, path.Path)
		if bad != nil || !filepath.IsLocal(rel) || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return s.missing(rel)
	}
	return &DamageError{Dir: s.dir, Why: err.Error(), Help: s.restore("."), err: err}
}

// restore is the command that puts back a part of the registry.
func (s *Server) restore(rel string) string {
	from := "BACKUP/" + rel
	if rel == "." {
		from = "BACKUP/."
	}
	return "cp -a " + shell(from) + " " + shell(filepath.Join(s.dir, filepath.Dir(rel))+"/")
}

// shell is a path as a shell reads it.
func shell(path string) string {
	if strings.Trim(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+@%,:=") == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
