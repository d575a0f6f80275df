package bitswap

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// BenchmarkTwoThousandFiles fetches one package of 2,000 files, 8 MB, by bitswap over an encrypted connection, and the
// same blocks as one HTTP stream without encryption, each block hashed.
func BenchmarkTwoThousandFiles(b *testing.B) {
	var files []tree.File
	for i := range 2000 {
		files = append(files, bytesFile(fmt.Sprintf("d%d/f%d", i%40, i), content(fmt.Sprint(i), int64(100+(i*37)%8000)), false))
	}
	benchmark(b, newSample(b, files))
}

// BenchmarkLargeFile is the same for one file of 64 MiB.
func BenchmarkLargeFile(b *testing.B) {
	benchmark(b, newSample(b, []tree.File{bytesFile("large", content("large", 64<<20), false)}))
}

func benchmark(b *testing.B, s *sample) {
	b.Helper()
	b.Run("bitswap", func(b *testing.B) {
		_, at := newExchange(b, Options{Blocks: s})
		x, _ := newExchange(b, Options{})
		src := x.Source(at)
		b.SetBytes(int64(len(s.plain)))
		b.ReportAllocs()
		for b.Loop() {
			missing, err := src.Content(b.Context(), swarm.Ask(s.root), func(_ swarm.Want, _ int64, pack io.Reader) error {
				_, err := io.Copy(io.Discard, pack)
				return err
			})
			if err != nil || len(missing) > 0 {
				b.Fatal(missing, err)
			}
		}
		st := x.Stats()
		b.ReportMetric(float64(st.Duplicates+st.Unrequested), "duplicates")
	})
	b.Run("http", func(b *testing.B) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(s.plain) }))
		defer srv.Close()
		b.SetBytes(int64(len(s.plain)))
		b.ReportAllocs()
		for b.Loop() {
			resp, err := srv.Client().Get(srv.URL)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for r := bufio.NewReaderSize(resp.Body, 64<<10); ; n++ {
				size, err := binary.ReadUvarint(r)
				if err != nil {
					break
				}
				section := make([]byte, size)
				if _, err := io.ReadFull(r, section); err != nil {
					b.Fatal(err)
				}
				if sha256.Sum256(section[36:]) != [32]byte(section[4:36]) {
					b.Fatal("wrong block")
				}
			}
			_ = resp.Body.Close()
			if n != len(s.order) {
				b.Fatalf("%d blocks, want %d", n, len(s.order))
			}
		}
	})
}
