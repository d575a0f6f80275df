package tracker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
)

const (
	maxBatch   = MaxWant*80 + 1024 // bytes of POST /routing/pkg/providers
	maxText    = 128               // bytes of a CID that is asked for
	batchEach  = 20                // providers of one root in a batch
	batchPeers = 1000              // peers in a batch; no less than MaxWant, so that every root can have one
	cacheSome  = 60                // seconds an answer may be kept
	cacheNone  = 15                // seconds an answer that names nobody may be kept
	bodyTime   = 15 * time.Second  // for the whole body of an announcement
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
)

// Handler serves the three places under /routing/. The only deadline it sets is one for the body of an announcement.
func (t *Tracker) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /routing/v1/providers/{cid}", t.getProviders)
	mux.HandleFunc("POST /routing/pkg/providers", t.postProviders)
	mux.HandleFunc("POST /routing/pkg/announce", t.postAnnounce)
	return mux
}

func (t *Tracker) getProviders(w http.ResponseWriter, r *http.Request) {
	text := r.PathValue("cid")
	c, err := cid.Decode(text)
	if err != nil || len(text) > maxText {
		fail(w, refuse(http.StatusBadRequest, "", "%q is not a CID", clip(text)))
		return
	}
	q := r.URL.Query()
	f := filter{t.cfg.Source(r), parseFilter(q.Get("filter-addrs")), parseFilter(q.Get("filter-protocols"))}
	records := t.find(c, f)
	h := w.Header()
	h.Set("Vary", "Accept")
	age := cacheSome
	if len(records) == 0 {
		age = cacheNone
	}
	// What is said to the public may be kept by all, and read by any web page; what was said to a neighbour may not.
	scope := "private"
	if at := placeOf(f.from.WithZone("").Unmap()); at == public || at == nowhere {
		scope = "public"
		h.Set("Access-Control-Allow-Origin", "*")
	}
	h.Set("Cache-Control", fmt.Sprintf("%s, max-age=%d", scope, age))
	if !accepts(r, typeNDJSON) {
		answer(w, http.StatusOK, one{records})
		return
	}
	h.Set("Content-Type", typeNDJSON)
	enc := json.NewEncoder(w)
	for _, rec := range records {
		if enc.Encode(rec) != nil {
			return // the asker is gone
		}
	}
}

// accepts reports whether the asker named a media type.
func accepts(r *http.Request, media string) bool {
	for _, line := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			if kind, _, _ := strings.Cut(part, ";"); strings.EqualFold(strings.TrimSpace(kind), media) {
				return true
			}
		}
	}
	return false
}

// find returns all who have one root; never nil.
func (t *Tracker) find(c cid.Cid, f filter) []record {
	out := []record{}
	k, ok := keyOf(c)
	if !ok || !t.cfg.Shares(k.root()) {
		return out
	}
	t.table.mu.RLock()
	defer t.table.mu.RUnlock()
	t.table.find(k, t.cfg.Now().Unix(), func(s *seed) bool {
		if r, ok := f.record(s); ok {
			out = append(out, r)
		}
		return true
	})
	return out
}

// want is the body of POST /routing/pkg/providers.
type want struct {
	Want []string `json:"want"`
}

func (t *Tracker) postProviders(w http.ResponseWriter, r *http.Request) {
	var q want
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBatch))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil {
		fail(w, malformed(err))
		return
	}
	if len(q.Want) == 0 || len(q.Want) > MaxWant {
		fail(w, refuse(http.StatusBadRequest, `send {"want": [cid, …]}`,
			"%d roots wanted: at least 1 and at most %d can be", len(q.Want), MaxWant))
		return
	}
	keys := make(map[string]key, len(q.Want))
	for _, text := range q.Want {
		c, err := cid.Decode(text)
		if err != nil || len(text) > maxText {
			fail(w, refuse(http.StatusBadRequest, "", "%q is not a CID", clip(text)))
			return
		}
		if k, ok := keyOf(c); ok && t.cfg.Shares(k.root()) {
			keys[text] = k
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, t.findMany(keys, filter{from: t.cfg.Source(r)}))
}

// listed is a peer that may be in a batch.
type listed struct {
	record record
	at     int // position; -1: not yet
}

// findMany answers a batch, a provider for each root in turn: when the answer is full, no root has gone short for
// another.
func (t *Tracker) findMany(keys map[string]key, f filter) many {
	t.table.mu.RLock()
	defer t.table.mu.RUnlock()
	now := t.cfg.Now().Unix()
	out := many{Providers: []record{}, Roots: map[string][]int{}}
	all := map[*seed]*listed{} // nil: nothing of it to tell this asker
	use := func(s *seed) *listed {
		l, known := all[s]
		if !known {
			if r, ok := f.record(s); ok {
				l = &listed{record: r, at: -1}
			}
			all[s] = l
		}
		return l
	}
	type asked struct {
		text  string
		queue []*listed
		at    []int
	}
	var roots []asked
	for text, k := range keys {
		q := asked{text: text}
		t.table.find(k, now, func(s *seed) bool {
			if l := use(s); l != nil {
				q.queue = append(q.queue, l)
			}
			return len(q.queue) < batchEach
		})
		if len(q.queue) > 0 {
			roots = append(roots, q)
		}
	}
	for i := range batchEach {
		for n := range roots {
			q := &roots[n]
			if i >= len(q.queue) || !out.list(q.queue[i]) {
				continue
			}
			q.at = append(q.at, q.queue[i].at)
		}
	}
	for _, q := range roots {
		out.Roots[q.text] = q.at
	}
	return out
}

// list gives l a position, if there is one left or it has one.
func (m *many) list(l *listed) bool {
	if l.at >= 0 {
		return true
	}
	if len(m.Providers) >= batchPeers {
		return false
	}
	l.at = len(m.Providers)
	m.Providers = append(m.Providers, l.record)
	return true
}

func (t *Tracker) postAnnounce(w http.ResponseWriter, r *http.Request) {
	from := t.cfg.Source(r)
	if !from.IsValid() {
		fail(w, refuse(http.StatusForbidden, "", "announcements come from IP addresses"))
		return
	}
	who := networkOf(from)
	if !t.rates.take(who, t.cfg.Now()) { // before anything that costs
		fail(w, tooMany("announcements from "+who.String(), t.cfg.Limits.BySource))
		return
	}
	a, err := t.open(w, r, who)
	if err != nil {
		fail(w, err)
		return
	}
	kept, err := t.accept(a, from)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusOK, kept)
}

func (t *Tracker) open(w http.ResponseWriter, r *http.Request, who netip.Prefix) (Announcement, error) {
	if !t.gate.enter(who) {
		e := refuse(http.StatusServiceUnavailable, "", "the tracker is busy")
		e.After = time.Second
		return Announcement{}, e
	}
	defer t.gate.leave(who)
	limit := newPatience(w, r.Body)
	body, err := io.ReadAll(http.MaxBytesReader(w, limit, maxAnnounce))
	limit.stop()
	if errors.Is(err, errSlow) {
		w.Header().Set("Connection", "close")
		return Announcement{}, refuse(http.StatusRequestTimeout, "", "the announcement took longer than %s", bodyTime)
	}
	if err != nil {
		return Announcement{}, malformed(err)
	}
	a, err := Open(body, t.cfg.Registry)
	if errors.Is(err, errSignature) {
		return a, refuse(http.StatusForbidden, "", "%v", err)
	}
	if err != nil {
		return a, refuse(http.StatusBadRequest, "", "%v", err)
	}
	return a, nil
}

// malformed is a body that cannot be read.
func malformed(err error) *RefusedError {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return refuse(http.StatusRequestEntityTooLarge, "", "more than %d bytes", large.Limit)
	}
	return refuse(http.StatusBadRequest, "", "malformed request: %v", err)
}

// fail answers with the error body of every endpoint.
func fail(w http.ResponseWriter, err error) {
	refused, ok := errors.AsType[*RefusedError](err)
	if !ok {
		refused = refuse(http.StatusInternalServerError, "", "the tracker failed")
	}
	if refused.After > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64(refused.After/time.Second), 10))
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, refused.Status, struct {
		Error string `json:"error"`
		Help  string `json:"help,omitempty"`
	}{refused.Reason, refused.Help})
}

func answer(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"no answer"}`)
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the peer may be gone; there is nobody else to tell
}
