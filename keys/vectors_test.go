package keys_test

import (
	"encoding/hex"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pkg/keys"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

// keyVectors are what a second implementation must agree with.
type keyVectors struct {
	Seed, Author, File string
	Domain, Envelope   string
	Encrypted          string // with the passphrase "correct horse"; made once, as it differs every time
	Refused            []refusedPoint
}

type refusedPoint struct{ Rule, Public string }

// TestVectors checks the vectors, and that they are what the generator makes now (go test ./keys -update).
func TestVectors(t *testing.T) {
	t.Parallel()
	const file = "../testdata/vectors/keys.json"
	k := key(1)
	seed := k.Seed()
	text, err := keys.EncodeFile(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := keyVectors{
		Seed: hex.EncodeToString(seed[:]), Author: string(k.Author()), File: string(text),
		Domain: domain, Envelope: hex.EncodeToString(keys.SignEnvelope(domain, body(), k, key(2))),
	}
	for _, rule := range slices.Sorted(maps.Keys(badPoints())) {
		want.Refused = append(want.Refused, refusedPoint{rule, badPoints()[rule]})
	}
	var got keyVectors
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &got)
	}
	if err != nil && !*update {
		t.Fatal(err)
	}
	want.Encrypted = got.Encrypted
	if *update {
		got = writeVectors(t, file, want)
		want.Encrypted = got.Encrypted
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the format changed (-now +vectors):\n%s", diff)
	}
	if back, err := keys.DecodeFile([]byte(got.Encrypted), []byte("correct horse")); err != nil || back.Seed() != seed {
		t.Errorf("the encrypted key: %v, %v", back, err)
	}
}

func writeVectors(t *testing.T, file string, v keyVectors) keyVectors {
	t.Helper()
	if v.Encrypted == "" {
		r := ring(t)
		if err := r.New("main", key(1), []byte("correct horse")); err != nil {
			t.Fatal(err)
		}
		b, err := r.Export("main")
		if err != nil {
			t.Fatal(err)
		}
		v.Encrypted = string(b)
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return v
}
