package p2p

import (
	"context"
	"io"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
)

// BenchmarkContent brings 200 packages, 43 MB, by POST /content over plain HTTP and over p2p, connection included, both
// sides in this process; "bytes" throws them away, "store" verifies and writes them as an install does.
func BenchmarkContent(b *testing.B) {
	sh := newShelf(b, 200, 215_000)
	srv := httptest.NewServer(swarm.Handler(sh.s))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		b.Fatal(err)
	}
	over := func(listen string, s secure) func(testing.TB) swarm.Source {
		seed := serve(b, swarm.Handler(sh.s), listen)
		return func(tb testing.TB) swarm.Source {
			tb.Helper()
			return startHost(tb, Config{}, defaultTimes(), s).Source(seed.Info())
		}
	}
	for _, c := range []struct {
		name string
		src  func(testing.TB) swarm.Source
	}{
		{"http", func(testing.TB) swarm.Source { return &swarm.HTTP{Base: u, Client: srv.Client()} }},
		{"tcp-tls", over(tcpHere, onlyTLS)},
		{"tcp-noise", over(tcpHere, onlyNoise)},
		{"quic", over(quicHere, onlyTLS)},
	} {
		b.Run("bytes/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var n atomic.Int64
				if _, err := c.src(b).Content(b.Context(), swarm.Ask(sh.roots...), func(_ swarm.Want, _ int64, pack io.Reader) error {
					m, err := io.Copy(io.Discard, pack)
					n.Add(m)
					return err
				}); err != nil {
					b.Fatal(err)
				}
				b.SetBytes(n.Load())
			}
		})
		b.Run("store/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(43 << 20)
			for b.Loop() {
				s, err := store.Open(b.TempDir(), store.Options{})
				if err != nil {
					b.Fatal(err)
				}
				batch := s.Batch()
				get := swarm.Session{
					Sources: []swarm.Source{c.src(b)},
					Put: func(ctx context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
						_, err := batch.Put(ctx, a.Root, a.Pack)
						return nil, err
					},
				}
				if _, err := get.Get(b.Context(), swarm.Packs(sh.roots...)); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if err := batch.Discard(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}
