//go:build unix

package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pkg/publish"
)

// BenchmarkPublishers measures 64 publishers that each wait for one answer
// before they send the next entry of 1 KB. "ratio" is the throughput against
// 64 entries in each checkpoint interval plus one fsync as measured in the same
// run: 1 would be a log that costs a single fsync. A commit of 64 packages makes
// some 140 small files, and ext4 makes new files ten times slower for minutes
// after many were deleted (it avoids their inodes): measure before the tests.
func BenchmarkPublishers(b *testing.B) {
	b.Run("submit", func(b *testing.B) {
		benchPublishers(b, func(s *Server) func([]byte) error {
			return func(e []byte) error {
				_, err := s.Submit(b.Context(), sub(e))
				return err
			}
		})
	})
	b.Run("http", func(b *testing.B) {
		benchPublishers(b, func(s *Server) func([]byte) error {
			server := httptest.NewServer(s.Handler())
			b.Cleanup(server.Close)
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			b.Cleanup(client.CloseIdleConnections)
			return func(e []byte) error { return post(b, client, server.URL, e) }
		})
	})
}

func post(b *testing.B, client *http.Client, url string, e []byte) error {
	b.Helper()
	var body bytes.Buffer
	if err := publish.WriteSubmission(&body, sub(e)); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, url+"/entry", &body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(resp.Body)
	if err := resp.Body.Close(); err != nil {
		return err
	}
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return err
}

func benchPublishers(b *testing.B, connect func(*Server) func([]byte) error) {
	b.Helper()
	const publishers, rounds = 64, 8
	s := open(b, newDir(b), Config{Now: systemNow, ClaimsPerHour: -1, CheckpointInterval: DefaultInterval})
	send := connect(s)
	writers := make([]*writer, publishers)
	each := func(entries [][][]byte) {
		var wg sync.WaitGroup
		for i := range publishers {
			wg.Go(func() {
				for _, e := range entries[i] {
					if err := send(e); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	sign := func(n int, make func(i int) []byte) [][][]byte {
		all := [][][]byte{}
		for i := range publishers {
			var mine [][]byte
			for range n {
				mine = append(mine, make(i))
			}
			all = append(all, mine)
		}
		return all
	}
	each(sign(1, func(i int) []byte {
		writers[i] = newWriter(seeded(i + 1))
		return writers[i].genesis(b, fmt.Sprintf("p%d", i))
	}))
	var took time.Duration
	sent := 0
	for b.Loop() {
		b.StopTimer()
		entries := sign(rounds, func(i int) []byte { return writers[i].note(b, 1024) })
		b.StartTimer()
		start := systemNow()
		each(entries)
		took += systemNow().Sub(start)
		sent += publishers * rounds
	}
	sync := fsyncTime(b)
	rate := float64(sent) / took.Seconds()
	b.ReportMetric(rate, "entries/s")
	b.ReportMetric(float64(sync.Microseconds())/1000, "fsync-ms")
	b.ReportMetric(rate*(DefaultInterval+sync).Seconds()/publishers, "ratio")
}

// fsyncTime is the mean of writing 1 KB durably.
func fsyncTime(b *testing.B) time.Duration {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "sync"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // nothing of it is needed
	const n = 50
	start := systemNow()
	for range n {
		if _, err := f.Write(make([]byte, 1024)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return systemNow().Sub(start) / n
}
