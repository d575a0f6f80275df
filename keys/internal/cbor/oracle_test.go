package cbor_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"testing"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/datamodel"
	cidlink "github.com/ipld/go-ipld-prime/linking/cid"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"pkg/keys/internal/cbor"
	"pkg/lockfile/block"
)

// FuzzValid compares with go-ipld-prime: what we accept it decodes and encodes to the same bytes, and so do we from its
// nodes; what it decodes and encodes to the same bytes, and our narrower rules allow, we accept.
func FuzzValid(f *testing.F) {
	for _, v := range vectors() {
		b, err := hex.DecodeString(v.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(sample())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			t.Skip()
		}
		checkOracle(t, b)
	})
}

func TestValidAgreesWithTheOracle(t *testing.T) {
	t.Parallel()
	for _, v := range vectors() {
		b, err := hex.DecodeString(v.hex)
		if err != nil {
			t.Fatal(err)
		}
		checkOracle(t, b)
	}
}

func checkOracle(t *testing.T, b []byte) {
	t.Helper()
	ours := cbor.Valid(b)
	nb := basicnode.Prototype.Any.NewBuilder()
	// Not its ExperimentalDeterminism, which compares keys of different lengths bytewise; that its encoder gives back
	// the same bytes says more.
	theirs := dagcbor.DecodeOptions{AllowLinks: true}.Decode(nb, bytes.NewReader(b))
	if theirs != nil {
		if ours == nil {
			t.Fatalf("accepted %x, which the oracle refuses: %v", b, theirs)
		}
		return
	}
	node := nb.Build()
	var again bytes.Buffer
	if err := dagcbor.Encode(node, &again); err != nil {
		t.Fatalf("oracle: %v", err)
	}
	same := bytes.Equal(again.Bytes(), b)
	if ours == nil {
		if !same {
			t.Fatalf("accepted %x, which the oracle encodes as %x", b, again.Bytes())
		}
		out, err := write(nil, node, 0)
		if err != nil || !bytes.Equal(out, b) {
			t.Fatalf("wrote %x for %x: %v", out, b, err)
		}
		return
	}
	if _, err := write(nil, node, 0); same && err == nil {
		t.Fatalf("refused %x: %v", b, ours)
	}
}

// write encodes a node of the oracle with our functions. It is an error if the node is outside our subset.
func write(out []byte, n datamodel.Node, depth int) ([]byte, error) {
	if depth > cbor.MaxDepth {
		return nil, fmt.Errorf("too deep")
	}
	switch n.Kind() {
	case datamodel.Kind_Null:
		return cbor.AppendNull(out), nil
	case datamodel.Kind_Bool:
		v, err := n.AsBool()
		return cbor.AppendBool(out, v), err
	case datamodel.Kind_Int:
		if u, ok := n.(datamodel.UintNode); ok {
			v, err := u.AsUint()
			return cbor.AppendUint(out, v), err
		}
		v, err := n.AsInt()
		return cbor.AppendInt(out, v), err
	case datamodel.Kind_String:
		v, err := n.AsString()
		if !utf8.ValidString(v) {
			return nil, fmt.Errorf("not UTF-8")
		}
		return cbor.AppendText(out, v), err
	case datamodel.Kind_Bytes:
		v, err := n.AsBytes()
		return cbor.AppendBytes(out, v), err
	case datamodel.Kind_Link:
		return writeLink(out, n)
	case datamodel.Kind_List:
		return writeList(out, n, depth)
	case datamodel.Kind_Map:
		return writeMap(out, n, depth)
	}
	return nil, fmt.Errorf("kind %s", n.Kind())
}

func writeLink(out []byte, n datamodel.Node) ([]byte, error) {
	l, err := n.AsLink()
	if err != nil {
		return nil, err
	}
	c := l.(cidlink.Link).Cid
	if err := block.Check(c); err != nil {
		return nil, err
	}
	if _, err := block.Decode(c.Bytes()); err != nil {
		return nil, err
	}
	return cbor.AppendLink(out, cid.MustParse(c.String())), nil
}

func writeList(out []byte, n datamodel.Node, depth int) (_ []byte, err error) {
	if n.Length() > 0 {
		depth++
	}
	out = cbor.AppendList(out, int(n.Length()))
	for it := n.ListIterator(); !it.Done() && err == nil; {
		var v datamodel.Node
		if _, v, err = it.Next(); err == nil {
			out, err = write(out, v, depth)
		}
	}
	return out, err
}

func writeMap(out []byte, n datamodel.Node, depth int) (_ []byte, err error) {
	if n.Length() > 0 {
		depth++
	}
	out = cbor.AppendMap(out, int(n.Length()))
	for it := n.MapIterator(); !it.Done() && err == nil; {
		var k, v datamodel.Node
		if k, v, err = it.Next(); err == nil {
			if out, err = write(out, k, depth); err == nil {
				out, err = write(out, v, depth)
			}
		}
	}
	return out, err
}
