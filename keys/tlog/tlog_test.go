package tlog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	xtlog "golang.org/x/mod/sumdb/tlog"

	"pkg/keys"
	"pkg/keys/tlog"
)

// testLog is a log in memory, with its tiles by path.
type testLog struct {
	origin   string
	skey     string
	vkey     string
	leaves   [][]byte
	hashes   []tlog.Hash
	tiles    map[string][]byte
	verifier note.Verifier
}

func newLog(tb testing.TB, origin string, size int) *testLog {
	tb.Helper()
	l := &testLog{origin: origin, tiles: map[string][]byte{}}
	var err error
	if l.skey, l.vkey, err = tlog.GenerateLogKey(rand.NewChaCha8([32]byte{byte(len(origin))}), origin); err != nil {
		tb.Fatal(err)
	}
	if l.verifier, err = tlog.NewLogVerifier(l.vkey); err != nil {
		tb.Fatal(err)
	}
	for i := range size {
		leaf := fmt.Appendf(nil, "leaf %d of %s", i, origin)
		more, err := xtlog.StoredHashes(int64(i), leaf, l.reader())
		if err != nil {
			tb.Fatal(err)
		}
		l.leaves, l.hashes = append(l.leaves, leaf), append(l.hashes, more...)
	}
	for _, t := range xtlog.NewTiles(8, 0, int64(size)) {
		data, err := xtlog.ReadTileData(t, l.reader())
		if err != nil {
			tb.Fatal(err)
		}
		l.tiles[tlog.TilePath(t.L, t.N, t.W)] = data
	}
	return l
}

func (l *testLog) reader() xtlog.HashReaderFunc {
	return func(indexes []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(indexes))
		for i, x := range indexes {
			out[i] = l.hashes[x]
		}
		return out, nil
	}
}

func (l *testLog) root(tb testing.TB, size int64) tlog.Hash {
	tb.Helper()
	h, err := xtlog.TreeHash(size, l.reader())
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func (l *testLog) ReadTile(_ context.Context, path string) ([]byte, error) {
	if data, ok := l.tiles[path]; ok {
		return data, nil
	}
	return nil, fmt.Errorf("tile %s: %w", path, fs.ErrNotExist)
}

// sign returns the checkpoint of the first size leaves, cosigned by cosigners.
func (l *testLog) sign(tb testing.TB, size int64, cosigners ...note.Signer) []byte {
	tb.Helper()
	s, err := tlog.NewSigner(l.skey)
	if err != nil {
		tb.Fatal(err)
	}
	text := tlog.FormatCheckpoint(l.origin, size, l.root(tb, size))
	signed, err := note.Sign(&note.Note{Text: text}, append([]note.Signer{s}, cosigners...)...)
	if err != nil {
		tb.Fatal(err)
	}
	return signed
}

func witness(tb testing.TB, n int, at int64) *tlog.Cosigner {
	tb.Helper()
	c, err := tlog.NewCosigner(fmt.Sprintf("w%d.example", n), keys.FromSeed([32]byte{byte(n), 9}), func() time.Time {
		return time.Unix(at, 0)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// policyOf asks for k of the first n witnesses.
func policyOf(tb testing.TB, k, n int) tlog.Policy {
	tb.Helper()
	var text, members strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "witness W%d %s\n", i, witness(tb, i, 0).VerifierKey())
		fmt.Fprintf(&members, " W%d", i)
	}
	fmt.Fprintf(&text, "group G %d%s\nquorum G\n", k, members.String())
	p, err := tlog.ParsePolicy(text.String())
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func isTrust(err error) bool {
	_, ok := errors.AsType[*keys.TrustError](err)
	return ok
}

func TestOpenCheckpointBelievesOnlyWhatIsSigned(t *testing.T) {
	t.Parallel()
	l, other := newLog(t, "log.example/a", 5), newLog(t, "log.example/other", 5)
	plain := l.sign(t, 5)
	foreign := other.sign(t, 5)
	cosigned := l.sign(t, 5, witness(t, 0, 100), witness(t, 1, 200))
	onlyWitness, err := note.Sign(&note.Note{Text: tlog.FormatCheckpoint(l.origin, 5, l.root(t, 5))}, witness(t, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	otherRoot := bytes.Replace(plain, []byte("\n5\n"), []byte("\n4\n"), 1)
	for _, tt := range []struct {
		name   string
		text   []byte
		policy tlog.Policy
		want   string // "", "trust" or "plain"
	}{
		{"signed by the log", plain, tlog.Policy{}, ""},
		{"cosigned, nobody asks", cosigned, tlog.Policy{}, ""},
		{"cosigned by a quorum", cosigned, policyOf(t, 2, 3), ""},
		{"quorum missed", cosigned, policyOf(t, 3, 3), "trust"},
		{"no cosignature", plain, policyOf(t, 1, 3), "trust"},
		{"another log", foreign, tlog.Policy{}, "trust"},
		{"witness but no log", onlyWitness, policyOf(t, 1, 1), "trust"},
		{"changed after signing", otherRoot, tlog.Policy{}, "trust"},
		{"empty", nil, tlog.Policy{}, "plain"},
		{"a web page", []byte("<html>\n\nlog in</html>\n"), tlog.Policy{}, "plain"},
		{"huge", bytes.Repeat([]byte("a"), tlog.MaxCheckpoint+1), tlog.Policy{}, "plain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cp, err := tlog.OpenCheckpoint(tt.text, l.origin, []note.Verifier{l.verifier}, tt.policy)
			got := ""
			if err != nil {
				if got = "plain"; isTrust(err) {
					got = "trust"
				}
			}
			if got != tt.want {
				t.Fatalf("OpenCheckpoint: error %q (%v), want %q", got, err, tt.want)
			}
			if err == nil && (cp.Size != 5 || cp.Root != l.root(t, 5) || !bytes.Equal(cp.Text, tt.text)) {
				t.Errorf("OpenCheckpoint = %+v", cp)
			}
		})
	}
}

func TestOpenCheckpointRefusesAnyFlippedByte(t *testing.T) {
	t.Parallel()
	l := newLog(t, "log.example/a", 3)
	text := l.sign(t, 3)
	for i := range text {
		bad := bytes.Clone(text)
		bad[i] ^= 1
		if _, err := tlog.OpenCheckpoint(bad, l.origin, []note.Verifier{l.verifier}, tlog.Policy{}); err == nil {
			t.Errorf("byte %d flipped, still believed:\n%s", i, bad)
		}
	}
	for i := range text {
		if _, err := tlog.OpenCheckpoint(text[:i], l.origin, []note.Verifier{l.verifier}, tlog.Policy{}); err == nil {
			t.Errorf("believed when cut at byte %d", i)
		}
	}
}

func TestCheckpointOfAnotherOriginBySameKeyIsRefused(t *testing.T) {
	t.Parallel()
	l := newLog(t, "log.example/a", 3)
	_, err := tlog.OpenCheckpoint(l.sign(t, 3), "log.example/b", []note.Verifier{l.verifier}, tlog.Policy{})
	if !isTrust(err) {
		t.Errorf("error %v, want a trust error", err)
	}
}

func TestParseCheckpointIsStrict(t *testing.T) {
	t.Parallel()
	root := "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
	sig := "\n— x AAAAAAA=\n"
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"o\n0\n" + root + "\n" + sig, true},
		{"o\n7\n" + root + "\n" + sig, true},
		{"o\n7\n" + root + "\nextension\n" + sig, true},
		{"o\n07\n" + root + "\n" + sig, false},
		{"o\n+7\n" + root + "\n" + sig, false},
		{"o\n-7\n" + root + "\n" + sig, false},
		{"o\n99999999999999999999\n" + root + "\n" + sig, false},
		{"o\n562949953421312\n" + root + "\n" + sig, false},
		{"o\n\n" + root + "\n" + sig, false},
		{"\n7\n" + root + "\n" + sig, false},
		{"o\n7\n" + root[:43] + "\n" + sig, false},
		{"o\n7\n" + strings.Replace(root, "2I=", "2J=", 1) + "\n" + sig, false}, // padding bits set
		{"o\n7\n" + root[:20] + "\r" + root[20:] + "\n" + sig, false},
		{"o\n7\n" + root + "\n", false},
		{"o\n7\n", false},
	} {
		_, _, _, err := tlog.ParseCheckpoint([]byte(tt.text))
		if (err == nil) != tt.ok {
			t.Errorf("ParseCheckpoint(%q): error %v, want ok %v", tt.text, err, tt.ok)
		}
	}
}

// TestCosignaturesOfAnotherImplementationAreRead opens a checkpoint that github.com/transparency-dev/formats cosigned.
func TestCosignaturesOfAnotherImplementationAreRead(t *testing.T) {
	t.Parallel()
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	policy, err := tlog.ParsePolicy(string(read("cosigned.policy")))
	if err != nil {
		t.Fatal(err)
	}
	text := read("cosigned.checkpoint")
	cp, err := tlog.OpenCheckpoint(text, "log.example/vector", []note.Verifier{policy.Logs[0].Verifier}, policy)
	if err != nil || cp.Size != 7 || len(cp.Cosigned) != 2 || cp.Cosigned[1].Key != "w2.example/b" {
		t.Fatalf("OpenCheckpoint = %+v, %v", cp, err)
	}
	lines := bytes.Split(text, []byte("\n"))
	for i := 5; i <= 6; i++ { // each cosignature missing, and under the other's name
		without := bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), []byte("\n"))
		swapped := slices.Clone(lines)
		swapped[i] = bytes.Replace(swapped[i], fmt.Appendf(nil, "w%d", i-4), fmt.Appendf(nil, "w%d", 7-i), 1)
		for name, bad := range map[string][]byte{"missing": without, "renamed": bytes.Join(swapped, []byte("\n"))} {
			if _, err := tlog.OpenCheckpoint(bad, "log.example/vector", []note.Verifier{policy.Logs[0].Verifier}, policy); !isTrust(err) {
				t.Errorf("line %d %s: error %v, want a trust error", i, name, err)
			}
		}
	}
}
