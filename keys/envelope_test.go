package keys_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pkg/keys"
)

const domain = "pkg test v1\n"

// body is the canonical map {"a": 1}.
func body() []byte { return []byte{0xa1, 0x61, 'a', 0x01} }

func TestEnvelopeComesBack(t *testing.T) {
	t.Parallel()
	a, b := key(1), key(2)
	env := keys.SignEnvelope(domain, body(), a, b, a)
	if !bytes.Equal(env, keys.SignEnvelope(domain, body(), b, a)) {
		t.Error("the order of keys changes the envelope")
	}
	got, sigs, err := keys.OpenEnvelope(domain, env, len(env))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, body()) || len(sigs) != 2 || !keys.Signed(sigs, a.Public()) || !keys.Signed(sigs, b.Public()) {
		t.Errorf("got %x by %d keys", got, len(sigs))
	}
	if keys.Signed(sigs, key(3).Public()) {
		t.Error("Signed by a key that did not")
	}
	if !bytes.Equal(keys.JoinEnvelope(got, sigs), env) {
		t.Error("the envelope put together again differs")
	}
	if _, _, err := keys.OpenEnvelope(domain, env, len(env)-1); err == nil {
		t.Error("an envelope over the limit is accepted")
	}
}

func TestSignatureOfAnotherPurposeIsATrustError(t *testing.T) {
	t.Parallel()
	env := keys.SignEnvelope(domain, body(), key(1))
	_, _, err := keys.OpenEnvelope("pkg other v1\n", env, 1000)
	trust, ok := errors.AsType[*keys.TrustError](err)
	if !ok || len(trust.Evidence) != 1 || !bytes.Equal(trust.Evidence[0].Data, env) {
		t.Fatalf("got %v, want a *TrustError with the envelope", err)
	}
	if _, _, err := keys.SplitEnvelope(env, 1000); err != nil {
		t.Errorf("SplitEnvelope verifies: %v", err)
	}
}

// Every single bit of an envelope matters.
func TestChangedEnvelopeIsRefused(t *testing.T) {
	t.Parallel()
	env := keys.SignEnvelope(domain, body(), key(1), key(2))
	for i := range env {
		for bit := range 8 {
			bad := bytes.Clone(env)
			bad[i] ^= 1 << bit
			if _, _, err := keys.OpenEnvelope(domain, bad, 1000); err == nil {
				t.Fatalf("accepted with bit %d of byte %d changed", bit, i)
			}
		}
		if _, _, err := keys.OpenEnvelope(domain, env[:i], 1000); err == nil {
			t.Fatalf("accepted when cut at %d", i)
		}
	}
}

func TestMalformedEnvelopeIsRefused(t *testing.T) {
	t.Parallel()
	env := keys.SignEnvelope(domain, body(), key(1), key(2))
	_, sigs, err := keys.SplitEnvelope(env, 1000)
	if err != nil {
		t.Fatal(err)
	}
	head := slices.Concat([]byte{0x82}, body())
	one := env[len(head)+1 : len(head)+1+101]
	two := env[len(head)+1+101:]
	tests := map[string][]byte{
		"no signature":        keys.JoinEnvelope(body(), nil),
		"signatures unsorted": slices.Concat(head, []byte{0x82}, two, one),
		"signature twice":     slices.Concat(head, []byte{0x82}, one, one),
		"trailing byte":       append(bytes.Clone(env), 0),
		"three items":         append(slices.Concat([]byte{0x83}, env[1:]), 0xf6),
		"long list head":      slices.Concat([]byte{0x98, 0x02}, env[1:]),
		"body not canonical":  keys.JoinEnvelope([]byte{0xa1, 0x61, 'a', 0x18, 0x01}, sigs),
		"empty":               nil,
	}
	for rule, b := range tests {
		if _, _, err := keys.SplitEnvelope(b, 1000); err == nil {
			t.Errorf("%s: accepted %x", rule, b)
		}
	}
	many := make([]keys.Signature, keys.MaxSignatures+1)
	for i := range many {
		many[i].Key[0] = byte(i)
	}
	if _, _, err := keys.SplitEnvelope(keys.JoinEnvelope(body(), many), 1<<20); err == nil {
		t.Error("too many signatures are accepted")
	}
	if _, _, err := keys.SplitEnvelope(keys.JoinEnvelope(body(), many[1:]), 1<<20); err != nil {
		t.Errorf("the most signatures there may be: %v", err)
	}
}

func FuzzOpenEnvelope(f *testing.F) {
	f.Add(keys.SignEnvelope(domain, body(), key(1)))
	f.Add(keys.SignEnvelope(domain, body(), key(1), key(2)))
	f.Add([]byte{0x82, 0xa0, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, sigs, err := keys.SplitEnvelope(b, 1<<16)
		if err != nil {
			return
		}
		if again := keys.JoinEnvelope(got, sigs); !bytes.Equal(again, b) {
			t.Fatalf("%x came back as %x", b, again)
		}
		if _, _, err := keys.OpenEnvelope(domain, b, 1<<16); err == nil && !bytes.Equal(got, body()) {
			t.Fatalf("forged %x", b)
		}
	})
}
