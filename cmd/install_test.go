package cmd

import (
	"testing"

	"pkg/fetch"
	"pkg/fetch/swarm"
)

func TestShares(t *testing.T) {
	t.Parallel()
	kinds := map[string]swarm.Kind{"reg": swarm.Registry, "mirror": swarm.Mirror, "peer 1": swarm.Peer, "peer 2": swarm.Peer}
	for _, c := range []struct {
		bytes map[string]int64
		want  string
	}{
		{map[string]int64{"reg": 100}, " from reg"},
		{map[string]int64{"peer 1": 60, "peer 2": 40}, " from 2 peers"},
		{map[string]int64{"peer 1": 30, "peer 2": 62, "reg": 8}, ", 92% from 2 peers, 8% from reg"},
		{map[string]int64{"mirror": 50, "peer 1": 25, "reg": 25}, ", 25% from 1 peer, 50% from mirror, 25% from reg"},
		{map[string]int64{"peer 1": 99_999, "reg": 1}, ", >99% from 1 peer, <1% from reg"},
	} {
		n := 0
		for name := range c.bytes {
			if kinds[name] == swarm.Peer {
				n++
			}
		}
		if got := shares(fetch.Report{BySource: c.bytes, Kinds: kinds}, n); got != c.want {
			t.Errorf("%v: %q, want %q", c.bytes, got, c.want)
		}
	}
}
