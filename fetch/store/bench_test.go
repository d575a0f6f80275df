package store_test

import (
	"bytes"
	"testing"

	"pkg/fetch/store"
)

// BenchmarkPut puts one small tree of six files, without the seal.
func BenchmarkPut(b *testing.B) {
	pack, sum, err := makePack(1)
	if err != nil {
		b.Fatal(err)
	}
	s, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(sum.Size)
	for b.Loop() {
		batch := s.Batch()
		if _, err := batch.Put(b.Context(), sum.Root, bytes.NewReader(pack)); err != nil {
			b.Fatal(err)
		}
		if err := batch.Discard(); err != nil {
			b.Fatal(err)
		}
	}
}
