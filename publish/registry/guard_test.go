//go:build unix

package registry

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	ours "pkg/keys/tlog"
)

func testGuard(t *testing.T, d disk) *guard {
	t.Helper()
	signer, _, err := logSigner(seeded(1), testOrigin)
	if err != nil {
		t.Fatal(err)
	}
	g := newGuard(signer, filepath.Join(t.TempDir(), "reg.signed"), d)
	g.leaf = leafAt
	return g
}

// leafAt is a last leaf that fits every size.
func leafAt(size uint64) ([]byte, error) {
	first, err := firstCommit(1)
	if err != nil {
		return nil, err
	}
	c := first.commit
	if c.N = size - 1; c.N > 0 {
		c.P = c.M
	}
	return c.Encode(), nil
}

func body(size int64, root byte) []byte {
	return []byte(ours.FormatCheckpoint(testOrigin, size, tlog.Hash{root}))
}

func TestGuardSignsOneHistory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		last []byte // signed before
		next []byte
		leaf func(uint64) ([]byte, error)
		ok   bool
	}{
		{name: "the first", next: body(0, 1), ok: true},
		{name: "larger", last: body(4, 1), next: body(5, 2), ok: true},
		{name: "the same again", last: body(5, 1), next: body(5, 1), ok: true},
		{name: "smaller", last: body(5, 1), next: body(4, 1)},
		{name: "to nothing", last: body(5, 1), next: body(0, 0)},
		{name: "same size, other root", last: body(5, 1), next: body(5, 2)},
		{name: "last leaf of another place", last: body(4, 1), next: body(5, 1), leaf: func(n uint64) ([]byte, error) { return leafAt(n + 1) }},
		{name: "last leaf is no commit", last: body(4, 1), next: body(5, 1), leaf: func(uint64) ([]byte, error) { return []byte("x"), nil }},
		{name: "last leaf cannot be read", last: body(4, 1), next: body(5, 1), leaf: func(uint64) ([]byte, error) { return nil, errFault }},
		{name: "another log", next: []byte("other\n5\n" + string(body(5, 1)[len(testOrigin)+3:]))},
		{name: "an extension line", next: append(body(5, 1), "more\n"...)},
		{name: "a damaged record", last: []byte("?\n"), next: body(5, 1)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := testGuard(t, osDisk{})
			if tt.leaf != nil {
				g.leaf = tt.leaf
			}
			if tt.last != nil {
				if err := os.WriteFile(g.path, tt.last, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := g.Sign(tt.next)
			if (err == nil) != tt.ok {
				t.Fatalf("sign %q after %q: %v, want ok = %v", tt.next, tt.last, err, tt.ok)
			}
			if (g.failure() == nil) != tt.ok {
				t.Errorf("failure() = %v", g.failure())
			}
			want := tt.last
			if tt.ok {
				want = tt.next
			}
			if got, _ := os.ReadFile(g.path); string(got) != string(want) {
				t.Errorf("record is %q, want %q", got, want)
			}
		})
	}
}

func TestGuardRecordsBeforeItSigns(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{false, true} {
		f := &faults{}
		f.arm(1, done)
		g := testGuard(t, faultDisk{osDisk{}, f})
		if sig, err := g.Sign(body(1, 1)); !errors.Is(err, errFault) || sig != nil {
			t.Fatalf("sign with a failing record: %x %v", sig, err)
		}
		// Whether the record got there or not, only the same tree may follow
		// or what extends it; another of the same size must not, if it did.
		_, err := g.Sign(body(1, 2))
		if (err != nil) != done {
			t.Errorf("record persisted = %v: signing another root: %v", done, err)
		}
	}
}

func TestGuardIsANoteSigner(t *testing.T) {
	t.Parallel()
	g := testGuard(t, osDisk{})
	text, err := note.Sign(&note.Note{Text: string(body(3, 7))}, g)
	if err != nil {
		t.Fatal(err)
	}
	_, vkey, _ := logSigner(seeded(1), testOrigin)
	v, err := ours.NewLogVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := ours.OpenCheckpoint(text, testOrigin, []note.Verifier{v}, ours.Policy{})
	if err != nil || cp.Size != 3 {
		t.Fatalf("open what the guard signed: %v %v", cp, err)
	}
	g.close()
	if _, err := g.Sign(body(4, 1)); err == nil {
		t.Error("a closed guard signs")
	}
}

func TestJournalDropsTornEnd(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal")
	j := &journal{path: path, disk: osDisk{}}
	var ends []int64
	for i := range 3 {
		r, err := firstCommit(int64(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.append(r); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, j.end)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) + 1 {
		want := 0
		for _, e := range ends {
			if int64(n) >= e {
				want++
			}
		}
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		k := &journal{path: path, disk: osDisk{}}
		got, err := k.read()
		if err != nil || len(got) != want {
			t.Fatalf("journal cut at %d: %d records, %v; want %d", n, len(got), err, want)
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	r, err := firstCommit(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encodeRecord(r))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, err := decodeRecord(b)
		if err != nil {
			return
		}
		if got := encodeRecord(r); string(got) != string(b[:n]) {
			t.Errorf("encode(decode(%x)) = %x", b[:n], got)
		}
	})
}

func TestOriginRules(t *testing.T) {
	t.Parallel()
	for origin, ok := range map[string]bool{
		"registry.example.org": true, "example.org/log": true, "local": true, "пример.рф": true,
		"": false, "https://example.org": false, "a b": false, "a+b": false, "a\nb": false, "a\u00a0b": false,
		"a\x00": false, "a\xff": false, "a\u202eb": false, fmt.Sprintf("%0257d", 1): false,
	} {
		if err := checkOrigin(origin); (err == nil) != ok {
			t.Errorf("checkOrigin(%q) = %v, want ok = %v", origin, err, ok)
		}
	}
}
