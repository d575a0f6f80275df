package swarm_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"runtime"
	"testing"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// BenchmarkHTTP fetches 200 packages from one server: through a session, and without one, as the plainest loop does.
func BenchmarkHTTP(b *testing.B) {
	s, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	batch := s.Batch()
	var roots []cid.Cid
	var total int64
	for _, g := range newGoods(mixed(200)...).packs {
		var pack bytes.Buffer
		sum, err := tree.Pack(b.Context(), []tree.File{{Path: "f", Size: int64(len(g)), Open: func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(g)), nil
		}}}, tree.Default(), &pack)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := batch.Put(b.Context(), sum.Root, &pack); err != nil {
			b.Fatal(err)
		}
		roots = append(roots, sum.Root)
		total += sum.Size
	}
	if err := batch.Seal(b.Context()); err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(swarm.Handler(s))
	defer srv.Close()
	base, err := url.Parse(srv.URL)
	if err != nil {
		b.Fatal(err)
	}
	src := &swarm.HTTP{Base: base, Client: srv.Client()}
	for name, get := range map[string]func(put func(root cid.Cid, pack io.Reader) error) error{
		"session": func(put func(root cid.Cid, pack io.Reader) error) error {
			s := swarm.Session{Sources: []swarm.Source{src}, Put: func(_ context.Context, a *swarm.Arrival) ([]swarm.Want, error) { return nil, put(a.Root, a.Pack) }}
			_, err := s.Get(b.Context(), swarm.Packs(roots...))
			return err
		},
		"plain": func(put func(root cid.Cid, pack io.Reader) error) error {
			var g errgroup.Group
			g.SetLimit(runtime.GOMAXPROCS(0))
			_, err := src.Content(b.Context(), swarm.Ask(roots...), func(w swarm.Want, _ int64, pack io.Reader) error {
				data, err := io.ReadAll(pack)
				g.Go(func() error { return put(w.Root, bytes.NewReader(data)) })
				return err
			})
			if perr := g.Wait(); perr != nil {
				return perr
			}
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(total)
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				into, err := store.Open(b.TempDir(), store.Options{})
				if err != nil {
					b.Fatal(err)
				}
				batch := into.Batch()
				b.StartTimer()
				if err := get(func(root cid.Cid, pack io.Reader) error {
					_, err := batch.Put(b.Context(), root, pack)
					return err
				}); err != nil {
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

// BenchmarkThrottled fetches 10 MB from sources of 20 MiB/s each, 40 ms away.
func BenchmarkThrottled(b *testing.B) {
	g := newGoods(mixed(400)...)
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var sources []swarm.Source
			for i := range n {
				sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), rate: 20 << 20, delay: rtt})
			}
			b.SetBytes(g.bytes)
			for b.Loop() {
				if o := race(b.Context(), g, sources...); o.err != nil {
					b.Fatal(o.err)
				}
			}
		})
	}
}
