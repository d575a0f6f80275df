package ui

import (
	"time"

	"github.com/charmbracelet/x/ansi"
)

const (
	delay    = 300 * time.Millisecond // work shorter than this shows no progress
	interval = 100 * time.Millisecond // between redraws
)

// throttle decides when progress may be shown.
type throttle struct {
	now         func() time.Time
	first, last time.Time
}

func (t *throttle) ready() bool {
	if t.now == nil {
		return false
	}
	now := t.now()
	if t.first.IsZero() {
		t.first = now
	}
	if now.Sub(t.first) < delay || !t.last.IsZero() && now.Sub(t.last) < interval {
		return false
	}
	t.last = now
	return true
}

// bar is the one line of a terminal that redraws itself.
type bar struct {
	throttle
	w     *errWriter
	width func() int // in columns; 0 is unknown
	shown bool
}

func (b *bar) draw(s string) {
	if b.ready() {
		width := b.width()
		if width == 0 { // the terminal does not know
			width = 80
		}
		b.w.text("\r\x1b[K" + ansi.Truncate(s, max(width-1, 10), "…"))
		b.shown = true
	}
}

func (b *bar) erase() {
	if b != nil && b.shown {
		b.w.text("\r\x1b[K")
		b.shown = false
	}
}
