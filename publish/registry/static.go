//go:build unix

package registry

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// getStatic serves the files of the public directory, which any web server
// could serve as well.
func (s *Server) getStatic(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	if !isPublic(name) {
		fail(w, http.StatusNotFound, "no such file", "")
		return
	}
	b, err := s.readPublic(name)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errNotFile) {
			s.cfg.Logger.WarnContext(r.Context(), "read", slog.String("file", name), slog.Any("error", err))
		}
		fail(w, http.StatusNotFound, "no such file", "")
		return
	}
	h := w.Header()
	h.Set("Content-Type", mediaType(name))
	h.Set("Cache-Control", "no-cache")
	if immutable(name) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// isPublic reports whether a path is one that readers know. The log keeps its
// own state beside them, in a directory whose name begins with a dot.
func isPublic(name string) bool {
	if !fs.ValidPath(name) || strings.Contains(name, "/.") {
		return false
	}
	first, _, below := strings.Cut(name, "/")
	switch first {
	case "head", "checkpoint":
		return !below
	case "trust", "tile", "ipfs":
		return below
	}
	return false
}

// trustless reports whether a request is one of an IPFS client, which says in
// which form it wants a block or a tree. Readers of the registry do not.
func trustless(r *http.Request) bool {
	return r.URL.Query().Has("format") || strings.Contains(r.Header.Get("Accept"), "application/vnd.ipld.")
}

var errNotFile = errors.New("not a file")

// readPublic reads a public file. Of a partial tile that was collected it
// serves the beginning of the full one (C2SP tlog-tiles).
func (s *Server) readPublic(name string) ([]byte, error) {
	file := filepath.Join(s.public, filepath.FromSlash(name))
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		return nil, errNotFile
	}
	if err == nil {
		return os.ReadFile(file) //nolint:gosec // isPublic chose it
	}
	full, width, ok := strings.Cut(name, ".p/")
	n, bad := strconv.ParseUint(width, 10, 8)
	if !ok || bad != nil || !strings.HasPrefix(name, "tile/") || strings.HasPrefix(name, "tile/entries/") {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(s.public, filepath.FromSlash(full)))
	if err != nil {
		return nil, err
	}
	return b[:min(len(b), int(n)*32)], nil
}

func mediaType(name string) string {
	switch {
	case strings.HasPrefix(name, "ipfs/"):
		return "application/vnd.ipld.dag-cbor"
	case name == "head", name == "checkpoint":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// immutable says whether a file is the same for ever.
func immutable(name string) bool {
	return name != "head" && name != "checkpoint"
}

// counters are what /metrics shows.
type counters struct {
	submissions, refused, failures, commits, lookups atomic.Int64

	trouble atomic.Pointer[string] // why the last commit failed; nil if it did not
}

// getHealth answers 200 with the status while commits succeed.
func (s *Server) getHealth(w http.ResponseWriter, _ *http.Request) {
	if s.counters.trouble.Load() != nil {
		fail(w, http.StatusServiceUnavailable, "the last commit could not be published", "see the registry's log")
		return
	}
	answerJSON(w, http.StatusOK, s.Status())
}

// getMetrics answers in the Prometheus text format.
func (s *Server) getMetrics(w http.ResponseWriter, _ *http.Request) {
	st := s.Status()
	var b bytes.Buffer
	put := func(name, kind string, v int64) {
		fmt.Fprintf(&b, "# TYPE pkg_registry_%s %s\npkg_registry_%s %d\n", name, kind, name, v)
	}
	put("log_size", "gauge", int64(st.Size)) //nolint:gosec // commits are not that many
	put("names", "gauge", int64(st.Names))
	put("last_commit_seconds", "gauge", st.Time)
	put("queue", "gauge", int64(len(s.queue)))
	put("commits_total", "counter", s.counters.commits.Load())
	put("submissions_total", "counter", s.counters.submissions.Load())
	put("refused_total", "counter", s.counters.refused.Load())
	put("failures_total", "counter", s.counters.failures.Load())
	put("lookups_total", "counter", s.counters.lookups.Load())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the peer may be gone
}
