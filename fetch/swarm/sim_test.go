package swarm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/swarm"
	"pkg/fetch/tree"
	"pkg/lockfile/block"
)

// goods are packs in memory. A pack of these tests is its root's only block.
type goods struct {
	roots []cid.Cid
	packs map[cid.Cid][]byte
	sizes map[cid.Cid]int64
	bytes int64
}

// newGoods makes a pack of each size.
func newGoods(sizes ...int) *goods {
	g := &goods{packs: map[cid.Cid][]byte{}, sizes: map[cid.Cid]int64{}}
	for i, size := range sizes {
		b := make([]byte, max(size, 8))
		binary.LittleEndian.PutUint64(b, uint64(i))
		root := block.Sum(cid.Raw, b)
		g.roots, g.packs[root], g.sizes[root] = append(g.roots, root), b, int64(len(b))
		g.bytes += int64(len(b))
	}
	return g
}

func same(n, size int) []int {
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}

// fault is how a simulated source fails.
type fault int

const (
	honest     fault = iota
	wrongBytes       // flips a byte of each pack
	wrongRoot        // sends whole packs of other roots
	endless          // sends zeros for ever
	dripping         // sends a byte, and another
	lacking          // has nothing
	resetting        // breaks in the middle of its first pack
	stalling         // falls silent in the middle of its second pack
	silent           // never says anything
	dead             // cannot be reached
	repeating        // sends the first pack again and again
	unasked          // sends what nobody wanted
	faults
)

func (f fault) lies() bool {
	switch f {
	case wrongBytes, wrongRoot, endless, repeating, unasked:
		return true
	default:
		return false
	}
}

// sim is a source in memory, on a wire of its own.
type sim struct {
	*goods
	name  string
	kind  swarm.Kind
	rate  int           // bytes per second; 0 is no limit
	delay time.Duration // of the first byte of an answer
	fault fault
	lacks func(cid.Cid) bool
	after int // packs that are honest before the fault

	mu    sync.Mutex // guards what follows
	calls [][]cid.Cid
}

func (s *sim) Name() string { return s.name }

func (s *sim) Kind() swarm.Kind { return s.kind }

// asked is how often.
func (s *sim) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

var errReset = errors.New("connection reset")

func (s *sim) Content(ctx context.Context, r swarm.Request, each swarm.Each) (missing []swarm.Want, err error) {
	roots := rootsOf(r.Wants)
	s.mu.Lock()
	s.calls = append(s.calls, roots)
	s.mu.Unlock()
	if s.fault == dead {
		return nil, errors.New("no route")
	}
	if err := wait(ctx, s.delay); err != nil {
		return nil, err
	}
	var due time.Duration
	for i, root := range roots {
		pack := s.packs[root]
		if s.lacks != nil && s.lacks(root) || s.fault == lacking {
			missing = append(missing, swarm.Want{Root: root})
			continue
		}
		size, in := int64(len(pack)), &wire{ctx: ctx, rate: s.rate, b: pack, due: &due}
		if i >= s.after {
			root, size, in = s.spoil(i-s.after, roots, root, in)
		}
		if err := each(swarm.Want{Root: root}, size, in); err != nil {
			return missing, err
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			return missing, err
		}
	}
	return missing, nil
}

// spoil does what the fault says to the n-th pack after the honest ones.
func (s *sim) spoil(n int, roots []cid.Cid, root cid.Cid, in *wire) (cid.Cid, int64, *wire) {
	size := int64(len(in.b))
	switch s.fault {
	case wrongBytes:
		in.b = bytes.Clone(in.b)
		in.b[len(in.b)/2] ^= 1
	case wrongRoot:
		for other, pack := range s.packs {
			if !other.Equals(root) {
				in.b = pack
				return root, int64(len(pack)), in
			}
		}
		in.b, size = []byte("other"), 5
	case endless:
		in.zeros, size = true, -1
	case dripping:
		in.rate = 50
	case resetting:
		in.stop, in.err = len(in.b)/2, errReset
	case stalling:
		if n == 1 || len(roots) == 1 {
			in.stop = len(in.b) / 2
		}
	case silent:
		in.stop = -1
	case repeating:
		root = roots[0]
		in.b = s.packs[root]
		size = int64(len(in.b))
	case unasked:
		in.b = []byte("surprise")
		root, size = block.Sum(cid.Raw, in.b), 8
	}
	return root, size, in
}

// wire is a pack on its way.
type wire struct {
	ctx   context.Context
	rate  int
	b     []byte
	n     int
	stop  int // after so many bytes it fails with err, or says nothing more; 0 is never, -1 before the first
	err   error
	zeros bool
	due   *time.Duration // of its source
}

func (w *wire) Read(p []byte) (int, error) {
	if w.stop < 0 || w.stop > 0 && w.n >= w.stop {
		if w.err != nil {
			return 0, w.err
		}
		<-w.ctx.Done()
		return 0, w.ctx.Err()
	}
	chunk := 16 << 10
	if w.rate > 0 {
		chunk = max(1, min(chunk, w.rate/100))
	}
	p = p[:min(len(p), chunk)]
	n := len(p)
	if w.zeros {
		clear(p)
	} else {
		end := len(w.b)
		if w.stop > 0 {
			end = w.stop
		}
		if n = copy(p, w.b[w.n:end]); n == 0 {
			return 0, io.EOF
		}
	}
	w.n += n
	if w.rate > 0 {
		*w.due += time.Duration(n) * time.Second / time.Duration(w.rate)
	}
	if *w.due > 5*time.Millisecond { // few timers, and the same rate
		d := *w.due
		*w.due = 0
		return n, wait(w.ctx, d)
	}
	return n, w.ctx.Err()
}

// basket counts what is put: the store of these tests.
type basket struct {
	*goods
	mu   sync.Mutex // guards what follows
	puts map[cid.Cid]int
	from map[string]int64
	bad  []error
}

func newBasket(g *goods) *basket {
	return &basket{goods: g, puts: map[cid.Cid]int{}, from: map[string]int64{}}
}

func (b *basket) put(ctx context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
	return nil, b.take(ctx, a.Source, a.Root, a.Pack)
}

func (b *basket) take(ctx context.Context, source string, root cid.Cid, pack io.Reader) error {
	limit := len(b.packs[root]) + 200_000
	data, err := io.ReadAll(io.LimitReader(pack, int64(limit)))
	if err != nil {
		return err
	}
	if len(data) == limit {
		return &tree.Error{Why: "it does not end"}
	}
	if got := block.Sum(cid.Raw, data); !got.Equals(root) {
		return &tree.HashError{Want: root, Got: got}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.puts[root]++; b.packs[root] == nil {
		b.bad = append(b.bad, fmt.Errorf("%s gave %s, which nobody wanted", source, root))
	}
	b.from[source] += int64(len(data))
	return nil
}

// check holds that each root was put once.
func (b *basket) check(t interface{ Errorf(string, ...any) }) {
	for _, root := range b.roots {
		if b.puts[root] != 1 {
			t.Errorf("%s was put %d times", root, b.puts[root])
		}
	}
	for _, err := range b.bad {
		t.Errorf("%v", err)
	}
}

// outcome is what a simulated session did.
type outcome struct {
	*basket
	tallies map[string]swarm.Tally
	wasted  int64
	took    time.Duration
	err     error
}

// race runs a session over g.
func race(ctx context.Context, g *goods, sources ...swarm.Source) outcome {
	o := outcome{basket: newBasket(g), tallies: map[string]swarm.Tally{}}
	s := swarm.Session{Sources: sources, Put: o.put, Sizes: g.sizes}
	start := time.Now()
	tallies, err := s.Get(ctx, swarm.Packs(g.roots...))
	o.took, o.err = time.Since(start), err
	for _, t := range tallies {
		o.tallies[t.Source] = t
		o.wasted += t.Wasted
	}
	return o
}

// mustRace is race, which brings all.
func mustRace(t *testing.T, g *goods, sources ...swarm.Source) outcome {
	t.Helper()
	o := race(t.Context(), g, sources...)
	if o.err != nil {
		t.Fatal(o.err)
	}
	o.check(t)
	return o
}

// mixed are n sizes from small to large, as packages have them.
func mixed(n int) []int {
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := make([]int, n)
	for i := range sizes {
		sizes[i] = 128 << rng.IntN(11)
	}
	return sizes
}
