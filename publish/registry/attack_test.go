//go:build unix

package registry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

// fakeConn is a connection from an address.
type fakeConn struct {
	net.Conn
	from   string
	closed bool
}

func (f *fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(f.from + ":1"))
}

func (f *fakeConn) Close() error {
	f.closed = true
	return nil
}

// TestWhoHasToGoForANewConnection tells a story of connections: an address
// comes, asks, has its answer or ends, and some connection has to go.
func TestWhoHasToGoForANewConnection(t *testing.T) {
	t.Parallel()
	const here, a, b = "127.0.0.1", "203.0.113.1", "203.0.113.2"
	for name, c := range map[string]struct {
		come   []string // with " asks" if it does at once
		newest string
		want   int // which one has to go: -1 none, -2 the newest
	}{
		"room":                             {[]string{here, here}, here, -1},
		"the longest that waits":           {[]string{here + " asks", here, here, here, here, here, here, here}, b, 1},
		"of who has most that wait":        {[]string{a, b, b, here, here, here, here, here}, a, 3},
		"a quarter of one address":         {[]string{a + " asks", a}, a, 1},
		"a quarter of one that asks":       {[]string{a + " asks", a + " asks"}, a, -2},
		"one network of IPv6":              {[]string{"[2606::1]", "[2606::2]"}, "[2606::3]", 0},
		"the longest request of who has 8": {strings.Split(strings.Repeat(here+" asks,", 8), ",")[:8], a, 0},
		"all of one network":               {strings.Split(strings.Repeat(here+" asks,", 8), ",")[:8], here, -2},
	} {
		l := newConns(nil, 8)
		var all []*fakeConn
		for _, text := range c.come {
			from, asks := strings.CutSuffix(text, " asks")
			f := &fakeConn{from: from}
			all = append(all, f)
			if !l.enter(f) {
				t.Fatalf("%s: %s is turned away", name, text)
			}
			l.state(f, http.StateNew)
			if asks {
				l.state(f, http.StateActive)
			}
		}
		newest := &fakeConn{from: c.newest}
		got := -1
		if !l.enter(newest) {
			got = -2
		}
		for i, f := range all {
			if f.closed {
				got = i
				l.state(f, http.StateClosed) // its handler noticed
			}
		}
		if got != c.want {
			t.Errorf("%s: %d has to go, want %d", name, got, c.want)
		}
		for _, f := range append(all, newest) {
			l.state(f, http.StateIdle)
			l.state(f, http.StateClosed)
		}
		if len(l.all) > 0 || len(l.by) > 0 {
			t.Errorf("%s: %d connections and %d networks are left", name, len(l.all), len(l.by))
		}
	}
}

// served is a registry that answers on loopback until the test ends.
func served(t *testing.T) (s *Server, addr string) {
	t.Helper()
	s, err := Open(t.Context(), newDir(t), Config{Now: systemNow, hooks: hooks{conns: maxConns / part}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, s, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

// TestAttacks attacks a registry in many ways, while a good client of the same
// address goes on asking: each of its requests succeeds, and this process, with
// the attackers in it, holds less than 64 MiB more. Not parallel: it looks at
// the memory of the process.
func TestAttacks(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: not in short mode")
	}
	s, addr := served(t)
	w := newWriter(seeded(1))
	submit(t, s, w.genesis(t, "left-pad"))
	var roots []string
	for i := range 1000 {
		roots = append(roots, `"`+block.Sum(cid.DagProtobuf, fmt.Append(nil, i)).String()+`"`)
	}
	post := func(path, body string, promised int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, promised, body)
	}
	root := large(t, s)
	want := `{"want":[` + strings.Join(roots, ",") + `]}`
	junk := strings.Repeat("x", 400<<10)
	for _, a := range []struct {
		name    string
		begin   string
		drip    bool // then a byte after the other
		callers int
		again   bool // as often as it can be asked, on one connection
	}{
		{"slow headers", "GET /head HTTP/1.1\r\nA: ", true, maxConns + 200, false},
		{"connections", "", false, maxConns + 200, false},
		{"slow bodies of questions", post("/content", `{"want":[`, 100_000), true, 200, false},
		{"slow bodies of lookups", post("/lookup", "{", 10_000), true, 200, false},
		{"slow submissions", post("/entry", "\x01", 1<<20), true, 400, false},
		{"slow announcements", post("/routing/pkg/announce", "{", 500_000), true, 200, false},
		{"announcements of junk", post("/routing/pkg/announce", junk, len(junk)), false, 16, true},
		{"maximal requests", post("/content", want, len(want)), false, 16, true},
		{"maximal questions for peers", post("/routing/pkg/providers", want, len(want)), false, 16, true},
		{"packs that are not read", "GET /packs/" + root + " HTTP/1.1\r\nHost: x\r\n\r\n", false, 200, false},
		{"CARs that are not read", "GET /ipfs/" + root + "?format=car HTTP/1.1\r\nHost: x\r\n\r\n", false, 200, false},
	} {
		t.Run(a.name, func(t *testing.T) {
			before, quiet := memory()
			ctx, stop := context.WithCancel(t.Context())
			var wg, begun sync.WaitGroup
			a.callers /= part
			for range a.callers {
				begun.Add(1)
				wg.Go(func() { call(ctx, addr, a.begin, a.drip, a.again, begun.Done) })
			}
			begun.Wait()
			took, err := asks(ctx, addr)
			if err != nil {
				t.Errorf("the good client: %v", err)
			}
			during, busy := memory()
			stop()
			wg.Wait()
			if n := busy - quiet - a.callers; a.callers > maxConns/part && n > maxConns/part+50 {
				t.Errorf("%d goroutines of the server, for %d connections at most", n, maxConns/part)
			}
			if during-before > 64<<20 {
				t.Errorf("it holds %d MiB more", (during-before)>>20)
			}
			late := time.Now().Add(15 * time.Second)
			after, left := memory()
			for left > quiet+2 && time.Now().Before(late) {
				after, left = memory()
			}
			if left > quiet+2 {
				t.Errorf("%d goroutines are left, there were %d", left, quiet)
			}
			slices.Sort(took)
			t.Logf("%.1f MiB more, %d goroutines (%d before); afterwards %.1f MiB and %d. The good client: median %v, p99 %v", float64(during-before)/(1<<20),
				busy, quiet, float64(after-before)/(1<<20), left, took[len(took)/2], took[len(took)*99/100])
		})
	}
}

// large puts a tree of 16 MiB that does not compress into the store of a registry.
func large(t *testing.T, s *Server) string {
	t.Helper()
	data := make([]byte, 16<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data) // never fails
	var pack bytes.Buffer
	sum, err := tree.Pack(t.Context(), []tree.File{{Path: "f", Size: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}}, tree.Default(), &pack)
	if err != nil {
		t.Fatal(err)
	}
	b := s.content.Batch()
	if _, err := b.Put(t.Context(), sum.Root, &pack); err != nil {
		t.Fatal(err)
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sum.Root.String()
}

func memory() (bytes int64, goroutines int) {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()
}

// call opens a connection and writes begin, until ctx is done. It reads nothing,
// but what is answered to one who asks again and again.
func call(ctx context.Context, addr, begin string, drip, again bool, begun func()) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		begun()
		return
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(32 << 10) // what is not read shall not lie here
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer func() {
		stop()
		_ = c.Close()
	}()
	_ = c.SetWriteDeadline(time.Now().Add(time.Second)) // for who is not read
	_, err = io.WriteString(c, begin)
	_ = c.SetWriteDeadline(time.Time{})
	begun()
	if again {
		go func() { _, _ = io.Copy(io.Discard, bufio.NewReader(c)) }() // ends with the connection
		for err == nil && ctx.Err() == nil {
			_, err = io.WriteString(c, begin)
		}
	}
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			if drip {
				_, _ = io.WriteString(c, "a") // it may be cut off
			}
		}
	}
}

// asks looks a name up and reads the head, again and again, at times on a new
// connection.
func asks(ctx context.Context, addr string) (took []time.Duration, err error) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 60 * time.Second}
	for i := range 60 {
		if i%10 == 0 {
			transport.CloseIdleConnections()
		}
		began := time.Now()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+[]string{"/head", "/healthz"}[i%2], nil)
		if err != nil {
			return took, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return took, fmt.Errorf("request %d: %w", i, err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
			return took, fmt.Errorf("request %d: %s, %w", i, resp.Status, err)
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// TestBodiesMustComeAtPace: a body may take as long as its size allows, however
// often it pauses; one that drips is cut off.
func TestBodiesMustComeAtPace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		piece int
		pause time.Duration
		whole bool
	}{
		"steady": {pace, time.Second / 2, true},
		"pauses": {30 * pace, 29 * time.Second, true},
		"drips":  {1, time.Second, false},
		"stalls": {30 * pace, stallTime + time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const pieces = 100
				ours, theirs := net.Pipe()
				defer func() { _ = theirs.Close() }() // here its errors are looked for
				got := make(chan int64, 1)
				server := &http.Server{ReadHeaderTimeout: headerTime, ReadTimeout: stallTime, Handler: patient(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					n, _ := io.Copy(io.Discard, r.Body) // n tells
					got <- n
				}))}
				l := &single{conn: ours, done: make(chan struct{})}
				go func() { _ = server.Serve(l) }()
				_, err := io.WriteString(theirs, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: "+strconv.Itoa(pieces*c.piece)+"\r\n\r\n")
				go func() { _, _ = io.Copy(io.Discard, theirs) }() // the answer
				for range pieces {
					time.Sleep(c.pause)
					if err == nil {
						_, err = theirs.Write(make([]byte, c.piece))
					}
				}
				if n := <-got; (n == int64(pieces*c.piece)) != c.whole {
					t.Errorf("%d bytes came, of %d", n, pieces*c.piece)
				}
				_ = server.Close() // its connection has ended, or ends now
			})
		})
	}
}

// single is a listener of one connection.
type single struct {
	conn net.Conn
	once sync.Once
	end  sync.Once
	done chan struct{}
}

func (s *single) Accept() (c net.Conn, err error) {
	s.once.Do(func() { c = s.conn })
	if c != nil {
		return c, nil
	}
	<-s.done
	return nil, net.ErrClosed
}

func (s *single) Close() error {
	s.end.Do(func() { close(s.done) })
	return nil
}

func (s *single) Addr() net.Addr { return s.conn.LocalAddr() }
