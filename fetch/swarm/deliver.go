package swarm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"pkg/fetch/tree"
)

const (
	// smallPack is up to how many bytes a pack is read into memory, to be unpacked beside others while the stream goes
	// on. Larger ones are unpacked straight from the stream, and so are all when memory is short.
	smallPack = 1<<20 + 64<<10
	// skipPacks is how many bytes of packs that are not needed one request reads past, before it is ended instead.
	skipPacks = 256 << 10
)

// deliver takes one pack of a call. Packs are put under ctx, so that a call may end before; asking is the call's own.
func (r *race) deliver(ctx, asking context.Context, c *call, x Want, size int64, pack io.Reader) error {
	d, skip, err := r.present(c, x, size)
	if err != nil {
		return err
	}
	in := &stream{race: r, d: d, src: pack}
	if skip {
		_, err := io.Copy(io.Discard, in)
		r.drop(d, err != nil)
		return err
	}
	if size < 0 || size > smallPack || !r.reserve(size) {
		in.settles = true
		return r.put(asking, d, size, in)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(in, data); err != nil || !r.settle(d) {
		r.drop(d, err != nil)
		r.release(size)
		return err
	}
	r.puts.Go(func() error {
		defer r.release(size)
		_ = r.put(ctx, d, size, &stream{src: bytes.NewReader(data)}) // the race knows
		return nil
	})
	return nil
}

// present decides what is done with a pack that arrives: it is brought, or skipped, or the call ends.
func (r *race) present(c *call, x Want, size int64) (d *delivery, skip bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.ended || r.fatal != nil {
		return nil, false, errStop
	}
	c.from.named()
	w := r.byWant[x]
	m, asked := c.left[w]
	if !asked {
		err := &tree.Error{Why: fmt.Sprintf("%s was not asked for, or came twice", x)}
		r.lie(c.from, err)
		return nil, false, err
	}
	delete(c.left, w)
	if m != spare {
		c.bytes -= w.size
		w.asked = without(w.asked, c)
	}
	d = &delivery{w: w, c: c, size: w.size}
	if size >= 0 {
		d.size = size
	}
	if !r.useful(c, w, m) {
		if size < 0 || c.skipped+size > skipPacks || !r.more(c) {
			c.end()
			return nil, false, errStop
		}
		c.skipped += size
		return d, true, nil
	}
	c.now = d
	w.under = append(w.under, d)
	return d, false, nil
}

// useful says whether c should bring w.
func (r *race) useful(c *call, w *want, m mode) bool {
	if w.done || w.settle != nil {
		return false
	}
	under, _ := r.quicks(w)
	switch {
	case m == spare && r.held(c.from) && r.free(w, r.busy):
		return false
	case m == again:
		return room(under, len(w.under))
	default:
		return under == 0
	}
}

// more says whether c has something useful before it.
func (r *race) more(c *call) bool {
	for len(c.order) > 0 {
		if _, ok := c.left[c.order[0]]; ok {
			break
		}
		c.order = c.order[1:] // what is presented in order is looked at once
	}
	return slices.ContainsFunc(c.order, func(w *want) bool {
		m, ok := c.left[w]
		return ok && r.useful(c, w, m)
	})
}

// reserve takes bytes out of the memory there is, if there are so many.
func (r *race) reserve(n int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n > r.memory {
		return false
	}
	r.memory -= n
	return true
}

func (r *race) release(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.memory += n
}

// settle makes d, which has come to its end, the one that is put. It is false if another was faster.
func (r *race) settle(d *delivery) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.settled(d) {
		return false
	}
	r.leave(d)
	return true
}

func (r *race) settled(d *delivery) bool {
	w := d.w
	if w.done || d.lost || w.settle != nil && w.settle != d {
		return false
	}
	if w.settle == nil {
		w.settle = d
		r.putting++
	}
	return true
}

// leave says that d's call is through with it, and ends the call if nothing it may still bring is of use.
func (r *race) leave(d *delivery) {
	if c := d.c; c.now == d {
		c.now = nil
		if len(c.left) > 0 && !r.more(c) {
			c.end()
		}
	}
}

// drop forgets a delivery that came to nothing. If it broke, its source may begin it again.
func (r *race) drop(d *delivery, broken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(d, broken)
}

func (r *race) forget(d *delivery, broken bool) {
	d.w.under = without(d.w.under, d)
	d.c.from.Wasted += d.n
	if d.w.settle == d {
		d.w.settle = nil
		r.putting--
	}
	if broken && !d.c.ended {
		d.c.left[d.w] = given
		d.c.order = append(d.c.order, d.w)
		d.c.bytes += d.w.size
		d.w.asked = append(d.w.asked, d.c)
	}
	r.leave(d)
	r.wake()
}

// put puts one pack and blames who is to blame.
func (r *race) put(ctx context.Context, d *delivery, size int64, in *stream) error {
	more, err := r.s.Put(ctx, &Arrival{Want: d.w.Want, Source: d.c.from.Source, Kind: d.c.from.Kind, Size: size, Pack: in, Alone: r.alone(d)})
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.insert(d.w, more)
		r.won(d)
		return nil
	}
	r.forget(d, in.err != nil)
	if in.err != nil {
		return in.err // the transport's; the source looks into it
	}
	var hash *tree.HashError
	var bad *tree.Error
	switch {
	case errors.As(err, &hash), errors.As(err, &bad):
		r.lie(d.c.from, err)
	case ctx.Err() == nil && r.fatal == nil:
		r.fatal = err
	}
	return err
}

// alone says whether nobody but its source can bring what belongs to d's root.
func (r *race) alone(d *delivery) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !slices.ContainsFunc(r.runners, func(v *runner) bool {
		return v != d.c.from && !v.out() && !absent(v.src) && !v.lacks[d.w]
	})
}

// insert takes in what w led to, before what is left: it is the rest of something that has begun. Who does not have w
// does not have that.
func (r *race) insert(w *want, more []Want) {
	added := r.add(more)
	if len(added) == 0 {
		return
	}
	for _, u := range r.runners {
		for _, x := range added {
			if u.lacks[w] && x.Scope == Leaves {
				u.lacks[x] = true
			}
		}
	}
	r.wants = slices.Concat(added, slices.DeleteFunc(r.wants, func(w *want) bool { return w.done }))
	r.wake()
}

// won takes note of a root that is there, and ends what others were doing for it.
func (r *race) won(d *delivery) {
	w := d.w
	if w.done { // Put did not read to the end, or it would have been stopped
		r.forget(d, false)
		return
	}
	if w.settle != nil {
		w.settle = nil
		r.putting--
	}
	w.done = true
	r.open--
	d.c.from.Packs++
	for _, other := range w.under {
		if other != d {
			other.lost = true
			other.c.end()
		}
	}
	w.under = without(w.under, d)
	r.leave(d)
	for _, c := range w.asked {
		if c.now == nil && !r.more(c) {
			c.end()
		}
	}
	if r.open == 0 {
		r.wake()
	}
}

// lie drops a source.
func (r *race) lie(u *runner, err error) {
	var hash *tree.HashError
	if errors.As(err, &hash) {
		if hash.Source == "" {
			hash.Source = u.Source
		}
		u.Lie = err
	} else {
		u.Lie = &SourceError{u.Source, err}
	}
	if u.call != nil {
		u.call.end()
	}
	r.wake()
}

// stream is a pack on its way from a source. It keeps the error that broke it.
type stream struct {
	race    *race // nil for one in memory
	d       *delivery
	src     io.Reader
	err     error
	settles bool // its end is only passed on if no other was faster
}

func (s *stream) Read(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.race == nil {
		return s.src.Read(b)
	}
	s.d.c.ours.Store(false)
	n, err := s.src.Read(b)
	s.d.c.ours.Store(true)
	if err = s.race.came(s, n, err); err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// came counts n bytes of s and says how it goes on.
func (r *race) came(s *stream, n int, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, u := s.d, s.d.c.from
	d.n += int64(n)
	u.Bytes += int64(n)
	u.recent += float64(n)
	r.moved += int64(n)
	switch {
	case d.lost, errors.Is(err, io.EOF) && s.settles && !r.settled(d):
		d.c.end()
		return errStop
	default:
		return err
	}
}
