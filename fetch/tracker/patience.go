package tracker

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

var errSlow = errors.New("the body is too slow")

// patience is a body that ends with errSlow after bodyTime, even if the server gives each read time of its own.
type patience struct {
	io.ReadCloser
	c *http.ResponseController

	mu        sync.Mutex // guards all below
	timer     *time.Timer
	slow, end bool
}

// newPatience starts the time for a body. It must be stopped.
func newPatience(w http.ResponseWriter, body io.ReadCloser) *patience {
	p := &patience{ReadCloser: body, c: http.NewResponseController(w)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer = time.AfterFunc(bodyTime, p.expire)
	return p
}

// expire ends the read that is under way, and comes again until there is none: one that begins just now may still set a
// later deadline.
func (p *patience) expire() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end {
		return
	}
	p.slow = true
	_ = p.c.SetReadDeadline(time.Unix(1, 0)) // a writer that knows no deadlines is left at the next read
	p.timer.Reset(time.Second)
}

func (p *patience) Read(b []byte) (int, error) {
	if p.isSlow() {
		return 0, errSlow
	}
	n, err := p.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) && p.isSlow() {
		err = errSlow
	}
	return n, err
}

func (p *patience) isSlow() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slow
}

// stop ends the time. The deadline is not touched after it. If the time had passed, nothing more can be read of the
// connection: the server would wait for the rest of the body.
func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end = true
	p.timer.Stop()
	if p.slow {
		_ = p.c.SetReadDeadline(time.Unix(1, 0)) // again: what the server puts around the body may have taken it away
	}
}
