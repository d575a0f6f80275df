package ui

import (
	"fmt"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"golang.org/x/term"
)

// textPrinter prints sentences for people.
type textPrinter struct {
	out, err           errWriter
	outPaint, errPaint *paint
	quiet              bool
	bar                *bar // nil where no progress is shown
}

func newText(s Settings) *textPrinter {
	t := &textPrinter{out: errWriter{w: s.Stdout}, err: errWriter{w: s.Stderr}, quiet: s.Quiet}
	if colored(s.Stdout, s.Color, s.Getenv) {
		t.outPaint = newPaint(s.Stdout)
	}
	if colored(s.Stderr, s.Color, s.Getenv) {
		t.errPaint = newPaint(s.Stderr)
	}
	if f, ok := s.Stderr.(interface{ Fd() uintptr }); ok && !s.Quiet && !s.Plain && s.Now != nil && IsTerminal(s.Stderr) {
		t.bar = &bar{w: &t.err, throttle: throttle{now: s.Now}, width: func() int {
			w, _, _ := term.GetSize(int(f.Fd())) // 0 with an error
			return w
		}}
	}
	return t
}

func (t *textPrinter) print(to stream, e event) {
	if e.format == "" || to == note && t.quiet {
		return
	}
	t.bar.erase()
	if e.raw {
		t.out.text(e.format)
		return
	}
	switch to {
	case data:
		t.out.text(t.outPaint.sentence(e) + "\n")
	case note:
		t.err.text(t.errPaint.sentence(e) + "\n")
	case warn:
		t.err.text(t.errPaint.apply(caution, "warning:") + " " + t.errPaint.sentence(e) + "\n")
	}
}

func (t *textPrinter) table(_ string, rows []Row) {
	t.bar.erase()
	var lines [][]string
	var widths []int
	for _, r := range rows {
		var line []string
		for i, c := range r.Cells {
			s := fmt.Sprint(cell{v: c, paint: t.outPaint})
			line = append(line, s)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(s))
		}
		lines = append(lines, line)
	}
	for _, line := range lines {
		var b strings.Builder
		for i, s := range line {
			b.WriteString(s)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-lipgloss.Width(s)+2))
			}
		}
		t.out.text(strings.TrimRight(b.String(), " ") + "\n")
	}
}

func (t *textPrinter) progress(e event) {
	if t.bar != nil {
		t.bar.draw(t.errPaint.sentence(e))
	}
}

func (t *textPrinter) fail(f Failure) {
	t.bar.erase()
	t.err.text(t.errPaint.apply(bad, "pkg:") + " " + Escape(f.Message) + "\n")
	if f.Detail != "" {
		t.err.text(Lines(strings.TrimRight(f.Detail, "\n")).String() + "\n")
	}
	if f.Help != "" {
		t.err.text(t.errPaint.apply(bold, "help:") + " " + Escape(f.Help) + "\n")
	}
}

func (t *textPrinter) finish() error {
	t.bar.erase()
	return t.out.err
}
