package namespace_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/keys/namespace"
	"pkg/lockfile/block"
)

func sameCID(a, b cid.Cid) bool { return a == b }

func sample() *namespace.Record {
	return &namespace.Record{
		Status: namespace.Active, ID: [32]byte{1}, Epoch: 2, Size: 300, Log: [32]byte{3}, Index: link("index"), Since: 70000,
		Former:     []namespace.Former{{ID: [32]byte{9}, Size: 4, Log: [32]byte{8}, Index: link("former")}},
		Advisories: []cid.Cid{link("osv"), block.Sum(cid.Raw, []byte("osv"))},
	}
}

func draw32(rt *rapid.T, label string) [32]byte {
	out := [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(rt, label))
	out[0] |= 1
	return out
}

func drawLink(rt *rapid.T) cid.Cid { return link(rapid.String().Draw(rt, "link")) }

func drawRecord(rt *rapid.T) *namespace.Record {
	count := rapid.Uint64Range(0, 1<<48)
	if rapid.IntRange(0, 9).Draw(rt, "reserved") == 0 {
		return &namespace.Record{Status: namespace.Reserved, Since: count.Draw(rt, "since")}
	}
	r := &namespace.Record{
		Status: namespace.Status(rapid.IntRange(1, 3).Draw(rt, "status")),
		ID:     draw32(rt, "id"), Epoch: count.Draw(rt, "epoch"), Size: 1 + count.Draw(rt, "size")/2, Log: draw32(rt, "log"),
		Index: drawLink(rt), Since: count.Draw(rt, "since"),
	}
	for range rapid.IntRange(0, 3).Draw(rt, "former") {
		r.Former = append(r.Former, namespace.Former{ID: draw32(rt, "id"), Size: 1, Log: draw32(rt, "log"), Index: drawLink(rt)})
	}
	for range rapid.IntRange(0, 3).Draw(rt, "advisories") {
		r.Advisories = append(r.Advisories, drawLink(rt))
	}
	return r
}

func TestRecordDecodesToWhatWasEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := drawRecord(rt)
		got, err := namespace.DecodeRecord(want.Encode())
		if err != nil {
			rt.Fatalf("%+v: %v", want, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(sameCID)); diff != "" {
			rt.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

func TestRecordRefusesNonsense(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *namespace.Record){
		"no status":           func(r *namespace.Record) { r.Status = 0 },
		"unknown status":      func(r *namespace.Record) { r.Status = 5 },
		"no id":               func(r *namespace.Record) { r.ID = [32]byte{} },
		"no entries":          func(r *namespace.Record) { r.Size = 0 },
		"too many entries":    func(r *namespace.Record) { r.Size = 1 << 60 },
		"no index":            func(r *namespace.Record) { r.Index = cid.Undef },
		"raw index":           func(r *namespace.Record) { r.Index = block.Sum(cid.Raw, nil) },
		"reserved with a log": func(r *namespace.Record) { r.Status = namespace.Reserved },
		"former without id":   func(r *namespace.Record) { r.Former[0].ID = [32]byte{} },
		"former without size": func(r *namespace.Record) { r.Former[0].Size = 0 },
		"65 former":           func(r *namespace.Record) { r.Former = repeat(r.Former[0], 65) },
		"65 advisories":       func(r *namespace.Record) { r.Advisories = repeat(r.Advisories[0], 65) },
	} {
		r := sample()
		change(r)
		if got, err := namespace.DecodeRecord(r.Encode()); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
	good := sample().Encode()
	for i := range good {
		if _, err := namespace.DecodeRecord(good[:i]); err == nil {
			t.Errorf("accepted when cut at byte %d", i)
		}
	}
	if _, err := namespace.DecodeRecord(append(good, 0)); err == nil {
		t.Error("accepted with a trailing byte")
	}
}

func repeat[T any](v T, n int) (out []T) {
	for range n {
		out = append(out, v)
	}
	return out
}

func TestLargestRecordIsAMapValue(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Former, r.Advisories = repeat(r.Former[0], 64), repeat(r.Advisories[0], 64)
	if n := len(r.Encode()); n > 16<<10 {
		t.Errorf("%d bytes", n)
	}
	plain := namespace.Record{Status: 1, ID: [32]byte{1}, Size: 12, Log: [32]byte{1}, Index: link("x"), Since: 70000}
	if n := len(plain.Encode()); n > 130 {
		t.Errorf("a plain record has %d bytes", n)
	}
}

func TestRecordIsCheckedAgainstWhatIsKnown(t *testing.T) {
	t.Parallel()
	r := sample()
	for name, k := range map[string]namespace.Known{
		"nothing known": {},
		"same":          {ID: r.ID, Epoch: r.Epoch, Size: r.Size, Log: r.Log},
		"grown":         {ID: r.ID, Epoch: r.Epoch, Size: r.Size - 1, Log: [32]byte{77}},
	} {
		if err := r.Check("left-pad", k); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, k := range map[string]namespace.Known{
		"another package": {ID: [32]byte{5}},
		"transferred":     {ID: [32]byte{9}},
		"older epoch":     {ID: r.ID, Epoch: 3},
		"entries hidden":  {ID: r.ID, Size: r.Size + 1},
		"two histories":   {ID: r.ID, Size: r.Size, Log: [32]byte{4}},
	} {
		t.Run(name, func(t *testing.T) { t.Parallel(); distrusts(t, r.Check("left-pad", k), r.Encode()) })
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(sample().Encode())
	f.Add((&namespace.Record{Status: namespace.Reserved}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := namespace.DecodeRecord(b); err == nil && !bytes.Equal(r.Encode(), b) {
			t.Errorf("%x encodes as %x", b, r.Encode())
		}
	})
}
