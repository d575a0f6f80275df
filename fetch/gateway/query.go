package gateway

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

const (
	rawType = "application/vnd.ipld.raw"
	carType = "application/vnd.ipld.car"
	// maxCIDText is the longest CID that is read: in base 2 none is, in base 10 some are.
	maxCIDText = 256
	// maxIdentity is how many bytes a CID may carry in itself, as everywhere in IPFS.
	maxIdentity = 128
	// maxAccept is how many media types of an Accept are looked at.
	maxAccept = 32

	howto = "ask for ?format=raw or ?format=car"
)

// scope is how much of a DAG a CAR holds.
type scope string

const (
	scopeAll    scope = "all"
	scopeEntity scope = "entity"
	scopeBlock  scope = "block"
)

// span is some bytes of a file: from and to count, both included. Numbers below zero count from the end.
type span struct {
	from, to int64
	open     bool // to the end
}

// query is a request, understood.
type query struct {
	root  cid.Cid
	names []string // of the path below root
	path  string   // all of it, as it goes into a header
	car   bool
	scope scope
	bytes *span // nil: all
	dups  bool
	order string // dfs, or unk if it was asked for
}

func bad(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, fmt.Sprintf(format, args...), ""}
}

// parseQuery reads a request. Every error is a refusal.
func parseQuery(r *http.Request, l tree.Limits) (*query, error) {
	q := &query{scope: scopeAll, order: "dfs"}
	if err := q.parsePath(r.URL.EscapedPath(), l); err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("malformed parameters")
	}
	params, err := q.parseFormat(form, r.Header.Values("Accept"))
	if err != nil {
		return nil, err
	}
	if !q.car {
		if len(q.names) > 0 {
			return nil, &refusal{http.StatusBadRequest, "a raw block has no path", "ask for its CID, or for ?format=car"}
		}
		return q, nil
	}
	if err := q.parseCAR(form, params); err != nil {
		return nil, err
	}
	return q, q.parseScope(form)
}

// parsePath reads /ipfs/{cid}[/{path}].
func (q *query) parsePath(escaped string, l tree.Limits) error {
	rest, ok := strings.CutPrefix(escaped, "/ipfs/")
	if !ok {
		return &refusal{http.StatusNotFound, "only /ipfs/{cid} is served", ""}
	}
	if len(rest) > maxCIDText+4*l.PathBytes { // a byte is up to three characters
		return bad("the path is longer than any here")
	}
	parts := strings.Split(strings.TrimSuffix(rest, "/"), "/")
	if len(parts)-1 > l.Depth {
		return bad("the path is deeper than any here: %d levels, over %d", len(parts)-1, l.Depth)
	}
	for i, part := range parts {
		name, err := url.PathUnescape(part)
		if err != nil || name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return bad("malformed path: %q cannot be in it", part)
		}
		parts[i] = name
	}
	c, err := parseCID(parts[0])
	if err != nil {
		return err
	}
	q.root, q.names = c, parts[1:]
	q.path = (&url.URL{Path: "/ipfs/" + strings.Join(parts, "/")}).EscapedPath()
	return nil
}

// parseCID reads any CID, in any spelling: which there are is for the Blocks to say.
func parseCID(s string) (cid.Cid, error) {
	if len(s) > maxCIDText {
		return cid.Undef, bad("malformed CID: %d characters", len(s))
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, bad("malformed CID %q", s)
	}
	if isIdentity(c) && (c.Prefix().MhLength > maxIdentity || c.Prefix().Codec != cid.Raw) {
		return cid.Undef, bad("the identity CID %q is not served", s)
	}
	return c, nil
}

// parseFormat finds out the format that is wanted, and the parameters of its media type.
func (q *query) parseFormat(form url.Values, accept []string) (params map[string]string, err error) {
	best, carParams, named := parseAccept(accept)
	switch format := form.Get("format"); {
	case format == "raw", format == "" && best == rawType:
		return nil, nil
	case format == "car", format == "" && best == carType:
		q.car = true
		return carParams, nil
	case format == "" && q.root.Equals(block.Empty()):
		return nil, nil // the probe of some clients; nothing is easy to get right
	case format == "" && !named:
		return nil, &refusal{http.StatusBadRequest, "no format was asked for", howto}
	default:
		return nil, &refusal{http.StatusNotAcceptable, "only raw blocks and CARs are served", howto}
	}
}

// parseAccept returns the best of the types we have, the parameters of the best CAR, and whether any type is named.
func parseAccept(accept []string) (best string, carParams map[string]string, named bool) {
	var bestQ, carQ float64
	for i, text := range strings.SplitN(strings.Join(accept, ","), ",", maxAccept+1) {
		if i == maxAccept {
			break
		}
		kind, params, err := mime.ParseMediaType(text)
		if err != nil {
			continue
		}
		named = true
		weight := 1.0
		if text, ok := params["q"]; ok {
			if weight, err = strconv.ParseFloat(text, 64); err != nil {
				continue
			}
		}
		ours := kind == rawType || kind == carType && canBe(params)
		if kind == carType && weight > carQ {
			carQ, carParams = weight, params
		}
		if ours && weight > bestQ {
			bestQ, best = weight, kind
		}
	}
	return best, carParams, named
}

// canBe says whether there are CARs with these parameters.
func canBe(params map[string]string) bool {
	return new(query).parseCAR(nil, params) == nil
}

// parseCAR reads the parameters of the CAR format, of the URL or else of the media type.
func (q *query) parseCAR(form url.Values, params map[string]string) error {
	param := func(name string) string {
		if v := form.Get("car-" + name); v != "" {
			return v
		}
		return params[name]
	}
	if v := param("version"); v != "" && v != "1" {
		return bad("CARs are of version 1, not %q", v)
	}
	switch v := param("order"); v {
	case "", "dfs":
	case "unk":
		q.order = v
	default:
		return bad("the order of a CAR is dfs, not %q", v)
	}
	switch v := param("dups"); v {
	case "", "n":
	case "y":
		q.dups = true
	default:
		return bad("dups is y or n, not %q", v)
	}
	return nil
}

// parseScope reads dag-scope and entity-bytes, which implies dag-scope=entity.
func (q *query) parseScope(form url.Values) error {
	given := form.Has("dag-scope")
	if given {
		q.scope = scope(form.Get("dag-scope"))
	}
	if q.scope != scopeAll && q.scope != scopeEntity && q.scope != scopeBlock {
		return bad("dag-scope is all, entity or block, not %q", string(q.scope))
	}
	if !form.Has("entity-bytes") {
		return nil
	}
	s, err := parseSpan(form.Get("entity-bytes"))
	if err != nil {
		return bad("malformed entity-bytes: %v", err)
	}
	if !given {
		q.scope = scopeEntity
	}
	if q.scope == scopeEntity {
		q.bytes = s
	}
	return nil
}

func parseSpan(text string) (*span, error) {
	from, to, ok := strings.Cut(text, ":")
	if !ok {
		return nil, errors.New("two numbers with a colon between them are needed")
	}
	var s span
	var err error
	if s.from, err = strconv.ParseInt(from, 10, 64); err != nil {
		return nil, errors.New("the first number is none")
	}
	if s.open = to == "*"; s.open {
		return &s, nil
	}
	if s.to, err = strconv.ParseInt(to, 10, 64); err != nil {
		return nil, errors.New("the second number is none")
	}
	if (s.from < 0) == (s.to < 0) && s.from > s.to {
		return nil, errors.New("its end is before its start")
	}
	return &s, nil
}

// within returns the bytes of a file of some size that are meant: from lo up to, without, hi.
func (s *span) within(size int64) (lo, hi int64) {
	if s == nil {
		return 0, size
	}
	lo, hi = s.from, size
	if lo < 0 {
		lo = max(size+lo, 0)
	}
	switch {
	case s.open || s.to >= size:
	case s.to < 0:
		hi = size + s.to + 1
	default:
		hi = s.to + 1
	}
	return lo, max(hi, lo)
}

// etag names the answer: the same request always has the same bytes.
func (q *query) etag() string {
	if !q.car {
		return `"` + q.root.String() + `.raw"`
	}
	what := fmt.Sprintf("%s\n%s\n%v", q.path, q.scope, q.dups)
	if q.bytes != nil {
		what += fmt.Sprintf("\n%+v", *q.bytes)
	}
	return fmt.Sprintf(`"%s.car.%.8x"`, q.root, sha256.Sum256([]byte(what)))
}

// matches says whether an If-None-Match names tag.
func matches(header, tag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if strings.TrimPrefix(strings.TrimSpace(one), "W/") == tag {
			return true
		}
	}
	return false
}
