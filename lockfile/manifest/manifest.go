// Package manifest reads, checks and edits pkg.toml, the file in which people
// say what their package is and what it needs.
//
//	[package]
//	name = "scope/left-pad"        # needed to publish; an app may leave [package] out
//	version = "1.2.3"
//	description = "Pads on the left."
//	license = "Apache-2.0"
//	authors = ["Ann <ann@example.org>"]
//	repository = "https://example.org/left-pad"
//	homepage = "https://example.org"
//	keywords = ["pad"]
//	security = "security@example.org"
//	include = ["src/", "README.md"] # gitignore-style; nothing = everything
//	exclude = ["*.test.js"]
//
//	[bin]
//	left-pad = "bin/left-pad.js"   # command → file, packed as executable
//
//	[dependencies]
//	express = "^5.1.0"
//	"scope/name" = { version = "^1", registry = "work", author = "did:key:z6Mk…" }
//	sibling = { path = "../sibling" }
//
//	[dev-dependencies]
//	[optional-dependencies]
//
//	[overrides]
//	qs = "6.14.0"                  # instead of whatever anybody asks of qs
//	semver = { version = "^7", reason = "6.x is slow on long input" }
//
//	[registries.work]
//	url = "https://pkg.example.org"
//	id = "bafyrei…"
//	private = true                 # tell nobody else of its packages
//
//	[policy]
//	min-age = "3d"
//	require-witnesses = 2
//	deny-advisories = true
//
// Unknown keys are errors. A file has at most 64 KiB.
//
// Edits are textual: everything but the line in question stays as it is,
// comments and order included, and the result is parsed again before it is
// returned.
//
// A Manifest is a plain value: safe for concurrent reads.
package manifest

import (
	"fmt"
	"time"

	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// File is the name of the manifest in a project.
const File = "pkg.toml"

// The tables that hold dependencies.
const (
	Dependencies         = "dependencies"
	DevDependencies      = "dev-dependencies"
	OptionalDependencies = "optional-dependencies"
)

// LocalRegistry is the name by which a dependency asks for the embedded
// registry; it needs no [registries] table.
const LocalRegistry = "local"

// Manifest is what a pkg.toml says.
type Manifest struct {
	Package              Package
	Bin                  map[string]string // command → path, with slashes, inside the package
	Dependencies         map[name.Name]Dependency
	DevDependencies      map[name.Name]Dependency
	OptionalDependencies map[name.Name]Dependency
	Overrides            map[name.Name]Override
	Registries           map[string]Registry
	Policy               Policy
}

// Package is the [package] table. All of it may be missing.
type Package struct {
	Name        name.Name
	Version     semver.Version
	Description string
	License     string
	Authors     []string
	Repository  string
	Homepage    string
	Keywords    []string
	Security    string   // whom to tell about vulnerabilities
	Include     []string // what is packed; nothing = everything
	Exclude     []string // what is not, gitignore-style
}

// Dependency is one dependency. It has a Constraint unless it has a Path.
type Dependency struct {
	Constraint semver.Constraint
	Registry   string      // a key of Registries, or "" for the default one
	Author     name.Author // the only author to accept, or ""
	Path       string      // a directory, instead of a registry
}

// Override is one line of [overrides]. It does not concern paths.
type Override struct {
	Constraint semver.Constraint // replaces what anybody asks of the name
	Reason     string            // one line for people, at most 200 bytes; or ""
}

// Registry is one [registries.NAME] table.
type Registry struct {
	URL     string // http or https
	ID      string // CID of its first trust root, or "" to pin at first sight
	Private bool   // its packages are nobody else's business: no other place is asked for them or told of them
}

// Policy is the [policy] table.
type Policy struct {
	MinAge           time.Duration // how old a release must be to be chosen
	RequireWitnesses int           // cosignatures a head needs
	DenyAdvisories   bool          // refuse releases with a known advisory
}

// Error says what is wrong with a manifest, and where.
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

// Unwrap returns the cause, perhaps a *name.Error or *semver.ConstraintError.
func (e *Error) Unwrap() error { return e.err }

// Table returns the dependencies of a table by its name in the file, or nil.
func (m *Manifest) Table(table string) map[name.Name]Dependency {
	switch table {
	case Dependencies:
		return m.Dependencies
	case DevDependencies:
		return m.DevDependencies
	case OptionalDependencies:
		return m.OptionalDependencies
	}
	return nil
}

// Overridden returns the constraints of the overrides, without their reasons.
func (m *Manifest) Overridden() map[name.Name]semver.Constraint {
	out := make(map[name.Name]semver.Constraint, len(m.Overrides))
	for n, o := range m.Overrides {
		out[n] = o.Constraint
	}
	return out
}

// CheckPublishable says what is missing to publish, as an *Error: a name, a
// version, and dependencies that others can fetch too. Development dependencies
// are not published and may be paths.
func (m *Manifest) CheckPublishable() error {
	switch {
	case m.Package.Name == "":
		return &Error{Msg: "[package] has no name", Help: `add name = "my-package" under [package]`}
	case m.Package.Version.IsZero():
		return &Error{Msg: "[package] has no version", Help: `add version = "0.1.0" under [package]`}
	}
	for _, table := range []string{Dependencies, OptionalDependencies} {
		for _, n := range sorted(m.Table(table)) {
			if d := m.Table(table)[n]; d.Path != "" {
				return &Error{
					Msg:  fmt.Sprintf("dependency %s is the path %q, which nobody else has", n, d.Path),
					Help: fmt.Sprintf("publish %s first, then run: pkg add %s", n, n),
				}
			}
		}
	}
	return nil
}

// Template returns a first manifest. Both n and version may be empty.
func Template(n name.Name, version string) []byte {
	var s string
	if n != "" {
		s = fmt.Sprintf("[package]\nname = %s\n", quote(string(n)))
		if version != "" {
			s += fmt.Sprintf("version = %s\n", quote(version))
		}
		s += "\n"
	}
	return []byte(s + "[dependencies]\n")
}
