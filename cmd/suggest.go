package cmd

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/lockfile/name"
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
		d := name.Distance(strings.ToLower(word), k)
		if len(word) > 2 && strings.HasPrefix(k, word) {
			d = min(d, 1)
		}
		if d < least && d < len(k) {
			best, least = k, d
		}
	}
	return best
}
