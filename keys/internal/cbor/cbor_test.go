package cbor_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/keys/internal/cbor"
	"pkg/lockfile/block"
)

// linkHex is a link to the dag-cbor block of no bytes.
func linkHex() string {
	return hex.EncodeToString(cbor.AppendLink(nil, block.Sum(cid.DagCBOR, nil)))
}

// vectors are encodings with the rule that decides about them.
func vectors() []struct {
	hex, rule string
	ok        bool
} {
	link := linkHex()
	return []struct {
		hex, rule string
		ok        bool
	}{
		{"00", "zero", true},
		{"17", "largest integer in the initial byte", true},
		{"1818", "smallest integer of one byte", true},
		{"1817", "integer in one byte that fits the initial byte", false},
		{"1900ff", "integer in two bytes that fits one", false},
		{"190100", "smallest integer of two bytes", true},
		{"1a0000ffff", "integer in four bytes that fits two", false},
		{"1a00010000", "smallest integer of four bytes", true},
		{"1b00000000ffffffff", "integer in eight bytes that fits four", false},
		{"1b0000000100000000", "smallest integer of eight bytes", true},
		{"1bffffffffffffffff", "largest unsigned integer", true},
		{"1c", "reserved length", false},
		{"1f", "indefinite integer", false},
		{"20", "minus one", true},
		{"3b7fffffffffffffff", "smallest integer of int64", true},
		{"3b8000000000000000", "integer below int64", false},
		{"40", "no bytes", true},
		{"4161", "a byte", true},
		{"42aa", "bytes that end early", false},
		{"5f4161ff", "indefinite bytes", false},
		{"5bffffffffffffffff", "more bytes than there can be", false},
		{"60", "empty text", true},
		{"63c3a962", "text of three bytes", true},
		{"61ff", "text that is not UTF-8", false},
		{"62c0af", "overlong UTF-8", false},
		{"63eda080", "a surrogate in UTF-8", false},
		{"7f6161ff", "indefinite text", false},
		{"80", "empty list", true},
		{"820102", "list of two", true},
		{"8201", "list that ends early", false},
		{"9bffffffffffffffff", "more items than there can be", false},
		{"9f01ff", "indefinite list", false},
		{"a0", "empty map", true},
		{"a1616100", "map of one", true},
		{"a1616100ff", "break after a map", false},
		{"a2616100616201", "keys in order", true},
		{"a2616200616101", "keys out of order", false},
		{"a2616100616101", "key twice", false},
		{"a261620062616101", "shorter key first", true},
		{"a262616101616200", "longer key first", false},
		{"a16000", "empty key", true},
		{"a1016161", "key that is no text", false},
		{"a1416100", "key of bytes", false},
		{"bf616100ff", "indefinite map", false},
		{"f4", "false", true},
		{"f5", "true", true},
		{"f6", "null", true},
		{"f7", "undefined", false},
		{"f0", "unassigned simple value", false},
		{"f8f5", "simple value in two bytes", false},
		{"f97e00", "half float", false},
		{"fa3f800000", "single float", false},
		{"fb3ff0000000000000", "float", false},
		{"ff", "break alone", false},
		{"c000", "tag of a date", false},
		{link, "link", true},
		{"d8" + "2a" + "4500" + "01550000", "link to the empty file", true},
		{"d9002a" + link[4:], "link with a long tag", false},
		{"d82a" + "5825" + "01" + link[10:], "link without the zero byte", false},
		{"d82a" + "5824" + link[10:], "link to a bare CID", false},
		{"d82a" + "40", "link of no bytes", false},
		{"d82a" + "6161", "link over a text", false},
		{"d82b" + link[4:], "another tag", false},
		{"d82a5825" + "00" + "0170" + "1220" + strings.Repeat("00", 32), "link to dag-pb", true},
		{"d82a5825" + "00" + "0151" + "1220" + strings.Repeat("00", 32), "link with the codec cbor", false},
		{"d82a5825" + "00" + "0155" + "1320" + strings.Repeat("00", 32), "link with another hash", false},
		{"d82a5823" + "00" + "1220" + strings.Repeat("00", 32), "link to version 0", false},
		{"d82a4600015500" + "0161", "identity link", false},
		{"", "nothing", false},
		{"0000", "trailing bytes", false},
		{strings.Repeat("81", cbor.MaxDepth) + "00", "the deepest nesting", true},
		{strings.Repeat("81", cbor.MaxDepth+1) + "00", "nesting too deep", false},
		{strings.Repeat("81", 100_000) + "00", "nesting that would exhaust a stack", false},
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	for _, v := range vectors() {
		b, err := hex.DecodeString(v.hex)
		if err != nil {
			t.Fatalf("%s: %v", v.rule, err)
		}
		if err := cbor.Valid(b); (err == nil) != v.ok {
			t.Errorf("%s: Valid(%.40s) = %v, want ok = %v", v.rule, v.hex, err, v.ok)
		}
	}
}

func TestReaderReadsWhatWasAppended(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		u := rapid.Uint64().Draw(t, "uint")
		i := rapid.Int64().Draw(t, "int")
		s := rapid.String().Draw(t, "text")
		bs := rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")
		flag := rapid.Bool().Draw(t, "bool")
		c := block.Sum(cid.DagCBOR, bs)

		b := cbor.AppendMap(nil, 6)
		b = cbor.AppendUint(cbor.AppendText(b, "a"), u)
		b = cbor.AppendInt(cbor.AppendText(b, "b"), i)
		b = cbor.AppendText(cbor.AppendText(b, "c"), s)
		b = cbor.AppendBytes(cbor.AppendText(b, "d"), bs)
		b = cbor.AppendLink(cbor.AppendText(b, "e"), c)
		b = cbor.AppendList(cbor.AppendText(b, "ff"), 2)
		b = cbor.AppendNull(cbor.AppendBool(b, flag))
		if err := cbor.Valid(b); err != nil {
			t.Fatalf("Valid(%x) = %v", b, err)
		}

		r := cbor.NewReader(b)
		if n := r.Map(); n != 6 {
			t.Fatalf("Map() = %d", n)
		}
		r.Key("a")
		gotU := r.Uint()
		r.Key("b")
		gotI := r.Int()
		r.Key("c")
		gotS := r.Text(len(s))
		r.Key("d")
		gotB := r.BytesN(len(bs))
		if r.OptKey("dd") {
			t.Fatal("OptKey found a key that is not there")
		}
		r.Key("e")
		gotC := r.Link()
		if !r.OptKey("ff") || r.List() != 2 || r.Null() || r.Bool() != flag || !r.Null() {
			t.Fatal("OptKey, List, Null or Bool")
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		if gotU != u || gotI != i || gotS != s || !bytes.Equal(gotB, bs) || !gotC.Equals(c) {
			t.Fatalf("got %d %d %q %x %s, want %d %d %q %x %s", gotU, gotI, gotS, gotB, gotC, u, i, s, bs, c)
		}
	})
}

func TestReaderRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		rule, hex string
		read      func(r *cbor.Reader)
	}{
		{"another key", "a1616200", func(r *cbor.Reader) { r.Map(); r.Key("a") }},
		{"a key of another type", "a14161f6", func(r *cbor.Reader) { r.Map(); r.Key("a") }},
		{"bytes of another length", "4161", func(r *cbor.Reader) { r.BytesN(2) }},
		{"text that is too long", "626162", func(r *cbor.Reader) { r.Text(1) }},
		{"an integer above int64", "1b8000000000000000", func(r *cbor.Reader) { r.Int() }},
		{"an integer below int64", "3b8000000000000000", func(r *cbor.Reader) { r.Int() }},
		{"a negative number where none may be", "20", func(r *cbor.Reader) { r.Uint() }},
		{"null for true", "f6", func(r *cbor.Reader) { r.Bool() }},
		{"more pairs than bytes", "a2616100", func(r *cbor.Reader) { r.Map() }},
		{"more items than bytes", "8300", func(r *cbor.Reader) { r.List() }},
		{"nothing", "", func(r *cbor.Reader) { r.Uint() }},
	}
	for _, tt := range tests {
		b, err := hex.DecodeString(tt.hex)
		if err != nil {
			t.Fatal(err)
		}
		r := cbor.NewReader(b)
		tt.read(r)
		if r.Err() == nil {
			t.Errorf("%s (%s): no error", tt.rule, tt.hex)
		}
	}
}

func TestReaderKeepsItsFirstErrorAndStops(t *testing.T) {
	t.Parallel()
	r := cbor.NewReader([]byte{0x61, 0x61, 0x01})
	r.Uint()
	first := r.Err()
	if first == nil || r.Pos() != 0 {
		t.Fatalf("error %v at %d, want one at 0", first, r.Pos())
	}
	if r.Text(9) != "" || r.Uint() != 0 || r.Bytes() != nil || r.Map() != 0 || r.List() != 0 || r.Null() ||
		r.OptKey("a") || r.Link().Defined() || r.Slice(0) != nil || r.Bool() || r.Int() != 0 {
		t.Error("a method returned something after an error")
	}
	r.Skip()
	if !errors.Is(r.End(), first) {
		t.Errorf("End() = %v, want %v", r.End(), first)
	}
}

func TestOptKeyOnNoTextLeavesTheReader(t *testing.T) {
	t.Parallel()
	r := cbor.NewReader([]byte{0x01})
	if r.OptKey("a") || r.Err() != nil || r.Uint() != 1 || r.End() != nil {
		t.Errorf("OptKey moved or failed: %v", r.Err())
	}
}

func TestLimitsOfIntegers(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 23, 24, -1, -24, -25, math.MaxInt64, math.MinInt64} {
		r := cbor.NewReader(cbor.AppendInt(nil, n))
		if got := r.Int(); got != n || r.End() != nil {
			t.Errorf("read back %d as %d, %v", n, got, r.Err())
		}
	}
}

func TestReaderDoesNotAllocate(t *testing.T) {
	b := sample()
	allocs := testing.AllocsPerRun(100, func() {
		if readSample(b) != nil {
			panic("sample")
		}
	})
	if allocs != 0 {
		t.Errorf("reading allocates %v times, want none", allocs)
	}
}

// sample is like an interior of the map: 16 links.
func sample() []byte {
	b := cbor.AppendMap(nil, 2)
	b = cbor.AppendList(cbor.AppendText(b, "k"), 16)
	for i := range 16 {
		b = cbor.AppendLink(b, block.Sum(cid.DagCBOR, []byte{byte(i)}))
	}
	return cbor.AppendBytes(cbor.AppendText(b, "v"), make([]byte, 64))
}

func readSample(b []byte) error {
	r := cbor.NewReader(b)
	r.Map()
	r.Key("k")
	for range r.List() {
		r.LinkBytes()
	}
	r.Key("v")
	r.Bytes()
	return r.End()
}

func BenchmarkReader(b *testing.B) {
	data := sample()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := readSample(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValid(b *testing.B) {
	data := sample()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := cbor.Valid(data); err != nil {
			b.Fatal(err)
		}
	}
}
