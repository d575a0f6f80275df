package keys_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pkg/keys"
	"pkg/lockfile/name"
)

// key returns a key that is the same in every run.
func key(n byte) keys.Key { return keys.FromSeed(sha256.Sum256([]byte{n})) }

func point(t *testing.T, s string) [32]byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 32 {
		t.Fatalf("bad point %q: %v", s, err)
	}
	return [32]byte(b)
}

// badPoints are the encodings that no key may have: all points of low order, in every spelling, and others.
func badPoints() map[string]string {
	return map[string]string{
		"identity":                    "0100000000000000000000000000000000000000000000000000000000000000",
		"identity, sign bit set":      "0100000000000000000000000000000000000000000000000000000000000080",
		"identity, y = p+1":           "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"identity, y = p+1, sign bit": "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 2":                     "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 2, sign bit set":       "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 4":                     "0000000000000000000000000000000000000000000000000000000000000000",
		"order 4, negative":           "0000000000000000000000000000000000000000000000000000000000000080",
		"order 4, y = p":              "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"order 4, y = p, negative":    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"order 8":                     "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"order 8, negative":           "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"the other order 8":           "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"the other order 8, negative": "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"not on the curve":            "0200000000000000000000000000000000000000000000000000000000000000",
		"y = 2^255-1, y above p":      "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	}
}

func TestPointsThatMayNotSignAreRefused(t *testing.T) {
	t.Parallel()
	for rule, s := range badPoints() {
		pub := point(t, s)
		if err := keys.CheckPoint(pub); err == nil {
			t.Errorf("%s: CheckPoint accepts %s", rule, s)
		}
		if _, err := keys.Public(name.AuthorOf(pub)); err == nil {
			t.Errorf("%s: Public accepts %s", rule, s)
		}
	}
}

// A key of low order with R = A and S = 0 signs many messages for many verifiers; crypto/ed25519 is one of them.
func TestForgeryByALowOrderKeyIsRefused(t *testing.T) {
	t.Parallel()
	identity := [32]byte{1}
	sig := make([]byte, 64)
	copy(sig, identity[:])
	if err := keys.Verify(identity, []byte("any message"), sig); err == nil {
		t.Fatal("Verify accepts a signature that anybody can make")
	}
	env := keys.JoinEnvelope([]byte{0xa0}, []keys.Signature{{Key: identity, Sig: [64]byte(sig)}})
	_, _, err := keys.OpenEnvelope("d\n", env, 1000)
	if _, ok := errors.AsType[*keys.TrustError](err); !ok {
		t.Fatalf("OpenEnvelope = %v, want a *TrustError", err)
	}
}

// TestVerifyMatchesRFC8032 is the second test of RFC 8032 §7.1.
func TestVerifyMatchesRFC8032(t *testing.T) {
	t.Parallel()
	seed := point(t, "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
	k := keys.FromSeed(seed)
	if got, want := k.Public(), point(t, "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"); got != want {
		t.Fatalf("public key %x, want %x", got, want)
	}
	want := "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
	sig := k.Sign([]byte{0x72})
	if got := hex.EncodeToString(sig); got != want {
		t.Fatalf("signature %s, want %s", got, want)
	}
	if err := keys.Verify(k.Public(), []byte{0x72}, sig); err != nil {
		t.Fatal(err)
	}
	if err := keys.Verify(k.Public(), []byte{0x73}, sig); err == nil {
		t.Error("Verify accepts another message")
	}
	if err := keys.Verify(k.Public(), []byte{0x72}, sig[:63]); err == nil {
		t.Error("Verify accepts a short signature")
	}
	// S + L is the same scalar in a second spelling.
	order := point(t, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
	high := bytes.Clone(sig)
	carry := 0
	for i := range 32 {
		sum := int(high[32+i]) + int(order[i]) + carry
		high[32+i], carry = byte(sum), sum>>8
	}
	if err := keys.Verify(k.Public(), []byte{0x72}, high); err == nil {
		t.Error("Verify accepts the same signature in another spelling")
	}
}

func TestKeyNeverPrintsItsSecret(t *testing.T) {
	t.Parallel()
	k := key(1)
	seed := k.Seed()
	for _, s := range []string{fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s", k, k, k, k)} {
		if strings.Contains(s, hex.EncodeToString(seed[:])) || !strings.Contains(s, "did:key:z6Mk") {
			t.Errorf("printed as %s", s)
		}
	}
	if keys.FromSeed(seed).Author() != k.Author() {
		t.Error("FromSeed(Seed) is another key")
	}
	if got := fmt.Sprint(keys.Key{}); got != "no key" {
		t.Errorf("the zero key prints as %q", got)
	}
}

func TestGenerateReadsItsSource(t *testing.T) {
	t.Parallel()
	k, err := keys.Generate(bytes.NewReader(make([]byte, 32)))
	if err != nil || k.Seed() != [32]byte{} {
		t.Errorf("Generate = %v, %v", k, err)
	}
	if _, err := keys.Generate(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("Generate accepts 31 bytes")
	}
}

func TestTrustErrorShowsBothSides(t *testing.T) {
	t.Parallel()
	err := &keys.TrustError{Subject: "left-pad", What: "another history", Ours: "root a", Theirs: "root b"}
	if got, want := err.Error(), "left-pad: another history: ours is root a, theirs is root b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func BenchmarkVerify(b *testing.B) {
	k := key(1)
	msg := make([]byte, 300)
	sig := k.Sign(msg)
	pub := k.Public()
	b.ReportAllocs()
	for b.Loop() {
		if err := keys.Verify(pub, msg, sig); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckPoint(b *testing.B) {
	pub := key(1).Public()
	for b.Loop() {
		if err := keys.CheckPoint(pub); err != nil {
			b.Fatal(err)
		}
	}
}
