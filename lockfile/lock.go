// Package lockfile reads, writes and compares pkg.lock, the file that pins a
// project's packages: who made each, where it is recorded, and the root of its
// files.
//
//	# Written by pkg: commit it, do not edit it.
//	version = 1
//
//	[[registry]]
//	name = "main"
//	origin = "pkg.example.org/log"
//	id = "bafyrei…"                 # CID of its first trust root
//	local = true                    # only of an embedded registry
//
//	[[package]]
//	name = "express"
//	version = "5.1.0"
//	registry = "main"
//	author = "did:key:z6Mk…"        # first root key, for people
//	id = "…64 hex digits…"          # package id, for machines
//	entry = 3                       # index of the release in the author log
//	log = "…64 hex digits…"         # root of the author log through that entry
//	commit = 12                     # namespace commit that recorded it
//	root = "bafybei…"               # root of the files
//	size = 75432                    # bytes
//	signer = "did:key:z6Mk…"        # only if not the author
//	dependencies = [
//	  "accepts",
//	  "other:qs",                   # qualified if from another registry
//	]
//
//	[[package]]
//	name = "sibling"
//	version = "0.1.0"
//	path = "../sibling"
//
//	# end of pkg.lock
//
// The bytes are stable: LF, sorted by name, no time and no hash over the whole
// file, so that two branches merge. The last line is required, so that a
// truncated file is refused wherever it was cut. Every field of a row is
// immutable for its version; one lock serves every platform.
//
// A Lock is a plain value: safe for concurrent reads.
package lockfile

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/internal/toml"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// File is the name of the lock in a project.
const File = "pkg.lock"

// Version is the version of the format that is written, and the newest that is
// read.
const Version = 1

const (
	firstLine = "# Written by pkg: commit it, do not edit it.\n"
	lastLine  = "# end of pkg.lock\n"
)

// Lock is what a pkg.lock says.
type Lock struct {
	Registries []Registry
	Packages   []Package // one version of a name
}

// Registry is one [[registry]] row.
type Registry struct {
	Name   string // what rows of this lock call it
	Origin string // the origin line of its log
	ID     string // CID of its first trust root
	Local  bool   // the embedded registry of one machine
}

// Package is one [[package]] row. With a Path it has only Name, Version and
// perhaps Dependencies besides.
type Package struct {
	Name         name.Name
	Version      semver.Version
	Registry     string // Name of a Registry
	Author       name.Author
	ID           [32]byte    // package id: SHA-256 of the genesis body
	Entry        uint64      // index of the release in the author log
	Log          [32]byte    // root of the author log through that entry
	Commit       uint64      // namespace commit that recorded the entry
	Root         cid.Cid     // of the files
	Size         int64       // bytes of the files
	Signer       name.Author // "" if the author key signed
	Dependencies []string    // "name", or "registry:name" if not from Registry
	Path         string
}

// Error says what is wrong with a lock, and where.
type Error struct {
	Line int    // from 1; 0 if the whole file is meant
	Msg  string // the fault
	Help string // what to do about it, or ""
	err  error
}

// Error implements error. The help is not part of it.
func (e *Error) Error() string {
	if e.Line == 0 {
		return File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", File, e.Line, e.Msg)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.err }

// Get returns the row of a package, which stays part of the lock. For many
// names use Index.
func (l *Lock) Get(n name.Name) (*Package, bool) {
	for i := range l.Packages {
		if l.Packages[i].Name == n {
			return &l.Packages[i], true
		}
	}
	return nil, false
}

// Index returns all rows by name. The rows stay part of the lock.
func (l *Lock) Index() map[name.Name]*Package {
	rows := make(map[name.Name]*Package, len(l.Packages))
	for i := range l.Packages {
		rows[l.Packages[i].Name] = &l.Packages[i]
	}
	return rows
}

// Registry returns the row of a registry by the name that this lock gives it.
func (l *Lock) Registry(regName string) (*Registry, bool) {
	for i := range l.Registries {
		if l.Registries[i].Name == regName {
			return &l.Registries[i], true
		}
	}
	return nil, false
}

// Edge takes an entry of p.Dependencies apart: the name of the registry, "" if
// it is a path, and the name of the package.
func (p *Package) Edge(dep string) (registry string, n name.Name) {
	if reg, base, ok := strings.Cut(dep, ":"); ok {
		return reg, name.Name(base)
	}
	return p.Registry, name.Name(dep)
}

// EdgeTo returns the entry of p.Dependencies for a package.
func (p *Package) EdgeTo(registry string, n name.Name) string {
	if registry == p.Registry {
		return string(n)
	}
	return registry + ":" + string(n)
}

// Bytes writes the lock. The same rows in any order give the same bytes, and
// Parse(l.Bytes()) gives l, sorted.
func (l *Lock) Bytes() []byte {
	var w writer
	w.WriteString(firstLine)
	fmt.Fprintf(&w, "version = %d\n", Version)
	for _, r := range sortedBy(l.Registries, func(r Registry) string { return r.Name }) {
		w.registry(r)
	}
	for _, p := range sortedBy(l.Packages, func(p Package) string { return string(p.Name) }) {
		w.row(p)
	}
	w.WriteString("\n" + lastLine)
	return []byte(w.String())
}

type writer struct{ strings.Builder }

func (w *writer) text(key, value string) {
	if value != "" {
		fmt.Fprintf(w, "%s = %s\n", key, toml.Quote(value))
	}
}

func (w *writer) number(key string, value uint64) { fmt.Fprintf(w, "%s = %d\n", key, value) }

func (w *writer) registry(r Registry) {
	w.WriteString("\n[[registry]]\n")
	w.text("name", r.Name)
	w.text("origin", r.Origin)
	w.text("id", r.ID)
	if r.Local {
		w.WriteString("local = true\n")
	}
}

func (w *writer) row(p Package) {
	w.WriteString("\n[[package]]\n")
	w.text("name", string(p.Name))
	w.text("version", p.Version.String())
	if p.Path == "" {
		w.text("registry", p.Registry)
		w.text("author", string(p.Author))
		w.text("id", hex.EncodeToString(p.ID[:]))
		w.number("entry", p.Entry)
		w.text("log", hex.EncodeToString(p.Log[:]))
		w.number("commit", p.Commit)
		w.text("root", p.Root.String())
		w.number("size", uint64(max(p.Size, 0)))
		if p.Signer != p.Author {
			w.text("signer", string(p.Signer))
		}
	}
	w.text("path", p.Path)
	if len(p.Dependencies) > 0 {
		w.WriteString("dependencies = [\n")
		for _, d := range sortedBy(p.Dependencies, func(d string) string { return d }) {
			fmt.Fprintf(w, "  %s,\n", toml.Quote(d))
		}
		w.WriteString("]\n")
	}
}

func sortedBy[T any](s []T, key func(T) string) []T {
	return slices.SortedStableFunc(slices.Values(s), func(a, b T) int { return strings.Compare(key(a), key(b)) })
}
