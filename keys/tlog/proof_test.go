package tlog_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	xtlog "golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"pkg/keys"
	"pkg/keys/tlog"
)

func (l *testLog) proof(tb testing.TB, size, index int64, extra []byte) tlog.Proof {
	tb.Helper()
	path, err := xtlog.ProveRecord(size, index, l.reader())
	if err != nil {
		tb.Fatal(err)
	}
	return tlog.Proof{Extra: extra, Index: index, Hashes: path, Checkpoint: l.sign(tb, size)}
}

func TestProofFormatsAndParsesToTheSameBytes(t *testing.T) {
	t.Parallel()
	l := newLog(t, "log.example/a", 300)
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(1, 300).Draw(rt, "size")
		index := rapid.Int64Range(0, size-1).Draw(rt, "index")
		extra := rapid.SliceOf(rapid.Byte()).Draw(rt, "extra")
		p := l.proof(t, size, index, extra)
		text := p.Format()
		got, err := tlog.ParseProof(text)
		if err != nil {
			rt.Fatalf("ParseProof(%q): %v", text, err)
		}
		if !bytes.Equal(got.Format(), text) || !bytes.Equal(got.Extra, extra) || got.Index != index {
			rt.Fatalf("parsed %+v of %+v", got, p)
		}
		cp, err := tlog.OpenCheckpoint(got.Checkpoint, l.origin, []note.Verifier{l.verifier}, tlog.Policy{})
		if err != nil {
			rt.Fatal(err)
		}
		if err := got.Check(l.leaves[index], cp); err != nil {
			rt.Fatalf("leaf %d of %d: %v", index, size, err)
		}
		if err := got.Check([]byte("another leaf"), cp); !isTrust(err) {
			rt.Fatalf("another leaf: error %v, want a trust error", err)
		}
		got.Index = (got.Index + 1) % 400
		if err := got.Check(l.leaves[index], cp); !isTrust(err) {
			rt.Fatalf("another index: error %v, want a trust error", err)
		}
	})
}

func TestParseProofIsStrict(t *testing.T) {
	t.Parallel()
	good := string(newLog(t, "log.example/a", 20).proof(t, 20, 7, []byte("x!")).Format())
	if _, err := tlog.ParseProof([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty":             "",
		"other version":     strings.Replace(good, "proof@v1", "proof@v2", 1),
		"crlf":              strings.ReplaceAll(good, "\n", "\r\n"),
		"leading zero":      strings.Replace(good, "index 7", "index 07", 1),
		"signed index":      strings.Replace(good, "index 7", "index +7", 1),
		"negative index":    strings.Replace(good, "index 7", "index -7", 1),
		"huge index":        strings.Replace(good, "index 7", "index 999999999999999", 1),
		"no index":          strings.Replace(good, "index 7\n", "", 1),
		"two indexes":       strings.Replace(good, "index 7\n", "index 7\nindex 7\n", 1),
		"extra after index": strings.Replace(good, "extra eCE=\nindex 7\n", "index 7\nextra eCE=\n", 1),
		"empty extra":       strings.Replace(good, "extra eCE=", "extra ", 1),
		"loose extra":       strings.Replace(good, "eCE=", "eCF=", 1),
		"carriage in extra": strings.Replace(good, "eCE=", "eC\rE=", 1),
		"trailing space":    strings.Replace(good, "index 7\n", "index 7 \n", 1),
		"short hash":        strings.Replace(good, "=\n\nlog", "\n\nlog", 1),
		"no blank line":     strings.Replace(good, "\n\nlog", "\nlog", 1),
		"two blank lines":   strings.Replace(good, "\n\nlog", "\n\n\nlog", 1),
		"no checkpoint":     good[:strings.Index(good, "\n\nlog")+2],
		"too many hashes":   strings.Replace(good, "index 7\n", "index 7\n"+strings.Repeat("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n", 65), 1),
		"huge":              good + strings.Repeat("— x AAAAAAA=\n", 30000),
	} {
		if bad == good {
			t.Fatalf("%s: nothing changed", name)
		}
		if p, err := tlog.ParseProof([]byte(bad)); err == nil {
			t.Errorf("%s: accepted as %+v", name, p)
		}
	}
}

func TestParseProofReadsTheLayoutOfC2SP(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("testdata", "vectors", "c2sp.tlog-proof"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := tlog.ParseProof(text)
	if err != nil {
		t.Fatal(err)
	}
	if p.Index != 73894 || len(p.Hashes) != 5 || len(p.Extra) == 0 {
		t.Errorf("ParseProof = %+v", p)
	}
	origin, size, _, err := tlog.ParseCheckpoint(p.Checkpoint)
	if err != nil || origin != "example.com/fancylog" || size != 109482 {
		t.Errorf("ParseCheckpoint = %q, %d, %v", origin, size, err)
	}
}

func TestConsistencyHoldsForPrefixesOnly(t *testing.T) {
	t.Parallel()
	l, fork := newLog(t, "log.example/a", 600), newLog(t, "log.example/fork", 600)
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(1, 600).Draw(rt, "size")
		old := rapid.Int64Range(1, size).Draw(rt, "old")
		proof, err := tlog.ProveConsistency(t.Context(), l.at(size), size, l.root(t, size), old)
		if err != nil {
			rt.Fatal(err)
		}
		if err := tlog.CheckConsistency(proof, size, l.root(t, size), old, l.root(t, old)); err != nil {
			rt.Fatalf("%d after %d: %v", size, old, err)
		}
		if err := tlog.CheckConsistency(proof, size, l.root(t, size), old, fork.root(t, old)); !isTrust(err) {
			rt.Fatalf("%d after %d of a fork: error %v, want a trust error", size, old, err)
		}
		if err := tlog.CheckConsistency(append(proof, tlog.Hash{}), size, l.root(t, size), old, l.root(t, old)); !isTrust(err) {
			rt.Fatalf("one hash too many: error %v, want a trust error", err)
		}
		if err := tlog.CheckConsistency(nil, old, l.root(t, old), size+1, l.root(t, size)); !isTrust(err) {
			rt.Fatalf("%d after %d: error %v, want a trust error", old, size+1, err)
		}
		sent, err := tlog.ParseHashes(tlog.AppendHashes(nil, proof))
		if err != nil || len(sent) != len(proof) {
			rt.Fatalf("ParseHashes: %d of %d hashes, %v", len(sent), len(proof), err)
		}
	})
}

// at returns the tiles of the log when it had size leaves, plus the full ones.
func (l *testLog) at(size int64) *testLog {
	c := *l
	c.tiles = map[string][]byte{}
	for _, t := range xtlog.NewTiles(8, 0, size) {
		data, err := xtlog.ReadTileData(t, l.reader())
		if err != nil {
			panic(err)
		}
		c.tiles[tlog.TilePath(t.L, t.N, t.W)] = data
	}
	return &c
}

func TestInclusionIsProvedFromTiles(t *testing.T) {
	t.Parallel()
	const size = 70000 // three levels of tiles
	l := newLog(t, "log.example/a", size)
	root := l.root(t, size)
	for _, index := range []int64{0, 1, 255, 256, 65535, 65536, size - 1} {
		path, err := tlog.ProveInclusion(t.Context(), l, size, root, index)
		if err != nil {
			t.Fatal(err)
		}
		p := tlog.Proof{Index: index, Hashes: path}
		if err := p.Check(l.leaves[index], tlog.Checkpoint{Size: size, Root: root}); err != nil {
			t.Errorf("leaf %d: %v", index, err)
		}
	}
}

func TestPartialTileMayBeReplacedByTheFullOne(t *testing.T) {
	t.Parallel()
	l := newLog(t, "log.example/a", 600)
	then := l.at(300)
	delete(then.tiles, "tile/0/001.p/44")
	then.tiles["tile/0/001"] = l.tiles["tile/0/001"]
	if _, err := tlog.ProveConsistency(t.Context(), then, 300, l.root(t, 300), 10); err != nil {
		t.Errorf("with the full tile of a later size: %v", err)
	}
}

func TestTilesThatLieAreDistrustedAndThoseMissingAreNot(t *testing.T) {
	t.Parallel()
	l := newLog(t, "log.example/a", 300).at(300)
	root := l.root(t, 300)
	for path := range l.tiles {
		bad := *l
		bad.tiles = maps.Clone(l.tiles)
		bad.tiles[path] = bytes.Clone(l.tiles[path])
		bad.tiles[path][0] ^= 1
		_, err := tlog.ProveConsistency(t.Context(), &bad, 300, root, 10)
		if e, ok := errors.AsType[*keys.TrustError](err); !ok || len(e.Evidence) == 0 {
			t.Errorf("%s changed: error %v, want a trust error", path, err)
		}
		delete(bad.tiles, path)
		if _, err := tlog.ProveConsistency(t.Context(), &bad, 300, root, 10); !errors.Is(err, fs.ErrNotExist) || isTrust(err) {
			t.Errorf("%s missing: error %v, want not exist", path, err)
		}
		bad.tiles[path] = l.tiles[path][1:]
		if _, err := tlog.ProveConsistency(t.Context(), &bad, 300, root, 10); err == nil || isTrust(err) {
			t.Errorf("%s cut: error %v, want a plain one", path, err)
		}
	}
	stop, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := tlog.ProveConsistency(stop, ctxTiles{}, 300, root, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
}

type ctxTiles struct{}

func (ctxTiles) ReadTile(ctx context.Context, _ string) ([]byte, error) { return nil, ctx.Err() }

func TestTilePathIsThatOfTlogTiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level int
		n     int64
		width int
		want  string
	}{
		{0, 0, 256, "tile/0/000"},
		{0, 5, 12, "tile/0/005.p/12"},
		{1, 1234067, 256, "tile/1/x001/x234/067"},
		{2, 1000, 1, "tile/2/x001/000.p/1"},
	} {
		if got := tlog.TilePath(tt.level, tt.n, tt.width); got != tt.want {
			t.Errorf("TilePath(%d, %d, %d) = %q, want %q", tt.level, tt.n, tt.width, got, tt.want)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	l := newLog(f, "log.example/a", 20)
	f.Add(l.proof(f, 20, 7, []byte("extra")).Format())
	f.Add(l.proof(f, 1, 0, nil).Format())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := tlog.ParseProof(b)
		if err != nil {
			return
		}
		if !bytes.Equal(p.Format(), b) {
			t.Errorf("ParseProof(%q).Format() = %q", b, p.Format())
		}
		if cp, err := tlog.OpenCheckpoint(p.Checkpoint, l.origin, []note.Verifier{l.verifier}, tlog.Policy{}); err == nil {
			_ = p.Check(p.Extra, cp)
		}
	})
}

func FuzzOpenCheckpoint(f *testing.F) {
	l := newLog(f, "log.example/a", 20)
	f.Add(l.sign(f, 20))
	f.Add(l.sign(f, 20, witness(f, 0, 12345)))
	f.Fuzz(func(t *testing.T, b []byte) {
		cp, err := tlog.OpenCheckpoint(b, l.origin, []note.Verifier{l.verifier}, policyOf(t, 1, 2))
		if err == nil && (len(cp.Cosigned) == 0 || cp.Origin != l.origin) {
			t.Errorf("believed %+v", cp)
		}
		_, _, _, _ = tlog.ParseCheckpoint(b)
	})
}
