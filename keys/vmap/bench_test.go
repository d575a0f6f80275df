package vmap_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/keys/vmap"
)

// million builds a map of n names with values of size bytes.
func million(b *testing.B, n, size int) (*memory, cid.Cid) {
	b.Helper()
	random := rand.NewChaCha8([32]byte{1})
	entries := make([]vmap.Entry, n)
	for i := range entries {
		value := make([]byte, size)
		if _, err := random.Read(value); err != nil {
			b.Fatal(err)
		}
		entries[i] = vmap.Entry{Name: fmt.Sprintf("package-name-%d", i), Value: value}
	}
	m := newMemory()
	start := time.Now()
	root, err := vmap.Build(entries, m.put)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("build of %d: %v, %d blocks", n, time.Since(start), len(m.blocks))
	return m, root
}

type plain map[cid.Cid][]byte

func (p plain) Get(_ context.Context, c cid.Cid) ([]byte, error) { return p[c], nil }

// BenchmarkLookup300Of1M looks 300 names up in a map of a million with nothing cached, and compares with hashing the same
// blocks once, turn by turn: "xhash" is the ratio of the medians, "KB" what had to be fetched.
func BenchmarkLookup300Of1M(b *testing.B) {
	for _, size := range []int{80, 122, 150} {
		b.Run(fmt.Sprintf("value=%d", size), func(b *testing.B) {
			m, root := million(b, 1_000_000, size)
			pick := rand.New(rand.NewPCG(3, 4))
			names := make([]string, 300)
			for i := range names {
				names[i] = fmt.Sprintf("package-name-%d", pick.IntN(1_000_000))
			}
			r := vmap.NewReader(m, root)
			for _, name := range names {
				if v, err := r.Lookup(b.Context(), name); err != nil || v == nil {
					b.Fatal(name, err)
				}
			}
			blocks, bytes := r.Cost()
			path := plain{}
			for c := range m.gets {
				path[c] = slices.Clone(m.blocks[c])
			}
			m.blocks = nil
			var lookup, hash []time.Duration
			b.ReportAllocs()
			b.SetBytes(bytes)
			for b.Loop() {
				start := time.Now()
				for _, data := range path {
					if sha256.Sum256(data) == [32]byte{} {
						b.Fatal("unlikely")
					}
				}
				hash = append(hash, time.Since(start))
				start = time.Now()
				r := vmap.NewReader(path, root)
				for _, name := range names {
					if v, err := r.Lookup(b.Context(), name); err != nil || v == nil {
						b.Fatal(name, err)
					}
				}
				lookup = append(lookup, time.Since(start))
			}
			slices.Sort(hash)
			slices.Sort(lookup)
			b.ReportMetric(float64(lookup[len(lookup)/2])/float64(hash[len(hash)/2]), "xhash")
			b.ReportMetric(float64(bytes)/1000, "KB")
			b.ReportMetric(float64(blocks), "blocks")
			b.ReportMetric(float64(lookup[len(lookup)/2].Microseconds()), "µs/300")
		})
	}
}

// BenchmarkApply100To1M changes 100 names, a quarter of them new.
func BenchmarkApply100To1M(b *testing.B) {
	m, root := million(b, 1_000_000, 122)
	pick := rand.New(rand.NewPCG(5, 6))
	m.puts = 0
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		var changes []vmap.Change
		for i := range 100 {
			name := fmt.Sprintf("package-name-%d", pick.IntN(1_000_000))
			if i%4 == 3 {
				name = fmt.Sprintf("new-%d", pick.Uint64())
			}
			changes = append(changes, vmap.Change{Name: name, Value: []byte(name)})
		}
		var err error
		if root, err = vmap.Apply(b.Context(), m, root, changes, m.put); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(m.puts)/float64(n), "blocks/op")
}
