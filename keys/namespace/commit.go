package namespace

import (
	"github.com/ipfs/go-cid"

	"pkg/keys/internal/cbor"
)

// Commit is one leaf of the namespace log.
type Commit struct {
	N     uint64  // its index in the log
	T     int64   // unix seconds, never less than that of the commit before
	P     cid.Cid // root of the map before; undefined in the first commit
	M     cid.Cid // root of the map
	O     cid.Cid // ops block; undefined if there are no ops
	Count uint64  // ops in it
}

// Encode returns the leaf. DecodeCommit says whether it is a valid one.
func (c Commit) Encode() []byte {
	b := make([]byte, 0, 192)
	b = cbor.AppendMap(b, 7)
	b = cbor.AppendUint(cbor.AppendText(b, "c"), c.Count)
	b = appendLink(cbor.AppendText(b, "m"), c.M)
	b = cbor.AppendUint(cbor.AppendText(b, "n"), c.N)
	b = appendLink(cbor.AppendText(b, "o"), c.O)
	b = appendLink(cbor.AppendText(b, "p"), c.P)
	b = cbor.AppendInt(cbor.AppendText(b, "t"), c.T)
	return cbor.AppendUint(cbor.AppendText(b, "v"), 1)
}

// DecodeCommit reads a leaf strictly: Encode of the result gives the same bytes.
func DecodeCommit(b []byte) (Commit, error) {
	d := cbor.NewReader(b)
	if d.Map() != 7 {
		return Commit{}, malformed("commit", d, "wrong number of fields")
	}
	var c Commit
	d.Key("c")
	c.Count = d.Uint()
	d.Key("m")
	c.M = d.Link()
	d.Key("n")
	c.N = d.Uint()
	d.Key("o")
	c.O = optionalLink(d)
	d.Key("p")
	c.P = optionalLink(d)
	d.Key("t")
	c.T = d.Int()
	d.Key("v")
	version := d.Uint()
	if d.End() != nil || version != 1 {
		return Commit{}, malformed("commit", d, "unknown version")
	}
	if c.N > maxCount || c.Count > maxCount || c.T < 0 || c.T > maxTime {
		return Commit{}, malformed("commit", d, errBounds.Error())
	}
	for _, link := range []cid.Cid{c.M, c.O, c.P} {
		if link.Defined() && (link.Prefix().Codec != cid.DagCBOR) {
			return Commit{}, malformed("commit", d, "a link to what is not dag-cbor")
		}
	}
	if c.P.Defined() != (c.N > 0) || c.O.Defined() != (c.Count > 0) {
		return Commit{}, malformed("commit", d, "a link is missing or should be")
	}
	return c, nil
}
