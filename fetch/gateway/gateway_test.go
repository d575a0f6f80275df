package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"pkg/fetch/gateway"
	"pkg/fetch/store"
	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const mib = 1 << 20

// content is that of a file of n whole chunks and a short one, each different.
func content(n int) string {
	b := make([]byte, n*mib+5)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

func file(path, text string) tree.File {
	return tree.File{Path: path, Size: int64(len(text)), Exec: strings.HasPrefix(path, "bin/"), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

// files has one of everything: an empty file, an executable, equal files and folders, odd names, a large file.
func files() []tree.File {
	return []tree.File{
		file("README", "read me"), file("a/same/x", "x"), file("b/same/x", "x"), file("b/deep/er/est/f", "deep"), file("bin/run", "#!/bin/sh\n"),
		file("copy", "read me"), file("empty", ""), file("large", content(2)), file("odd/ü %2F#&.txt", "odd"),
	}
}

// shop is a store with one tree, and a gateway to it.
type shop struct {
	s    *store.Store
	root cid.Cid
	x    *tree.Index
	h    *gateway.Handler
	url  string
}

func newShop(tb testing.TB, of []tree.File) *shop {
	tb.Helper()
	s, err := store.Open(tb.TempDir(), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	var pack bytes.Buffer
	sum, err := tree.Pack(tb.Context(), of, tree.Default(), &pack)
	if err != nil {
		tb.Fatal(err)
	}
	b := s.Batch()
	if _, err := b.Put(tb.Context(), sum.Root, &pack); err != nil {
		tb.Fatal(err)
	}
	if err := b.Seal(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(s.Dir(), "index", sum.Root.String()))
	if err != nil {
		tb.Fatal(err)
	}
	x, err := tree.DecodeIndex(raw)
	if err != nil {
		tb.Fatal(err)
	}
	f := store.NewFinder(s)
	sh := &shop{s: s, root: sum.Root, x: x, h: &gateway.Handler{Blocks: f, Packs: f}}
	sh.url = listen(tb, sh.h)
	return sh
}

func listen(tb testing.TB, h http.Handler) string {
	tb.Helper()
	srv := httptest.NewServer(h)
	tb.Cleanup(srv.Close)
	return srv.URL
}

// answer is a response whose body was read.
type answer struct {
	Request, Status string
	StatusCode      int
	Header          http.Header
}

// ask makes a request; head has names and values in turn. A body that breaks off is an error.
func ask(tb testing.TB, method, url string, head ...string) (*answer, []byte, error) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Add(head[i], head[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	return &answer{method + " " + url, resp.Status, resp.StatusCode, resp.Header}, body, err
}

func get(tb testing.TB, url string, head ...string) (*answer, []byte) {
	tb.Helper()
	resp, body, err := ask(tb, http.MethodGet, url, head...)
	if err != nil {
		tb.Fatalf("GET %s: %v", url, err)
	}
	return resp, body
}

type section struct {
	c    cid.Cid
	data []byte
}

// readCAR parses a CARv1 and checks every block.
func readCAR(tb testing.TB, b []byte) (root cid.Cid, sections []section) {
	tb.Helper()
	r := bufio.NewReader(bytes.NewReader(b))
	next := func() []byte {
		n, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil || n > 2*mib {
			tb.Fatalf("malformed CAR: a section of %d bytes, %v", n, err)
		}
		one := make([]byte, n)
		if _, err := io.ReadFull(r, one); err != nil {
			tb.Fatalf("malformed CAR: %v", err)
		}
		return one
	}
	head := next()
	// {"roots": [42(h'00' ‖ CID)], "version": 1}, the CID of 4 or 36 bytes.
	var ok bool
	rest, ok := bytes.CutPrefix(head, []byte("\xa2\x65roots\x81\xd8\x2a"))
	if !ok {
		tb.Fatalf("the header is %x", head)
	}
	if rest[0] == 0x58 {
		rest = rest[1:]
	} else {
		rest[0] &= 0x1f
	}
	n := int(rest[0])
	if string(rest[n+1:]) != "\x67version\x01" || rest[1] != 0 {
		tb.Fatalf("the header is %x", head)
	}
	root, err := cid.Cast(rest[2 : n+1])
	if err != nil {
		tb.Fatal(err)
	}
	for one := next(); one != nil; one = next() {
		n, c, err := cid.CidFromBytes(one)
		if err != nil {
			tb.Fatal(err)
		}
		if !block.Matches(c, one[n:]) {
			tb.Fatalf("block %s has other bytes", c)
		}
		sections = append(sections, section{c, one[n:]})
	}
	return root, sections
}

func cids(sections []section) (all []string) {
	for _, s := range sections {
		all = append(all, s.c.String())
	}
	return all
}

func sum(text string) string { return block.Sum(cid.Raw, []byte(text)).String() }

func TestCARHoldsExactlyTheBlocksOfTheDAG(t *testing.T) {
	t.Parallel()
	for name, of := range map[string][]tree.File{"all": files(), "empty": {file("empty", "")}, "one": {file("a", "a")}} {
		sh := newShop(t, of)
		var want []string
		for i := range sh.x.Blocks {
			want = append(want, sh.x.Blocks[i].CID().String())
		}
		slow := listen(t, &gateway.Handler{Blocks: sh.h.Blocks})
		plain := listen(t, &gateway.Handler{Blocks: blockFunc(sh.h.Blocks.Block)})
		var first []byte
		for _, url := range []string{sh.url, slow, plain, sh.url} { // the last with a decoder that was used
			resp, b := get(t, url+"/ipfs/"+sh.root.String(), "Accept", "application/vnd.ipld.car; version=1; order=dfs; dups=n")
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s: %s", name, resp.Status, b)
			}
			root, got := readCAR(t, b)
			if !root.Equals(sh.root) || !got[0].c.Equals(sh.root) {
				t.Errorf("%s: the roots are %s in the header and %s in front, want %s", name, root, got[0].c, sh.root)
			}
			if diff := cmp.Diff(want, cids(got)); diff != "" {
				t.Errorf("%s: blocks differ from the index (-want +got):\n%s", name, diff)
			}
			if first == nil {
				first = b
			}
			if !bytes.Equal(first, b) {
				t.Errorf("%s: the pack and the walk give different CARs", name)
			}
			wantHeader(t, resp, map[string]string{
				"Content-Type":           "application/vnd.ipld.car; version=1; order=dfs; dups=n",
				"Content-Disposition":    `attachment; filename="` + sh.root.String() + `.car"`,
				"X-Content-Type-Options": "nosniff", "X-Ipfs-Path": "/ipfs/" + sh.root.String(), "X-Ipfs-Roots": sh.root.String(),
				"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept", "Accept-Ranges": "none",
			})
		}
	}
}

// blockFunc is a Blocks and nothing more.
type blockFunc func(ctx context.Context, c cid.Cid) ([]byte, error)

func (f blockFunc) Block(ctx context.Context, c cid.Cid) ([]byte, error) { return f(ctx, c) }

func wantHeader(t *testing.T, resp *answer, want map[string]string) {
	t.Helper()
	for k, v := range want {
		if got := resp.Header.Get(k); got != v {
			t.Errorf("%s: %s is %q, want %q", resp.Request, k, got, v)
		}
	}
}

func TestRawServesEveryBlock(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	for i := range sh.x.Blocks {
		c := sh.x.Blocks[i].CID()
		url := sh.url + "/ipfs/" + c.String()
		resp, b := get(t, url+"?format=raw")
		if resp.StatusCode != http.StatusOK || !block.Matches(c, b) {
			t.Fatalf("GET %s: %s, %d bytes", url, resp.Status, len(b))
		}
		want := map[string]string{
			"Content-Type": "application/vnd.ipld.raw", "Content-Disposition": `attachment; filename="` + c.String() + `.bin"`,
			"Etag": `"` + c.String() + `.raw"`, "X-Content-Type-Options": "nosniff", "X-Ipfs-Path": "/ipfs/" + c.String(),
			"X-Ipfs-Roots": c.String(), "Cache-Control": "public, max-age=31536000, immutable", "Content-Length": fmt.Sprint(len(b)),
		}
		wantHeader(t, resp, want)
		resp, b, err := ask(t, http.MethodHead, url, "Accept", "text/html;q=0.5, application/vnd.ipld.raw")
		if err != nil || resp.StatusCode != http.StatusOK || len(b) > 0 {
			t.Errorf("HEAD %s: %v, %v", url, resp, err)
		}
		wantHeader(t, resp, want)
	}
	url := sh.url + "/ipfs/" + sum("read me") + "?format=raw"
	for spec, want := range map[string]string{"bytes=0-3": "read", "bytes=5-": "me", "bytes=-2": "me", "bytes=2-99": "ad me"} {
		if resp, b := get(t, url, "Range", spec); resp.StatusCode != http.StatusPartialContent || string(b) != want {
			t.Errorf("%s: %s %q, want %q", spec, resp.Status, b, want)
		}
	}
	if resp, _ := get(t, url, "Range", "bytes=9-"); resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range that is not there: %s", resp.Status)
	}
}

func TestConditionalRequestsAreAnsweredWithoutTheStore(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	tags := map[string]string{}
	for _, what := range []string{
		"?format=raw", "?format=car", "?format=car&dag-scope=block", "/README?format=car", "?format=car&car-dups=y",
		"/large?format=car", "/large?format=car&entity-bytes=0:9", "/large?format=car&entity-bytes=0:*",
	} {
		resp, _ := get(t, sh.url+"/ipfs/"+sh.root.String()+what)
		tag := resp.Header.Get("Etag")
		if other, ok := tags[tag]; ok || tag == "" {
			t.Errorf("%s and %s have the same tag %s", what, other, tag)
		}
		tags[tag] = what
	}
	if err := sh.s.Remove(sh.root); err != nil {
		t.Fatal(err)
	}
	for tag, what := range tags {
		url := sh.url + "/ipfs/" + sh.root.String() + what
		for _, header := range []string{tag, `"other", W/` + tag} {
			if resp, b := get(t, url, "If-None-Match", header); resp.StatusCode != http.StatusNotModified || len(b) > 0 || resp.Header.Get("Etag") != tag {
				t.Errorf("%s with %s: %s", what, header, resp.Status)
			}
		}
		if resp, _ := get(t, url, "If-None-Match", `"other"`); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s after it was removed: %s", what, resp.Status)
		}
		if resp, _ := get(t, url, "Cache-Control", "only-if-cached"); resp.StatusCode != http.StatusPreconditionFailed {
			t.Errorf("%s after it was removed, only if cached: %s", what, resp.Status)
		}
	}
}

func TestEmptyFileIsAlwaysHere(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	for _, how := range []string{"", "?format=raw"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, b, err := ask(t, method, sh.url+"/ipfs/bafkqaaa"+how)
			if err != nil || resp.StatusCode != http.StatusOK || len(b) > 0 || resp.Header.Get("Content-Type") != "application/vnd.ipld.raw" {
				t.Errorf("%s bafkqaaa%s: %v, %v", method, how, resp, err)
			}
		}
	}
	if _, b := get(t, sh.url+"/ipfs/bafkqac3imvwgy3zao5xxe3de?format=raw"); string(b) != "hello world" {
		t.Errorf("another identity CID: %q", b)
	}
	resp, b := get(t, sh.url+"/ipfs/bafkqaaa?format=car")
	if root, got := readCAR(t, b); resp.StatusCode != http.StatusOK || !root.Equals(block.Empty()) || len(got) > 0 {
		t.Errorf("CAR of the empty file: %s, root %s, %d blocks", resp.Status, root, len(got))
	}
	resp, b = get(t, sh.url+"/ipfs/"+sh.root.String()+"/empty?format=car")
	if root, got := readCAR(t, b); resp.StatusCode != http.StatusOK || !root.Equals(block.Empty()) || len(got) != 1 || !got[0].c.Equals(sh.root) {
		t.Errorf("CAR of a path to the empty file: %s, root %s, %d blocks", resp.Status, root, len(got))
	}
}

func TestWhatCannotBeServedIsToldAsJSON(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	root := sh.root.String()
	long := strings.Repeat("x/", 33) + "x"
	for request, want := range map[string]int{
		"/ipfs/" + root: 400, "/ipfs/?format=raw": 400, "/ipfs?format=raw": 404, "/ipns/" + root + "?format=raw": 404, "/": 404,
		"/ipfs/" + root + "?format=tar": 406, "/ipfs/" + root + "?format=dag-json": 406, "/ipfs/" + root + "/README?format=raw": 400,
		"/ipfs/" + sum("absent") + "?format=raw": 404, "/ipfs/" + sum("absent") + "?format=car": 404, "/ipfs/" + root + "/absent?format=car": 404,
		"/ipfs/" + root + "/README/x?format=car": 404, "/ipfs/" + root + "/large/x?format=car": 404, "/ipfs/" + root + "/empty/x?format=car": 404,
		"/ipfs/" + root + "/a//same?format=car": 400, "/ipfs/" + root + "/../x?format=car": 400, "/ipfs/" + root + "/%2e%2e/x?format=car": 400,
		"/ipfs/" + root + "/a%2Fsame?format=car": 400, "/ipfs/" + root + "/a%00?format=car": 400, "/ipfs/" + root + "/" + long + "?format=car": 400,
		"/ipfs/" + root + "/" + strings.Repeat("y", 9000) + "?format=car": 400, "/ipfs/" + root + "/%ff?format=car": 404,
		"/ipfs/nonsense?format=raw": 400, "/ipfs/" + strings.Repeat("b", 257) + "?format=raw": 400, "/ipfs/" + root[:40] + "?format=raw": 400,
		"/ipfs/%2e%2e%2fetc%2fpasswd?format=raw": 400, "/ipfs/f01701220" + strings.Repeat("0", 64) + "?format=car": 404,
		"/ipfs/f017000?format=car": 400, "/ipfs/f0155008101" + strings.Repeat("00", 129) + "?format=raw": 400, // identity: dag-pb, too long
		"/ipfs/f01551100?format=raw": 404, "/ipfs/f01710101ff?format=car": 404, "/ipfs/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG?format=car": 404,
		"/ipfs/" + root + "?format=car&dag-scope=some": 400, "/ipfs/" + root + "?format=car&entity-bytes=1": 400, "/ipfs/" + root + "?format=car&entity-bytes=": 400,
		"/ipfs/" + root + "?format=car&entity-bytes=9:1": 400, "/ipfs/" + root + "?format=car&entity-bytes=-1:-9": 400, "/ipfs/" + root + "?format=car&entity-bytes=*:1": 400,
		"/ipfs/" + root + "?format=car&entity-bytes=0:99999999999999999999": 400, "/ipfs/" + root + "?format=car&car-version=2": 400,
		"/ipfs/" + root + "?format=car&car-order=bfs": 400, "/ipfs/" + root + "?format=car&car-dups=maybe": 400, "/ipfs/" + root + "?format=car&x=%zz": 400,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			resp, b, err := ask(t, method, sh.url+request)
			if err != nil {
				t.Errorf("%s: %v", request, err)
				continue
			}
			var told struct{ Error string }
			if resp.StatusCode != want || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Cache-Control") != "no-store" ||
				method == http.MethodGet && (json.Unmarshal(b, &told) != nil || told.Error == "") {
				t.Errorf("%s %.200s: %s %s, want %d", method, request, resp.Status, b, want)
			}
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodOptions, http.MethodDelete} {
		if resp, _, err := ask(t, method, sh.url+"/ipfs/bafkqaaa"); err != nil || resp.StatusCode != http.StatusMethodNotAllowed || resp.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %v, %v", method, resp, err)
		}
	}
}

func TestFormatIsNegotiated(t *testing.T) {
	t.Parallel()
	sh := newShop(t, []tree.File{file("a", "a")})
	const raw, car = "application/vnd.ipld.raw", "application/vnd.ipld.car"
	carOf := func(order, dups string) string { return car + "; version=1; order=" + order + "; dups=" + dups }
	for _, one := range []struct{ query, accept, want string }{
		{"", raw, raw},
		{"", car, carOf("dfs", "n")},
		{"", car + ";version=1;order=unk;dups=y", carOf("unk", "y")},
		{"", car + ";q=0.2, " + raw + ";q=0.9, text/html", raw},
		{"", raw + ";q=0.2, */*, " + car, carOf("dfs", "n")},
		{"", car + ";version=2, " + raw + ";q=0.1", raw},
		{"", car + ";q=0", ""},
		{"", car + ";version=2", ""},
		{"", "text/html", ""},
		{"", "*/*", ""},
		{"", ";;;, " + strings.Repeat("x/y,", 100) + raw, ""},
		{"?format=raw", car, raw},
		{"?format=car", raw, carOf("dfs", "n")},
		{"?format=car", "text/html, " + car + ";dups=y", carOf("dfs", "y")},
		{"?format=car&car-dups=n&car-version=1", car + ";dups=y;version=2", carOf("dfs", "n")},
	} {
		resp, b := get(t, sh.url+"/ipfs/"+sh.root.String()+one.query, "Accept", one.accept)
		if one.want == "" && resp.StatusCode != http.StatusNotAcceptable || one.want != "" && resp.Header.Get("Content-Type") != one.want {
			t.Errorf("%+v: %s %s %.60q", one, resp.Status, resp.Header.Get("Content-Type"), b)
		}
	}
}
