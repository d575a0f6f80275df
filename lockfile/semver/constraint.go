package semver

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	masterminds "github.com/Masterminds/semver/v3"
)

// Constraint selects versions. The zero value selects none.
type Constraint struct {
	text   string
	groups []group
}

// A group is what stands between two "||".
type group struct {
	in  []interval // ascending, disjoint, perhaps empty
	pre []Version  // versions named by comparators that are pre-releases
}

// ConstraintError says why a text is not a constraint.
type ConstraintError struct {
	Input      string // the text as given
	Why        string // the reason
	Suggestion string // what to write instead, or ""
}

// Error implements error.
func (e *ConstraintError) Error() string {
	in := e.Input
	if len(in) > 64 {
		in = in[:64] + "…"
	}
	s := fmt.Sprintf("invalid constraint %q: %s", in, e.Why)
	if e.Suggestion != "" {
		s += fmt.Sprintf(" (write %q)", e.Suggestion)
	}
	return s
}

// ParseConstraint reads a constraint of at most 512 bytes and 32 groups. The
// error is a *ConstraintError. It costs a microsecond for the usual forms and
// some ten for the rest: compile once per distinct text.
func ParseConstraint(s string) (Constraint, error) {
	text := strings.TrimSpace(s)
	if text == "" {
		return Constraint{}, &ConstraintError{s, "it is empty", "*"}
	}
	form := text
	if !plain(text) {
		m, err := masterminds.NewConstraint(text)
		if err != nil {
			return Constraint{}, &ConstraintError{s, reason(text, err), guess(text)}
		}
		form = m.String()
	}
	c := Constraint{text: text, groups: make([]group, 0, 1+strings.Count(form, "||"))}
	cs := make([]comparator, 0, 4)
	for g := range strings.SplitSeq(form, " || ") {
		cs = cs[:0]
		for w := range strings.SplitSeq(g, " ") {
			p, err := parseComparator(w)
			if err != nil {
				return Constraint{}, &ConstraintError{s, err.Error(), ""}
			}
			if why, instead := p.misleading(); why != "" {
				return Constraint{}, &ConstraintError{s, why, confirm(replaceWord(form, w, instead))}
			}
			cs = append(cs, p)
		}
		c.groups = append(c.groups, compile(cs))
	}
	return c, nil
}

// replaceWord puts a word in the place of the first that is the same.
func replaceWord(form, old, word string) string {
	words := strings.Split(form, " ")
	words[slices.Index(words, old)] = word
	return strings.Join(words, " ")
}

// Exact returns the constraint that only v satisfies, as "1.2.3". Build
// metadata is dropped.
func Exact(v Version) Constraint { return of("", v) }

// Caret returns "^1.2.3", what is written for a dependency that is added.
func Caret(v Version) Constraint { return of("^", v) }

func of(op string, v Version) Constraint {
	c := comparator{op: op, v: Version{major: v.major, minor: v.minor, patch: v.patch, pre: v.pre}, width: full}
	return Constraint{op + v.Core(), []group{compile([]comparator{c})}}
}

// compile returns the group of one or more comparators.
func compile(cs []comparator) group {
	g := group{in: cs[0].intervals()}
	for i, c := range cs {
		if i > 0 {
			g.in = intersect(g.in, c.intervals())
		}
		if c.v.pre != "" && c.op != "!=" {
			g.pre = append(g.pre, c.v)
		}
	}
	return g
}

// String returns the constraint as written, without space around it.
func (c Constraint) String() string { return c.text }

// IsZero reports whether c is the zero value.
func (c Constraint) IsZero() bool { return c.text == "" }

// Equal reports whether c and d are written alike.
func (c Constraint) Equal(d Constraint) bool { return c.text == d.text }

// Check reports whether v matches. Build metadata is ignored.
func (c Constraint) Check(v Version) bool {
	return slices.ContainsFunc(c.groups, func(g group) bool { return g.names(v) && g.has(v) })
}

// CheckLocked reports whether v, which a lock holds, still matches: a
// pre-release then needs to lie within the bounds only.
func (c Constraint) CheckLocked(v Version) bool {
	return slices.ContainsFunc(c.groups, func(g group) bool { return g.has(v) })
}

// AllowsPrerelease reports whether a comparator names a pre-release of v's
// major.minor.patch.
func (c Constraint) AllowsPrerelease(v Version) bool {
	for _, g := range c.groups {
		if slices.ContainsFunc(g.pre, v.SameRelease) {
			return true
		}
	}
	return false
}

// Mask returns the positions of the versions of d that match. The result has
// room for all of them, and the caller owns it.
func (c Constraint) Mask(d Domain) Set {
	s := NewSet(d.Len())
	for _, g := range c.groups {
		g.mask(d, s)
	}
	return s
}

// MarshalText returns the constraint as written.
func (c Constraint) MarshalText() ([]byte, error) { return []byte(c.text), nil }

// UnmarshalText accepts what ParseConstraint accepts.
func (c *Constraint) UnmarshalText(b []byte) error {
	d, err := ParseConstraint(string(b))
	if err != nil {
		return err
	}
	*c = d
	return nil
}

// names reports whether the pre-release rule lets v into the group.
func (g group) names(v Version) bool {
	return v.pre == "" || slices.ContainsFunc(g.pre, v.SameRelease)
}

func (g group) has(v Version) bool {
	return !v.IsZero() && slices.ContainsFunc(g.in, func(i interval) bool { return i.has(v) })
}

// reason turns an error of Masterminds about a text into ours.
func reason(text string, err error) string {
	switch {
	case errors.Is(err, masterminds.ErrConstraintTooLong):
		return fmt.Sprintf("more than %d bytes", masterminds.MaxConstraintLen)
	case errors.Is(err, masterminds.ErrTooManyConstraintGroups):
		return fmt.Sprintf("more than %d groups", masterminds.MaxConstraintGroups)
	}
	for w := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \t,|=!<>~^", r) }) {
		if len(w) > masterminds.MaxVersionLen {
			return fmt.Sprintf("a version of more than %d bytes", masterminds.MaxVersionLen)
		}
		nums, _, _ := strings.Cut(strings.TrimPrefix(w, "v"), "-")
		for num := range strings.SplitSeq(nums, ".") {
			if _, err := strconv.ParseUint(num, 10, 64); errors.Is(err, strconv.ErrRange) {
				return fmt.Sprintf("%.24s is above %d, the highest number", num, uint64(math.MaxUint64))
			}
		}
	}
	return "not a version constraint"
}

// guess suggests a constraint for a text in the manner of other tools.
func guess(s string) string {
	if len(s) > masterminds.MaxConstraintLen {
		return ""
	}
	if s == "latest" || s == "any" {
		return "*"
	}
	r := strings.NewReplacer("&&", " ", "&", " ", " and ", " ", " or ", " || ",
		"===", "=", "==", "=", "~=", "~", "<>", "!=", "≥", ">=", "≤", "<=")
	t := strings.Join(strings.Fields(r.Replace(s)), " ")
	if strings.Contains(t, "|") && !strings.Contains(t, "||") {
		t = strings.ReplaceAll(t, "|", "||")
	}
	return confirm(t)
}

// confirm returns s if it is a constraint, else "".
func confirm(s string) string {
	m, err := masterminds.NewConstraint(s)
	if err != nil {
		return ""
	}
	for w := range strings.FieldsSeq(strings.ReplaceAll(m.String(), "||", " ")) {
		c, err := parseComparator(w)
		if err != nil {
			return ""
		}
		if why, _ := c.misleading(); why != "" {
			return ""
		}
	}
	return s
}
