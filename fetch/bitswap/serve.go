package bitswap

import (
	"context"
	"fmt"
	"time"

	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multihash"
)

const (
	// targetMessage is how many bytes of blocks a message holds at most, unless one block alone is larger.
	targetMessage = 1 << 20
	// turnWants is how many wants are looked up before it is another peer's turn.
	turnWants = 256
	// keepOpen is how long a stream stays open for further wants of its peer.
	keepOpen = 5 * time.Second
	// pressed is how long a peer may take nothing while others wait for what it holds.
	pressed = time.Second
)

// serve sends a peer what it wants until it wants nothing any more.
func (s *server) serve(ctx context.Context, l *ledger) {
	var out *outlet
	defer func() {
		if out != nil {
			out.close(ctx)
		}
	}()
	idle := time.NewTimer(keepOpen)
	defer idle.Stop()
	for {
		wants, bytes, err := s.batch(ctx, l)
		if err == nil && len(wants) > 0 {
			if out == nil {
				out, err = s.open(ctx, l)
			}
			if err == nil {
				err = s.answer(ctx, l, out, wants, bytes)
			}
		}
		if err != nil { // the peer is gone, takes nothing, or we are closing
			if out != nil {
				_ = out.s.Reset()
				out = nil
			}
			s.end(l, true)
			return
		}
		if len(wants) > 0 {
			continue
		}
		idle.Reset(keepOpen)
		select {
		case <-l.wake:
		case <-idle.C:
			if s.end(l, false) {
				return
			}
		case <-ctx.Done():
			s.end(l, true)
			return
		}
	}
}

// end says that the ledger's goroutine ends, unless there is more to do.
func (s *server) end(l *ledger, drop bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if drop {
		s.clear(l)
	}
	if len(l.queue) > 0 {
		return false
	}
	l.wants, l.queue = map[cid.Cid]*want{}, nil // or an idle peer would keep room for many
	l.stop = nil
	return true
}

// found is a want and the size of its block; -1 means that it is not here.
type found struct {
	*want
	size int64
}

// batch takes wants for one message and returns how many bytes of blocks they are.
func (s *server) batch(ctx context.Context, l *ledger) (wants []found, bytes int64, err error) {
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return nil, 0, err
	}
	defer s.turn.Release(1)
	for len(wants) < turnWants {
		w := s.next(l)
		if w == nil {
			break
		}
		f := found{w, s.size(ctx, w.cid)}
		if !w.have && f.size > 0 {
			if bytes > 0 && bytes+f.size > targetMessage {
				s.putBack(l, w)
				break
			}
			bytes += f.size
		}
		wants = append(wants, f)
	}
	return wants, bytes, ctx.Err()
}

// size returns the size of a block that can be served, or -1. The identity CID carries its own content and is never
// sent. Nor is an empty block: on the wire it cannot be told from none, and no tree has one.
func (s *server) size(ctx context.Context, c cid.Cid) int64 {
	if p := c.Prefix(); p.MhType == multihash.IDENTITY {
		return -1
	}
	size, err := s.x.o.Blocks.Size(ctx, c)
	if err != nil || size <= 0 || size > maxServed {
		return -1
	}
	return size
}

// open opens a stream of our own to the peer: answers do not come on the stream of the question.
func (s *server) open(ctx context.Context, l *ledger) (*outlet, error) {
	tctx, cancel := context.WithTimeout(network.WithNoDial(ctx, "it asked"), s.x.o.Stall)
	defer cancel()
	stream, err := s.x.host.NewStream(tctx, l.peer, protocols()...)
	if err != nil {
		return nil, err
	}
	out := &outlet{s: stream, stall: s.x.o.Stall, pool: &s.x.buffers}
	if upload := s.x.o.Upload; upload != nil {
		out.wait = func(ctx context.Context, n int) error { return upload(ctx, l.peer, n) }
	}
	return out, nil
}

// answer sends one message. The bytes count twice until it is made: as blocks and as the message. Then, for as long as the
// peer and the limit of uploads take, they count once: the more peers get something at a time.
func (s *server) answer(ctx context.Context, l *ledger, out *outlet, wants []found, bytes int64) error {
	release, err := s.acquire(ctx, l, 2*bytes)
	if err != nil {
		return err
	}
	defer func() { release(2) }()
	m, sent, err := s.message(ctx, out.s.Protocol(), wants)
	if err != nil {
		return err
	}
	if len(m.Payload)+len(m.Blocks)+len(m.BlockPresences) > 0 {
		s.inFlight(l, out)
		err := out.send(ctx, m, func() { release(1) })
		s.inFlight(l, nil)
		if err != nil {
			return fmt.Errorf("send to %s: %w", l.peer, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.stats.add(sent)
	return nil
}

func (s *server) inFlight(l *ledger, out *outlet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.out, l.marked = out, -1
}

// acquire waits until so many more bytes may be in flight to a peer, and returns what gives one half of them back, or
// all that is left. While somebody waits, peers that take nothing for as long as pressed are let go: what they hold is needed. From then on they share
// a smaller part among themselves.
func (s *server) acquire(ctx context.Context, l *ledger, bytes int64) (release func(halves int64), err error) {
	s.mu.Lock()
	from, most := s.sending, s.x.o.Limits.Sending
	if l.slow {
		from, most = s.slow, slowPart(most)
	}
	s.mu.Unlock()
	weight := min(bytes, most)
	left := weight
	release = func(halves int64) {
		n := min(left, halves*(weight+1)/2)
		left -= n
		from.Release(n)
	}
	if from.TryAcquire(weight) {
		return release, nil
	}
	s.wait(1)
	defer s.wait(-1)
	return release, from.Acquire(ctx, weight)
}

// slowPart is what peers that were let go may have in flight, of what others may.
func slowPart(sending int64) int64 { return max(sending/4, 2*maxServed) }

// wait counts who waits, and looks after peers that take nothing while there is anybody.
func (s *server) wait(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting += n
	switch {
	case s.watch == nil:
		s.watch = time.AfterFunc(pressed, s.cut)
	case s.waiting == 0:
		s.watch.Stop()
	case s.waiting == n:
		s.watch.Reset(pressed)
	}
}

// cut resets the streams that took nothing since it looked last.
func (s *server) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.ledgers {
		if l.out == nil || !l.out.writing.Load() {
			continue
		}
		if n := l.out.chunks.Load(); n != l.marked {
			l.marked = n
		} else {
			l.slow = true
			_ = l.out.s.Reset()
		}
	}
	if s.waiting > 0 {
		s.watch.Reset(pressed)
	}
}

// message makes the answer to wants, in a form that the protocol knows.
func (s *server) message(ctx context.Context, p protocol.ID, wants []found) (*pb.Message, PeerStats, error) {
	if err := s.turn.Acquire(ctx, 1); err != nil {
		return nil, PeerStats{}, err
	}
	defer s.turn.Release(1)
	m := &pb.Message{}
	var sent PeerStats
	say := func(c cid.Cid, t pb.Message_BlockPresenceType) {
		if p == protocol120 {
			m.BlockPresences = append(m.BlockPresences, &pb.Message_BlockPresence{Cid: c.Bytes(), Type: t})
		}
	}
	for _, f := range wants {
		var data []byte
		here := f.size >= 0
		if here && !f.have {
			var err error
			data, err = s.x.o.Blocks.Block(ctx, f.cid)
			here = err == nil && int64(len(data)) == f.size
		}
		switch {
		case !here:
			sent.Absent++
			if f.dontHave {
				say(f.cid, pb.Message_DontHave)
			}
		case f.have:
			say(f.cid, pb.Message_Have)
		default:
			if p == protocol120 || p == protocol110 {
				m.Payload = append(m.Payload, &pb.Message_Block{Prefix: f.cid.Prefix().Bytes(), Data: data})
			} else {
				m.Blocks = append(m.Blocks, data)
			}
			sent.Blocks++
			sent.Bytes += int64(len(data))
		}
	}
	return m, sent, nil
}
