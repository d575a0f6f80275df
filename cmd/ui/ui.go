// Package ui is where pkg's words leave the program: as text for people or as JSON lines for programs.
//
// A command says what happened once, as an event with fields and a sentence:
//
//	out.Data("added", added{Name: n, Version: v}, "added %s %s", ui.Bold(n), v)
//
// In text mode the sentence is printed: Data on stdout, Note, Warn and Fail on stderr. In JSON mode every event is one
// object on one line of stdout, beginning with {"v":1,"event":"added", then the fields.
//
// Arguments may come from anywhere, also from a hostile registry: whatever a sentence is formatted with is escaped, so
// that no name, message or error can move the cursor, change colours or fake a line. Only [Lines] may hold line breaks,
// and only the style functions ([Bold], [Dim], [Good], [Bad], [Caution]) make colour.
package ui

import (
	"fmt"
	"io"
	"time"

	"golang.org/x/term"
)

// Settings says how and where to print.
type Settings struct {
	Stdout, Stderr io.Writer
	JSON           bool
	Quiet          bool                // drop notes and progress
	Color          string              // "always", "never", or "auto" and "" for the rules of [colored]
	Plain          bool                // no progress line, as under CI=true
	Getenv         func(string) string // nil is an empty environment
	Now            func() time.Time    // nil means no progress line
}

// A Failure is an error as a person needs it.
type Failure struct {
	Code    int    // the exit code
	Message string // what happened and why, one sentence
	Detail  string // more lines, or empty
	Help    string // one exact command that helps, or empty
	Data    any    // for programs: what JSON has besides, or nil
}

// A Row is one line of a table.
type Row struct {
	Fields any   // the JSON object, a struct or a map
	Cells  []any // the columns of the text
}

// UI prints for one run of one command. It is not safe for concurrent use.
type UI struct {
	p printer
}

// printer is a way of showing events. Text and JSON are the two there are.
type printer interface {
	print(to stream, e event)
	table(kind string, rows []Row)
	progress(e event)
	fail(f Failure)
	finish() error
}

type stream int

const (
	data stream = iota // the answer: stdout
	note               // chatter: stderr, dropped by --quiet
	warn               // chatter that --quiet keeps
)

// event is one thing said: fields for programs, a sentence for people.
type event struct {
	kind   string
	fields any
	format string
	args   []any
	raw    bool // the format is the text, byte for byte
}

// New returns a printer for s.
func New(s Settings) *UI {
	if s.Getenv == nil {
		s.Getenv = func(string) string { return "" }
	}
	if s.JSON {
		return &UI{p: &jsonPrinter{w: s.Stdout, quiet: s.Quiet, throttle: throttle{now: s.Now}}}
	}
	return &UI{p: newText(s)}
}

// Data says what the user asked for: on stdout. An empty format prints nothing as text, an empty kind nothing as JSON;
// fields is a struct or a map that encodes as a JSON object, or nil.
func (u *UI) Data(kind string, fields any, format string, args ...any) {
	u.p.print(data, event{kind: kind, fields: fields, format: format, args: args})
	checked(format, args...)
}

// Note says how it went: on stderr, unless --quiet.
func (u *UI) Note(kind string, fields any, format string, args ...any) {
	u.p.print(note, event{kind: kind, fields: fields, format: format, args: args})
	checked(format, args...)
}

// Warn says what the user should look at: on stderr, also with --quiet.
func (u *UI) Warn(kind string, fields any, format string, args ...any) {
	u.p.print(warn, event{kind: kind, fields: fields, format: format, args: args})
	checked(format, args...)
}

// Raw writes text to stdout byte for byte, unescaped: for files and scripts that pkg itself made. In JSON mode fields
// must carry it.
func (u *UI) Raw(kind string, fields any, text string) {
	u.p.print(data, event{kind: kind, fields: fields, format: text, raw: true})
}

// Table says rows: aligned columns on stdout, or one object a row. Columns are separated by two spaces.
func (u *UI) Table(kind string, rows []Row) { u.p.table(kind, rows) }

// Progress says how far the work is. On a terminal it is one line that redraws itself, from 300 ms after the first call,
// at most ten times a second, and disappears when anything else is printed. Elsewhere nothing is printed, and in JSON mode
// the same events at the same pace. Call it as often as is convenient.
func (u *UI) Progress(kind string, fields any, format string, args ...any) {
	u.p.progress(event{kind: kind, fields: fields, format: format, args: args})
	checked(format, args...)
}

// Fail says why the command ends.
func (u *UI) Fail(f Failure) { u.p.fail(f) }

// Finish removes the progress line and returns the first error there was in writing to stdout: an answer that did not
// arrive is a failure.
func (u *UI) Finish() error { return u.p.finish() }

// checked lets go vet check formats and arguments, which are formatted later.
func checked(format string, args ...any) {
	if false {
		_ = fmt.Sprintf(format, args...)
	}
}

// IsTerminal reports whether v, a reader or a writer, is a terminal.
func IsTerminal(v any) bool {
	f, ok := v.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}

// errWriter remembers the first error of a writer and is silent after it.
type errWriter struct {
	w   io.Writer
	err error
}

func (w *errWriter) text(s string) {
	if w.err == nil {
		_, w.err = io.WriteString(w.w, s)
	}
}
