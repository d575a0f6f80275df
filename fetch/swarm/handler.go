package swarm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/lockfile/block"
)

const (
	// maxWant is how many wants one request may have.
	maxWant = 1024
	// maxRequest is how long a request may be, in bytes.
	maxRequest = maxWant * 120
	// stretch is how much of a pack is sent under one deadline.
	stretch = 1 << 20
)

// contentRequest is the body of POST /content.
type contentRequest struct {
	Want   []string `json:"want"`   // root, root?nodes or root?leaves=from-to
	Shared bool     `json:"shared"` // the client may have all of it elsewhere
}

// Server serves the packs of a store. It holds no state of its own and is safe for concurrent use.
type Server struct {
	Store *store.Store
	// Now is the clock, for write deadlines; nil sets none.
	Now func() time.Time
	// Idle is how long a client may take for each MiB; 0 means a minute.
	Idle time.Duration
	// Only says which roots are served; nil: all. It is used concurrently.
	Only func(root cid.Cid) bool
	// Elsewhere says which roots peers have, so that those who said so may be left to ask them; nil: none. It is used
	// concurrently.
	Elsewhere func(root cid.Cid) bool

	ration ration
	held   atomic.Int64 // bytes of parts
}

// Handler serves POST /content and GET|HEAD /packs/{root} from s, without deadlines of its own.
func Handler(s *store.Store) http.Handler { return (&Server{Store: s}).Handler() }

// Handler serves POST /content and GET|HEAD /packs/{root}.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /content", s.content)
	mux.HandleFunc("GET /packs/{root}", s.pack)
	return mux
}

func (s *Server) content(w http.ResponseWriter, r *http.Request) {
	want, shared, err := parseRequest(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		var large *http.MaxBytesError
		status := http.StatusBadRequest
		if errors.As(err, &large) {
			status = http.StatusRequestEntityTooLarge
		}
		reply(w, status, err.Error(), `send {"want": [root, …]}`)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.pkg.packs")
	w.Header().Set("Cache-Control", "no-store")
	for _, x := range want {
		if r.Context().Err() != nil {
			return
		}
		if err := s.frame(r.Context(), w, x, shared); err != nil {
			// The head of a frame may be out: the only honest end now is to break the connection.
			panic(http.ErrAbortHandler)
		}
	}
}

// parseRequest reads and checks the body of POST /content.
func parseRequest(body io.Reader) (want []Want, shared bool, err error) {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	var req contentRequest
	if err := dec.Decode(&req); err != nil {
		return nil, false, fmt.Errorf("malformed request: %w", err)
	}
	if len(req.Want) == 0 || len(req.Want) > maxWant {
		return nil, false, fmt.Errorf("%d wanted: at least 1 and at most %d can be", len(req.Want), maxWant)
	}
	seen := make(map[Want]bool, len(req.Want))
	for _, text := range req.Want {
		w, err := parseWant(text)
		if err != nil {
			return nil, false, fmt.Errorf("malformed request: %w", err)
		}
		if seen[w] {
			return nil, false, fmt.Errorf("%s is wanted twice", w)
		}
		seen[w] = true
		want = append(want, w)
	}
	return want, req.Shared, nil
}

// parseWant reads what Want.String writes. Leaves are of no outline: their numbers are all there is.
func parseWant(text string) (w Want, err error) {
	root, part, parts := strings.Cut(text, "?")
	if w.Root, err = block.Parse(root); err != nil {
		return w, err
	}
	if !parts {
		return w, nil
	}
	span, leaves := strings.CutPrefix(part, "leaves=")
	from, to, _ := strings.Cut(span, "-")
	switch {
	case part == "nodes":
		w.Scope = Nodes
		return w, nil
	case leaves:
		w.Scope = Leaves
		w.From, err = strconv.Atoi(from)
		if err == nil {
			w.To, err = strconv.Atoi(to)
		}
		if err == nil && w.String() == text {
			return w, nil
		}
	}
	return w, fmt.Errorf("%q is neither nodes nor leaves=from-to", part)
}

// open opens what is sent for a want. What is not, for whatever reason, is store.ErrNotFound.
func (s *Server) open(ctx context.Context, x Want, shared bool) (io.ReadCloser, int64, error) {
	if s.Only != nil && !s.Only(x.Root) {
		return nil, 0, store.ErrNotFound
	}
	rationed := shared && s.Elsewhere != nil && s.Now != nil && s.Elsewhere(x.Root)
	if rationed && s.ration.spent(x, s.Now()) {
		return nil, 0, store.ErrNotFound
	}
	f, size, err := open(ctx, s.Store, x, &s.held)
	if err == nil && rationed {
		s.ration.count(x, size)
	}
	return f, size, err
}

// frame sends one want; a whole pack straight from its file.
func (s *Server) frame(ctx context.Context, w http.ResponseWriter, x Want, shared bool) error {
	f, size, err := s.open(ctx, x, shared)
	if errors.Is(err, store.ErrNotFound) {
		_, err = w.Write(appendFrame(nil, x.Root, 0))
		return err
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	if _, err := w.Write(appendFrame(nil, x.Root, size)); err != nil {
		return err
	}
	for size > 0 {
		s.deadline(w)
		n, err := io.CopyN(w, f, min(size, stretch))
		if size -= n; err != nil {
			return err
		}
	}
	return nil
}

// deadline gives the client time for the next stretch. A writer that knows no deadlines has none.
func (s *Server) deadline(w http.ResponseWriter) {
	if s.Now == nil {
		return
	}
	idle := s.Idle
	if idle == 0 {
		idle = time.Minute
	}
	_ = http.NewResponseController(w).SetWriteDeadline(s.Now().Add(idle))
}

// pack serves one pack as a file that never changes under its name.
func (s *Server) pack(w http.ResponseWriter, r *http.Request) {
	root, err := block.Parse(r.PathValue("root"))
	if err != nil {
		reply(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	if s.Only != nil && !s.Only(root) {
		reply(w, http.StatusNotFound, "no pack of "+root.String()+" here", "")
		return
	}
	f, _, err := s.Store.OpenPack(root)
	if errors.Is(err, store.ErrNotFound) {
		reply(w, http.StatusNotFound, "no pack of "+root.String()+" here", "")
		return
	}
	if err != nil {
		reply(w, http.StatusInternalServerError, "the store cannot be read", "")
		return
	}
	defer func() { _ = f.Close() }() // read only
	s.deadline(w)
	w.Header().Set("Content-Type", "application/zstd")
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	w.Header().Set("ETag", `"`+root.String()+`"`)
	http.ServeContent(w, r, "", time.Time{}, f)
}

func reply(w http.ResponseWriter, status int, msg, help string) {
	b, err := json.Marshal(struct {
		Error string `json:"error"`
		Help  string `json:"help,omitempty"`
	}{msg, help})
	if err != nil {
		b = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client is gone
}
