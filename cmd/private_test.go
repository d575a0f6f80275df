//go:build unix

package cmd

import (
	"bytes"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	std "sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/seed"
	"pkg/fetch/store"
)

// stranger is a seed that says of all the roots it is given that it has them, and takes down what it is asked for.
type stranger struct {
	addr string

	mu    std.Mutex // guards asked
	asked map[string]bool
}

// newStranger starts a seed of the packages in home, which tells registries of roots.
func newStranger(t *testing.T, home string, roots []string, tells ...*served) *stranger {
	t.Helper()
	st, err := store.Open(filepath.Join(home, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := &stranger{asked: make(map[string]bool)}
	var all []cid.Cid
	for _, r := range roots {
		c, err := cid.Decode(r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	var trackers []seed.Tracker
	for _, reg := range tells {
		base, err := url.Parse(reg.url)
		if err != nil {
			t.Fatal(err)
		}
		trackers = append(trackers, seed.Tracker{Base: base, ID: reg.id, Roots: func() []cid.Cid { return all }})
	}
	began := make(chan struct{}) // until then it asks itself what it shares, to tell the trackers
	s, err := seed.Start(t.Context(), seed.Config{
		Store: st, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Trackers: trackers, Now: time.Now,
		Shares: func(c cid.Cid) bool {
			select {
			case <-began:
				x.mu.Lock()
				defer x.mu.Unlock()
				x.asked[c.String()] = true
			default:
			}
			return true
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, reg := range tells {
		reg.announced(t)
	}
	close(began)
	x.addr = s.Addrs()[0]
	return x
}

// wasAsked is what it was asked for.
func (x *stranger) wasAsked() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return sorted(x.asked)
}

// TestPrivatePackagesAreNobodyElsesBusiness installs from a public and a private registry, while a peer that the public
// one's tracker names has the private packages too. Everybody takes down what he is asked for: the private roots are asked
// of their own registry alone, and of a peer that the user names; and a seed tells nobody of them.
func TestPrivatePackagesAreNobodyElsesBusiness(t *testing.T) {
	t.Parallel()
	open, closed := serves(t, "registry.test/open"), serves(t, "registry.test/closed")
	author := t.TempDir()
	open.publish(t, "public", "other")
	closed.publish(t, "secret", "hidden")
	app := projectOf(t, []string{
		`public = "^1"`, `other = "^1"`, `secret = {version = "^1", registry = "work"}`, `hidden = {version = "^1", registry = "work"}`,
	}, open.table("default", "")+closed.table("work", "private = true"))
	ok(t, author, "-C", app, "install", "--mode", "http")
	roots := rootsOf(t, app)
	secrets := []string{roots["secret"], roots["hidden"]}
	all := []string{roots["public"], roots["other"], roots["secret"], roots["hidden"]}
	// leaks are the secrets that somebody saw.
	leaks := func(seen ...string) (out []string) {
		for _, s := range seen {
			if slices.ContainsFunc(secrets, func(secret string) bool { return strings.Contains(s, secret) }) {
				out = append(out, s)
			}
		}
		return out
	}

	// The private registry takes its time, so that whoever would ask the other one instead does.
	closed.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/content" {
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for range 200 {
				<-tick.C
			}
		}
		next.ServeHTTP(w, r)
	})
	open.requests()
	ok(t, t.TempDir(), "-C", copied(t, app), "install", "--mode", "http")
	if got := leaks(open.requests()...); len(got) > 0 {
		t.Errorf("mode http: the other registry was asked for private packages: %q", got)
	}
	closed.before(nil)

	// Both registries' trackers know a peer that says it has everything.
	x := newStranger(t, author, all, open, closed)
	for _, mode := range []string{modeAuto, modeP2P} {
		// The public registry has nothing to give, so that the stranger is asked for all that he may be asked for.
		open.before(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path == "/content" {
				http.Error(w, "not now", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
		open.requests()
		closed.requests()
		home := t.TempDir()
		args := []string{"-C", copied(t, app), "install", "--mode", mode}
		if mode == modeP2P { // where only peers are asked, one that is named must have them
			args = append(args, "--peer", newStranger(t, author, nil).addr)
		}
		ok(t, home, args...)
		if got := leaks(open.requests()...); len(got) > 0 {
			t.Errorf("mode %s: the other registry was asked for private packages: %q", mode, got)
		}
		for _, r := range closed.requests() {
			if strings.Contains(r, "/routing/") && len(leaks(r)) > 0 {
				t.Errorf("mode %s: a tracker, which tells whoever asks, was asked for private packages: %s", mode, r)
			}
		}
	}
	if got := leaks(x.wasAsked()...); len(got) > 0 {
		t.Errorf("a peer that a tracker named was asked for private packages: %q", got)
	}
	if len(x.wasAsked()) == 0 {
		t.Error("the peer was asked for nothing at all: the test sees too little")
	}
	open.before(nil)

	// A peer that is named may be asked: without the registry there is nobody else.
	named := newStranger(t, author, nil)
	home := t.TempDir()
	ok(t, home, "-C", copied(t, app), "install", "--frozen", "--mode", "p2p", "--peer", named.addr)
	if got := leaks(named.wasAsked()...); len(got) != len(secrets) {
		t.Errorf("the named peer was asked for %q of the private packages, want both", got)
	}

	// Seeds tell of public packages alone, and give no others.
	for _, reg := range []*served{open, closed} {
		reg.mu.Lock()
		reg.told = nil
		reg.mu.Unlock()
	}
	addr, stop := seeds(t, home)
	var told []string
	for _, a := range open.announced(t) {
		for _, c := range a.Roots {
			told = append(told, c.String())
		}
	}
	var out, errs bytes.Buffer
	code := Main(t.Context(), []string{"-C", copied(t, app), "install", "--frozen", "--mode", "p2p", "--peer", addr}, inHome(t.TempDir(), &out, &errs))
	if code != exitAbsent || !strings.Contains(errs.String(), "fetch 2 packages") || len(leaks(errs.String())) == 0 {
		t.Errorf("install from the seed alone: exit code %d, want %d, for want of the private packages: %s", code, exitAbsent, errs.String())
	}
	stop()
	closed.mu.Lock()
	for _, a := range closed.told {
		for _, c := range a.Roots {
			told = append(told, c.String())
		}
	}
	closed.mu.Unlock()
	slices.Sort(told)
	want := []string{roots["public"], roots["other"]}
	if slices.Sort(want); !slices.Equal(told, want) {
		t.Errorf("the seed told of %q, want %q", told, want)
	}
}
