package swarm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"pkg/fetch/tree"
)

// heartbeat is how often paces are taken and free sources look again for something to do.
const heartbeat = 50 * time.Millisecond

// tooSlow is for how many heartbeats parts may only drip in while a source is idle, before they are given up.
const tooSlow = 100

// trickle is how many bytes must come, from all sources together, for them not to count as silent.
const trickle = 1 << 10

// race is one Get. Its loop gives work to free runners; each call brings packs in a goroutine of its own, and small
// packs are put in goroutines of puts. run waits for all of them.
type race struct {
	s     *Session
	news  chan struct{} // holds one token when the loop has something to look at
	calls sync.WaitGroup
	puts  errgroup.Group // limited to as many as processors

	mu      sync.Mutex // guards what follows, and all wants, runners and calls
	wants   []*want
	byWant  map[Want]*want
	runners []*runner // as Session.Sources
	order   []*runner // the same, in the order in which work is given: who costs nothing first
	open    int       // wants that are not done
	putting int       // packs in memory, being put
	memory  int64     // bytes that may still be read ahead
	bar     float64   // the pace under which a runner is not waited for
	moved   int64     // bytes since silent was 0
	silent  time.Duration
	slow    int  // heartbeats for which nearly nothing came, and somebody had nothing to do
	stuck   bool // and that for too long
	fatal   error
}

// want is one Want.
type want struct {
	Want
	size   int64       // expected, in bytes
	asked  []*call     // that have it before them
	under  []*delivery // that are bringing it
	settle *delivery   // the one that has all of it and is being put
	done   bool
}

// runner is one source.
type runner struct {
	Tally
	src    Source
	costly bool
	odd    bool // every second of those that cost
	begun  bool // it was asked before
	gone   bool // it stands for nobody
	lacks  map[*want]bool
	spared map[*want]bool // refused, as others have it
	call   *call          // under way, or nil
	pace   float64
	recent float64 // bytes since the last heartbeat

	atLeast int64 // bytes of its next share
}

// call is one request to a source.
type call struct {
	from    *runner
	cancel  context.CancelFunc
	order   []*want
	left    map[*want]mode // of order, what it has not presented yet
	bytes   int64          // expected, of those in left that it was given
	now     *delivery      // what it is bringing, or nil
	shared  bool           // others may have all of it
	share   int64          // bytes expected at first
	skipped int64          // bytes read past
	age     int            // in heartbeats
	quiet   int            // heartbeats since a byte came
	ours    atomic.Bool    // it waits for us, not we for it
	ended   bool           // by us: its error means nothing
}

// mode is on what terms a call asks for a root.
type mode int

const (
	given mode = iota // it is the call's to bring
	again             // it is under way elsewhere
	spare             // it is another's, or nobody's yet, and taken along if no one begins it before
)

// delivery is one pack on its way.
type delivery struct {
	w    *want
	c    *call
	n    int64 // bytes that came
	size int64 // bytes it has; expected, if it does not say
	lost bool  // another was faster
}

func newRace(s *Session, wants []Want) *race {
	r := &race{s: s, news: make(chan struct{}, 1), byWant: make(map[Want]*want, len(wants)), memory: s.Memory, bar: floor}
	if r.memory == 0 {
		r.memory = defaultMemory
	}
	r.puts.SetLimit(runtime.GOMAXPROCS(0))
	r.wants = r.add(wants)
	costly := 0
	for _, src := range s.Sources {
		u := &runner{Tally: Tally{Source: src.Name(), Kind: kindOf(src)}, src: src, lacks: map[*want]bool{}, spared: map[*want]bool{}}
		if u.costly = u.Kind == Registry; u.costly {
			u.odd = costly%2 == 1
			costly++
		}
		r.runners = append(r.runners, u)
	}
	r.order = slices.Clone(r.runners)
	slices.SortStableFunc(r.order, func(a, b *runner) int { return rank(a) - rank(b) })
	if len(r.runners) > 1 { // large ones first: the last ones, which may be asked for twice, are small
		slices.SortStableFunc(r.wants, func(a, b *want) int {
			if gate := cmp.Compare(gates(b), gates(a)); gate != 0 {
				return gate
			}
			return cmp.Compare(b.size, a.size)
		})
	}
	return r
}

// gates is 1 for what others wait for.
func gates(w *want) int {
	if w.Scope == Nodes {
		return 1
	}
	return 0
}

// add makes wants of what is not wanted yet.
func (r *race) add(wants []Want) []*want {
	var added []*want
	for _, x := range wants {
		if r.byWant[x] != nil {
			continue
		}
		w := &want{Want: x, size: r.s.size(x)}
		r.byWant[x] = w
		added = append(added, w)
		r.open++
	}
	return added
}

// size is about how many bytes a want has.
func (s *Session) size(w Want) int64 {
	size := cmp.Or(s.Sizes[w.Root], unknownSize)
	switch w.Scope {
	case Nodes:
		return 1<<10 + size>>12
	case Leaves:
		from, _ := w.Of.Span(w.From)
		to, last := w.Of.Span(w.To - 1)
		return to + int64(last) - from
	default:
		return max(size, 1)
	}
}

func rank(u *runner) int {
	if u.costly {
		return 1
	}
	return 0
}

// run races until all is there, no one has the rest, or something of ours failed.
func (r *race) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	defer func() {
		cancel()
		r.calls.Wait()    // each ends by its own context, or when its source says so
		_ = r.puts.Wait() // they tell the race how they ended
	}()
	for r.assign(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-r.news:
		case <-beat.C:
			r.beat()
		}
	}
}

// assign gives work to who is free, and says whether the race goes on.
func (r *race) assign(ctx context.Context) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == 0 || r.fatal != nil || r.stuck || ctx.Err() != nil {
		return false
	}
	for _, u := range r.order {
		r.employ(ctx, u, true)
	}
	for _, u := range slices.Backward(r.order) { // whatever peers were given, a free registry is the first to look after
		r.employ(ctx, u, false)
	}
	return r.putting > 0 || slices.ContainsFunc(r.runners, func(u *runner) bool { return u.call != nil })
}

// employ gives work to u if it is free and there is some.
func (r *race) employ(ctx context.Context, u *runner, freshOnly bool) {
	if u.call != nil || u.out() {
		return
	}
	if c := r.pick(u, freshOnly); len(c.order) > 0 {
		r.start(ctx, c)
	}
}

// start makes the call c; the caller holds mu.
func (r *race) start(ctx context.Context, c *call) {
	asking, cancel := context.WithCancel(ctx)
	c.cancel = cancel
	c.from.call, c.from.begun = c, true
	req := Request{Wants: make([]Want, len(c.order)), Shared: c.shared}
	for i, w := range c.order {
		req.Wants[i] = w.Want
		if c.left[w] != spare {
			w.asked = append(w.asked, c)
			c.bytes += w.size
		}
	}
	c.share = c.bytes
	r.calls.Go(func() {
		defer cancel()
		missing, err := c.from.src.Content(asking, req, func(w Want, size int64, pack io.Reader) error {
			c.ours.Store(true)
			defer c.ours.Store(false)
			return r.deliver(ctx, asking, c, w, size, pack)
		})
		r.finish(ctx, c, missing, err)
	})
}

// finish takes note of how a call ended.
func (r *race) finish(ctx context.Context, c *call, missing []Want, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := c.from
	u.call = nil
	if u.atLeast = 0; err == nil && !c.ended && c.age <= short {
		u.atLeast = 2 * c.share
	}
	for w := range c.left {
		w.asked = without(w.asked, c)
		if err == nil && !c.ended { // it had its say
			c.lacks(w)
		}
	}
	for _, x := range missing {
		if w := r.byWant[x]; w != nil {
			c.lacks(w)
		}
	}
	u.named()
	if err != nil && !c.ended && !u.out() && ctx.Err() == nil {
		if isLie(err) { // it was found out by the source itself, as bitswap does
			r.lie(u, err)
		} else {
			u.Err = sourceError(u.Source, err)
		}
	}
	u.gone = u.gone || err == nil && !c.ended && absent(u.src)
	r.wake()
}

// named takes the name of a source that had to be found first. What is put carries the name, so that it changes only before
// anything was; the caller holds mu.
func (u *runner) named() {
	if name := u.src.Name(); u.Source != name { // it is read without mu, once it is known
		u.Source = name
	}
}

// isLie reports whether an error says that wrong bytes came.
func isLie(err error) bool {
	_, hash := errors.AsType[*tree.HashError](err)
	_, bad := errors.AsType[*tree.Error](err)
	return hash || bad
}

// lacks takes note that c was not given w.
func (c *call) lacks(w *want) {
	if c.shared {
		c.from.spared[w] = true
	} else {
		c.from.lacks[w] = true
	}
}

// out says whether u is asked no more.
func (u *runner) out() bool { return u.gone || u.Lie != nil || u.Err != nil }

// end ends a call that is of no more use; the caller holds mu.
func (c *call) end() {
	c.ended = true
	c.cancel()
}

// couldBeWhole says whether all that is left are parts, a source without work may have no parts but packs, and these would
// be here sooner at no more than the pace under which nobody is waited for.
func (r *race) couldBeWhole() bool {
	var left, whole, pace float64
	roots := map[cid.Cid]bool{}
	for _, w := range r.wants {
		switch {
		case w.done:
			continue
		case w.Scope == All:
			return false
		case !roots[w.Root]:
			roots[w.Root] = true
			whole += float64(max(r.s.Sizes[w.Root], unknownSize))
		}
		left += float64(w.left())
	}
	idle := false
	for _, u := range r.runners {
		if u.call != nil && !u.out() {
			pace += u.speed()
		}
		idle = idle || u.call == nil && !u.out()
	}
	return idle && pace < floor && left*floor > whole*pace
}

// wake makes the loop look again.
func (r *race) wake() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// beat takes the paces, and gives up when nothing at all came for too long.
func (r *race) beat() {
	r.mu.Lock()
	defer r.mu.Unlock()
	patience := r.s.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	busy, best := r.moved >= trickle || r.putting > 0, 0.0
	for _, u := range r.runners {
		best = max(best, u.speed())
		switch {
		case u.call == nil:
		case u.call.ours.Load():
			busy = true
		default:
			u.call.age++
			if u.call.quiet++; u.recent > 0 {
				u.call.quiet = 0
			}
			u.pace, u.recent = lasting*u.pace+u.recent, 0
		}
	}
	if r.slow++; !r.couldBeWhole() {
		r.slow = 0
	}
	r.stuck = r.slow >= tooSlow
	r.bar = max(floor, best/4)
	if r.silent += heartbeat; busy {
		r.silent, r.moved = 0, 0
	}
	for _, u := range r.runners {
		if u.call != nil && !u.out() && r.silent >= patience {
			u.Err = &SourceError{u.Source, fmt.Errorf("%w for %v", errSilent, patience)}
			u.call.end()
		}
	}
}

// sourceError names the source of err, unless err does.
func sourceError(name string, err error) error {
	var named *SourceError
	if errors.As(err, &named) {
		return err
	}
	return &SourceError{name, err}
}

// without returns list without one element.
func without[E comparable](list []E, e E) []E {
	return slices.DeleteFunc(list, func(x E) bool { return x == e })
}
