//go:build unix

package cmd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	std "sync"
	"testing"
	"time"
)

// authority is a certificate authority of a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := new(authority)
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "an authority of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.key = key
	return a
}

// sign signs a certificate for a new key; the first one signs itself.
func (a *authority) sign(t *testing.T, c *x509.Certificate) (der []byte, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	if der, err = x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by); err != nil {
		t.Fatal(err)
	}
	return der, key
}

// file is a file with the authority's certificate.
func (a *authority) file(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	write(t, path, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})))
	return path
}

// proxy is an HTTP proxy that knows CONNECT alone.
type proxy struct {
	server *httptest.Server
	to     map[string]string // where names lead
	refuse int               // status of every answer; 0: none is refused

	mu    std.Mutex // guards what follows
	asked []string  // hosts
	ends  map[string]bool
	bytes int64 // from servers
}

func newProxy(t *testing.T, to map[string]string) *proxy {
	t.Helper()
	p := &proxy{to: to, ends: make(map[string]bool)}
	p.server = httptest.NewServer(p)
	t.Cleanup(p.server.Close)
	return p
}

// ServeHTTP makes one tunnel.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host)
	refuse := p.refuse
	p.mu.Unlock()
	to, known := p.to[r.Host]
	switch {
	case refuse != 0:
		w.WriteHeader(refuse)
		return
	case r.Method != http.MethodConnect || !known:
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	out, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer out.Close() //nolint:errcheck // a tunnel ends as it ends
	p.mu.Lock()
	p.ends[out.LocalAddr().String()] = true
	p.mu.Unlock()
	w.WriteHeader(http.StatusOK)
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer in.Close() //nolint:errcheck // as above
	var wg std.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(out, buffered)       // until the client goes
		_ = out.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // dialled as TCP
	})
	n, _ := io.Copy(in, out)
	_ = in.Close() // ends the other direction
	wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytes += n
}

// hosts are those that were asked for, and are then forgotten.
func (p *proxy) hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.asked = nil }()
	return p.asked
}

// refuses has the proxy answer everything with a status.
func (p *proxy) refuses(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = status
}

// through are the addresses of the proxy's ends of its tunnels.
func (p *proxy) through(addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ends[addr]
}

// TestBehindAProxy does everything that asks a registry, as a machine sees it that reaches the Internet by an HTTP proxy
// alone and whose certificates are those of a company: HTTPS_PROXY and SSL_CERT_FILE.
func TestBehindAProxy(t *testing.T) {
	t.Parallel()
	reg := serves(t, "registry.test/proxy")
	ca := newAuthority(t)
	der, key := ca.sign(t, &x509.Certificate{DNSNames: []string{"registry.test"}, IPAddresses: []net.IP{net.IPv4zero}})
	var mu std.Mutex // guards from
	from := make(map[string]bool)
	front := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		from[r.RemoteAddr] = true
		mu.Unlock()
		reg.ServeHTTP(w, r)
	}))
	front.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13}
	front.EnableHTTP2 = true
	front.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not believe it are part of the test
	front.StartTLS()
	t.Cleanup(front.Close)
	addr := front.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	way := newProxy(t, map[string]string{"registry.test:443": addr, "0.0.0.0:" + port: addr})

	const base = "https://registry.test"
	home := t.TempDir()
	environ := []string{"PKG_HOME=" + home, "HTTPS_PROXY=" + way.server.URL, "SSL_CERT_FILE=" + ca.file(t), "SSL_CERT_DIR=" + t.TempDir(), "PKG_LAN=false"}
	must := func(environ []string, args ...string) string {
		t.Helper()
		out, errs, code := runs(t, environ, args...)
		if code != exitDone {
			t.Fatalf("pkg %s: exit code %d\n%s", strings.Join(args, " "), code, errs)
		}
		return out
	}

	// Publish, resolve, look for peers, fetch: all of it through the proxy.
	must(environ, "keys", "new", "me", "--no-passphrase")
	pkg := t.TempDir()
	write(t, filepath.Join(pkg, "pkg.toml"), "[package]\nname = \"left\"\nversion = \"1.0.0\"\n")
	write(t, filepath.Join(pkg, "file"), strings.Repeat("left", 1000))
	must(environ, "publish", pkg, "--registry", base, "--registry-id", reg.id)
	app := projectOf(t, []string{`left = "^1"`}, "[registries.default]\nurl = \""+base+"\"\nid = \""+reg.id+"\"\n")
	environ[0] = "PKG_HOME=" + t.TempDir()
	reg.requests()
	peer, _ := silentPeer(t)
	out := must(environ, "-C", app, "install", "--json", "--peer", peer)
	if got := summary(t, out); got.Fetched != 1 || got.Mode != modeAuto || got.Sources["registry.test"] == 0 {
		t.Errorf("the report %+v, want a package from registry.test in mode auto, though no peer answers", got)
	}
	asked := reg.requests()
	for _, path := range []string{"/lookup", "/routing/pkg/providers", "/content"} {
		if !slices.ContainsFunc(asked, func(r string) bool { return strings.Contains(r, path) }) {
			t.Errorf("nobody asked for %s: %q", path, asked)
		}
	}
	must(environ, "-C", app, "peers")
	must(environ, "info", "left", "--registry", base)
	seed := process(t, environ, "seed", "--listen", "/ip4/127.0.0.1/tcp/0")
	if err := seed.Start(); err != nil {
		t.Fatal(err)
	}
	reg.announced(t)
	if err := errors.Join(seed.Process.Signal(os.Interrupt), seed.Wait()); err != nil {
		t.Errorf("pkg seed: %v", err)
	}
	mu.Lock()
	for at := range from {
		if !way.through(at) {
			t.Errorf("a request from %s, which is no tunnel of the proxy", at)
		}
	}
	if len(from) == 0 {
		t.Error("no request at all")
	}
	mu.Unlock()
	if hosts := way.hosts(); len(hosts) == 0 || slices.ContainsFunc(hosts, func(h string) bool { return h != "CONNECT registry.test:443" }) {
		t.Errorf("the proxy was asked for %q, want registry.test:443 alone", hosts)
	}

	// NO_PROXY: the same machine by its address, first with and then without the proxy.
	direct := "https://0.0.0.0:" + port
	must(environ, "info", "left", "--registry", direct, "--registry-id", reg.id)
	if hosts := way.hosts(); !slices.Contains(hosts, "CONNECT 0.0.0.0:"+port) {
		t.Errorf("the proxy was asked for %q", hosts)
	}
	must(append([]string{"NO_PROXY=other.test,0.0.0.0"}, environ...), "info", "left", "--registry", direct, "--registry-id", reg.id)
	if hosts := way.hosts(); len(hosts) > 0 {
		t.Errorf("the proxy was asked for %q, which NO_PROXY exempts", hosts)
	}

	// What goes wrong is of the network, said in words.
	fails := func(rule, want, help string, environ []string, args ...string) {
		t.Helper()
		out, errs, code := runs(t, append([]string{"PKG_HOME=" + t.TempDir(), "PKG_LAN=false"}, environ...), args...)
		if code != exitNetwork || !strings.Contains(errs, want) || !strings.Contains(errs, "\nhelp: "+help+"\n") || strings.Contains(errs, "goroutine ") || out != "" {
			t.Errorf("%s: pkg %s: exit code %d, want %d, %q and help: %s\n%s%s", rule, strings.Join(args, " "), code, exitNetwork, want, help, out, errs)
		}
	}
	info := []string{"info", "left", "--registry", base}
	stranger := []string{environ[1], "SSL_CERT_FILE=" + newAuthority(t).file(t), environ[3]}
	fails("another authority", "certificate", "export SSL_CERT_FILE=FILE", stranger, info...)
	fails("another authority", "certificate", "export SSL_CERT_FILE=FILE", stranger, "-C", app, "install")
	fails("another authority", "certificate", "export SSL_CERT_FILE=FILE", stranger, "-C", copied(t, app), "install", "--frozen")
	for _, status := range []int{http.StatusProxyAuthRequired, http.StatusBadGateway, http.StatusForbidden} {
		way.refuses(status)
		fails("a proxy that refuses", http.StatusText(status), "pkg registry status", environ[1:], info...)
	}
	way.server.Close()
	fails("no proxy there", "proxy", "pkg registry status", environ[1:], info...)
}
