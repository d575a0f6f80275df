// Package gateway serves blocks to any IPFS client: a trustless HTTP gateway, as
// https://specs.ipfs.tech/http-gateways/trustless-gateway/ has it.
//
//	GET|HEAD /ipfs/{cid}?format=raw           one block, with ranges
//	GET|HEAD /ipfs/{cid}[/{path}]?format=car  a DAG as CARv1, depth first
//
// The format may be named by Accept as well: application/vnd.ipld.raw or application/vnd.ipld.car, whose parameters
// version=1, order=dfs and dups=y|n are understood, in the URL as car-version, car-order and car-dups. The URL wins
// (IPIP-523). A CAR starts with the blocks along the path; dag-scope=all|entity|block says how much of what lies there
// follows, entity-bytes=from:to which bytes of a file. The CID in its header is that of what lies at the path. Blocks
// are sent once, or with dups=y each time they are met. Identity CIDs carry their content and are no blocks of a CAR.
//
// At most 16 CARs and 24 raw blocks are sent at once, a quarter of them to one client. Past that who has none yet takes
// the place of one who has several, whose answer breaks; else the answer is 503.
//
// Nothing else is served: no files, no web pages, no names. A client checks what it gets against the CID it asked for.
// What goes wrong before the first byte is told as JSON, {"error": …, "help": …}; after it, the connection breaks.
package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"pkg/fetch/store"
	"pkg/fetch/tree"
)

// stretch is how much is sent under one deadline, in bytes.
const stretch = 1 << 20

// Blocks has blocks to serve. It must be safe for concurrent use.
//
// A Blocks that also has Size(ctx, cid) (int64, error), with the same errors, is asked for that alone by HEAD.
type Blocks interface {
	// Block returns the block c, checked, or store.ErrNotFound. The bytes are only read.
	Block(ctx context.Context, c cid.Cid) ([]byte, error)
}

// sizer is the part of a Blocks that knows sizes.
type sizer interface {
	Size(ctx context.Context, c cid.Cid) (int64, error)
}

// Packs has the packs of whole trees. It must be safe for concurrent use.
type Packs interface {
	// OpenPack opens the pack of root, for the caller to close, or returns store.ErrNotFound.
	OpenPack(root cid.Cid) (pack *os.File, size int64, err error)
}

// Handler is the gateway. Its paths start at /ipfs/. It is safe for concurrent use, and not to be copied.
type Handler struct {
	Blocks Blocks
	// Packs, if set, lets CARs of whole trees be read in one piece. What a pack lacks comes from Blocks.
	Packs Packs
	// Now is the clock, for write deadlines; nil sets none.
	Now func() time.Time
	// Idle is how long a client may take for each MiB; 0 means a minute.
	Idle time.Duration
	// Limits bounds what a CAR may hold, as blocks and levels that a tree within them can have; zero means
	// tree.Default().
	Limits tree.Limits

	decoders   decoders
	cars, raws gate
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		reply(w, &refusal{http.StatusMethodNotAllowed, "this method is not served", ""})
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Vary", "Accept")
	q, err := parseQuery(r, h.limits())
	if err != nil {
		reply(w, err)
		return
	}
	if matches(r.Header.Get("If-None-Match"), q.etag()) {
		h.head(w, q, nil)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if r.Method != http.MethodHead { // which holds nothing
		g, limit := &h.raws, maxRaws
		if q.car {
			g, limit = &h.cars, maxCARs
		}
		asked := r.Context()
		ctx, cancel := context.WithCancel(asked)
		defer func() {
			if ctx.Err() != nil && asked.Err() == nil {
				panic(http.ErrAbortHandler) // it was cut, and must not end as if it were whole
			}
			cancel()
		}()
		r = r.WithContext(ctx)
		p := g.enter(client(r), limit, func() { cancel(); expire(w) })
		if p == nil {
			w.Header().Set("Retry-After", "1")
			reply(w, errBusy)
			return
		}
		defer g.leave(p)
	}
	if q.car {
		err = h.car(w, r, q)
	} else {
		err = h.raw(w, r, q)
	}
	if err != nil && r.Context().Err() == nil {
		reply(w, found(r, q, err))
	}
}

func (h *Handler) limits() tree.Limits {
	if h.Limits == (tree.Limits{}) {
		return tree.Default()
	}
	return h.Limits
}

// found turns an error of Blocks into a refusal.
func found(r *http.Request, q *query, err error) error {
	var no *refusal
	switch {
	case errors.As(err, &no):
		return no
	case !errors.Is(err, store.ErrNotFound):
		return &refusal{http.StatusInternalServerError, "the blocks of " + q.path + " cannot be read", ""}
	case strings.Contains(r.Header.Get("Cache-Control"), "only-if-cached"):
		return &refusal{http.StatusPreconditionFailed, q.path + " is not here", ""}
	}
	return &refusal{http.StatusNotFound, q.path + " is not here", ""}
}

// head sets what every good answer has in its header. roots are the CIDs along the path.
func (h *Handler) head(w http.ResponseWriter, q *query, roots []cid.Cid) {
	head := w.Header()
	head.Set("Etag", q.etag())
	head.Set("Cache-Control", "public, max-age=31536000, immutable")
	head.Set("X-Ipfs-Path", q.path)
	if len(roots) > 0 {
		text := make([]string, len(roots))
		for i, c := range roots {
			text[i] = c.String()
		}
		head.Set("X-Ipfs-Roots", strings.Join(text, ","))
	}
}

// raw answers with one block.
func (h *Handler) raw(w http.ResponseWriter, r *http.Request, q *query) error {
	var content io.ReadSeeker
	if sizes, ok := h.Blocks.(sizer); ok && r.Method == http.MethodHead && !isIdentity(q.root) {
		size, err := sizes.Size(r.Context(), q.root)
		if err != nil {
			return err
		}
		content = io.NewSectionReader(hollow{}, 0, size)
	} else {
		data, err := get(r.Context(), h.Blocks, q.root)
		if err != nil {
			return err
		}
		content = bytes.NewReader(data)
	}
	h.head(w, q, []cid.Cid{q.root})
	w.Header().Set("Content-Type", rawType)
	w.Header().Set("Content-Disposition", `attachment; filename="`+q.root.String()+`.bin"`)
	h.deadline(r.Context(), w)
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}

// hollow stands for content that is not read, for HEAD.
type hollow struct{}

func (hollow) ReadAt([]byte, int64) (int, error) { return 0, io.ErrUnexpectedEOF }

// get returns a block, wherever its bytes are.
func get(ctx context.Context, from Blocks, c cid.Cid) ([]byte, error) {
	if isIdentity(c) {
		d, err := multihash.Decode(c.Hash())
		if err != nil {
			return nil, err
		}
		return d.Digest, nil
	}
	return from.Block(ctx, c)
}

func isIdentity(c cid.Cid) bool { return c.Prefix().MhType == multihash.IDENTITY }

// deadline gives the client time for the next stretch, unless the answer was cut. A writer that knows no deadlines has
// none.
func (h *Handler) deadline(ctx context.Context, w http.ResponseWriter) {
	if h.Now == nil {
		return
	}
	idle := h.Idle
	if idle == 0 {
		idle = time.Minute
	}
	_ = http.NewResponseController(w).SetWriteDeadline(h.Now().Add(idle))
	if ctx.Err() != nil {
		expire(w)
	}
}

// expire ends the write that is under way, and all after it.
func expire(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Unix(1, 0))
}

// refusal is an answer other than what was asked for.
type refusal struct {
	status    int
	msg, help string
}

func (r *refusal) Error() string { return r.msg }

// reply sends a refusal.
func reply(w http.ResponseWriter, err error) {
	no := &refusal{status: http.StatusInternalServerError, msg: "the gateway failed"}
	errors.As(err, &no)
	b, err := json.Marshal(struct {
		Error string `json:"error"`
		Help  string `json:"help,omitempty"`
	}{no.msg, no.help})
	if err != nil {
		b = []byte(`{}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(no.status)
	_, _ = w.Write(append(b, '\n')) // the client is gone
}
