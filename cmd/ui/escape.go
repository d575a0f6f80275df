package ui

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape returns s with everything that a terminal would act upon written out: control characters (C0, C1, DEL), line
// breaks, characters that change the direction of text or are invisible, and bytes that are not UTF-8.
func Escape(s string) string {
	i := strings.IndexFunc(s, unsafeRune)
	if i < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unsafeRune(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// unsafeRune covers invalid bytes too, as they decode to U+FFFD.
func unsafeRune(r rune) bool {
	return r == utf8.RuneError || unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// Lines is text of several lines: each is escaped, the breaks between them stay.
type Lines string

// String returns the lines, escaped.
func (l Lines) String() string {
	lines := strings.Split(string(l), "\n")
	for i, s := range lines {
		lines[i] = Escape(s)
	}
	return strings.Join(lines, "\n")
}

// cell formats any value with any verb, escaped.
type cell struct {
	v     any
	paint *paint
}

func (c cell) Format(s fmt.State, verb rune) {
	switch v := c.v.(type) {
	case Lines:
		_, _ = fmt.Fprint(s, v.String())
	case Styled:
		_, _ = fmt.Fprint(s, c.paint.apply(v.style, Escape(fmt.Sprintf(fmt.FormatString(s, verb), v.v))))
	default:
		_, _ = fmt.Fprint(s, Escape(fmt.Sprintf(fmt.FormatString(s, verb), v)))
	}
}

// sentence formats an event's text without its line break.
func (p *paint) sentence(e event) string {
	if e.raw || len(e.args) == 0 && !strings.Contains(e.format, "%") {
		return e.format
	}
	args := make([]any, len(e.args))
	for i, a := range e.args {
		args[i] = cell{v: a, paint: p}
	}
	return fmt.Sprintf(e.format, args...)
}
