package namespace_test

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pkg/keys/namespace"
)

// TestVectorsStandForTheFormats holds the bytes of every format: a change of them is a change of format, and lands with a
// new version. Lines of the file are "kind hex", and "!kind hex" for what must be refused. Where a line of ours is missing
// or differs the test prints the one to put there.
func TestVectorsStandForTheFormats(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	ops, err := namespace.EncodeOps(namespace.Ops{
		{Kind: "claim", Name: "left-pad", Genesis: []byte("genesis")},
		{Kind: "head", Name: "s/left-pad", Entries: [][]byte{[]byte("entry 1"), []byte("entry 2")}},
		{Kind: "announce-transfer", Name: "left-pad", To: [32]byte{7}, At: start, Reason: "lost key", By: "an operator"},
		{Kind: "transfer", Name: "left-pad", Genesis: []byte("genesis"), Reason: "lost key", By: "an operator"},
		{Kind: "status", Name: "left-pad", Status: namespace.Removed, Reason: "malware", By: "an operator"},
		{Kind: "reserve", Name: "s/", Reason: "a trademark", By: "an operator"},
		{Kind: "advisory", Name: "left-pad", CID: link("osv")},
	})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("testdata", "vectors", "formats.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string][]byte{
		"trust": r.raw, "commit": r.commit(1).Encode(), "record": sample().Encode(), "ops": ops, "head": r.file(t, 3, 2),
	} {
		if line := kind + " " + hex.EncodeToString(want) + "\n"; !strings.Contains("\n"+string(text), "\n"+line) {
			t.Errorf("formats.txt lacks the line\n%s", line)
		}
	}
	for line := range strings.Lines(string(text)) {
		kind, data, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, err := hex.DecodeString(data)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		kind, refuse := strings.CutPrefix(kind, "!")
		if err := decode(r, kind, b); (err != nil) != refuse {
			t.Errorf("%s\nerror %v, want one: %v", line, err, refuse)
		}
	}
}

func decode(r *registry, kind string, b []byte) (err error) {
	switch kind {
	case "trust":
		_, _, err = namespace.OpenTrust(b)
	case "commit":
		_, err = namespace.DecodeCommit(b)
	case "record":
		_, err = namespace.DecodeRecord(b)
	case "ops":
		_, err = namespace.DecodeOps(b)
	case "head":
		_, err = namespace.OpenHead(b, r.trust)
	}
	return err
}

// TestEveryFlippedBitOfAVectorIsSeen changes each bit of what is signed: it is refused, or decodes to something else.
func TestEveryFlippedBitOfAVectorIsSeen(t *testing.T) {
	t.Parallel()
	commit, record := newRegistry(t, "reg.example", 1).commit(1).Encode(), sample().Encode()
	for i := range 8 * len(commit) {
		bad := bytes.Clone(commit)
		bad[i/8] ^= 1 << (i % 8)
		if c, err := namespace.DecodeCommit(bad); err == nil && !bytes.Equal(c.Encode(), bad) {
			t.Errorf("commit %x decodes to %+v", bad, c)
		}
	}
	for i := range 8 * len(record) {
		bad := bytes.Clone(record)
		bad[i/8] ^= 1 << (i % 8)
		if r, err := namespace.DecodeRecord(bad); err == nil && !bytes.Equal(r.Encode(), bad) {
			t.Errorf("record %x decodes to %+v", bad, r)
		}
	}
}
