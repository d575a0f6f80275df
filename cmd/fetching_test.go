package cmd

import (
	"testing"

	"pkg/fetch"
)

func TestProgressSaysWhoSends(t *testing.T) {
	t.Parallel()
	for want, ev := range map[string]fetch.Event{
		"peers 14 · 38.2/48.0 MB · 92% from peers":    {Bytes: 38_200_000, Total: 48_000_000, Peers: 14, Sent: 1000, ByPeers: 920},
		"peers 1 · 900.0 kB/1.2 MB · 100% from peers": {Bytes: 900_000, Total: 1_200_000, Peers: 1, Sent: 5, ByPeers: 5},
		"0 B/1.2 MB · 0/3 packages":                   {Total: 1_200_000, Of: 3},
		"1.0/1.2 MB · 2/3 packages":                   {Bytes: 1_000_000, Total: 1_200_000, Done: 2, Of: 3, Sent: 7},
	} {
		if got := progress(&ev); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
