package gateway_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"pkg/fetch/gateway"
	"pkg/fetch/store"
	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

// car fetches a CAR and returns its CIDs.
func car(t *testing.T, sh *shop, what string) (*answer, []string) {
	t.Helper()
	resp, b := get(t, sh.url+"/ipfs/"+sh.root.String()+what)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", what, resp.Status, b)
	}
	root, got := readCAR(t, b)
	if len(got) > 0 && !got[0].c.Equals(sh.root) {
		t.Errorf("%s: the first block is %s", what, got[0].c)
	}
	if want := resp.Header.Get("X-Ipfs-Roots"); len(want) < len(root.String()) || want[len(want)-len(root.String()):] != root.String() {
		t.Errorf("%s: the header names %s, X-Ipfs-Roots is %s", what, root, want)
	}
	return resp, cids(got)
}

// nodes returns the CIDs of the folders and files along a path, as the store has them.
func (sh *shop) along(t *testing.T, path string) []string {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodHead, "/ipfs/"+sh.root.String()+"/"+path+"?format=car", nil)
	w := httptest.NewRecorder()
	sh.h.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d", path, w.Code)
	}
	var all []string
	for c := range bytes.SplitSeq([]byte(w.Header().Get("X-Ipfs-Roots")), []byte(",")) {
		all = append(all, string(c))
	}
	return all
}

func TestPathsLeadToWhatIsThere(t *testing.T) {
	t.Parallel()
	sh := newShop(t, append(files(), file("huge", content(20))))
	root := sh.root.String()
	odd := url.PathEscape("ü %2F#&.txt")
	deep := sh.along(t, "b/deep/er/est/f")
	huge := sh.along(t, "huge")[1]
	run := sh.along(t, "bin/run")
	same := sh.along(t, "a/same")
	chunks := func(lo, hi int) (all []string) {
		for i, text := 0, content(20); i*mib < len(text); i++ {
			if i >= lo && i <= hi {
				all = append(all, sum(text[i*mib:min(len(text), (i+1)*mib)]))
			}
		}
		return all
	}
	for what, want := range map[string][]string{
		"/README?format=car":                                {root, sum("read me")},
		"/README/?format=car&dag-scope=entity":              {root, sum("read me")},
		"/README?format=car&entity-bytes=3:4":               {root, sum("read me")},
		"/b/deep/er/est/f?format=car":                       deep,
		"/b/deep/er/est?format=car":                         deep,
		"/b/deep/er/est?format=car&dag-scope=entity":        deep[:5],
		"/b/deep/er/est?format=car&entity-bytes=0:1":        deep[:5],
		"/b/deep?format=car&dag-scope=block":                deep[:3],
		"/odd/" + odd + "?format=car":                       sh.along(t, "odd/"+odd),
		"/bin/run?format=car&dag-scope=entity":              append(run[:3:3], sum("#!/bin/sh\n")),
		"/bin/run?format=car&dag-scope=block":               run,
		"/a/same?format=car":                                append(same[:3:3], sum("x")),
		"?format=car&dag-scope=block":                       {root},
		"?format=car&dag-scope=entity":                      {root},
		"/huge?format=car&dag-scope=block":                  {root, huge},
		"/huge?format=car&dag-scope=block&entity-bytes=0:*": {root, huge},
		"/huge?format=car&dag-scope=entity":                 append([]string{root, huge}, chunks(0, 20)...),
		"/huge?format=car":                                  append([]string{root, huge}, chunks(0, 20)...),
		"/huge?format=car&entity-bytes=0:*":                 append([]string{root, huge}, chunks(0, 20)...),
		"/huge?format=car&entity-bytes=0:0":                 append([]string{root, huge}, chunks(0, 0)...),
		"/huge?format=car&entity-bytes=1048575:1048576":     append([]string{root, huge}, chunks(0, 1)...),
		"/huge?format=car&entity-bytes=1048576:2097151":     append([]string{root, huge}, chunks(1, 1)...),
		"/huge?format=car&entity-bytes=-5:*":                append([]string{root, huge}, chunks(20, 20)...),
		"/huge?format=car&entity-bytes=-6:-6":               append([]string{root, huge}, chunks(19, 19)...),
		"/huge?format=car&entity-bytes=-99999999:9":         append([]string{root, huge}, chunks(0, 0)...),
		"/huge?format=car&entity-bytes=20971524:99999999":   append([]string{root, huge}, chunks(20, 20)...),
		"/huge?format=car&entity-bytes=20971525:*":          {root, huge},
		"/huge?format=car&entity-bytes=3145728:-17825797":   append([]string{root, huge}, chunks(3, 3)...),
	} {
		resp, got := car(t, sh, what)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
		path, _, _ := bytes.Cut([]byte(what), []byte("?"))
		if want := "/ipfs/" + root + string(bytes.TrimSuffix(path, []byte("/"))); !sameURL(want, resp.Header.Get("X-Ipfs-Path")) {
			t.Errorf("%s: X-Ipfs-Path is %s", what, resp.Header.Get("X-Ipfs-Path"))
		}
	}
}

func sameURL(a, b string) bool {
	x, err := url.PathUnescape(a)
	y, err2 := url.PathUnescape(b)
	return err == nil && err2 == nil && x == y
}

func TestDuplicatesAreSentOnlyIfAskedFor(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	count := func(what, c string) (n int) {
		_, got := car(t, sh, what)
		for _, one := range got {
			if one == c {
				n++
			}
		}
		return n
	}
	same := sh.along(t, "a/same")[2]
	for _, c := range []string{sum("x"), same, sum("read me")} {
		if once, twice := count("?format=car", c), count("?format=car&car-dups=y", c); once != 1 || twice != 2 {
			t.Errorf("%s: %d times, with dups %d times, want once and twice", c, once, twice)
		}
	}
}

func TestHeadOfCARReadsOnlyThePath(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	var asked []cid.Cid
	h := &gateway.Handler{Packs: store.NewFinder(sh.s), Blocks: blockFunc(func(ctx context.Context, c cid.Cid) ([]byte, error) {
		asked = append(asked, c)
		return sh.h.Blocks.Block(ctx, c)
	})}
	resp, b, err := ask(t, http.MethodHead, listen(t, h)+"/ipfs/"+sh.root.String()+"/b/deep?format=car")
	if err != nil || resp.StatusCode != http.StatusOK || len(b) > 0 || len(asked) != 3 || resp.Header.Get("Etag") == "" {
		t.Errorf("HEAD: %v, %v, asked for %v, want the two above and the one", resp, err, asked)
	}
}

func TestDamagedPackIsMadeUpForFromTheFiles(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	_, want := get(t, sh.url+"/ipfs/"+sh.root.String()+"?format=car")
	path := filepath.Join(sh.s.Dir(), "packs", sh.root.String())
	pack, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other := newShop(t, []tree.File{file("README", "read me"), file("other", "other")})
	theirs, err := os.ReadFile(filepath.Join(other.s.Dir(), "packs", other.root.String()))
	if err != nil {
		t.Fatal(err)
	}
	damaged := map[string][]byte{"empty": {}, "rubbish": []byte("rubbish"), "another's": theirs, "twice": append(bytes.Clone(pack), pack...)}
	for i := range 10 {
		at := len(pack) * i / 10
		damaged[fmt.Sprintf("cut at %d", at)] = pack[:at]
		damaged[fmt.Sprintf("flipped at %d", at)] = append(append(bytes.Clone(pack[:at]), pack[at]^8), pack[at+1:]...)
	}
	for what, b := range damaged {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, got := get(t, sh.url+"/ipfs/"+sh.root.String()+"?format=car"); !bytes.Equal(got, want) {
			t.Errorf("%s: another CAR, of %d bytes, want %d", what, len(got), len(want))
		}
	}
}

func TestCARThatCannotBeCompletedBreaksOff(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	gone := block.Sum(cid.Raw, []byte("deep"))
	fault := store.ErrNotFound
	h := listen(t, &gateway.Handler{Blocks: blockFunc(func(ctx context.Context, c cid.Cid) ([]byte, error) {
		if c.Equals(gone) {
			return nil, fault
		}
		return sh.h.Blocks.Block(ctx, c)
	})})
	url := h + "/ipfs/" + sh.root.String()
	if _, b, err := ask(t, http.MethodGet, url+"?format=car"); err == nil {
		t.Errorf("a CAR that lacks a block ends well, after %d bytes", len(b))
	}
	if resp, _ := get(t, url+"/b/deep/er/est/f?format=car"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("what is asked for is not there: %s", resp.Status)
	}
	fault = errors.New("disk on fire")
	for _, what := range []string{"/ipfs/" + gone.String() + "?format=raw", "/ipfs/" + gone.String() + "?format=car"} {
		if resp, b := get(t, h+what); resp.StatusCode != http.StatusInternalServerError || bytes.Contains(b, []byte("fire")) {
			t.Errorf("the store fails: %s %s", resp.Status, b)
		}
	}
}

// deadlines counts what is written under each.
type deadlines struct {
	*httptest.ResponseRecorder
	set   []time.Time
	since []int
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.set, d.since = append(d.set, t), append(d.since, 0)
	return nil
}

func (d *deadlines) Write(b []byte) (int, error) {
	d.since[len(d.since)-1] += len(b) // panics if there is none yet
	return len(b), nil
}

func TestEachStretchHasItsDeadline(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	now := time.Unix(1000, 0)
	h := &gateway.Handler{Blocks: sh.h.Blocks, Idle: 7 * time.Second, Now: func() time.Time { now = now.Add(time.Second); return now }}
	for what, want := range map[string]int{"/large?format=car": 3, "?format=car&dag-scope=block": 1, "?format=raw": 1} {
		now = time.Unix(1000, 0)
		d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		h.ServeHTTP(d, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ipfs/"+sh.root.String()+what, nil))
		if len(d.set) != want {
			t.Errorf("%s: %d deadlines, want %d", what, len(d.set), want)
		}
		for i, at := range d.set {
			if !at.Equal(time.Unix(1000+int64(i)+1+7, 0)) || d.since[i] > mib {
				t.Errorf("%s: deadline %d is %v, for %d bytes", what, i, at, d.since[i])
			}
		}
	}
}

func TestNobodyIsServedAfterLeaving(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	sh.h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/ipfs/"+sh.root.String()+"/README?format=car", nil))
	if w.Body.Len() > 0 {
		t.Errorf("%d bytes were sent", w.Body.Len())
	}
}

func TestOnlyWhatIsSharedIsServed(t *testing.T) {
	t.Parallel()
	sh := newShop(t, files())
	f := store.NewFinder(sh.s)
	f.Only = func(cid.Cid) bool { return false }
	url := listen(t, &gateway.Handler{Blocks: f, Packs: f}) + "/ipfs/"
	for _, what := range []string{sh.root.String() + "?format=car", sh.root.String() + "?format=raw", sum("deep") + "?format=raw"} {
		if resp, _ := get(t, url+what); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", what, resp.Status)
		}
	}
}

// memory holds blocks that no tree has.
type memory map[cid.Cid][]byte

func (m memory) Block(_ context.Context, c cid.Cid) ([]byte, error) {
	if b, ok := m[c]; ok {
		return b, nil
	}
	return nil, store.ErrNotFound
}

// add makes a dag-pb node with nameless links and a UnixFS message.
func (m memory) add(data []byte, links ...cid.Cid) cid.Cid {
	var b []byte
	for _, c := range links {
		b = append(b, 0x12, byte(c.ByteLen()+2), 0x0a, byte(c.ByteLen()))
		b = append(b, c.Bytes()...)
	}
	if data != nil {
		b = append(binary.AppendUvarint(append(b, 0x0a), uint64(len(data))), data...)
	}
	c := block.Sum(cid.DagProtobuf, b)
	m[c] = b
	return c
}

func (m memory) leaf(text string) cid.Cid {
	c := block.Sum(cid.Raw, []byte(text))
	m[c] = []byte(text)
	return c
}

// TestForeignDAGs serves what other programs make and what nobody should.
func TestForeignDAGs(t *testing.T) {
	t.Parallel()
	m := memory{}
	abc, def := m.leaf("abc"), m.leaf("def")
	half := m.add([]byte("\x08\x02\x18\x06\x20\x03\x20\x03"), abc, def)     // abcdef
	nested := m.add([]byte("\x08\x02\x18\x0c\x22\x02\x06\x06"), half, half) // abcdefabcdef, sizes packed
	inline := m.add([]byte("\x08\x02\x12\x02xy\x18\x05\x20\x03"), abc)      // xyabc
	chain := abc
	for range 100 {
		chain = m.add(nil, chain)
	}
	bomb := abc
	for range 20 {
		bomb = m.add(nil, bomb, bomb, bomb, bomb)
	}
	lie := m.add([]byte("\x08\x02\x18\x09\x20\x09"), half)
	short := m.add([]byte("\x08\x02\x18\x09"), half)
	folder := m.add([]byte("\x08\x02\x20\x02\x20\x01"), m.add([]byte("\x08\x01\x12\x02xy"), abc), abc) // a folder of two bytes as a part
	rubbish := block.Sum(cid.DagProtobuf, []byte("rubbish"))
	m[rubbish] = []byte("rubbish")
	cbor := block.Sum(cid.DagCBOR, []byte("\xa0"))
	m[cbor] = []byte("\xa0")
	url := listen(t, &gateway.Handler{Blocks: m}) + "/ipfs/"
	for _, one := range []struct {
		what string
		of   cid.Cid
		want []cid.Cid // nil: it breaks off
	}{
		{"?format=car", nested, []cid.Cid{nested, half, abc, def}},
		{"?format=car&car-dups=y", nested, []cid.Cid{nested, half, abc, def, half, abc, def}},
		{"?format=car&entity-bytes=5:6", nested, []cid.Cid{nested, half, def, abc}},
		{"?format=car&entity-bytes=2:3", nested, []cid.Cid{nested, half, abc, def}},
		{"?format=car&entity-bytes=-1:*", nested, []cid.Cid{nested, half, def}},
		{"?format=car&entity-bytes=0:1", inline, []cid.Cid{inline}},
		{"?format=car&entity-bytes=0:2", inline, []cid.Cid{inline, abc}},
		{"?format=car", bomb, nil}, // depth is within bounds; see below
		{"?format=car&car-dups=y", bomb, nil},
		{"?format=car", chain, nil},
		{"?format=car&dag-scope=block", chain, []cid.Cid{chain}},
		{"?format=car&dag-scope=entity", chain, []cid.Cid{chain}},
		{"?format=car&dag-scope=entity", lie, nil},
		{"?format=car", short, nil},
		{"?format=car&dag-scope=entity", folder, nil},
		{"?format=car", rubbish, nil},
		{"?format=car", cbor, []cid.Cid{cbor}},
	} {
		resp, b, err := ask(t, http.MethodGet, url+one.of.String()+one.what)
		if one.of.Equals(bomb) && one.what == "?format=car" {
			if _, got := readCAR(t, b); err != nil || len(got) != 21 {
				t.Errorf("a DAG that is small once: %d blocks, %v", len(got), err)
			}
			continue
		}
		if one.want == nil {
			if err == nil {
				t.Errorf("%s%s: %s and %d bytes, want it to break off", one.of, one.what, resp.Status, len(b))
			}
			continue
		}
		if err != nil {
			t.Errorf("%s%s: %v", one.of, one.what, err)
			continue
		}
		_, got := readCAR(t, b)
		var want []string
		for _, c := range one.want {
			want = append(want, c.String())
		}
		if diff := cmp.Diff(want, cids(got)); diff != "" {
			t.Errorf("%s%s (-want +got):\n%s", one.of, one.what, diff)
		}
	}
}

// FuzzNode serves a block of any bytes in every way: it must not panic but to break off.
func FuzzNode(f *testing.F) {
	abc := memory{}.leaf("abc")
	f.Add([]byte("\x12\x28\x0a\x24"+abc.KeyString()+"\x12\x00\x0a\x08\x08\x02\x18\x03\x20\x03"), int64(0), int64(-1))
	f.Add([]byte("\x0a\x04\x08\x01\x20\x05"), int64(-9), int64(9))
	f.Fuzz(func(t *testing.T, b []byte, from, to int64) {
		c := block.Sum(cid.DagProtobuf, b)
		m := memory{c: b, abc: []byte("abc")}
		top := m.add([]byte("\x08\x02\x20\x03"), c)
		h := &gateway.Handler{Blocks: m}
		for _, root := range []cid.Cid{c, top} {
			for _, what := range []string{"/x?format=car", "?format=car&car-dups=y", fmt.Sprintf("?format=car&entity-bytes=%d:%d", from, to)} {
				func() {
					defer func() {
						if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the very value
							t.Fatalf("%q: panic: %v", what, p)
						}
					}()
					h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ipfs/"+root.String()+what, nil))
				}()
			}
		}
	})
}
