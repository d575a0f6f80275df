package cmd

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

// usageError is a command line that makes no sense: exit code 2.
type usageError struct {
	Err  error
	Help string // a command to run instead, or empty
}

func (e *usageError) Error() string { return e.Err.Error() }
func (e *usageError) Unwrap() error { return e.Err }

// usagef returns an error of usage, formatted as by [fmt.Errorf]. Where no Help is set, errors.go shows `pkg help`.
func usagef(format string, args ...any) error { return &usageError{Err: fmt.Errorf(format, args...)} }

// flagError turns what package flag says of a bad value into a sentence.
func flagError(c *cli.Context, err error) error {
	msg := err.Error()
	msg = strings.TrimPrefix(msg, "invalid value ")
	msg = strings.Replace(msg, ": parse error", "", 1)
	if value, rest, ok := strings.Cut(msg, " for flag -"); ok {
		name, why, _ := strings.Cut(rest, ": ")
		msg = fmt.Sprintf("%s is no value for %s", value, dashed(name))
		if why != "" {
			msg += ": " + why
		}
	} else if value, rest, ok := strings.Cut(msg, " for -"); ok { // package flag says booleans differently
		name, _, _ := strings.Cut(strings.TrimPrefix(rest, "-"), ": ")
		msg = fmt.Sprintf("%s is no value for %s", strings.TrimPrefix(value, "invalid boolean value "), dashed(name))
	}
	help := "pkg --help"
	if c.Command != nil && c.Command.HelpName != "" {
		help = c.Command.HelpName + " --help"
	}
	return &usageError{Err: fmt.Errorf("%s", msg), Help: help}
}

// unknown is a word that is none of the known ones. If it is nearly one of them, the help is to say that one, after
// prefix; else it is otherwise.
func unknown(what, prefix, word string, known []string, otherwise string) error {
	near := nearest(word, known)
	if near == "" {
		return &usageError{Err: fmt.Errorf("%s", what), Help: otherwise}
	}
	help := otherwise
	if prefix != "" {
		help = prefix + " " + near
	}
	return &usageError{Err: fmt.Errorf("%s; did you mean %s?", what, near), Help: help}
}

// nearest returns the known word that is most like word, or "" if none is like it.
func nearest(word string, known []string) string {
	best, least := "", len(word)/3+2
	if len(word) > 64 {
		return ""
	}
	for _, k := range known {
		d := distance(strings.ToLower(word), k)
		if len(word) > 2 && strings.HasPrefix(k, word) {
			d = min(d, 1)
		}
		if d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete, replace or swap with a neighbour to make a into b (optimal string
// alignment).
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
