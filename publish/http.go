package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// HTTP pushes to a registry at a URL. It is safe for concurrent use.
type HTTP struct {
	Base *url.URL // the registry's address, without /entry
	// Transport carries the requests; nil is one with timeouts on every
	// socket. It is for tests and proxies.
	Transport http.RoundTripper
}

// Limits of a push.
const (
	pushTries   = 3
	pushPause   = time.Second      // before the second try, doubled for the next
	socketTime  = 30 * time.Second // to connect, and to send or take the next bytes
	answerTime  = 90 * time.Second // from the last byte sent to the answer
	answerLimit = 64 << 10         // bytes of an answer
)

// Push implements Registry. Because a registry records an entry once, however
// often it is sent, a push that got no answer is tried again.
func (h *HTTP) Push(ctx context.Context, s Submission) error {
	client := &http.Client{Transport: h.Transport, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	if h.Transport == nil {
		t := newTransport()
		defer t.CloseIdleConnections()
		client.Transport = t
	}
	pause := pushPause
	for try := 1; ; try++ {
		again, err := h.push(ctx, client, s)
		if err == nil || !again || try == pushTries || ctx.Err() != nil {
			return err
		}
		wait := time.NewTimer(pause)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return err
		}
		pause *= 2
	}
}

// push sends once, and says whether it is worth another try.
func (h *HTTP) push(ctx context.Context, client *http.Client, s Submission) (again bool, err error) {
	target := h.Base.JoinPath("entry").String()
	body, write := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := WriteSubmission(write, s)
		_ = write.CloseWithError(err) // returns nil always
		sent <- err
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, body)
	if err != nil {
		return false, errors.Join(err, body.Close(), <-sent)
	}
	req.Header.Set("Content-Type", "application/vnd.pkg.entry")
	resp, err := client.Do(req)
	_ = body.Close() // returns nil always; ends the writer if the server did not read to the end
	wrote := <-sent
	if err != nil {
		if wrote != nil && !errors.Is(wrote, io.ErrClosedPipe) {
			return false, fmt.Errorf("read what is to be sent: %w", wrote)
		}
		return true, fmt.Errorf("push to %s: %w", h.Base.Host, err)
	}
	again, err = readAnswer(resp)
	if err != nil {
		return again, fmt.Errorf("push to %s: %w", h.Base.Host, errors.Join(err, resp.Body.Close()))
	}
	return false, resp.Body.Close()
}

func readAnswer(resp *http.Response) (again bool, err error) {
	b, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit))
	if resp.StatusCode == http.StatusOK {
		return err != nil, err
	}
	var refusal struct {
		Error string `json:"error"`
		Help  string `json:"help"`
	}
	if json.Unmarshal(b, &refusal) != nil || refusal.Error == "" {
		refusal.Error = "it answered " + resp.Status
	}
	again = resp.StatusCode >= 500 && resp.StatusCode != http.StatusInsufficientStorage
	return again, &RefusedError{Status: resp.StatusCode, Reason: refusal.Error, Help: refusal.Help}
}

// newTransport has a timeout for everything that can stand still.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: socketTime}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &stallConn{c}, nil
		},
		ForceAttemptHTTP2:     true,
		TLSHandshakeTimeout:   socketTime,
		ResponseHeaderTimeout: answerTime,
		MaxIdleConns:          1,
	}
}

// stallConn ends a connection on which nothing could be sent for socketTime.
// Waiting for the answer has a limit of its own.
type stallConn struct{ net.Conn }

func (c *stallConn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(systemNow().Add(socketTime))
	return c.Conn.Write(p)
}

func systemNow() time.Time { return time.Now() } //nolint:forbidigo // sockets keep real time
