package catalog

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	retries      = 3 // after the first try
	firstBackoff = 200 * time.Millisecond
	idleTimeout  = 30 * time.Second // without a byte
	readTimeout  = 2 * time.Minute  // for one file, with all tries
	askTimeout   = 5 * time.Minute  // for one lookup
	maxHeader    = 64 << 10         // bytes
	maxRedirects = 5
)

// HTTP reads a registry at a URL. Requests that fail for the network's sake
// (no connection, a broken one, a gateway that is down) are tried again up to 3
// times; nothing else is.
type HTTP struct {
	base   *url.URL
	client *http.Client
	agent  string
}

// Client is an HTTP client, for who has nothing else to do with HTTP.
type Client = http.Client

// NewClient returns a client with sane timeouts. All that a command asks of a
// registry can share one, and with it the connections.
func NewClient() *Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  idleTimeout,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
	}}
}

// NewHTTP returns the source at base, an http or https URL. Agent is sent as the
// User-Agent. A nil transport means that of NewClient.
func NewHTTP(base, agent string, transport http.RoundTripper) (*HTTP, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return nil, fmt.Errorf("registry url: %w", err)
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("registry url %q: want http:// or https:// and a host", base)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("registry url %q: want no user, query or fragment", base)
	}
	if transport == nil {
		transport = NewClient().Transport
	}
	return &HTTP{
		base:   u,
		client: &http.Client{Transport: transport, CheckRedirect: checkRedirect},
		agent:  cmp.Or(agent, "pkg"),
	}, nil
}

// checkRedirect follows a few redirects, and none that gives up encryption.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return fmt.Errorf("refused a redirect from https to %s", req.URL.Scheme)
	}
	return nil
}

// Read implements Source.
func (h *HTTP) Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, readTimeout)
	defer stop()
	var b []byte
	err := retry(ctx, func() error {
		body, err := h.do(ctx, readTimeout, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		defer body.Close() //nolint:errcheck // only read from
		b, err = readAll(body, path, limit)
		return err
	})
	return b, err
}

// Lookup implements Source. It tries once: static reads do as well.
func (h *HTTP) Lookup(ctx context.Context, req LookupRequest) (io.ReadCloser, error) {
	b, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	body, err := h.do(ctx, askTimeout, http.MethodPost, "lookup", b)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrUnsupported
	}
	return body, err
}

// statusError is an answer that is no success.
type statusError struct {
	URL    string
	Status string
	Code   int
}

func (e *statusError) Error() string { return fmt.Sprintf("%s answered %s", e.URL, e.Status) }

// networkError is a failure worth another try.
type networkError struct{ err error }

func (e *networkError) Error() string { return e.err.Error() }
func (e *networkError) Unwrap() error { return e.err }

// do sends one request and returns the body of a successful answer, which fails
// when nothing arrives for a while.
func (h *HTTP) do(ctx context.Context, limit time.Duration, method, path string, body []byte) (io.ReadCloser, error) {
	ctx, stop := context.WithTimeout(ctx, limit)
	ctx, cause := context.WithCancelCause(ctx)
	cancel := func(err error) { cause(err); stop() }
	req, err := http.NewRequestWithContext(ctx, method, h.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	req.Header.Set("User-Agent", h.agent)
	req.Header.Set("Accept-Encoding", "identity")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", ContentType)
	}
	stall := func() { cancel(fmt.Errorf("no byte from %s for %v", h.base.Host, idleTimeout)) }
	timer := time.AfterFunc(idleTimeout, stall)
	resp, err := h.client.Do(req)
	if err != nil {
		timer.Stop()
		err = classify(ctx, cmp.Or(stalled(ctx), err))
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode == http.StatusOK && identity(resp.Header) {
		return &idleBody{body: resp.Body, ctx: ctx, cancel: cancel, timer: timer}, nil
	}
	timer.Stop()
	cancel(nil)
	_ = resp.Body.Close()
	return nil, refused(req, resp)
}

// identity reports whether the body is sent as it is.
func identity(h http.Header) bool {
	e := h.Get("Content-Encoding")
	return e == "" || strings.EqualFold(e, "identity")
}

// refused says what an answer without content means.
func refused(req *http.Request, resp *http.Response) error {
	e := &statusError{req.URL.String(), resp.Status, resp.StatusCode}
	switch resp.StatusCode {
	case http.StatusOK:
		return fmt.Errorf("%s answered in an encoding nobody asked for", e.URL)
	case http.StatusNotFound, http.StatusGone:
		return fmt.Errorf("%w: %w", e, fs.ErrNotExist)
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		if req.Method == http.MethodPost {
			return fmt.Errorf("%w: %w", e, fs.ErrNotExist)
		}
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &networkError{e}
	}
	return e
}

// stalled returns why ctx was cancelled, if by us.
func stalled(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil && !errors.Is(err, ctx.Err()) {
		return err
	}
	return nil
}

// classify marks errors of the network, which are all that a round trip gives
// but a redirect refused.
func classify(ctx context.Context, err error) error {
	var u *url.Error
	var op net.Error
	if ctx.Err() != nil && stalled(ctx) == nil {
		return err
	}
	if errors.As(err, &u) && !errors.As(u.Err, &op) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return &networkError{err}
}

// idleBody is a response body that fails when no byte arrives for a while.
type idleBody struct {
	body   io.ReadCloser
	ctx    context.Context // of the request
	cancel func(error)
	timer  *time.Timer
}

// Read implements io.Reader.
func (b *idleBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		b.timer.Reset(idleTimeout)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if s := stalled(b.ctx); s != nil {
			err = s
		}
		err = &networkError{err}
	}
	return n, err
}

// Close implements io.Closer.
func (b *idleBody) Close() error {
	b.timer.Stop()
	err := b.body.Close()
	b.cancel(nil)
	return err
}

// retry calls f until it gives no network error, 4 times at most.
func retry(ctx context.Context, f func() error) error {
	wait := firstBackoff
	for n := 0; ; n++ {
		err := f()
		var ne *networkError
		if err == nil || !errors.As(err, &ne) || n == retries || ctx.Err() != nil {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
		wait *= 2
	}
}
