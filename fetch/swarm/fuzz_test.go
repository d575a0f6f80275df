package swarm

import (
	"bufio"
	"bytes"
	"testing"

	"pkg/lockfile/block"
)

// FuzzFrame holds that heads of frames are read strictly: what is accepted is written the same.
func FuzzFrame(f *testing.F) {
	f.Add(appendFrame(nil, block.Empty(), 0))
	f.Add(appendFrame(nil, block.Sum(0x70, []byte("x")), 1<<20))
	f.Add([]byte{0x80, 0x00})
	f.Add([]byte{4, 1, 0x55, 0, 0, 0x80, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReader(bytes.NewReader(b))
		root, size, err := readFrame(r, 1<<30)
		if err != nil {
			return
		}
		if size < 0 || size > 1<<30 {
			t.Fatalf("size %d", size)
		}
		head := appendFrame(nil, root, size)
		if !bytes.HasPrefix(b, head) || r.Buffered() != len(b)-len(head) && len(b) < 4096 {
			t.Fatalf("%x reads as %s, %d, which is written %x", b, root, size, head)
		}
	})
}

// FuzzRequest holds that no request wants too much or something that is no address.
func FuzzRequest(f *testing.F) {
	f.Add([]byte(`{"want":["bafkqaaa"],"shared":true}`))
	f.Add([]byte(`{"want":["bafkqaaa?nodes","bafkqaaa?leaves=1-20"]}`))
	f.Add([]byte(`{"want":[]}`))
	f.Add([]byte(`{"want":[1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, _, err := parseRequest(bytes.NewReader(b))
		if err != nil {
			return
		}
		if len(want) == 0 || len(want) > maxWant {
			t.Fatalf("%d wants", len(want))
		}
		for _, w := range want {
			if err := block.Check(w.Root); err != nil {
				t.Fatal(err)
			}
			if again, err := parseWant(w.String()); err != nil || again != w {
				t.Fatalf("%v was read as %v, %v", w, again, err)
			}
		}
	})
}
