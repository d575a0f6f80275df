package catalog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"pkg/lockfile/block"
	"pkg/resolve/catalog"
)

func TestLookupSavesTheTiles(t *testing.T) {
	t.Parallel()
	f := standard(t)
	c := newClient(t)
	versions(t, c.open(f.source()), "a")
	f.release("a 1.2.0", "")
	f.commit()
	s := f.source().withLookup()
	if got := versions(t, c.open(s), "a"); got != "1.0.0 1.1.0 1.2.0" {
		t.Errorf("a has %s", got)
	}
	if n := len(s.reads); n != 1 { // the next trust root, which is not there
		t.Errorf("read %v after a whole answer", s.reads)
	}
}

// TestBadLookupsCostOnlyReads cuts, spoils and forges the answer of a lookup:
// the result is always that of the static files.
func TestBadLookupsCostOnlyReads(t *testing.T) {
	t.Parallel()
	f := standard(t)
	c0 := newClient(t)
	versions(t, c0.open(f.source()), "a")
	f.release("a 1.2.0", "d *")
	f.release("d 1.0.0", "")
	f.commit()
	whole := f.answer(catalog.LookupRequest{Size: 3})
	try := func(what string, answer []byte, err error) {
		t.Helper()
		c := newClient(t)
		maps.Copy(c.memory.files, c0.memory.files)
		maps.Copy(c.memory.seen, c0.memory.seen)
		s := f.source()
		s.lookup = func(catalog.LookupRequest) (io.ReadCloser, error) {
			if err != nil {
				return nil, err
			}
			return io.NopCloser(bytes.NewReader(answer)), nil
		}
		r := c.open(s)
		if got := versions(t, r, "a"); got != "1.0.0 1.1.0 1.2.0" {
			t.Errorf("%s: a has %s", what, got)
		}
		if got := versions(t, r, "d"); got != "1.0.0" {
			t.Errorf("%s: d has %s", what, got)
		}
		if len(c.evidence) != 0 {
			t.Errorf("%s: accused %v", what, c.evidence)
		}
	}
	for n := 0; n < len(whole); n += 97 {
		try(fmt.Sprintf("cut after %d bytes", n), whole[:n], nil)
	}
	try("no service", nil, catalog.ErrUnsupported)
	try("an error", nil, errors.New("500"))
	try("garbage", bytes.Repeat([]byte{0xff}, 1000), nil)

	var forged bytes.Buffer
	section := func(kind byte, b ...[]byte) {
		if err := catalog.WriteSection(&forged, kind, b...); err != nil {
			t.Fatal(err)
		}
	}
	section(catalog.KindHead, []byte("not a head"))
	section(catalog.KindConsistency, make([]byte, 64))
	for p, b := range f.files {
		if _, ok := strings.CutPrefix(p, "ipfs/"); ok {
			c, _, err := catalog.ParseBlock(blockOf(t, p, b))
			if err != nil {
				t.Fatal(err)
			}
			section(catalog.KindBlock, c.Bytes(), []byte("something else"))
		}
	}
	section('?', []byte("what later versions may add"))
	section(catalog.KindEnd)
	try("a malformed head, a wrong proof, wrong blocks", forged.Bytes(), nil)
}

// blockOf is the payload of a block section for the file at a path.
func blockOf(tb testing.TB, path string, data []byte) []byte {
	tb.Helper()
	c, err := block.Parse(strings.TrimPrefix(path, "ipfs/"))
	if err != nil {
		tb.Fatal(err)
	}
	return append(c.Bytes(), data...)
}
