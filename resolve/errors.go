package resolve

import (
	"fmt"
	"strings"

	"pkg/lockfile/semver"
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
	b.WriteString(strings.TrimPrefix(e.where(), "it"))
	return b.String()
}

// where says where it is not: "it is not in registry main".
func (e *NotFoundError) where() string {
	s := "it is not in the registry"
	if e.Origin != "" {
		s = "it is not in registry " + e.Origin
	}
	if len(e.Near) > 0 {
		s += fmt.Sprintf("; did you mean %s?", join(e.Near, "or"))
	}
	return s
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
	Package   Key // the one that most conflicts were about
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("no answer after %d conflicts, most of them about %s: whether there is one is not known", e.Conflicts, e.Package.Name)
}

// ConflictError says that no set of releases satisfies the request. [Explain]
// finds out why.
type ConflictError struct {
	*Explanation // nil until it was explained

	problem *problem
}

func (e *ConflictError) Error() string {
	if e.Explanation == nil {
		return "no set of versions fits"
	}
	return e.Sentence
}

// Unwrap returns *NotFoundError or *UnavailableError, if a package that is not
// there has a part in the conflict.
func (e *ConflictError) Unwrap() error {
	if e.Explanation == nil {
		return nil
	}
	return e.Missing
}

// An Explanation says why no set of releases satisfies a request.
type Explanation struct {
	Sentence string   // the conflict in short
	Lines    []string // the proof, a step a line; empty if Sentence says it all
	Notes    []string // of releases that would fit and cannot be chosen
	Package  Key      // the package at the heart of it
	From     []string // who asks for it, as in Dep.From
	Roots    []int    // of Request.Roots: they alone are in conflict, and each is needed for it
	Graph    []Fact   // the proof as data; the last one is the contradiction
	Missing  error    // *NotFoundError or *UnavailableError, if such a package has a part in it

	words *words
}

// A Fact is a step of a proof: its terms cannot all be true.
type Fact struct {
	Text     string
	From     string // who needs something: "pkg.toml", "a 1.0.0"; empty for what follows from premises
	Package  Key    // the package needed
	Asks     string // which versions of it: "b ^1"
	Lack     string // why there is none, if so: "only 1.0.0 exists"
	Terms    []Term
	Premises []int // the facts it follows from; none if it is what the project or a release needs
}

// A Term says that a package is in one of some versions, or absent.
type Term struct {
	Key
	Versions []semver.Version
	Absent   bool
}

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
