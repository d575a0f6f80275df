package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pkg/cmd/ui"
	"pkg/fetch/swarm"
)

// failure is an error that says itself how the command ends.
type failure struct {
	Code   int
	Err    error
	Detail string // more lines
	Help   string // one exact command
	Data   any    // for programs: what JSON has besides
}

func (f *failure) Error() string { return f.Err.Error() }
func (f *failure) Unwrap() error { return f.Err }

// fail returns an error with its exit code and the one command that helps (or ""), formatted as by [fmt.Errorf]. It is for
// what a command finds by itself; errors of the other rooms have a row in rules.
func fail(code int, help, format string, args ...any) error {
	return &failure{Code: code, Help: help, Err: fmt.Errorf(format, args...)}
}

// exitStatus ends the command with a code and without a word: what there was to say is said.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// explain finds what err means to a person. An interrupted command fails in many ways, as files and connections go away
// under it: only a failure of another kind is told.
func explain(ctx context.Context, err error) ui.Failure {
	f := ui.Failure{Code: exitFailed}
	for _, r := range rules() {
		if found, ok := r(err); ok {
			f = found
			break
		}
	}
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || f.Code == exitFailed || f.Code == exitNetwork) {
		return ui.Failure{Code: exitInterrupted, Message: "interrupted"}
	}
	if f.Message == "" {
		f.Message = sentence(err)
	}
	return f
}

// better is f, the failure of err, with the help that this user's settings ask for.
func (e *Env) better(f ui.Failure, err error) ui.Failure {
	homes, unknown := e.Homes()
	if unknown != nil {
		return f
	}
	_, missing := errors.AsType[*swarm.MissingError](err)
	switch {
	case f.Code == exitFailed && errors.Is(err, syscall.ENOSPC) && below(homes.Store, pathOf(err)):
		f.Help = "pkg cache prune"
	case missing && f.Help == "pkg registry status" && e.askedMode() == modeP2P:
		f.Help = "pkg install --mode auto"
	}
	return f
}

// pathOf is the file that an error is about, or empty.
func pathOf(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Path
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.New
	}
	return ""
}

// below reports whether path is in dir.
func below(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// sentence is an error's text on one line.
func sentence(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

// reason strips what a path error says twice: the caller has named the path already.
func reason(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
