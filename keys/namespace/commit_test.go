package namespace_test

import (
	"bytes"
	"testing"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/keys/namespace"
	"pkg/lockfile/block"
)

func TestCommitDecodesToWhatWasEncoded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := namespace.Commit{
			N: rapid.Uint64Range(0, 1<<48).Draw(rt, "n"), T: rapid.Int64Range(0, 1<<40).Draw(rt, "t"), M: drawLink(rt),
			Count: rapid.Uint64Range(0, 1<<48).Draw(rt, "count"),
		}
		if want.N > 0 {
			want.P = drawLink(rt)
		}
		if want.Count > 0 {
			want.O = drawLink(rt)
		}
		got, err := namespace.DecodeCommit(want.Encode())
		if err != nil || got != want {
			rt.Fatalf("%+v decodes to %+v, %v", want, got, err)
		}
	})
}

func TestCommitRefusesNonsense(t *testing.T) {
	t.Parallel()
	good := newRegistry(t, "reg.example", 1).commit(3)
	for name, change := range map[string]func(c *namespace.Commit){
		"no map":          func(c *namespace.Commit) { c.M = cid.Undef },
		"raw map":         func(c *namespace.Commit) { c.M = block.Sum(cid.Raw, nil) },
		"first with past": func(c *namespace.Commit) { c.N = 0 },
		"no past":         func(c *namespace.Commit) { c.P = cid.Undef },
		"no ops":          func(c *namespace.Commit) { c.O = cid.Undef },
		"no count":        func(c *namespace.Commit) { c.Count = 0 },
		"before 1970":     func(c *namespace.Commit) { c.T = -1 },
		"far future":      func(c *namespace.Commit) { c.T = 1 << 50 },
		"huge index":      func(c *namespace.Commit) { c.N = 1 << 60 },
	} {
		c := good
		change(&c)
		if got, err := namespace.DecodeCommit(c.Encode()); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func FuzzDecodeCommit(f *testing.F) {
	r := newRegistry(f, "reg.example", 1)
	f.Add(r.commit(0).Encode())
	f.Add(r.commit(1).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := namespace.DecodeCommit(b); err == nil && !bytes.Equal(c.Encode(), b) {
			t.Errorf("%x encodes as %x", b, c.Encode())
		}
	})
}
