// Package name holds the identifiers people type and files record: package
// names and author keys.
//
// A name is one or two parts, "left-pad" or "scope/left-pad". Each part
// matches
//
//	[a-z0-9]([a-z0-9-]*[a-z0-9])?
//
// and has at most 64 bytes. A registry looks names up under their canonical
// key, which folds case and turns "_" and "." into "-", so that foo_bar cannot
// be claimed beside foo-bar; the canonical key of a valid name is the name.
//
// An author is a public key in the did:key form of an ed25519 key.
//
// Everything here is a value and safe for concurrent use.
package name

import (
	"fmt"
	"strings"
)

// MaxPart is the longest part of a name, in bytes.
const MaxPart = 64

// Name is a valid package name, or the name of a scope ("scope/"). The zero
// value is no name.
type Name string

// Error says why a text is not a name.
type Error struct {
	Input      string // the text as given
	Why        string // the rule it breaks
	Suggestion string // a valid name close to Input, or ""
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("invalid package name %s: %s", quote(e.Input), e.Why)
	if e.Suggestion != "" {
		s += fmt.Sprintf(" (did you mean %q?)", e.Suggestion)
	}
	return s
}

// Parse checks that s is the name of a package. The error is an *Error.
func Parse(s string) (Name, error) {
	why := check(s)
	if why == "" {
		return Name(s), nil
	}
	e := &Error{Input: s, Why: why}
	if guess := suggest(s); guess != s && check(guess) == "" {
		e.Suggestion = guess
	}
	return "", e
}

// ParseScope checks that s is the name of a scope: one part and a slash, as in
// "scope/". The error is an *Error.
func ParseScope(s string) (Name, error) {
	part, ok := strings.CutSuffix(s, "/")
	why := "a scope ends with one slash"
	if ok {
		if why = checkPart(part); why == "" {
			return Name(s), nil
		}
	}
	e := &Error{Input: s, Why: why}
	guess := suggest(strings.TrimRight(s, "/"))
	if checkPart(guess) == "" {
		e.Suggestion = guess + "/"
	}
	return "", e
}

// String returns the name as people type it.
func (n Name) String() string { return string(n) }

// Scope returns the part before the slash, or "" if there is none.
func (n Name) Scope() string {
	scope, _, ok := strings.Cut(string(n), "/")
	if !ok {
		return ""
	}
	return scope
}

// Base returns the part after the slash, or the whole name if there is none.
// Of a scope it is "".
func (n Name) Base() string {
	if _, base, ok := strings.Cut(string(n), "/"); ok {
		return base
	}
	return string(n)
}

// IsScope reports whether n names a scope rather than a package.
func (n Name) IsScope() bool { return strings.HasSuffix(string(n), "/") }

// MarshalText returns the name as text.
func (n Name) MarshalText() ([]byte, error) { return []byte(n), nil }

// UnmarshalText accepts the name of a package or of a scope.
func (n *Name) UnmarshalText(b []byte) error {
	parse := Parse
	if len(b) > 0 && b[len(b)-1] == '/' {
		parse = ParseScope
	}
	v, err := parse(string(b))
	if err != nil {
		return err
	}
	*n = v
	return nil
}

// Canonical returns the key under which a registry keeps s: ASCII letters in
// lower case, "_" and "." as "-". Of a valid name it is the name itself.
func Canonical(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + ('a' - 'A')
		case r == '_' || r == '.':
			return '-'
		}
		return r
	}, s)
}

// check returns the rule that s breaks, or "".
func check(s string) string {
	if s == "" {
		return "it is empty"
	}
	if strings.HasPrefix(s, "@") {
		return "a scope is written without @"
	}
	if len(s) > 2*MaxPart+1 {
		return fmt.Sprintf("it has %d bytes, at most %d are allowed in each part", len(s), MaxPart)
	}
	scope, base, scoped := strings.Cut(s, "/")
	if !scoped {
		return checkPart(s)
	}
	if strings.Contains(base, "/") {
		return "it has more than one slash"
	}
	if why := checkPart(scope); why != "" {
		return why
	}
	return checkPart(base)
}

func checkPart(p string) string {
	if p == "" {
		return "a part is empty"
	}
	if len(p) > MaxPart {
		return fmt.Sprintf("a part has %d bytes, at most %d are allowed", len(p), MaxPart)
	}
	for i := range len(p) {
		c := p[i]
		if c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return "only a-z, 0-9 and - are allowed"
		}
	}
	if p[0] == '-' || p[len(p)-1] == '-' {
		return "a part begins and ends with a letter or digit"
	}
	return ""
}

// suggest folds s towards a name; the caller checks whether it became one.
func suggest(s string) string {
	if len(s) > 4*MaxPart {
		return ""
	}
	s = strings.TrimPrefix(strings.TrimSpace(s), "@")
	s = strings.ReplaceAll(Canonical(s), " ", "-")
	parts := strings.Split(s, "/")
	for i, p := range parts {
		parts[i] = strings.Trim(p, "-")
	}
	return strings.Join(parts, "/")
}

// quote quotes foreign text for a message, cut to a bearable length.
func quote(s string) string {
	if len(s) > 2*MaxPart+16 {
		return fmt.Sprintf("%q…", s[:2*MaxPart+16])
	}
	return fmt.Sprintf("%q", s)
}
