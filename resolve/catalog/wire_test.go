package catalog_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
	"pkg/resolve/catalog"
)

// sections reads an answer as "H:3 B:40 …".
func sections(r io.Reader, limit int64) (string, error) {
	var out []string
	err := catalog.ReadSections(r, limit, func(kind byte, b []byte) error {
		out = append(out, fmt.Sprintf("%c:%d", kind, len(b)))
		return nil
	})
	return strings.Join(out, " "), err
}

func TestSections(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	data := bytes.Repeat([]byte("x"), 100_000)
	c := block.Sum(cid.DagCBOR, data)
	for _, err := range []error{
		catalog.WriteSection(&buf, catalog.KindHead, []byte("he"), []byte("ad")),
		catalog.WriteSection(&buf, catalog.KindConsistency),
		catalog.WriteBlock(&buf, c, data),
		catalog.WriteSection(&buf, catalog.KindEnd),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	whole := buf.Bytes()
	const want = "H:4 C:0 B:100036"
	if got, err := sections(bytes.NewReader(append(whole[:len(whole):len(whole)], "more"...)), 1<<20); err != nil || got != want {
		t.Errorf("read %s, %v; want %s", got, err, want)
	}
	if got, err := sections(iotest.OneByteReader(bytes.NewReader(whole)), 1<<20); err != nil || got != want {
		t.Errorf("byte by byte: %s, %v", got, err)
	}
	for n := range whole {
		if n > 100 && n < len(whole)-10 && n%1000 != 0 {
			continue
		}
		if _, err := sections(bytes.NewReader(whole[:n]), 1<<20); !errors.Is(err, catalog.ErrTruncated) {
			t.Fatalf("cut after %d of %d bytes: %v, want %v", n, len(whole), err, catalog.ErrTruncated)
		}
	}
	if _, err := sections(bytes.NewReader(whole), 1000); err == nil || errors.Is(err, catalog.ErrTruncated) {
		t.Errorf("longer than the limit: %v", err)
	}
	boom := errors.New("boom")
	if _, err := sections(iotest.ErrReader(boom), 1000); !errors.Is(err, boom) {
		t.Errorf("a failing reader: %v", err)
	}
	for what, b := range map[string][]byte{
		"an empty section":   {0},
		"an end with bytes":  {2, 'E', 0},
		"a huge section":     {0xff, 0xff, 0xff, 0x7f, 'B'},
		"a length too long":  bytes.Repeat([]byte{0xff}, 11),
		"a section not sent": {0x80, 0x80, 0x40, 'B'},
	} {
		if _, err := sections(bytes.NewReader(b), 1<<30); err == nil {
			t.Errorf("%s is read", what)
		}
	}
}

func TestParseBlock(t *testing.T) {
	t.Parallel()
	c := block.Sum(cid.DagCBOR, []byte("data"))
	got, data, err := catalog.ParseBlock(append(c.Bytes(), "data"...))
	if err != nil || got != c || string(data) != "data" {
		t.Errorf("ParseBlock = %v, %q, %v", got, data, err)
	}
	for _, b := range [][]byte{nil, {1}, []byte("no cid is like this, whatever it may say")} {
		if _, _, err := catalog.ParseBlock(b); err == nil {
			t.Errorf("ParseBlock(%q) is accepted", b)
		}
	}
}

func TestParseLookupRequest(t *testing.T) {
	t.Parallel()
	many := catalog.LookupRequest{}
	for i := range catalog.MaxNames + 1 {
		many.Names = append(many.Names, fmt.Sprint(i))
	}
	b, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"nothing": "", "no json": "{", "a negative size": `{"size":-1}`, "too many names": string(b),
		"too many bytes": `{"names":["` + strings.Repeat("a", catalog.MaxRequest) + `"]}`, "more after it": `{}{}`,
	} {
		if req, err := catalog.ParseLookupRequest(strings.NewReader(text)); err == nil {
			t.Errorf("%s: accepted as %+v", what, req)
		}
	}
	req, err := catalog.ParseLookupRequest(strings.NewReader(`{"names":["a"],"size":3,"closure":true,"known":{"a":2},"later":1}`))
	if err != nil || len(req.Names) != 1 || req.Size != 3 || !req.Closure || req.Known["a"] != 2 {
		t.Errorf("read %+v, %v", req, err)
	}
}

func FuzzReadSections(f *testing.F) {
	var buf bytes.Buffer
	_ = catalog.WriteSection(&buf, catalog.KindHead, []byte("head"))
	_ = catalog.WriteBlock(&buf, block.Sum(cid.DagCBOR, []byte("data")), []byte("data"))
	_ = catalog.WriteSection(&buf, catalog.KindConsistency, make([]byte, 64))
	_ = catalog.WriteSection(&buf, catalog.KindEnd)
	f.Add(buf.Bytes())
	f.Add([]byte{1, 'E'})
	f.Add([]byte{0x80, 0x80, 0x40, 'B', 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again bytes.Buffer
		err := catalog.ReadSections(bytes.NewReader(b), 1<<16, func(kind byte, p []byte) error {
			switch kind {
			case catalog.KindBlock:
				if c, data, err := catalog.ParseBlock(p); err == nil && !bytes.Equal(append(c.Bytes(), data...), p) {
					t.Errorf("block %x is read as %v and %x", p, c, data)
				}
			case catalog.KindConsistency:
				if proof, err := catalog.ParseConsistency(p); err == nil && !bytes.Equal(catalog.FormatConsistency(proof), p) {
					t.Errorf("proof %x is read as %v", p, proof)
				}
			}
			return catalog.WriteSection(&again, kind, p)
		})
		if err != nil {
			return
		}
		if err := catalog.WriteSection(&again, catalog.KindEnd); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := catalog.ReadSections(&again, 1<<16, func(byte, []byte) error { n++; return nil }); err != nil {
			t.Errorf("what was written cannot be read: %v after %d sections", err, n)
		}
	})
}

func FuzzParseLookupRequest(f *testing.F) {
	f.Add([]byte(`{"names":["a"],"size":3,"closure":true,"known":{"a":2}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		req, err := catalog.ParseLookupRequest(bytes.NewReader(b))
		if err == nil && (len(req.Names) > catalog.MaxNames || req.Size < 0) {
			t.Errorf("accepted %+v", req)
		}
	})
}
