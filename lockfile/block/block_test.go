package block

import (
	"bytes"
	"crypto/sha512"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"
)

var codecs = []uint64{cid.Raw, cid.DagProtobuf, cid.DagCBOR}

func TestKnownAddresses(t *testing.T) {
	t.Parallel()
	// As "ipfs add --raw-leaves --cid-version=1" prints for "hello\n".
	if got, want := Sum(cid.Raw, []byte("hello\n")).String(), "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"; got != want {
		t.Errorf("Sum(hello) = %s, want %s", got, want)
	}
	if got := Empty().String(); got != "bafkqaaa" {
		t.Errorf("Empty() = %s", got)
	}
	if got := Empty().KeyString(); got != emptyCID {
		t.Errorf("Empty() is % x", got)
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		c := Sum(rapid.SampledFrom(codecs).Draw(t, "codec"), data)
		if !Matches(c, data) || Matches(c, append(data, 0)) || Check(c) != nil {
			t.Fatalf("%s: matches %v, check %v", c, Matches(c, data), Check(c))
		}
		digest, ok := Digest(c)
		if !ok || Of(c.Prefix().Codec, digest) != c {
			t.Fatalf("%s: Digest and Of disagree", c)
		}
		if d, err := Parse(c.String()); err != nil || d != c {
			t.Fatalf("Parse(%s) = %s, %v", c, d, err)
		}
		if d, err := Decode(c.Bytes()); err != nil || d != c {
			t.Fatalf("Decode(% x) = %s, %v", c.Bytes(), d, err)
		}
		d, n, err := Read(append(c.Bytes(), data...))
		if err != nil || d != c || n != Len {
			t.Fatalf("Read = %s, %d, %v", d, n, err)
		}
	})
}

func TestEmptyIsTheOnlyIdentity(t *testing.T) {
	t.Parallel()
	c := Empty()
	if err := Check(c); err != nil {
		t.Errorf("Check(Empty) = %v", err)
	}
	if !Matches(c, nil) || Matches(c, []byte{0}) {
		t.Error("Empty matches something else than nothing")
	}
	if d, err := Decode(c.Bytes()); err != nil || d != c {
		t.Errorf("Decode(Empty) = %s, %v", d, err)
	}
	if d, err := Parse("bafkqaaa"); err != nil || d != c {
		t.Errorf("Parse(bafkqaaa) = %s, %v", d, err)
	}
	if _, ok := Digest(c); ok {
		t.Error("Empty has a digest")
	}
}

// refused returns CIDs of every kind we do not accept, by what is wrong.
func refused(t *testing.T) map[string]cid.Cid {
	t.Helper()
	sum := func(code uint64, length int) multihash.Multihash {
		mh, err := multihash.Sum([]byte("x"), code, length)
		if err != nil {
			t.Fatal(err)
		}
		return mh
	}
	h512 := sha512.Sum512([]byte("x"))
	mh512, err := multihash.Encode(h512[:], multihash.SHA2_512)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]cid.Cid{
		"undefined":             cid.Undef,
		"version 0":             cid.NewCidV0(sum(multihash.SHA2_256, -1)),
		"codec dag-json":        cid.NewCidV1(cid.DagJSON, sum(multihash.SHA2_256, -1)),
		"codec libp2p-key":      cid.NewCidV1(cid.Libp2pKey, sum(multihash.SHA2_256, -1)),
		"sha2-512":              cid.NewCidV1(cid.Raw, mh512),
		"sha2-256 of 20 bytes":  cid.NewCidV1(cid.Raw, sum(multihash.SHA2_256, 20)),
		"sha1":                  cid.NewCidV1(cid.Raw, sum(multihash.SHA1, -1)),
		"identity with content": cid.NewCidV1(cid.Raw, sum(multihash.IDENTITY, -1)),
		"identity dag-pb":       cid.NewCidV1(cid.DagProtobuf, multihash.Multihash{0, 0}),
	}
}

func TestOthersAreRefused(t *testing.T) {
	t.Parallel()
	for what, c := range refused(t) {
		if Check(c) == nil {
			t.Errorf("%s: Check accepts %s", what, c)
		}
		if Matches(c, []byte("x")) {
			t.Errorf("%s: Matches %s", what, c)
		}
		if !c.Defined() {
			continue
		}
		if _, err := Parse(c.String()); err == nil {
			t.Errorf("%s: Parse accepts %s", what, c)
		}
		if _, err := Decode(c.Bytes()); err == nil {
			t.Errorf("%s: Decode accepts %s", what, c)
		}
	}
}

func TestOneSpellingOfEach(t *testing.T) {
	t.Parallel()
	c := Sum(cid.DagCBOR, []byte("x"))
	base58, err := c.StringOfBase('z')
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "b", strings.ToUpper(c.String()), base58, "/ipfs/" + c.String(), c.String() + "=", c.String() + " ",
		c.String()[:20], strings.Repeat("b", 1<<16),
	} {
		if d, err := Parse(s); err == nil {
			t.Errorf("Parse(%.80q) = %s", s, d)
		}
	}
	b := c.Bytes()
	for n := range len(b) {
		if d, err := Decode(b[:n]); err == nil {
			t.Errorf("Decode of %d bytes = %s", n, d)
		}
	}
	if d, err := Decode(append(b, 0)); err == nil {
		t.Errorf("Decode with a byte after it = %s", d)
	}
	// The same number in a longer varint.
	long := append([]byte{0x01, 0xf1, 0x00}, b[2:]...)
	if d, err := Decode(long); err == nil {
		t.Errorf("Decode of a long codec = %s", d)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(Sum(cid.Raw, []byte("x")).Bytes())
	f.Add(Sum(cid.DagProtobuf, nil).Bytes())
	f.Add(Empty().Bytes())
	f.Add([]byte{1, 0x71, 0x12, 0x20})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, n, err := Read(b)
		if err != nil {
			return
		}
		if !bytes.Equal(c.Bytes(), b[:n]) || Check(c) != nil {
			t.Fatalf("Read(% x) = %s, %d", b, c, n)
		}
		if d, err := Parse(c.String()); err != nil || d != c {
			t.Fatalf("Parse(%s) = %s, %v", c, d, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("bafkqaaa")
	f.Add(Sum(cid.Raw, []byte("x")).String())
	f.Add("QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG")
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := Parse(s); err == nil && c.String() != s {
			t.Fatalf("Parse(%q) = %s", s, c)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	raw := Sum(cid.Raw, []byte("x")).Bytes()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatches(b *testing.B) {
	data := make([]byte, 1024)
	c := Sum(cid.Raw, data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if !Matches(c, data) {
			b.Fatal("no match")
		}
	}
}
