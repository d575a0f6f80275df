package swarm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pkg/fetch/tree"
)

const (
	// batchWant is how many roots are wanted by one request.
	batchWant = 1000
	// parallelGets is how many packs are fetched at a time from a server that only has files: enough to hide its
	// latency, few enough for any server.
	parallelGets   = 4
	maxTries       = 4
	defaultBackoff = 200 * time.Millisecond
	defaultIdle    = 30 * time.Second
	maxRedirects   = 5
)

// HTTP is a registry or mirror as a source. It asks for many roots in one request, or where that is not offered, for
// one file each. What fails for reasons that pass is tried again, up to three times, for the roots still open. It is
// safe for concurrent use.
type HTTP struct {
	Base   *url.URL
	Client *http.Client  // nil: a plain one
	Idle   time.Duration // how long the server may be silent; 0 means 30 s
	Limits tree.Limits   // bounds the packs; zero means tree.Default()
	Mirror bool          // it is no registry: it is not spared
	// Gateway is for a server that is only a trustless gateway of IPFS: it is asked for CARs.
	Gateway bool

	Backoff time.Duration // before the second try, four times as long before each further; 0 means 200 ms
}

// Name returns the host.
func (h *HTTP) Name() string { return h.Base.Host }

// errNoBatch says that the server does not know POST /content.
var errNoBatch = errors.New("no batches here")

// Kind says whether it is a registry or a mirror.
func (h *HTTP) Kind() Kind {
	if h.Mirror {
		return Mirror
	}
	return Registry
}

// Content implements Source.
func (h *HTTP) Content(ctx context.Context, r Request, each Each) (missing []Want, err error) {
	if h.Gateway {
		return h.gets(ctx, r.Wants, each)
	}
	for len(r.Wants) > 0 {
		n := min(len(r.Wants), batchWant)
		lacks, err := h.batch(ctx, Request{r.Wants[:n], r.Shared}, each)
		missing = append(missing, lacks...)
		if err != nil {
			return missing, err
		}
		r.Wants = r.Wants[n:]
	}
	return missing, nil
}

// batch asks until all is answered.
func (h *HTTP) batch(ctx context.Context, open Request, each Each) (missing []Want, err error) {
	for try := 1; ; try++ {
		done, lacks, err := h.post(ctx, open, each)
		missing = append(missing, lacks...)
		open.Wants = open.Wants[done:]
		switch {
		case err == nil:
			return missing, nil
		case errors.Is(err, errNoBatch):
			lacks, err := h.gets(ctx, open.Wants, each)
			return append(missing, lacks...), err
		case done > 0:
			try = 1 // it made progress
		}
		if err := h.again(ctx, try, err); err != nil {
			return missing, err
		}
	}
}

// again waits before the next try, or returns why there is none.
func (h *HTTP) again(ctx context.Context, try int, err error) error {
	var own *eachError
	if errors.As(err, &own) {
		return own.err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var perm *permanentError
	var cert *tls.CertificateVerificationError
	if try >= maxTries || errors.As(err, &perm) || errors.As(err, &cert) {
		return &SourceError{h.Name(), err}
	}
	first := h.Backoff
	if first == 0 {
		first = defaultBackoff
	}
	wait := time.NewTimer(first << (2 * (try - 1)))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}

// eachError carries an error of each past everything that would try again.
type eachError struct{ err error }

func (e *eachError) Error() string { return e.err.Error() }

// permanentError is a failure that trying again does not cure.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }

func (e *permanentError) Unwrap() error { return e.err }

// post makes one batch request. done is how many wants of the front were answered.
func (h *HTTP) post(ctx context.Context, asked Request, each Each) (done int, missing []Want, err error) {
	req := contentRequest{Want: make([]string, len(asked.Wants)), Shared: asked.Shared}
	for i, w := range asked.Wants {
		req.Want[i] = w.String()
	}
	body, err := json.Marshal(req)
	if err != nil {
		return 0, nil, err
	}
	resp, err := h.do(ctx, http.MethodPost, h.Base.JoinPath("content"), body)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Close() }() // its errors came with the reads
	r := bufio.NewReaderSize(resp, 64<<10)
	for i, want := range asked.Wants {
		root, size, err := readFrame(r, h.limit())
		if err == nil && !root.Equals(want.Root) {
			err = fmt.Errorf("%w: %s where %s is due", errFrame, root, want)
		}
		if errors.Is(err, errFrame) {
			err = &permanentError{err}
		}
		if err != nil {
			return i, missing, err
		}
		if size == 0 {
			missing = append(missing, want)
			continue
		}
		if err := pass(want, size, r, each); err != nil {
			return i, missing, err
		}
	}
	return len(asked.Wants), missing, nil
}

// pass gives one pack to each. An error that the transport caused is the transport's.
func pass(w Want, size int64, r io.Reader, each Each) error {
	in := &packReader{r: r, left: size}
	if err := each(w, size, in); err != nil {
		if in.err != nil {
			return in.err
		}
		return &eachError{err}
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

// packReader reads the bytes of one pack out of a longer stream and keeps the error that broke it.
type packReader struct {
	r    io.Reader
	left int64 // -1: to the end of r
	err  error
}

func (p *packReader) Read(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	if p.left == 0 {
		return 0, io.EOF
	}
	if p.left > 0 && int64(len(b)) > p.left {
		b = b[:p.left]
	}
	n, err := p.r.Read(b)
	if p.left > 0 {
		p.left -= int64(n)
		if errors.Is(err, io.EOF) && p.left > 0 {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	return n, err
}

// gets fetches each root as a file. each still gets one at a time. There are no files of parts.
func (h *HTTP) gets(ctx context.Context, wants []Want, each Each) (missing []Want, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	var mu sync.Mutex // guards missing and stop, and calls of each
	var stop *eachError
	one := func(w Want, size int64, pack io.Reader) error {
		mu.Lock()
		defer mu.Unlock()
		if stop != nil {
			return stop
		}
		err := pass(w, size, pack, each)
		errors.As(err, &stop)
		return err
	}
	get := h.get
	if h.Gateway {
		get = h.car
	}
	for _, w := range wants {
		if w.Scope != All {
			missing = append(missing, w)
		}
	}
	for _, w := range wants {
		if w.Scope != All {
			continue
		}
		g.Go(func() error {
			for try := 1; ; try++ {
				found, err := get(ctx, w, one)
				if err == nil {
					if !found {
						mu.Lock()
						defer mu.Unlock()
						missing = append(missing, w)
					}
					return nil
				}
				if err := h.again(ctx, try, err); err != nil {
					return err
				}
			}
		})
	}
	err = g.Wait()
	return missing, err
}

func (h *HTTP) get(ctx context.Context, w Want, one Each) (found bool, err error) {
	resp, err := h.do(ctx, http.MethodGet, h.Base.JoinPath("packs", w.Root.String()), nil)
	if errors.Is(err, errNoBatch) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Close() }() // its errors came with the reads
	if resp.size > h.limit() {
		return false, &permanentError{fmt.Errorf("%w: a pack of %d bytes", errFrame, resp.size)}
	}
	return true, one(w, resp.size, io.LimitReader(resp, h.limit()))
}

func (h *HTTP) limit() int64 {
	if h.Limits == (tree.Limits{}) {
		return tree.Default().PackBytes()
	}
	return h.Limits.PackBytes()
}

// answer is the body of a response, whose reads fail when the server is silent for too long.
type answer struct {
	io.ReadCloser
	size   int64
	idle   time.Duration
	cancel context.CancelFunc
	silent *atomic.Bool
}

var errSilent = errors.New("the server fell silent")

// do makes one request. A server that does not know the place is errNoBatch; one that may know better later is an error
// like any of the network's; any other refusal is a permanentError.
func (h *HTTP) do(ctx context.Context, method string, u *url.URL, body []byte) (*answer, error) {
	var client http.Client
	if h.Client != nil {
		client = *h.Client
	}
	if client.CheckRedirect == nil {
		client.CheckRedirect = checkRedirect
	}
	idle := h.Idle
	if idle == 0 {
		idle = defaultIdle
	}
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		cancel()
		return nil, &permanentError{err}
	}
	req.Header.Set("Accept-Encoding", "identity") // packs are compressed already
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	a := &answer{idle: idle, cancel: cancel, silent: new(atomic.Bool)}
	timer := a.watch()
	resp, err := client.Do(req) //nolint:bodyclose // closed by answer.Close
	timer.Stop()
	if err != nil {
		cancel()
		return nil, a.fault(err)
	}
	a.ReadCloser, a.size = resp.Body, resp.ContentLength
	if err := refusal(resp); err != nil {
		_ = a.Close() // it said no
		return nil, err
	}
	return a, nil
}

// checkRedirect follows a few redirects, and none that gives up encryption: who listens would learn what is fetched.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &permanentError{fmt.Errorf("stopped after %d redirects", maxRedirects)}
	}
	if req.URL.Scheme != "https" && via[0].URL.Scheme == "https" {
		return &permanentError{fmt.Errorf("refused a redirect from https to %s", req.URL.Scheme)}
	}
	return nil
}

func refusal(resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code == http.StatusOK:
		return nil
	case code == http.StatusNotFound, code == http.StatusMethodNotAllowed, code == http.StatusNotImplemented:
		return errNoBatch
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return &statusError{fmt.Sprintf("%s %s: %s", resp.Request.Method, resp.Request.URL.Redacted(), http.StatusText(code))}
	default:
		return &permanentError{fmt.Errorf("%s %s: %d %s", resp.Request.Method, resp.Request.URL.Redacted(), code, http.StatusText(code))}
	}
}

// statusError is a refusal that may pass.
type statusError struct{ text string }

func (e *statusError) Error() string { return e.text }

// watch cancels the request unless it is stopped in time.
func (a *answer) watch() *time.Timer {
	return time.AfterFunc(a.idle, func() {
		a.silent.Store(true)
		a.cancel()
	})
}

func (a *answer) fault(err error) error {
	if a.silent.Load() {
		return fmt.Errorf("%w for %v", errSilent, a.idle)
	}
	return err
}

// Read reads; only the server's silence counts, not how long the reader takes in between.
func (a *answer) Read(b []byte) (int, error) {
	timer := a.watch()
	n, err := a.ReadCloser.Read(b)
	timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = a.fault(err)
	}
	return n, err
}

// Close ends the request.
func (a *answer) Close() error {
	defer a.cancel()
	return a.ReadCloser.Close()
}
