package namespace_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"pgregory.net/rapid"

	"pkg/keys/namespace"
	"pkg/lockfile/name"
)

func drawOp(rt *rapid.T) namespace.Op {
	text := rapid.StringMatching(`[a-zé ]{1,30}`)
	entry := rapid.SliceOfN(rapid.Byte(), 1, 40)
	o := namespace.Op{
		Kind: rapid.SampledFrom([]string{"claim", "head", "announce-transfer", "transfer", "status", "reserve", "advisory"}).Draw(rt, "kind"),
		Name: name.Name(rapid.SampledFrom([]string{"left-pad", "scope/left-pad", "scope/", "a"}).Draw(rt, "name")),
	}
	if o.Kind == "claim" || o.Kind == "transfer" {
		o.Genesis = entry.Draw(rt, "genesis")
	}
	if o.Kind == "head" {
		o.Entries = rapid.SliceOfN(entry, 1, 4).Draw(rt, "entries")
	}
	if o.Kind != "claim" && o.Kind != "head" && o.Kind != "advisory" {
		o.Reason, o.By = text.Draw(rt, "reason"), text.Draw(rt, "by")
	}
	if o.Kind == "announce-transfer" {
		o.To, o.At = draw32(rt, "to"), rapid.Int64Range(0, 1<<40).Draw(rt, "at")
	}
	if o.Kind == "status" {
		o.Status = namespace.Status(rapid.IntRange(1, 3).Draw(rt, "status"))
	}
	if o.Kind == "advisory" {
		o.CID = drawLink(rt)
	}
	return o
}

func TestOpsDecodeToWhatWasEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := namespace.Ops(rapid.SliceOfN(rapid.Custom(drawOp), 1, 6).Draw(rt, "ops"))
		b, err := namespace.EncodeOps(want)
		if err != nil {
			rt.Fatal(err)
		}
		size := 0
		for i := range want {
			size += want[i].Size()
		}
		if len(b)-size > 16 {
			rt.Fatalf("%d bytes for ops of %d", len(b), size)
		}
		got, err := namespace.DecodeOps(b)
		if err != nil {
			rt.Fatalf("%+v: %v", want, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameCID)); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
		ipld(t, b)
	})
}

// ipld checks that another implementation writes the same block.
func ipld(tb testing.TB, b []byte) {
	tb.Helper()
	n := basicnode.Prototype.Any.NewBuilder()
	if err := dagcbor.Decode(n, bytes.NewReader(b)); err != nil {
		tb.Fatalf("%x: %v", b, err)
	}
	var again bytes.Buffer
	if err := dagcbor.Encode(n.Build(), &again); err != nil || !bytes.Equal(again.Bytes(), b) {
		tb.Fatalf("the ipld encoder writes %x, we %x (%v)", again.Bytes(), b, err)
	}
}

func TestEverythingSignedIsDagCBOR(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, "reg.example", 1)
	r.trust.Reset = &namespace.Reset{Size: 3}
	for _, b := range [][]byte{sample().Encode(), r.commit(0).Encode(), r.commit(1).Encode(), r.raw, namespace.SignTrust(r.trust, key(1))} {
		ipld(t, b)
	}
}

func TestOpsRefuseNonsense(t *testing.T) {
	t.Parallel()
	big := make([]byte, 8<<10)
	for name, ops := range map[string]namespace.Ops{
		"none":           nil,
		"no kind":        {{Name: "a"}},
		"unknown kind":   {{Kind: "wibble", Name: "a"}},
		"no name":        {{Kind: "claim", Genesis: []byte{1}}},
		"bad name":       {{Kind: "claim", Name: "Left_Pad", Genesis: []byte{1}}},
		"no genesis":     {{Kind: "claim", Name: "a"}},
		"huge genesis":   {{Kind: "claim", Name: "a", Genesis: append(big, 1)}},
		"no entries":     {{Kind: "head", Name: "a"}},
		"empty entry":    {{Kind: "head", Name: "a", Entries: [][]byte{{}}}},
		"no reason":      {{Kind: "reserve", Name: "a", By: "b"}},
		"nobody":         {{Kind: "reserve", Name: "a", Reason: "b"}},
		"set reserved":   {{Kind: "status", Name: "a", Reason: "b", By: "c", Status: namespace.Reserved}},
		"no status":      {{Kind: "status", Name: "a", Reason: "b", By: "c"}},
		"to nobody":      {{Kind: "announce-transfer", Name: "a", Reason: "b", By: "c"}},
		"before 1970":    {{Kind: "announce-transfer", Name: "a", Reason: "b", By: "c", To: [32]byte{1}, At: -1}},
		"no advisory":    {{Kind: "advisory", Name: "a"}},
		"too much in it": repeat(namespace.Op{Kind: "claim", Name: "a", Genesis: big}, 130),
	} {
		if b, err := namespace.EncodeOps(ops); err == nil {
			t.Errorf("%s: encoded as %x", name, b[:min(len(b), 100)])
		}
	}
	good, err := namespace.EncodeOps(namespace.Ops{{Kind: "claim", Name: "a", Genesis: []byte{1}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"other version": bytes.Replace(good, []byte("av\x01"), []byte("av\x02"), 1),
		"unknown field": bytes.Replace(good, []byte("dname"), []byte("dnome"), 1),
		"missing field": bytes.Replace(good, []byte("\xa3bop"), []byte("\xa2bop"), 1),
		"trailing":      append(bytes.Clone(good), 0),
		"huge":          make([]byte, namespace.MaxOps+1),
	} {
		if bytes.Equal(b, good) {
			t.Fatalf("%s: nothing changed in %q", name, good)
		}
		if got, err := namespace.DecodeOps(b); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func FuzzDecodeOps(f *testing.F) {
	for _, ops := range []namespace.Ops{
		{{Kind: "claim", Name: "a", Genesis: []byte{1}}, {Kind: "head", Name: "a", Entries: [][]byte{{1}, {2}}}},
		{{Kind: "announce-transfer", Name: "s/a", To: [32]byte{1}, At: 5, Reason: "r", By: "b"}},
		{{Kind: "transfer", Name: "a", Genesis: []byte{1}, Reason: "r", By: "b"}},
		{{Kind: "status", Name: "a", Status: namespace.Frozen, Reason: "r", By: "b"}, {Kind: "reserve", Name: "s/", Reason: "r", By: "b"}},
		{{Kind: "advisory", Name: "a", CID: link("osv")}},
	} {
		b, err := namespace.EncodeOps(ops)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := namespace.DecodeOps(b)
		if err != nil {
			return
		}
		if again, err := namespace.EncodeOps(ops); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x encodes as %x, %v", b, again, err)
		}
	})
}
