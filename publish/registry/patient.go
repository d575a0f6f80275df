//go:build unix

package registry

import (
	"bytes"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"time"
)

// patient gives every read and write of a request stallTime of its own, in
// place of the server's limits on the whole: long transfers may take long, and
// dead ones end, those too that drip.
func patient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		if r.Body == nil || r.Body == http.NoBody {
			// Without this the deadline of the header would cut off a
			// long answer, by the read that watches for a closed peer.
			_ = c.SetReadDeadline(time.Time{}) // a recorder in a test has none
		} else {
			r.Body = &patientBody{ReadCloser: r.Body, c: c, left: stallTime}
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(&patientWriter{ResponseWriter: w, c: c}, r)
	})
}

// patientBody is a body that must come at pace, after stallTime for the
// beginning.
type patientBody struct {
	io.ReadCloser
	c    *http.ResponseController
	left time.Duration // that may be waited for the next bytes, of all waiting
}

func (b *patientBody) Read(p []byte) (int, error) {
	began := systemNow()
	_ = b.c.SetReadDeadline(began.Add(min(b.left, stallTime)))
	n, err := b.ReadCloser.Read(p)
	b.left += time.Duration(n)*time.Second/pace - systemNow().Sub(began)
	if errors.Is(err, io.EOF) {
		_ = b.c.SetReadDeadline(time.Time{}) // nothing more is read of this request; after another error the server drains it
	}
	return n, err
}

type patientWriter struct {
	http.ResponseWriter
	c *http.ResponseController
}

// Unwrap serves http.ResponseController.
func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.c.SetWriteDeadline(systemNow().Add(stallTime))
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps sendfile for packs, a piece at a time.
func (w *patientWriter) ReadFrom(r io.Reader) (total int64, err error) {
	const piece = 4 << 20
	for {
		_ = w.c.SetWriteDeadline(systemNow().Add(stallTime))
		n, err := io.CopyN(w.ResponseWriter, r, piece)
		total += n
		if err != nil {
			if err == io.EOF { //nolint:errorlint // CopyN returns it bare, and only for the end
				err = nil
			}
			return total, err
		}
	}
}

// newErrorLog routes the HTTP server's own messages to l.
func newErrorLog(l *slog.Logger) *log.Logger {
	return log.New(logWriter{l}, "", 0)
}

type logWriter struct{ l *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.l.Warn("http", slog.String("message", string(bytes.TrimSpace(p))))
	return len(p), nil
}
