package gateway_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pkg/fetch/gateway"
	"pkg/fetch/tree"
)

// nowhere is a client that takes everything at once.
type nowhere struct{}

func (nowhere) Header() http.Header { return http.Header{} }

func (nowhere) WriteHeader(int) {}

func (nowhere) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkCAR sends 2,000 files of 1 to 9 KB each over a local socket as a CAR, from the pack and from the files, and
// as a pack; and reads the same files with io.Copy.
func BenchmarkCAR(b *testing.B) {
	var of []tree.File
	var size int64
	r := rand.New(rand.NewPCG(1, 2))
	words := strings.Fields("if err != nil { return } func ( ) string int range := append len for switch case struct")
	for i := range 2000 {
		var text strings.Builder
		for n := 1000 + r.IntN(8000); text.Len() < n; {
			text.WriteString(words[r.IntN(len(words))] + fmt.Sprintf(" v%d ", r.IntN(1000)))
		}
		of = append(of, file(fmt.Sprintf("d%d/f%d.go", i%40, i), text.String()))
		size += int64(text.Len())
	}
	sh := newShop(b, of)
	path := "/ipfs/" + sh.root.String() + "?format=car"
	slow := listen(b, &gateway.Handler{Blocks: sh.h.Blocks})
	packs := listen(b, http.FileServer(http.Dir(filepath.Join(sh.s.Dir(), "packs"))))
	for _, one := range []struct{ name, url string }{
		{"from-pack", sh.url + path}, {"from-files", slow + path}, {"pack", packs + "/" + sh.root.String()},
	} {
		b.Run(one.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(size)
			client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
			defer client.CloseIdleConnections()
			for b.Loop() {
				req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, one.url, nil)
				if err != nil {
					b.Fatal(err)
				}
				resp, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
					b.Fatal(resp.Status, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
	for _, one := range []struct {
		name string
		h    http.Handler
	}{{"from-pack-alone", sh.h}, {"from-files-alone", &gateway.Handler{Blocks: sh.h.Blocks}}} {
		b.Run(one.name, func(b *testing.B) { // what the server does, without the socket
			b.ReportAllocs()
			b.SetBytes(size)
			for b.Loop() {
				one.h.ServeHTTP(nowhere{}, httptest.NewRequestWithContext(b.Context(), http.MethodGet, path, nil))
			}
		})
	}
	b.Run("files", func(b *testing.B) {
		b.SetBytes(size)
		dir, _ := sh.s.Tree(sh.root)
		for b.Loop() {
			for _, f := range of {
				r, err := os.Open(filepath.Join(dir, f.Path))
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
				_ = r.Close()
			}
		}
	})
}
