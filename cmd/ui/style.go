package ui

import (
	"fmt"
	"io"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"
)

// Styled is a value that is printed in a style where colour is on, and is plain elsewhere.
type Styled struct {
	style style
	v     any
}

// String returns the value without its style, escaped.
func (s Styled) String() string { return Escape(fmt.Sprint(s.v)) }

type style int

const (
	bold style = iota
	dim
	good
	bad
	caution
)

// Bold makes v stand out: names.
func Bold(v any) Styled { return Styled{bold, v} }

// Dim makes v step back: hashes, hints.
func Dim(v any) Styled { return Styled{dim, v} }

// Good is the colour of success.
func Good(v any) Styled { return Styled{good, v} }

// Bad is the colour of failure.
func Bad(v any) Styled { return Styled{bad, v} }

// Caution is the colour of warnings.
func Caution(v any) Styled { return Styled{caution, v} }

// paint applies styles on one stream. A nil paint leaves text alone.
type paint struct {
	styles map[style]lipgloss.Style
}

func newPaint(w io.Writer) *paint {
	r := lipgloss.NewRenderer(w, termenv.WithProfile(termenv.ANSI))
	r.SetColorProfile(termenv.ANSI)
	color := func(c string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(c)) }
	return &paint{styles: map[style]lipgloss.Style{
		bold: r.NewStyle().Bold(true), dim: r.NewStyle().Faint(true),
		good: color("2"), bad: color("1").Bold(true), caution: color("3"),
	}}
}

func (p *paint) apply(st style, s string) string {
	if p == nil || s == "" {
		return s
	}
	return p.styles[st].Inline(true).Render(s)
}

// colored decides for one stream: --color, then NO_COLOR, then FORCE_COLOR, then whether it is a terminal.
func colored(w io.Writer, choice string, getenv func(string) string) bool {
	switch {
	case choice == "always":
		return true
	case choice == "never":
		return false
	case getenv("NO_COLOR") != "":
		return false
	case getenv("FORCE_COLOR") != "" && getenv("FORCE_COLOR") != "0":
		return true
	}
	return IsTerminal(w) && getenv("TERM") != "dumb"
}
