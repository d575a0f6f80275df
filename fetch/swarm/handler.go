package swarm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/lockfile/block"
)

const (
	// maxWant is how many roots one request may want.
	maxWant = 1024
	// maxRequest is how long a request may be, in bytes: that many roots wanted and as many there.
	maxRequest = 2 * maxWant * 80
	// stretch is how much of a pack is sent under one deadline.
	stretch = 1 << 20
)

// contentRequest is the body of POST /content.
type contentRequest struct {
	Want []string `json:"want"`
	Have []string `json:"have"` // roots the client has: room for packs that leave out what these hold
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
}

// open opens the pack of a root that is served.
func (s *Server) open(root cid.Cid) (*os.File, int64, error) {
	if s.Only != nil && !s.Only(root) {
		return nil, 0, store.ErrNotFound
	}
	return s.Store.OpenPack(root)
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
	want, err := parseRequest(http.MaxBytesReader(w, r.Body, maxRequest))
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
	for _, root := range want {
		if r.Context().Err() != nil {
			return
		}
		if err := s.frame(w, root); err != nil {
			// The head of a frame may be out: the only honest end now is to break the connection.
			panic(http.ErrAbortHandler)
		}
	}
}

// parseRequest reads and checks the body of POST /content.
func parseRequest(body io.Reader) ([]cid.Cid, error) {
	dec := json.NewDecoder(body)
	dec.DisallowUnknownFields()
	var req contentRequest
	if err := dec.Decode(&req); err != nil {
		return nil, fmt.Errorf("malformed request: %w", err)
	}
	if len(req.Want) == 0 || len(req.Want) > maxWant || len(req.Have) > maxWant {
		return nil, fmt.Errorf("%d roots wanted, %d there: at least 1 and at most %d can be", len(req.Want), len(req.Have), maxWant)
	}
	want := make([]cid.Cid, len(req.Want))
	for i, text := range req.Want {
		c, err := block.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("malformed request: %w", err)
		}
		want[i] = c
	}
	return want, nil
}

// frame sends one root, straight from the file.
func (s *Server) frame(w http.ResponseWriter, root cid.Cid) error {
	f, size, err := s.open(root)
	if errors.Is(err, store.ErrNotFound) {
		_, err = w.Write(appendFrame(nil, root, 0))
		return err
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // read only
	if _, err := w.Write(appendFrame(nil, root, size)); err != nil {
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
	f, _, err := s.open(root)
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
