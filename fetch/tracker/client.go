package tracker

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"golang.org/x/sync/errgroup"
)

const (
	maxMany      = 8 << 20 // bytes of an answer to a batch
	maxOne       = 1 << 20 // bytes of an answer about one root
	maxSmall     = 16 << 10
	parallelGets = 8 // requests at a time to a router that has no batches: enough to hide its latency
	clientTime   = 30 * time.Second
	maxRedirects = 5
)

// Client asks a tracker, or any other delegated router, and announces to it. It is safe for concurrent use.
type Client struct {
	Base *url.URL     // where /routing/ begins
	HTTP *http.Client // nil: a plain one that gives up after 30 s
}

// errNoBatch says that the server knows only the questions of Delegated Routing V1.
var errNoBatch = errors.New("no batches here")

// errAnswer is an answer that breaks the protocol.
var errAnswer = errors.New("malformed answer")

// Find returns who has which roots, MaxWant at a time, or one by one where the server has no batches. Roots nobody has
// are not in the map. With an error it returns what it found before.
//
// The answer is somebody's word: no peer was reached. For each root it has at most MaxProviders peers with 1 to MaxAddrs
// addresses each, all of the shape that may be announced, and none private unless the server is in the same network: a
// server in the internet cannot have this machine dial its neighbours.
func (c *Client) Find(ctx context.Context, roots []cid.Cid) (map[cid.Cid][]peer.AddrInfo, error) {
	found := map[cid.Cid][]peer.AddrInfo{}
	for rest := roots; len(rest) > 0; {
		n := min(len(rest), MaxWant)
		err := c.batch(ctx, rest[:n], found)
		if errors.Is(err, errNoBatch) {
			return found, c.gets(ctx, rest, found)
		}
		if err != nil {
			return found, fmt.Errorf("find providers: %w", err)
		}
		rest = rest[n:]
	}
	return found, nil
}

func (c *Client) batch(ctx context.Context, roots []cid.Cid, found map[cid.Cid][]peer.AddrInfo) error {
	q := want{Want: make([]string, len(roots))}
	for i, root := range roots {
		q.Want[i] = root.String()
	}
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	resp, err := c.do(ctx, http.MethodPost, c.Base.JoinPath("routing", "pkg", "providers"), body, maxMany)
	if err != nil {
		return err
	}
	switch resp.status {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
		return errNoBatch // 400 is what Delegated Routing V1 says of unknown paths
	default:
		return resp.refusal()
	}
	var m struct {
		Providers []json.RawMessage
		Roots     map[string][]int
	}
	if err := json.Unmarshal(resp.body, &m); err != nil {
		return fmt.Errorf("%w: %w", errAnswer, err)
	}
	infos := make([]peer.AddrInfo, len(m.Providers))
	for i, raw := range m.Providers {
		infos[i], _ = resp.info(raw) // zero if it is none
	}
	for i, root := range roots {
		var some []peer.AddrInfo
		for _, at := range m.Roots[q.Want[i]] {
			if at < 0 || at >= len(infos) {
				return fmt.Errorf("%w: provider %d of %d", errAnswer, at, len(infos))
			}
			some = append(some, infos[at])
		}
		if some = distinct(some); len(some) > 0 {
			found[root] = some
		}
	}
	return nil
}

// gets asks for one root at a time.
func (c *Client) gets(ctx context.Context, roots []cid.Cid, found map[cid.Cid][]peer.AddrInfo) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	var mu sync.Mutex // guards found
	for _, root := range roots {
		g.Go(func() error {
			some, err := c.get(ctx, root)
			if err != nil {
				return fmt.Errorf("find providers of %s: %w", root, err)
			}
			if len(some) > 0 {
				mu.Lock()
				defer mu.Unlock()
				found[root] = some
			}
			return nil
		})
	}
	return g.Wait()
}

func (c *Client) get(ctx context.Context, root cid.Cid) ([]peer.AddrInfo, error) {
	resp, err := c.do(ctx, http.MethodGet, c.Base.JoinPath("routing", "v1", "providers", root.String()), nil, maxOne)
	if err != nil {
		return nil, err
	}
	switch resp.status {
	case http.StatusOK:
	case http.StatusNotFound: // before IPIP-513: nobody
		return nil, nil
	default:
		return nil, resp.refusal()
	}
	var m struct{ Providers []json.RawMessage }
	if err := json.Unmarshal(resp.body, &m); err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	var some []peer.AddrInfo
	for _, raw := range m.Providers[:min(len(m.Providers), 2*MaxProviders)] {
		if info, ok := resp.info(raw); ok {
			some = append(some, info)
		}
	}
	return distinct(some), nil
}

// distinct drops peers that are none or come twice, and those past MaxProviders.
func distinct(infos []peer.AddrInfo) []peer.AddrInfo {
	seen := map[peer.ID]bool{"": true}
	out := infos[:0]
	for _, info := range infos {
		if !seen[info.ID] && len(out) < MaxProviders {
			seen[info.ID] = true
			out = append(out, info)
		}
	}
	return out
}

// Announce posts what Announcement.Sign made. A refusal is a *RefusedError.
func (c *Client) Announce(ctx context.Context, signed []byte) (Accepted, error) {
	resp, err := c.do(ctx, http.MethodPost, c.Base.JoinPath("routing", "pkg", "announce"), signed, maxSmall)
	if err != nil {
		return Accepted{}, fmt.Errorf("announce: %w", err)
	}
	if resp.status != http.StatusOK {
		return Accepted{}, fmt.Errorf("announce: %w", resp.refusal())
	}
	var a Accepted
	if err := json.Unmarshal(resp.body, &a); err != nil || a.Roots < 0 || len(a.Addrs) > MaxAddrs {
		return Accepted{}, fmt.Errorf("announce: %w", errAnswer)
	}
	return a, nil
}

// response is an answer that was read whole.
type response struct {
	status int
	after  string // Retry-After
	body   []byte
	server netip.Addr // invalid if unknown, or behind a proxy
}

// do makes one request and reads at most limit bytes of the answer.
// over is a client that dials with one version of IP, tcp4 or tcp6, and what ends it; nil if that cannot be chosen.
func (c *Client) over(network string) (*Client, func()) {
	way, client := http.DefaultTransport, http.Client{Timeout: clientTime}
	if c.HTTP != nil {
		client = *c.HTTP
		if client.Transport != nil {
			way = client.Transport
		}
	}
	t, ok := way.(*http.Transport)
	if !ok || t.DialContext == nil {
		return nil, nil
	}
	t = t.Clone()
	dial := t.DialContext
	t.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, network, addr) }
	client.Transport = t
	return &Client{Base: c.Base, HTTP: &client}, t.CloseIdleConnections
}

func (c *Client) do(ctx context.Context, method string, u *url.URL, body []byte, limit int64) (*response, error) {
	client := http.Client{Timeout: clientTime}
	if c.HTTP != nil {
		client = *c.HTTP
	}
	if client.CheckRedirect == nil {
		client.CheckRedirect = checkRedirect
	}
	client.Timeout = cmp.Or(client.Timeout, clientTime)
	out := &response{}
	var mu sync.Mutex // guards server: a dial may outlive its request
	var server netip.Addr
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		mu.Lock()
		defer mu.Unlock()
		server = netip.Addr{}
		if a, err := netip.ParseAddrPort(i.Conn.RemoteAddr().String()); err == nil {
			server = a.Addr()
		}
	}})
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", typeJSON)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", typeJSON)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // its errors came with the reads
	out.status, out.after = resp.StatusCode, resp.Header.Get("Retry-After")
	if out.body, err = io.ReadAll(io.LimitReader(resp.Body, limit+1)); err != nil {
		return nil, err
	}
	if int64(len(out.body)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errAnswer, limit)
	}
	mu.Lock()
	defer mu.Unlock()
	if !proxied(client.Transport, resp.Request) {
		out.server = server
	}
	return out, nil
}

// proxied reports whether a request may have gone through a proxy, whose address says nothing of the server's.
func proxied(rt http.RoundTripper, req *http.Request) bool {
	proxy := http.ProxyFromEnvironment
	if t, ok := rt.(*http.Transport); ok {
		proxy = t.Proxy
	}
	if proxy == nil || req == nil {
		return req == nil
	}
	u, err := proxy(req)
	return u != nil || err != nil
}

// checkRedirect follows a few redirects, and none that gives up encryption: who listens would learn what is fetched.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return fmt.Errorf("refused a redirect from https to %s", req.URL.Scheme)
	}
	return nil
}

// refusal is the answer as an error.
func (r *response) refusal() *RefusedError {
	var e struct{ Error, Help string }
	_ = json.Unmarshal(r.body, &e) // other servers say it otherwise
	out := &RefusedError{Status: r.status, Reason: clip(e.Error), Help: clip(e.Help)}
	if out.Reason == "" {
		out.Reason = fmt.Sprintf("the tracker answered %d %s", r.status, http.StatusText(r.status))
	}
	if s, err := strconv.Atoi(r.after); err == nil && s > 0 {
		out.After = time.Duration(min(s, int(MaxLifetime/time.Second))) * time.Second
	}
	return out
}

// info is what can be used of a record that a stranger wrote.
func (r *response) info(raw json.RawMessage) (info peer.AddrInfo, ok bool) {
	var rec record
	if json.Unmarshal(raw, &rec) != nil || rec.Schema != schemaPeer || len(rec.ID) > maxText {
		return info, false
	}
	id, err := peer.Decode(rec.ID)
	if err != nil {
		return info, false
	}
	info.ID = id
	for _, text := range rec.Addrs[:min(len(rec.Addrs), 4*MaxAddrs)] {
		m, err := parseMultiaddr(text)
		if err != nil {
			continue
		}
		a, err := parseAddr(m, id)
		if err != nil || !reaches(r.server, a.ip) || len(info.Addrs) >= MaxAddrs {
			continue
		}
		if m, err := ma.NewMultiaddr(a.text); err == nil {
			info.Addrs = append(info.Addrs, m)
		}
	}
	if len(info.Addrs) == 0 {
		return peer.AddrInfo{}, false
	}
	return info, true
}
