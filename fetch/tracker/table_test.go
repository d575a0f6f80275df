package tracker

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"
)

// put records an announcement of an hour, unsigned.
func (w *world) put(t *testing.T, id uint64, from string, keys ...key) int {
	t.Helper()
	w.seq++
	ip := netip.MustParseAddr(from)
	n, _, err := w.table.record(news{
		id: peer.ID(fmt.Sprint("peer", id)), from: ip, roots: keys, lifetime: time.Hour, seq: w.seq,
		addrs: []addr{{"/ip4/8.8.8.8/tcp/1", netip.MustParseAddr("8.8.8.8")}},
	}, w.now)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func keys(from, to int) []key {
	var out []key
	for i := from; i < to; i++ {
		out = append(out, key{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	return out
}

// have is how many live peers have a root.
func (w *world) have(k key) (n int) {
	w.table.find(k, w.now.Unix(), func(*seed) bool { n++; return true })
	return n
}

// verify holds that all the counts of a table are right, and no bound is passed.
func (t *table) verify(tt interface {
	Helper()
	Fatalf(string, ...any)
},
) {
	tt.Helper()
	links, bySeed, byNetwork := 0, map[*seed]int{}, map[*network]int{}
	for k, list := range t.roots {
		if len(list) == 0 || len(list) > t.limits.PerRoot {
			tt.Fatalf("root %x has %d links", k[:4], len(list))
		}
		seen := map[*seed]bool{}
		for _, l := range list {
			links++
			bySeed[l.seed]++
			if seen[l.seed] {
				tt.Fatalf("root %x has %s twice", k[:4], l.seed.id)
			}
			seen[l.seed] = true
			if !l.seed.gone {
				byNetwork[l.seed.network]++
			}
		}
	}
	if links != t.links || links > t.limits.Links || len(t.roots) > t.limits.Roots || len(t.seeds) > t.limits.Peers {
		tt.Fatalf("%d links counted as %d, %d roots, %d peers, limits %+v", links, t.links, len(t.roots), len(t.seeds), t.limits)
	}
	seeds := 0
	for prefix, w := range t.networks {
		if w.prefix != prefix || w.links != byNetwork[w] || len(w.seeds) == 0 || w.count != 0 {
			tt.Fatalf("network %s: %d links counted as %d, %d peers", prefix, byNetwork[w], w.links, len(w.seeds))
		}
		for i, s := range w.seeds {
			seeds++
			if s.at != i || s.network != w || t.seeds[s.id] != s || s.gone || s.links != bySeed[s] || s.links > t.limits.PerPeer {
				tt.Fatalf("peer %s: %d links counted as %d", s.id, bySeed[s], s.links)
			}
		}
	}
	if seeds != len(t.seeds) {
		tt.Fatalf("%d peers in networks, %d in all", seeds, len(t.seeds))
	}
}

func TestRootsExpireOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	a := w.announcement(1, roots(0, 2), tcp)
	w.announce(outside, 1, a)
	w.now = w.now.Add(40 * time.Minute)
	w.announce(outside, 1, w.announcement(1, roots(1, 3), quic))
	if got := w.ask(outside, root(0), ""); len(got) != 1 || got[0].Addrs[0] != quic {
		t.Errorf("addresses are not the latest: %v", got)
	}
	w.now = w.now.Add(20 * time.Minute)
	for i, want := range []int{0, 1, 1} {
		if got := len(w.ask(outside, root(i), "")); got != want {
			t.Errorf("after an hour root %d has %d peers, want %d", i, got, want)
		}
	}
	w.now = w.now.Add(24 * time.Hour)
	w.announce(outside, 2, w.announcement(2, roots(9, 10), tcp))
	if tb := w.table; len(tb.seeds) != 1 || len(tb.roots) != 1 || tb.links != 1 || len(tb.networks) != 1 {
		t.Errorf("after a day are kept %d peers, %d roots, %d links", len(tb.seeds), len(tb.roots), tb.links)
	}
}

func TestTenThousandRootsAreThreeAnnouncements(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	for range 2 { // repeating adds nothing
		for from := 0; from < 10_000; from += MaxRoots {
			to := min(10_000, from+MaxRoots)
			if got := w.announce(outside, 1, w.announcement(1, roots(from, to), tcp)); got.Roots != to-from {
				t.Errorf("%d roots of %d are kept", got.Roots, to-from)
			}
		}
	}
	if n := w.table.links; n != 10_000 {
		t.Errorf("%d links", n)
	}
	w.table.verify(t)
}

func TestWithdrawal(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce(outside, 1, w.announcement(1, roots(0, 5), tcp))
	a := w.announcement(1, roots(3, 9))
	a.Lifetime = 0
	if got := w.announce(outside, 1, a); got.Roots != 2 || len(w.ask(outside, root(3), "")) != 0 || len(w.ask(outside, root(2), "")) != 1 {
		t.Errorf("of some roots: %+v", got)
	}
	a = w.announcement(1, nil)
	a.Lifetime = 0
	if got := w.announce(outside, 1, a); got.Roots != 3 || len(w.ask(outside, root(2), "")) != 0 {
		t.Errorf("of all: %+v", got)
	}
	w.table.verify(t)
	w.announce(outside, 1, w.announcement(1, roots(0, 2), tcp))
	if len(w.ask(outside, root(1), "")) != 1 || len(w.ask(outside, root(2), "")) != 0 {
		t.Error("a seed that came back has other roots than it announced")
	}
	w.table.verify(t)
}

func TestAFullRootKeepsOneOfEachNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	k := keys(0, 1)
	for n := range uint64(1000) { // one network with many keys
		w.put(t, n, "198.51.100.1", k...)
	}
	w.table.verify(t)
	if got := w.have(k[0]); got != 100 {
		t.Fatalf("%d peers are kept", got)
	}
	for n := range uint64(50) {
		if w.put(t, 2000+n, fmt.Sprintf("203.0.113.%d", n), k...) != 1 {
			t.Fatal("a peer of another network is not kept")
		}
	}
	for n := range uint64(1000) {
		w.put(t, 3000+n, "198.51.100.1", k...)
	}
	others := 0
	w.table.find(k[0], w.now.Unix(), func(s *seed) bool {
		if s.network.prefix.Addr().String() != "198.51.100.1" {
			others++
		}
		return true
	})
	w.table.verify(t)
	if others != 50 {
		t.Errorf("%d peers of 50 other networks are left", others)
	}
}

func TestAFullRootDropsWhatExpiredFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Limits: Limits{PerRoot: 3}})
	k := keys(0, 1)
	w.put(t, 1, "198.51.100.1", k...)
	w.now = w.now.Add(59*time.Minute + 30*time.Second)
	w.put(t, 2, "198.51.100.2", k...)
	w.put(t, 3, "198.51.100.2", k...)
	w.now = w.now.Add(30 * time.Second) // before the next sweep
	if w.put(t, 4, "198.51.100.2", k...) != 1 || w.have(k[0]) != 3 {
		t.Errorf("%d peers are kept", w.have(k[0]))
	}
	seen := map[peer.ID]bool{}
	for range 1000 { // whom the root has room for is chance
		w.put(t, 5+rand.Uint64N(20), "198.51.100.2", k...)
		w.table.find(k[0], w.now.Unix(), func(s *seed) bool { seen[s.id] = true; return true })
	}
	w.table.verify(t)
	if len(seen) < 20 {
		t.Errorf("%d of 23 peers had a turn", len(seen))
	}
}

func TestWhoLeavesAFullRootIsChance(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	for n := range uint64(4) {
		w.put(t, n, fmt.Sprintf("203.0.113.%d", n), keys(int(n/3), int(n/3)+1)...)
	}
	list, newcomer := w.table.roots[keys(0, 1)[0]], w.table.seeds["peer3"]
	var left [4]int
	for range 4000 {
		left[w.table.crowding(list, newcomer)]++
	}
	for i, n := range left {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 4 leaves %d times of 4000", i, n)
		}
	}
}

func TestFullTablesDropPeersOfTheLargestNetwork(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]Limits{"peers": {Peers: 50}, "links": {Links: 500}, "roots": {Roots: 480}} {
		w := newWorld(t, Config{Limits: limits})
		for n := range uint64(10) {
			w.put(t, n, fmt.Sprintf("203.0.113.%d", n), keys(0, 2)...)
		}
		for n := range 500 {
			from := 10 + n*10
			w.put(t, uint64(100+n), "198.51.100.1", keys(from, from+10)...)
			w.table.verify(t)
		}
		honest := 0
		for n := range uint64(10) {
			if s := w.table.seeds[peer.ID(fmt.Sprint("peer", n))]; s != nil && s.links == 2 {
				honest++
			}
		}
		if honest != 10 || w.have(keys(0, 1)[0]) != 10 {
			t.Errorf("%s are full: %d of 10 peers of other networks are left", name, honest)
		}
		if w.put(t, 9999, "192.0.2.1", keys(9000, 9010)...) != 10 {
			t.Errorf("%s are full: a peer of another network finds no room", name)
		}
	}
}

func TestAPeerHasSoManyRoots(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Limits: Limits{PerPeer: 5, Links: 8}})
	if got := w.put(t, 1, outside, keys(0, 7)...); got != 5 {
		t.Errorf("%d roots are kept", got)
	}
	if got := w.put(t, 1, outside, keys(0, 7)...); got != 5 {
		t.Errorf("%d roots are kept the second time", got)
	}
	alone := newWorld(t, Config{Limits: Limits{Links: 3}})
	if got := alone.put(t, 1, outside, keys(0, 7)...); got != 3 {
		t.Errorf("%d roots of one who is alone are kept", got)
	}
}

// TestTable does anything in any order with tiny limits; verify finds what does not add up.
func TestTable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits := Limits{Peers: 6, Roots: 8, Links: 20, PerRoot: 3, PerPeer: 6, ByPeer: -1}
		tb := newTable(limits, func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "random") })
		now, seq := time.Unix(1_800_000_000, 0), uint64(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "wait")) * time.Second)
			seq++
			var some []key
			for range rapid.IntRange(0, 6).Draw(t, "roots") {
				some = append(some, key{byte(rapid.IntRange(0, 12).Draw(t, "root"))})
			}
			n := news{
				id: peer.ID(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "peer")), seq: seq,
				from:  netip.AddrFrom4([4]byte{8, 8, 8, byte(rapid.IntRange(0, 3).Draw(t, "network"))}),
				roots: some, lifetime: time.Duration(rapid.IntRange(0, 4).Draw(t, "lifetime")) * 1000 * time.Second,
			}
			n.all = n.lifetime == 0 && len(some) == 0
			if _, _, err := tb.record(n, now); err != nil {
				t.Fatal(err)
			}
			tb.verify(t)
		}
	})
}

// TestAttackersCannotFillMemory fills every bound with the largest of everything from many networks.
func TestAttackersCannotFillMemory(t *testing.T) { //nolint:paralleltest // measures the heap
	if testing.Short() {
		t.Skip("SKIPPED: a million links take seconds")
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	limits := Limits{}.filled()
	limits.Peers, limits.Roots, limits.Links = limits.Peers/part, limits.Roots/part, limits.Links/part
	tr := New(Config{Registry: registry, Limits: limits})
	now := time.Unix(1_800_000_000, 0)
	rnd := rand.New(rand.NewPCG(1, 2))
	measure := func() {
		tr.table.verify(t)
		runtime.GC()
		runtime.ReadMemStats(&after)
		grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("%d peers, %d roots, %d links: %d MiB", len(tr.table.seeds), len(tr.table.roots), tr.table.links, grown>>20)
		if grown > 64<<20/part {
			t.Errorf("%d links hold %d bytes", tr.table.links, grown)
		}
	}
	for i := range 12_000 / part {
		n := news{
			id: peer.ID(fmt.Sprintf("%040d", i)), seq: 1, lifetime: MaxLifetime,
			from: netip.AddrFrom4([4]byte{8, byte(i >> 16), byte(i >> 8), byte(i)}),
		}
		for j := range MaxAddrs {
			n.addrs = append(n.addrs, addr{strings.Repeat(string(rune('a'+j)), maxAddr), n.from})
		}
		for range MaxProtocols {
			n.protocols = append(n.protocols, strings.Repeat("p", maxProtocol))
		}
		universe := 100_000 / part
		if i >= 9000/part {
			universe *= 10 // invented
		}
		for range 122 {
			m := rnd.IntN(universe)
			n.roots = append(n.roots, key{byte(m), byte(m >> 8), byte(m >> 16)})
		}
		if _, _, err := tr.table.record(n, now); err != nil {
			t.Fatal(err)
		}
		tr.rates.take(networkOf(n.from), now)
		if i == 8192/part {
			measure()
			if tr.table.links < tr.cfg.Limits.Links*9/10 {
				t.Fatalf("the test does not fill the table: %d links", tr.table.links)
			}
		}
	}
	measure()
	runtime.KeepAlive(tr)
}

func BenchmarkFindMany(b *testing.B) {
	tr := New(Config{})
	ks := map[string]key{}
	var all []key
	for i := range MaxWant {
		k, _ := keyOf(root(i))
		all, ks[root(i).String()] = append(all, k), k
	}
	for i := range 100 {
		n := news{id: peer.ID(fmt.Sprint(i)), seq: 1, lifetime: time.Hour, roots: all, from: netip.AddrFrom4([4]byte{8, 8, 8, byte(i)})}
		n.addrs = []addr{{"/ip4/8.8.8.8/tcp/1", n.from}}
		if _, _, err := tr.table.record(n, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if m := tr.findMany(ks, filter{}); len(m.Roots) != MaxWant {
			b.Fatal(len(m.Roots))
		}
	}
}
