package store_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

// handClock only moves when it is told to.
type handClock struct{ ns atomic.Int64 }

func newHandClock() *handClock {
	c := &handClock{}
	c.ns.Store(time.Now().UnixNano())
	return c
}

func (c *handClock) Now() time.Time { return time.Unix(0, c.ns.Load()) }

func (c *handClock) pass(d time.Duration) { c.ns.Add(int64(d)) }

func put(t *testing.T, s *store.Store, n int) cid.Cid {
	t.Helper()
	pack, sum := mustPack(t, n)
	b := s.Batch()
	if _, err := b.Put(t.Context(), sum.Root, bytes.NewReader(pack)); err != nil {
		t.Fatal(err)
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return sum.Root
}

// blocksOf lists the blocks of a tree, from its index.
func blocksOf(t *testing.T, s *store.Store, root cid.Cid) []cid.Cid {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.Dir(), "index", root.String()))
	if err != nil {
		t.Fatal(err)
	}
	x, err := tree.DecodeIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	var all []cid.Cid
	for i := range x.Blocks {
		all = append(all, x.Blocks[i].CID())
	}
	return all
}

func raw(content string) cid.Cid { return block.Sum(cid.Raw, []byte(content)) }

func own(n int) cid.Cid { return raw(fmt.Sprintf("[package]\nname = \"p%d\"\n", n)) }

func TestFinderFindsEveryBlockOfEveryTree(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 5)
	f := store.NewFinder(s)
	n := 0
	for _, root := range roots {
		for _, c := range blocksOf(t, s, root) {
			n++
			got, err := f.Block(t.Context(), c)
			if err != nil || !block.Matches(c, got) {
				t.Fatalf("Block(%s) = %d bytes, %v", c, len(got), err)
			}
			want, err := s.Block(t.Context(), root, c)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("Block(%s) differs from Store.Block: %v", c, err)
			}
			if size, err := f.Size(t.Context(), c); err != nil || size != int64(len(want)) {
				t.Errorf("Size(%s) = %d, %v, want %d", c, size, err, len(want))
			}
			if has, err := f.Has(t.Context(), c); err != nil || !has {
				t.Errorf("Has(%s) = %v, %v", c, has, err)
			}
		}
		v0 := cid.NewCidV0(root.Hash())
		if b, err := f.Block(t.Context(), v0); err != nil || !block.Matches(root, b) {
			t.Errorf("Block(%s) = %d bytes, %v", v0, len(b), err)
		}
	}
	if n < 5*8 {
		t.Errorf("only %d blocks", n)
	}
	if b, err := f.Block(t.Context(), block.Empty()); err != nil || len(b) != 0 {
		t.Errorf("the empty file: %q, %v", b, err)
	}
	short, err := cid.Prefix{Version: 1, Codec: cid.Raw, MhType: 0x12, MhLength: 20}.Sum([]byte("free"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []cid.Cid{raw("absent"), cid.Undef, short, block.Of(cid.DagCBOR, [32]byte{}), block.Sum(cid.DagProtobuf, []byte("free"))} {
		if _, err := f.Block(t.Context(), c); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Block(%s): %v, want ErrNotFound", c, err)
		}
		if has, err := f.Has(t.Context(), c); has || err != nil {
			t.Errorf("Has(%s) = %v, %v", c, has, err)
		}
	}
}

func TestFinderNoticesWhatWasAddedAndRemoved(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 2)
	clock := newHandClock()
	f := store.NewFinder(s)
	f.Now = clock.Now
	finds := func(c cid.Cid, want bool, when string) {
		t.Helper()
		_, err := f.Block(t.Context(), c)
		if want && err != nil || !want && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: Block = %v, found wanted: %v", when, err, want)
		}
		if has, err := f.Has(t.Context(), c); err != nil || has != want {
			t.Errorf("%s: Has = %v, %v, want %v", when, has, err, want)
		}
	}
	finds(own(1), true, "at first")
	finds(own(2), false, "before it is put")
	root2 := put(t, s, 2)
	finds(own(2), false, "right after a miss")
	clock.pass(time.Second)
	finds(own(2), true, "a second later")
	finds(root2, true, "a second later")

	if err := s.Remove(roots[1]); err != nil {
		t.Fatal(err)
	}
	finds(own(1), false, "removed")
	finds(roots[1], false, "removed, and its index is remembered")
	finds(raw("free"), true, "removed, but in others too")
	put(t, s, 1)
	clock.pass(time.Second)
	finds(own(1), true, "put again")
	for round := range 6 { // one dies, one comes: runs are merged and thrown out
		if err := s.Remove(put(t, s, 10+round)); err != nil {
			t.Fatal(err)
		}
		clock.pass(time.Hour)
		put(t, s, 20+round)
		finds(own(20+round), true, "in turn")
		finds(own(10+round), false, "in turn")
		finds(own(0), true, "in turn")
		finds(own(2), true, "in turn")
	}
	if _, _, err := s.Prune(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	finds(own(0), false, "pruned")
	clock.pass(time.Hour)
	finds(raw("free"), false, "pruned")
	put(t, s, 3)
	clock.pass(time.Hour)
	finds(own(3), true, "after all were gone")
}

func TestFinderSharesOnlyWhatItMay(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 3)
	var shared sync.Map
	clock := newHandClock()
	f := store.NewFinder(s)
	f.Now, f.Only = clock.Now, func(root cid.Cid) bool { _, ok := shared.Load(root); return ok }
	shared.Store(roots[0], nil)
	has := func(c cid.Cid) bool {
		t.Helper()
		ok, err := f.Has(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !has(own(0)) || !has(raw("free")) || has(own(1)) || has(roots[1]) {
		t.Error("not what is shared, and all of that")
	}
	if _, _, err := f.OpenPack(roots[1]); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a pack that is not shared: %v", err)
	}
	pack, size, err := f.OpenPack(roots[0])
	if err != nil || size == 0 {
		t.Fatalf("a pack that is shared: %v", err)
	}
	_ = pack.Close()
	shared.Store(roots[1], nil)
	clock.pass(time.Second)
	if !has(own(1)) {
		t.Error("a root that came to be shared is not found")
	}
	shared.Delete(roots[0])
	if has(own(0)) || !has(raw("free")) {
		t.Error("what is shared no more is found, or what is shared is not")
	}
}

func TestFinderPrefersWholeCopies(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 2)
	f := store.NewFinder(s)
	for i, root := range roots {
		dir, _ := s.Tree(root)
		overwrite(t, filepath.Join(dir, "LICENSE"), "fear")
		overwrite(t, filepath.Join(dir, "sub", "LICENSE"), "fear")
		b, err := f.Block(t.Context(), raw("free"))
		var h *tree.HashError
		if i == 0 && (err != nil || string(b) != "free") || i == 1 && !errors.As(err, &h) {
			t.Errorf("%d copies damaged: %q, %v", i+1, b, err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.Dir(), "index", roots[0].String()), []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := store.NewFinder(s).Block(t.Context(), own(1)); err != nil {
		t.Errorf("a damaged index hides the others: %q, %v", b, err)
	}
}

func TestFinderMissesCostNothing(t *testing.T) { // not parallel: it counts allocations
	s, _ := filled(t, 1)
	clock := newHandClock()
	f := store.NewFinder(s)
	f.Now = clock.Now
	absent := raw("absent")
	if has, _ := f.Has(t.Context(), absent); has {
		t.Fatal("found")
	}
	gone := s.Dir() + ".gone" // any look at the disk would fail now
	if err := os.Rename(s.Dir(), gone); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := f.Block(t.Context(), absent); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations a miss, want one at most", n)
	}
	clock.pass(time.Second)
	if _, err := f.Block(t.Context(), absent); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("without a store: %v, want what failed", err)
	}
}

func TestFinderKeepsWhatItReadBeforeItWasCancelled(t *testing.T) {
	t.Parallel()
	s, _ := filled(t, 2)
	f := store.NewFinder(s)
	ctx, cancel := context.WithCancel(t.Context())
	f.Only = func(cid.Cid) bool { cancel(); return true }
	if _, err := f.Block(ctx, own(0)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := f.Block(t.Context(), own(0)); err != nil {
		t.Errorf("after one was cancelled: %v", err)
	}
}

func TestFinderBesidePruneAndPut(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 1)
	f := store.NewFinder(s)
	f.Every = time.Nanosecond
	var stop atomic.Bool
	var found, missed atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				c := own(1 + (i+g)%3)
				b, err := f.Block(t.Context(), c)
				switch {
				case err == nil && block.Matches(c, b):
					found.Add(1)
				case errors.Is(err, store.ErrNotFound):
					missed.Add(1)
				default:
					t.Errorf("Block = %q, %v", b, err)
				}
				if _, err := f.Block(t.Context(), own(0)); err != nil {
					t.Errorf("a tree that always was there: %v", err)
				}
			}
		})
	}
	for i := range 20 {
		put(t, s, 1+i%3)
		if i%2 == 1 {
			if _, _, err := s.Prune(t.Context(), func(c cid.Cid) bool { return c == roots[0] }); err != nil {
				t.Error(err)
			}
		}
	}
	for found.Load() == 0 || missed.Load() == 0 {
		if t.Failed() || t.Context().Err() != nil {
			break
		}
		put(t, s, 1)
		time.Sleep(time.Millisecond)
	}
	stop.Store(true)
	wg.Wait()
}

func BenchmarkFind(b *testing.B) {
	s, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var files []tree.File
	for i := range 2000 {
		files = append(files, inMemory(fmt.Sprintf("d%d/f%d", i%40, i), strings.Repeat(fmt.Sprint(i, " "), 800)))
	}
	var pack bytes.Buffer
	sum, err := tree.Pack(b.Context(), files, tree.Default(), &pack)
	if err != nil {
		b.Fatal(err)
	}
	batch := s.Batch()
	if _, err := batch.Put(b.Context(), sum.Root, &pack); err != nil {
		b.Fatal(err)
	}
	if err := batch.Seal(b.Context()); err != nil {
		b.Fatal(err)
	}
	leaf := func(i int) cid.Cid { return raw(strings.Repeat(fmt.Sprint(i%2000, " "), 800)) }
	b.Run("known-root", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := s.Block(b.Context(), sum.Root, leaf(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("finder", func(b *testing.B) {
		f := store.NewFinder(s)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := f.Block(b.Context(), leaf(i)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("miss", func(b *testing.B) {
		f := store.NewFinder(s)
		b.ReportAllocs()
		for b.Loop() {
			if has, _ := f.Has(b.Context(), sum.Root); !has {
				b.Fatal("missing")
			}
			if has, _ := f.Has(b.Context(), block.Of(cid.Raw, [32]byte{})); has {
				b.Fatal("found")
			}
		}
	})
}

// BenchmarkFirstFind makes the first find in a store of 10,000 trees of 50 blocks each, and says what is kept.
func BenchmarkFirstFind(b *testing.B) {
	const trees, blocks = 10_000, 50
	s, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for i := range trees {
		x := binary.AppendUvarint([]byte("pkg index v1\n"), blocks)
		for j := range blocks {
			path := fmt.Sprintf("some/folder/file%d", j)
			x = append(append(append(x, byte(len(path))), path...), 4<<1)
		}
		x = binary.AppendUvarint(x, blocks)
		for j := range blocks {
			digest := sha256.Sum256(fmt.Append(nil, i, j))
			x = append(append(x, digest[:]...), 0, byte(j), 0, 4)
		}
		root := block.Sum(cid.DagProtobuf, fmt.Append(nil, i)).String()
		if err := errors.Join(os.Mkdir(filepath.Join(s.Dir(), "trees", root), 0o755),
			os.WriteFile(filepath.Join(s.Dir(), "index", root), x, 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	heap := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	before := heap()
	var f *store.Finder
	for b.Loop() {
		f = store.NewFinder(s)
		if has, err := f.Has(b.Context(), raw("absent")); has || err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((heap()-before)/(trees*blocks), "B/block")
	runtime.KeepAlive(f)
}
