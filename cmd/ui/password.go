package ui

import (
	"context"
	"errors"
	"io"
	"unicode/utf8"

	"golang.org/x/term"
)

// ErrNoTerminal is returned by [ReadPassword] when there is nobody to ask.
var ErrNoTerminal = errors.New("no terminal to ask at")

// ReadPassword asks on the terminal in, without echo. The prompt goes to w. The error is [io.EOF] if the user gives up, with
// Ctrl-C or Ctrl-D, and ctx's as soon as that ends. In every case the terminal is then as it was. A read of a terminal
// cannot be called off: where ctx ended one is left behind, so the program must be about to end too.
func ReadPassword(ctx context.Context, in io.Reader, w io.Writer, prompt string) ([]byte, error) {
	f, ok := in.(interface{ Fd() uintptr })
	if !ok || !IsTerminal(in) {
		return nil, ErrNoTerminal
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Raw, because a terminal that reads lines by itself gives no sign of Ctrl-D that [term.ReadPassword] understands.
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	type answer struct {
		line []byte
		err  error
	}
	answers := make(chan answer, 1)
	_, err = io.WriteString(w, prompt)
	if err == nil {
		go func() {
			line, err := readHidden(in)
			answers <- answer{line, err}
		}()
	}
	var a answer
	if err == nil {
		select {
		case a = <-answers:
		case <-ctx.Done():
			a.err = ctx.Err()
		}
	}
	err = errors.Join(err, a.err, term.Restore(int(f.Fd()), before))
	if _, werr := io.WriteString(w, "\n"); err == nil {
		err = werr
	}
	return a.line, err
}

// The keys that a raw terminal leaves to us.
const (
	keyInterrupt = 'C' - '@'
	keyEnd       = 'D' - '@'
	keyBackspace = 'H' - '@'
	keyKill      = 'U' - '@'
	keySuspend   = 'Z' - '@'
	keyQuit      = '\\' - '@'
	keyDelete    = 0x7f
)

// readHidden reads a line from a raw terminal, byte by byte, so that what is typed ahead is left for the next question.
func readHidden(in io.Reader) ([]byte, error) {
	var line []byte
	var b [1]byte
	for {
		if n, err := in.Read(b[:]); err != nil {
			return nil, err
		} else if n == 0 {
			continue
		}
		switch c := b[0]; c {
		case '\r', '\n':
			return line, nil
		case keyInterrupt, keyQuit:
			return nil, io.EOF
		case keyEnd:
			if len(line) == 0 {
				return nil, io.EOF
			}
		case keyBackspace, keyDelete:
			_, size := utf8.DecodeLastRune(line)
			line = line[:len(line)-size]
		case keyKill:
			line = line[:0]
		case keySuspend:
		default:
			line = append(line, c)
		}
	}
}
