package namespace_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/keys"
	"pkg/keys/namespace"
)

func FuzzOpenTrust(f *testing.F) {
	r := newRegistry(f, "reg.example", 1)
	f.Add(r.raw)
	next := r.trust
	next.N, next.Reset, next.Policy, next.Keys = 1, &namespace.Reset{Size: 3}, "quorum none\n", set(2, 1, 2)
	f.Add(namespace.SignTrust(next, key(1), key(2)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, _, err := namespace.OpenTrust(b); err == nil {
			if err := got.Check(); err != nil {
				t.Errorf("%x opens as %+v: %v", b, got, err)
			}
		}
		if got, err := r.trust.Next(b); err == nil && got.N != 1 {
			t.Errorf("%x follows as %+v", b, got)
		}
		body, _, err := keys.SplitEnvelope(b, namespace.MaxTrust)
		if err != nil {
			return
		}
		raw := keys.SignEnvelope("pkg trust root v1\n", body, key(1))
		if got, _, err := namespace.OpenTrust(raw); err == nil && !bytes.Equal(namespace.SignTrust(got, key(1)), raw) {
			t.Errorf("%x is written back as %x", raw, namespace.SignTrust(got, key(1)))
		}
	})
}

func TestTrustDecodesToWhatWasEncoded(t *testing.T) {
	t.Parallel()
	base := newRegistry(t, "reg.example", 1).trust
	rapid.Check(t, func(rt *rapid.T) {
		want := base
		want.N = rapid.Uint64Range(1, 1<<48).Draw(rt, "n")
		want.MaxAge = rapid.Int64Range(0, 366*86400).Draw(rt, "max-age")
		want.Policy = rapid.SampledFrom([]string{"", "quorum none\n", "# c\nquorum none\n"}).Draw(rt, "policy")
		if rapid.Bool().Draw(rt, "reset") {
			want.Reset = &namespace.Reset{Size: rapid.Uint64Range(0, 1<<48).Draw(rt, "size"), Root: draw32(rt, "root")}
		}
		want.Keys = set(rapid.Uint64Range(1, 2).Draw(rt, "threshold"), 1, 2, 3)
		raw := namespace.SignTrust(want, key(1), key(2))
		got, id, err := namespace.OpenTrust(raw)
		if err != nil {
			rt.Fatalf("%+v: %v", want, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
		if more, sameID, err := namespace.OpenTrust(namespace.SignTrust(got, key(1), key(2), key(3))); err != nil || sameID != id || more.N != got.N {
			rt.Fatalf("with another signature the id is %s, not %s (%v)", sameID, id, err)
		}
	})
}

func TestTrustRefusesNonsense(t *testing.T) {
	t.Parallel()
	base := newRegistry(t, "reg.example", 1).trust
	foreign := newRegistry(t, "other.example", 1).trust.Logs[0]
	for name, change := range map[string]func(v *namespace.Trust){
		"no origin":           func(v *namespace.Trust) { v.Origin = "" },
		"origin of another":   func(v *namespace.Trust) { v.Origin = "other.example" },
		"no log":              func(v *namespace.Trust) { v.Logs = nil },
		"log of another":      func(v *namespace.Trust) { v.Logs = []string{foreign} },
		"log twice":           func(v *namespace.Trust) { v.Logs = append(v.Logs, v.Logs[0]) },
		"17 logs":             func(v *namespace.Trust) { v.Logs = repeat(v.Logs[0], 17) },
		"no vkey":             func(v *namespace.Trust) { v.Logs = []string{"reg.example+0+A"} },
		"no keys":             func(v *namespace.Trust) { v.Keys.Keys = nil },
		"threshold 0":         func(v *namespace.Trust) { v.Keys.Threshold = 0 },
		"threshold 2 of 1":    func(v *namespace.Trust) { v.Keys.Threshold = 2 },
		"key twice":           func(v *namespace.Trust) { v.Keys.Keys = repeat(v.Keys.Keys[0], 2) },
		"keys unsorted":       func(v *namespace.Trust) { k := set(1, 1, 2).Keys; v.Keys.Keys = [][32]byte{k[1], k[0]} },
		"low-order key":       func(v *namespace.Trust) { v.Keys = set(1, 1); v.Keys.Keys = append([][32]byte{{1}}, v.Keys.Keys...) },
		"17 keys":             func(v *namespace.Trust) { v.Keys = set(1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17) },
		"malformed policy":    func(v *namespace.Trust) { v.Policy = "quorum W\n" },
		"policy with a log":   func(v *namespace.Trust) { v.Policy = "log " + v.Logs[0] + "\nquorum none\n" },
		"negative max-age":    func(v *namespace.Trust) { v.MaxAge = -1 },
		"max-age of a decade": func(v *namespace.Trust) { v.MaxAge = 10 * 366 * 86400 },
		"reset of root 0":     func(v *namespace.Trust) { v.Reset = &namespace.Reset{} },
		"huge reset":          func(v *namespace.Trust) { v.N, v.Reset = 1, &namespace.Reset{Size: 1 << 60} },
	} {
		v := base
		change(&v)
		if err := v.Check(); err == nil {
			t.Errorf("%s: Check accepts %+v", name, v)
		}
		if got, _, err := namespace.OpenTrust(namespace.SignTrust(v, key(1), key(2))); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func TestTrustIsSignedByOldAndNewThresholds(t *testing.T) {
	t.Parallel()
	t0 := newRegistry(t, "reg.example", 1).trust
	t0.Keys = set(2, 1, 2, 3)
	_, _, err := namespace.OpenTrust(namespace.SignTrust(t0, key(1)))
	distrusts(t, err)
	raw0 := namespace.SignTrust(t0, key(1), key(3))
	_, id, err := namespace.OpenTrust(raw0)
	if err != nil {
		t.Fatal(err)
	}
	t1 := t0
	t1.N, t1.Keys = 1, set(2, 3, 4, 5)
	good := namespace.SignTrust(t1, key(2), key(3), key(4))
	if got, err := t0.Next(good); err != nil || got.N != 1 {
		t.Errorf("Next: %+v, %v", got, err)
	}
	for name, ks := range map[string][]keys.Key{
		"old only": {key(1), key(2)}, "new only": {key(4), key(5)}, "one short of old": {key(3), key(4)}, "one short of new": {key(1), key(2), key(4)},
	} {
		raw := namespace.SignTrust(t1, ks...)
		_, err := t0.Next(raw)
		t.Run(name, func(t *testing.T) { t.Parallel(); distrusts(t, err, raw) })
	}
	if _, err := t0.Next(namespace.SignTrust(t1, key(2), key(3), key(4), key(77))); err == nil {
		t.Error("Next accepts the signature of a stranger")
	}
	skip, foreign := t1, t1
	skip.N = 2
	if _, err := t0.Next(namespace.SignTrust(skip, key(2), key(3), key(4))); err == nil {
		t.Error("Next accepts root 2 after root 0")
	}
	foreign.Origin, foreign.Logs = "other.example", newRegistry(t, "other.example", 1).trust.Logs
	_, err = t0.Next(namespace.SignTrust(foreign, key(2), key(3), key(4)))
	distrusts(t, err)

	if got, gotID, err := namespace.OpenChain(id, [][]byte{raw0, good}); err != nil || got.N != 1 || gotID != id {
		t.Errorf("OpenChain: root %d, id %s, %v", got.N, gotID, err)
	}
	_, _, err = namespace.OpenChain(link("another registry"), [][]byte{raw0})
	distrusts(t, err, raw0)
	for name, chain := range map[string][][]byte{"empty": nil, "from the middle": {good}, "twice": {raw0, raw0}} {
		if _, _, err := namespace.OpenChain(cid.Undef, chain); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
	bad := bytes.Clone(raw0)
	bad[len(bad)-1] ^= 1
	if _, _, err := namespace.OpenTrust(bad); err == nil || !errors.As(err, new(*keys.TrustError)) {
		t.Errorf("a flipped signature: %v, want a trust error", err)
	}
}
