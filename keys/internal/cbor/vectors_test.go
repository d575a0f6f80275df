package cbor_test

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// TestVectors keeps the file that others may test with the same as the table (go test ./keys/internal/cbor -update).
func TestVectors(t *testing.T) {
	t.Parallel()
	type row struct {
		Rule, Hex string
		OK        bool
	}
	var want, got []row
	for _, v := range vectors() {
		if len(v.hex) < 1000 {
			want = append(want, row{v.rule, v.hex, v.ok})
		}
	}
	const file = "../../../testdata/vectors/cbor.json"
	if *update {
		b, err := json.MarshalIndent(want, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(b, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the format changed (-now +vectors):\n%s", diff)
	}
}
