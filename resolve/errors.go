package resolve

import (
	"fmt"
	"strings"
)

// NotFoundError says that a package is proved not to exist.
type NotFoundError struct {
	Key
	Origin string   // the registry's name for people
	Near   []string // names known locally that look alike
	From   string   // who asked; may be empty
}

func (e *NotFoundError) Error() string {
	var b strings.Builder
	if e.From != "" {
		fmt.Fprintf(&b, "%s needs %s, which", e.From, e.Name)
	} else {
		b.WriteString(string(e.Name))
	}
	b.WriteString(" is not in ")
	if e.Origin != "" {
		fmt.Fprintf(&b, "registry %s", e.Origin)
	} else {
		b.WriteString("the registry")
	}
	if len(e.Near) > 0 {
		fmt.Fprintf(&b, "; did you mean %s?", join(e.Near, "or"))
	}
	return b.String()
}

// UnavailableError says that nothing can be said of a package now: it is not at
// hand and the registry was not asked (offline) or did not answer.
type UnavailableError struct {
	Key
	From    string // who asked; may be empty
	Offline bool   // the registry was not asked
	Err     error  // why, may be nil
}

func (e *UnavailableError) Error() string {
	var b strings.Builder
	if e.Name == "" {
		b.WriteString("the registry")
	} else {
		b.WriteString(string(e.Name))
	}
	if e.From != "" {
		fmt.Fprintf(&b, " (needed by %s)", e.From)
	}
	if e.Offline {
		b.WriteString(" is not at hand and we are offline")
	} else {
		b.WriteString(" cannot be looked up")
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// BudgetError says that the search was given up, with nothing proved.
type BudgetError struct {
	Conflicts int
	Last      string // one of the conflicts, as a sentence
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("no answer after %d conflicts, one of them: %s", e.Conflicts, e.Last)
}

// ConflictError says that no set of releases satisfies the request.
type ConflictError struct {
	Sentence string   // the conflict, for people
	Package  Key      // the package no version of which fits
	From     []string // who asks for it, as in Dep.From
}

func (e *ConflictError) Error() string { return e.Sentence }

// join lists words as people do: "a", "a or b", "a, b or c".
func join(words []string, last string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " " + last + " " + words[n-1]
	}
}
