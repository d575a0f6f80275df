package swarm_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/fetch/swarm"
)

const rtt = 40 * time.Millisecond

func TestSourceAloneIsAskedOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(mixed(500)...)
		only := &sim{goods: g, name: "only", kind: swarm.Registry, rate: 2500 << 10, delay: rtt}
		o := mustRace(t, g, only)
		if len(only.calls) != 1 || !slices.Equal(only.calls[0], g.roots) {
			t.Errorf("%d calls, the first for %d of %d roots in another order", len(only.calls), len(only.calls[0]), len(g.roots))
		}
		if ideal := rtt + time.Duration(g.bytes)*time.Second/(2500<<10); o.took > ideal+ideal/20 || o.wasted != 0 {
			t.Errorf("took %v of %v, wasted %d", o.took, ideal, o.wasted)
		}
	})
}

// TestWorkIsSplitByThroughput: what each source brings is what it can.
func TestWorkIsSplitByThroughput(t *testing.T) {
	t.Parallel()
	for _, rates := range [][]int{{1000, 1000}, {2500, 250}, {250, 2500}, {250, 500, 1000, 2000}, {2000, 5, 2000}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGoods(same(300, 25_000)...)
			var sources []swarm.Source
			sum := 0
			for i, rate := range rates {
				sum += rate
				sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), rate: rate << 10, delay: rtt})
			}
			o := mustRace(t, g, sources...)
			for i, rate := range rates {
				got, want := float64(o.from[fmt.Sprint(i)])/float64(g.bytes), float64(rate)/float64(sum)
				if got < want-0.1 || got > want+0.1 {
					t.Errorf("%v: source %d brought %.2f of all, want %.2f", rates, i, got, want)
				}
			}
			ideal := time.Duration(g.bytes) * time.Second / time.Duration(sum<<10)
			calls := 0
			for _, s := range sources {
				calls += s.(*sim).asked()
			}
			t.Logf("%v: took %v, ideal %v; wasted %d of %d; %d calls", rates, o.took, ideal, o.wasted, g.bytes, calls)
			if o.took > ideal+ideal/5+4*rtt || o.wasted > g.bytes/20 {
				t.Errorf("%v: took %v, ideal %v; wasted %d of %d", rates, o.took, ideal, o.wasted, g.bytes)
			}
		})
	}
}

func TestFourSourcesAreFasterThanOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(mixed(400)...)
		var sources []swarm.Source
		for i := range 4 {
			sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), rate: 2500 << 10, delay: rtt})
		}
		one, four := mustRace(t, g, sources[0]), mustRace(t, g, sources...)
		t.Logf("one %v, four %v, wasted %d of %d", one.took, four.took, four.wasted, g.bytes)
		if ratio := float64(one.took) / float64(four.took); ratio < 2.5 {
			t.Errorf("%.1f times as fast, want 2.5: %v and %v", ratio, one.took, four.took)
		}
	})
}

// TestStalledSourceLosesItsShare: with a source that stalls, the others take hardly longer than without it.
func TestStalledSourceLosesItsShare(t *testing.T) {
	t.Parallel()
	for _, f := range []fault{stalling, silent, dripping, dead, resetting, lacking} {
		synctest.Test(t, func(t *testing.T) {
			g := newGoods(mixed(300)...)
			a := &sim{goods: g, name: "a", rate: 2500 << 10, delay: rtt}
			b := &sim{goods: g, name: "b", rate: 2500 << 10, delay: rtt}
			without := mustRace(t, g, a, b)
			with := mustRace(t, g, &sim{goods: g, name: "bad", rate: 2500 << 10, delay: rtt, fault: f}, a, b)
			if with.took > without.took+6*rtt {
				t.Errorf("fault %d: took %v, without the bad source %v", f, with.took, without.took)
			}
		})
	}
}

// TestOneHonestSourceAmongNineLiars is enough, and each liar is named.
func TestOneHonestSourceAmongNineLiars(t *testing.T) {
	t.Parallel()
	for at := range 10 { // where the honest one stands
		synctest.Test(t, func(t *testing.T) {
			g := newGoods(mixed(200)...)
			bad := []fault{wrongBytes, wrongRoot, endless, dripping, lacking, resetting, stalling, repeating, unasked}
			var sources []swarm.Source
			for i, f := range bad {
				s := &sim{goods: g, name: fmt.Sprintf("bad %d", f), rate: 1000 << 10, delay: rtt, fault: f}
				if f == wrongBytes && i%2 == 0 {
					s.after = 1
				}
				sources = append(sources, s)
			}
			sources = slices.Insert(sources, at, swarm.Source(&sim{goods: g, name: "good", rate: 1000 << 10, delay: rtt}))
			o := mustRace(t, g, sources...)
			for _, f := range bad {
				if tally := o.tallies[fmt.Sprintf("bad %d", f)]; (tally.Lie != nil) != f.lies() {
					t.Errorf("honest at %d: fault %d has the lie %v", at, f, tally.Lie)
				}
			}
			if o.tallies["good"].Lie != nil || o.tallies["good"].Err != nil {
				t.Errorf("the honest source: %+v", o.tallies["good"])
			}
			if ideal := time.Duration(g.bytes) * time.Second / (1000 << 10); o.took > ideal*5/4+20*rtt {
				t.Errorf("honest at %d: took %v, alone %v", at, o.took, ideal)
			}
		})
	}
}

// TestSilenceOfAllEnds: if everybody stalls, there is an error, and not before the patience is over.
func TestSilenceOfAllEnds(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			g := newGoods(same(20, 1000)...)
			var sources []swarm.Source
			for i := range n {
				sources = append(sources, &sim{goods: g, name: fmt.Sprint("s", i), delay: rtt, fault: stalling})
			}
			o := race(t.Context(), g, sources...)
			var missing *swarm.MissingError
			if !errors.As(o.err, &missing) || len(missing.Errs) != n || !strings.Contains(o.err.Error(), "silent") {
				t.Errorf("got %v, want a MissingError that names %d silent sources", o.err, n)
			}
			if o.took < 150*time.Second || o.took > 152*time.Second {
				t.Errorf("gave up after %v", o.took)
			}
		})
	}
}

// TestSlowSourceAloneIsNotDropped, as slow as any line is; one that only trickles is.
func TestSlowSourceAloneIsNotDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(same(3, 2000)...)
		slow := &sim{goods: g, name: "slow", rate: 16, delay: rtt}
		if mustRace(t, g, slow); slow.asked() != 1 {
			t.Errorf("asked %d times", slow.asked())
		}
	})
}

func TestCancelledSessionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(mixed(100)...)
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		defer cancel()
		o := race(ctx, g, &sim{goods: g, name: "a", rate: 1000 << 10, delay: rtt}, &sim{goods: g, name: "b", fault: silent})
		if !errors.Is(o.err, context.DeadlineExceeded) || o.took > 610*time.Millisecond || len(o.puts) == 0 {
			t.Errorf("%v after %v, with %d packs", o.err, o.took, len(o.puts))
		}
	})
}

// TestLastPackIsAskedTwice: the last one is, but no more often while who brings it is not slow.
func TestLastPackIsAskedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(5 << 20)
		var sources []swarm.Source
		for i := range 10 {
			sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), rate: 4 << 20, delay: rtt})
		}
		o := mustRace(t, g, sources...)
		asked := 0
		for _, s := range sources {
			asked += s.(*sim).asked()
		}
		if asked > 3 || o.wasted > g.bytes*11/10 {
			t.Errorf("asked %d times, wasted %d of %d bytes", asked, o.wasted, g.bytes)
		}
	})
}

// TestStalledLastPackIsRescued: of a pack that only stalled sources bring, another is asked soon.
func TestStalledLastPackIsRescued(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(3 << 20)
		var sources []swarm.Source
		for i := range 9 {
			sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), rate: 4 << 20, delay: rtt, fault: stalling})
		}
		o := mustRace(t, g, append(sources, &sim{goods: g, name: "good", rate: 4 << 20, delay: rtt})...)
		if ideal := time.Duration(g.bytes) * time.Second / (4 << 20); o.took > 3*ideal {
			t.Errorf("took %v, alone %v", o.took, ideal)
		}
	})
}

// TestObscurePackagesCostNothingExtra: what no peer has comes from the registry as if there were no peers.
func TestObscurePackagesCostNothingExtra(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 3, 100} {
		for name, peer := range map[string]*sim{
			"peers that lack it": {fault: lacking, delay: rtt}, "slow peers that lack it": {fault: lacking, delay: 20 * rtt},
			"silent peers": {fault: silent, delay: rtt}, "dead peers": {fault: dead},
		} {
			synctest.Test(t, func(t *testing.T) {
				g := newGoods(mixed(n)...)
				registry := &sim{goods: g, name: "registry", kind: swarm.Registry, rate: 1000 << 10, delay: rtt}
				alone := mustRace(t, g, registry)
				var sources []swarm.Source
				for i := range 3 {
					sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), kind: swarm.Peer, rate: 1000 << 10, delay: peer.delay, fault: peer.fault})
				}
				o := mustRace(t, g, append(sources, registry)...)
				if o.took > alone.took+5*time.Millisecond || registry.asked() != 2 {
					t.Errorf("%d packages, %s: took %v in %d calls, alone %v", n, name, o.took, registry.asked()-1, alone.took)
				}
			})
		}
	}
}

// TestPopularPackagesComeFromPeers where these are as fast as the registry.
func TestPopularPackagesComeFromPeers(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{500 << 10, 2000 << 10} {
		synctest.Test(t, func(t *testing.T) {
			g := newGoods(mixed(400)...)
			registry := &sim{goods: g, name: "registry", kind: swarm.Registry, rate: 1000 << 10, delay: rtt}
			sources := []swarm.Source{registry}
			for i := range 3 {
				sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), kind: swarm.Peer, rate: rate, delay: rtt})
			}
			o := mustRace(t, g, sources...)
			got := float64(o.tallies["registry"].Bytes) / float64(g.bytes)
			ideal := time.Duration(g.bytes) * time.Second / time.Duration(3*rate)
			if got > 0.15 || o.took > ideal*5/4+4*rtt {
				t.Errorf("peers of %d KiB/s: %.2f came from the registry, in %v of %v", rate>>10, got, o.took, ideal)
			}
		})
	}
}

// TestRegistryStepsInForSlowPeers: sparing it must not cost time.
func TestRegistryStepsInForSlowPeers(t *testing.T) {
	t.Parallel()
	for _, f := range []fault{honest, stalling} {
		synctest.Test(t, func(t *testing.T) {
			g := newGoods(mixed(400)...)
			registry := &sim{goods: g, name: "registry", kind: swarm.Registry, rate: 2000 << 10, delay: rtt}
			alone := mustRace(t, g, registry)
			sources := []swarm.Source{registry}
			for i := range 3 {
				sources = append(sources, &sim{goods: g, name: fmt.Sprint(i), kind: swarm.Peer, rate: 128 << 10, delay: rtt, fault: f, after: 5})
			}
			if o := mustRace(t, g, sources...); o.took > alone.took+rtt {
				t.Errorf("fault %d: took %v, the registry alone %v", f, o.took, alone.took)
			}
		})
	}
}

// TestTwoRegistriesWithOwnPackages are asked once each.
func TestTwoRegistriesWithOwnPackages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(mixed(100)...)
		second := map[cid.Cid]bool{}
		for i, root := range g.roots {
			second[root] = i%7 == 0
		}
		a := &sim{goods: g, name: "a", kind: swarm.Registry, rate: 1000 << 10, delay: rtt, lacks: func(c cid.Cid) bool { return second[c] }}
		b := &sim{goods: g, name: "b", kind: swarm.Registry, rate: 1000 << 10, delay: rtt, lacks: func(c cid.Cid) bool { return !second[c] }}
		if mustRace(t, g, a, b); a.asked()+b.asked() > 3 {
			t.Errorf("asked %d and %d times", a.asked(), b.asked())
		}
	})
}

// TestMemoryIsBounded: what was read and is not yet put stays within Memory, but for a buffer of each source.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(same(200, 100_000)...)
		at := map[cid.Cid]int{} // each source has its own, so that all that is read is put
		for i, root := range g.roots {
			at[root] = i
		}
		const memory = 250_000
		var read, peak atomic.Int64
		var sources []swarm.Source
		for i := range 8 {
			sources = append(sources, counted{&sim{goods: g, name: fmt.Sprint(i), delay: rtt, lacks: func(c cid.Cid) bool { return at[c]%8 != i }}, &read, &peak})
		}
		b := newBasket(g)
		s := swarm.Session{Sources: sources, Sizes: g.sizes, Memory: memory, Put: func(ctx context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
			time.Sleep(10 * time.Millisecond) // a slow disk
			return nil, b.take(ctx, a.Source, a.Root, freeing{a.Pack, &read})
		}}
		if _, err := s.Get(t.Context(), swarm.Packs(g.roots...)); err != nil {
			t.Fatal(err)
		}
		b.check(t)
		if limit := int64(memory + len(sources)*(32<<10)); peak.Load() > limit || peak.Load() < 100_000 {
			t.Errorf("%d bytes in memory at once, want at most %d", peak.Load(), limit)
		}
	})
}

// counted counts what is read from a source.
type counted struct {
	swarm.Source
	read, peak *atomic.Int64
}

func (c counted) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	return c.Source.Content(ctx, r, func(w swarm.Want, size int64, pack io.Reader) error {
		return each(w, size, readerFunc(func(b []byte) (int, error) {
			n, err := pack.Read(b)
			now := c.read.Add(int64(n))
			for old := c.peak.Load(); now > old && !c.peak.CompareAndSwap(old, now); old = c.peak.Load() {
			}
			return n, err
		}))
	})
}

// freeing counts what Put has taken.
type freeing struct {
	r    io.Reader
	read *atomic.Int64
}

func (f freeing) Read(b []byte) (int, error) {
	n, err := f.r.Read(b)
	f.read.Add(-int64(n))
	return n, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestEveryRootSomebodyHasIsPutOnce whatever the others do.
func TestEveryRootSomebodyHasIsPutOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.SampledFrom([]int{8, 100, 100, 5_000, 5_000, 50_000, 50_000, 1_100_000}), 1, 25).Draw(rt, "sizes")
		n := rapid.IntRange(1, 8).Draw(rt, "sources")
		known := rapid.Bool().Draw(rt, "sizes known")
		type draw struct {
			fault fault
			kind  swarm.Kind
			rate  int
			delay int
			after int
			holds []bool
		}
		draws := make([]draw, n)
		held := make([]bool, len(sizes))
		for i := range draws {
			draws[i] = draw{
				fault: rapid.OneOf(rapid.Just(honest), rapid.Map(rapid.IntRange(0, int(faults)-1), func(i int) fault { return fault(i) })).Draw(rt, "fault"),
				kind:  rapid.SampledFrom([]swarm.Kind{swarm.Registry, swarm.Peer, swarm.Mirror}).Draw(rt, "kind"),
				rate:  rapid.SampledFrom([]int{0, 100 << 10, 1 << 20, 50 << 20}).Draw(rt, "rate"),
				delay: rapid.SampledFrom([]int{0, 1, 20, 300}).Draw(rt, "delay"),
				after: rapid.IntRange(0, 3).Draw(rt, "after"),
				holds: rapid.SliceOfN(rapid.Bool(), len(sizes), len(sizes)).Draw(rt, "holds"),
			}
			for j, has := range draws[i].holds {
				held[j] = held[j] || has && draws[i].fault == honest
			}
		}
		// Without this many goroutines under synctest a failure would be a deadlock that is not shrunk.
		synctest.Test(t, func(*testing.T) {
			g := newGoods(sizes...)
			at := map[cid.Cid]int{}
			for i, root := range g.roots {
				at[root] = i
			}
			if !known {
				g.sizes = nil
			}
			var sources []swarm.Source
			for i, d := range draws {
				sources = append(sources, &sim{
					goods: g, name: fmt.Sprint(i), kind: d.kind, rate: d.rate, delay: time.Duration(d.delay) * time.Millisecond,
					fault: d.fault, after: d.after, lacks: func(c cid.Cid) bool { return !d.holds[at[c]] },
				})
			}
			o := race(context.Background(), g, sources...)
			for i, root := range g.roots {
				if n := o.puts[root]; n > 1 || held[i] && n == 0 {
					rt.Fatalf("root %d was put %d times: %v", i, n, o.err)
				}
			}
			for i, d := range draws {
				if o.tallies[fmt.Sprint(i)].Lie != nil && !d.fault.lies() {
					rt.Fatalf("source %d with fault %d is called a liar: %v", i, d.fault, o.tallies[fmt.Sprint(i)].Lie)
				}
			}
			if (o.err == nil) != (len(o.puts) == len(g.roots)) {
				rt.Fatalf("%d of %d roots, and %v", len(o.puts), len(g.roots), o.err)
			}
		})
	})
}
