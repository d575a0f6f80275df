//go:build unix

package cmd

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	std "sync"
	"testing"
)

// cut passes an answer on until so many bytes of it are sent, and then calls then instead.
type cut struct {
	http.ResponseWriter
	left int
	then func()
}

func (c *cut) Write(b []byte) (int, error) {
	if len(b) > c.left {
		b = b[:c.left]
	}
	n, err := c.ResponseWriter.Write(b)
	if c.left -= n; c.left == 0 && err == nil {
		err = http.NewResponseController(c.ResponseWriter).Flush()
		c.then()
	}
	return n, err
}

// Unwrap is for http.ResponseController.
func (c *cut) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// TestInstallOutlivesItsRegistry ends a registry in the middle of its first pack of a locked install of forty packages.
// Then a seed, which the registry named before, brings all of it, and nothing else is needed.
func TestInstallOutlivesItsRegistry(t *testing.T) {
	t.Parallel()
	reg := serves(t, "registry.test/killed")
	author := t.TempDir()
	var names, deps []string
	for i := range 40 {
		n := fmt.Sprintf("package-%d", i)
		names, deps = append(names, n), append(deps, n+` = "^1"`)
	}
	reg.publish(t, names...)
	app := projectOf(t, deps, reg.table("default", ""))
	ok(t, author, "-C", app, "install")
	seeds(t, author)
	reg.announced(t)

	found := make(chan struct{})
	once := std.OnceFunc(func() { close(found) })
	var proof std.WaitGroup // the lock is proved while content comes: that needs the registry
	proof.Add(3)
	answered := map[string]func(){"/lookup": std.OnceFunc(proof.Done), "/trust/0": std.OnceFunc(proof.Done), "/trust/1": std.OnceFunc(proof.Done)}
	killed := make(chan struct{})
	kill := std.OnceFunc(func() {
		_ = reg.server.Listener.Close() // nobody is answered any more,
		reg.server.CloseClientConnections()
		close(killed)
	})
	reg.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		switch r.URL.Path {
		case "/routing/pkg/providers":
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
			w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
			_, err := w.Write(answer.Body.Bytes())
			if err = errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
				t.Error(err)
			}
			once() // it has all of it
		case "/content":
			select {
			case <-found:
			case <-r.Context().Done():
			}
			proof.Wait()
			next.ServeHTTP(&cut{ResponseWriter: w, left: 50_000, then: kill}, r)
		default:
			next.ServeHTTP(w, r)
			if done := answered[r.URL.Path]; done != nil {
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				done()
			}
		}
	})
	dir, home := copied(t, app), t.TempDir()
	sum := summary(t, ok(t, home, "-C", dir, "install", "--locked", "--json"))
	if sum.Packages != 40 || sum.Fetched != 40 || sum.Peers != 1 {
		t.Errorf("the report %+v, want 40 packages fetched, with the help of a peer", sum)
	}
	select {
	case <-killed:
	default:
		t.Error("the registry was not asked for content: this run says nothing")
	}
	if got, want := content(t, dir+"/pkg.lock"), content(t, app+"/pkg.lock"); got != want {
		t.Errorf("the lock differs:\n%s\nwant\n%s", got, want)
	}
	ok(t, home, "-C", dir, "verify")
}
