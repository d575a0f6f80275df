package tracker

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"

	"pkg/lockfile/block"
)

func sample(tb testing.TB) Announcement {
	tb.Helper()
	_, id := keyPair(tb, 1)
	return Announcement{
		Peer: id, Addrs: mustAddrs(tb, "/ip4/8.8.4.4/udp/4001/quic-v1", "/ip6/2606:4700::1/tcp/4001"),
		Protocols: []string{"transport-bitswap"}, Roots: roots(0, 3), Lifetime: time.Hour, Time: time.Unix(1_800_000_000, 0), Seq: 7,
	}
}

func TestOpenReturnsWhatWasSigned(t *testing.T) {
	t.Parallel()
	k, _ := keyPair(t, 1)
	want := sample(t)
	body, err := want.Sign(k, registry)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Open(body, registry)
	if err != nil {
		t.Fatal(err)
	}
	eq := cmp.Options{
		cmp.Comparer(func(a, b cid.Cid) bool { return a.Equals(b) }),
		cmp.Comparer(func(a, b ma.Multiaddr) bool { return a.Equal(b) }),
	}
	if diff := cmp.Diff(want, got, eq); diff != "" {
		t.Error(diff)
	}
}

func TestAnnouncementIsForOneRegistryAndOnePeer(t *testing.T) {
	t.Parallel()
	k, id := keyPair(t, 1)
	body, err := sample(t).Sign(k, registry)
	if err != nil {
		t.Fatal(err)
	}
	_, other := keyPair(t, 2)
	for name, b := range map[string][]byte{
		"another peer":   bytes.Replace(body, []byte(id.String()), []byte(other.String()), 1),
		"another seq":    bytes.Replace(body, []byte(`"seq":7`), []byte(`"seq":8`), 1),
		"another space":  bytes.Replace(body, []byte(`"seq":7`), []byte(`"seq": 7`), 1),
		"another root":   bytes.Replace(body, []byte(root(1).String()), []byte(root(9).String()), 1),
		"another's name": append(bytes.Replace(body[:len(body)-90], []byte("{"), []byte("{ "), 1), body[len(body)-90:]...),
	} {
		if _, err := Open(b, registry); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, r := range []string{"", registry + "x", registry[:5]} {
		if _, err := Open(body, r); err == nil {
			t.Errorf("registry %q accepts an announcement to %q", r, registry)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	k, id := keyPair(t, 1)
	rsa, _, err := crypto.GenerateKeyPairWithReader(crypto.Secp256k1, 0, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sample(t).Sign(rsa, registry); err == nil {
		t.Error("a key that is not ed25519 signs")
	}
	good := fmt.Sprintf(`{"v":1,"peer":%q,"addrs":["/ip4/8.8.8.8/tcp/1"],"roots":[%q],"lifetime":60,"time":0,"seq":1}`, id, root(1))
	seal := func(text string) []byte {
		sig, err := k.Sign(signed(registry, []byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text + "\n" + base64.StdEncoding.EncodeToString(sig) + "\n")
	}
	if _, err := Open(seal(good), registry); err != nil {
		t.Fatal(err)
	}
	swap := func(old, by string) []byte { return seal(strings.Replace(good, old, by, 1)) }
	many := strings.TrimSuffix(strings.Repeat(fmt.Sprintf("%q,", root(1)), MaxRoots+1), ",")
	for name, b := range map[string][]byte{
		"nothing":            nil,
		"no signature":       []byte(good),
		"no end":             bytes.TrimSuffix(seal(good), []byte("\n")),
		"more after the end": append(seal(good), '\n'),
		"short signature":    []byte(good + "\nAAAA\n"),
		"no JSON":            seal("x"),
		"two values":         seal(good + good),
		"unknown field":      swap(`"v":1`, `"v":1,"x":2`),
		"another version":    swap(`"v":1`, `"v":2`),
		"no peer":            swap(id.String(), ""),
		"peer of a hash":     swap(id.String(), "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"),
		"long peer":          swap(id.String(), strings.Repeat("1", 1000)),
		"negative lifetime":  swap(`"lifetime":60`, `"lifetime":-1`),
		"long lifetime":      swap(`"lifetime":60`, `"lifetime":86401`),
		"huge lifetime":      swap(`"lifetime":60`, `"lifetime":9223372036854775807`),
		"no roots":           swap(fmt.Sprintf("%q", root(1)), ""),
		"too many roots":     swap(fmt.Sprintf("%q", root(1)), many),
		"raw root":           swap(root(1).String(), block.Sum(cid.Raw, nil).String()),
		"empty file":         swap(root(1).String(), block.Empty().String()),
		"no root":            swap(root(1).String(), "x"),
		"no addresses":       swap(`"/ip4/8.8.8.8/tcp/1"`, ""),
		"nine addresses":     swap(`"/ip4/8.8.8.8/tcp/1"`, strings.Repeat(`"/ip4/8.8.8.8/tcp/1",`, 8)+`"/ip4/8.8.8.8/tcp/1"`),
		"DNS":                swap("/ip4/8.8.8.8", "/dns4/example.org"),
		"protocol":           swap(`"v":1`, `"v":1,"protocols":["a b"]`),
		"empty protocol":     swap(`"v":1`, `"v":1,"protocols":[""]`),
		"five protocols":     swap(`"v":1`, `"v":1,"protocols":["a","b","c","d","e"]`),
		"too long":           seal(good + strings.Repeat(" ", maxAnnounce)),
	} {
		if _, err := Open(b, registry); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAFullAnnouncementFits(t *testing.T) {
	t.Parallel()
	k, _ := keyPair(t, 1)
	a := sample(t)
	a.Roots = roots(0, MaxRoots)
	body, err := a.Sign(k, registry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(body, registry); err != nil || len(body) > maxAnnounce-(64<<10) {
		t.Errorf("%d bytes: %v", len(body), err)
	}
}

func FuzzOpen(f *testing.F) {
	k, id := keyPair(f, 1)
	body, err := sample(f).Sign(k, registry)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.SplitN(body, []byte("\n"), 2)[0])
	f.Add([]byte(`{"v":1,"peer":"` + id.String() + `","lifetime":0,"time":1,"seq":1}`))
	f.Add([]byte(`{"v":1,"peer":"` + id.String() + `","addrs":["/ip6zone/x/ip6/fe80::1/tcp/1/p2p-circuit"],"lifetime":1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := Open(text, registry); err == nil {
			t.Fatal("accepted without a signature")
		}
		sig, err := k.Sign(signed(registry, text))
		if err != nil {
			t.Fatal(err)
		}
		a, err := Open([]byte(string(text)+"\n"+base64.StdEncoding.EncodeToString(sig)+"\n"), registry)
		if err != nil {
			return
		}
		if err := a.check(); err != nil || a.Peer != id {
			t.Fatalf("opened %+v: %v", a, err)
		}
		again, err := a.Sign(k, registry)
		if err != nil {
			t.Fatalf("what was opened cannot be signed: %v", err)
		}
		if _, err := Open(again, registry); err != nil {
			t.Fatalf("what was signed cannot be opened: %v", err)
		}
	})
}
