package bitswap

import (
	"context"
	"slices"

	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
)

const (
	// maxWindow is how many wants one peer is asked for at a time. Kubo drops them in silence past 1,024.
	maxWindow = 500
	// firstWindow is how many at first, if there are several: a slow one shall not get half of all.
	firstWindow = 64
)

// remote is a peer as one fetch sees it.
type remote struct {
	peer    peer.AddrInfo
	state   remoteState
	err     error // why it is dead
	out     int   // wants it was asked for and has not answered
	window  int
	most    int
	strikes int
	asked   map[cid.Cid]bool // all it was ever asked for; true: it came

	heard, heardAt int64 // bytes, now and at the last tick
	quiet          int   // ticks without a byte
	barren         int   // ticks without an answer

	queue []entry
	wake  chan struct{}
}

type remoteState byte

const (
	dialling remoteState = iota
	alive
	dead
)

func (r *remote) free() bool { return r.state == alive && r.out < min(r.window, r.most) }

// low says that it is time for more wants: many in one message, not one for each block that came.
func (r *remote) low() bool { return r.state == alive && r.out <= min(r.window, r.most)*3/4 }

func (r *remote) send(e entry) {
	r.queue = append(r.queue, e)
	r.signal()
}

func (r *remote) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run dials a peer and sends it what is queued, until the fetch ends.
func (f *fetch) run(r *remote) {
	x := f.c.x
	out, err := x.dial(f.ctx, r.peer)
	f.c.mu.Lock()
	if err != nil {
		f.drop(r, err)
	} else if r.state == dialling {
		r.state = alive
	}
	f.pump()
	f.c.mu.Unlock()
	if err != nil {
		return
	}
	defer out.close(x.ctx)
	for {
		f.c.mu.Lock()
		queue := r.queue
		r.queue = nil
		over := r.state == dead
		f.c.mu.Unlock()
		for part := range slices.Chunk(queue, maxWindow) {
			if err := out.send(x.ctx, wantlist(part), nil); err != nil {
				f.c.mu.Lock()
				f.drop(r, err)
				f.pump()
				f.c.mu.Unlock()
				return
			}
		}
		if over {
			return
		}
		select {
		case <-r.wake:
		case <-x.ctx.Done():
			return
		}
	}
}

// dial opens the stream on which wants go to a peer.
func (x *Exchange) dial(ctx context.Context, p peer.AddrInfo) (*outlet, error) {
	ctx, cancel := context.WithTimeout(ctx, x.o.Stall)
	defer cancel()
	if err := x.host.Connect(ctx, p); err != nil {
		return nil, err
	}
	s, err := x.host.NewStream(ctx, p.ID, protocol120, protocol110)
	if err != nil {
		return nil, err
	}
	return &outlet{s: s, stall: x.o.Stall, pool: &x.buffers}, nil
}

func wantlist(part []entry) *pb.Message {
	entries := make([]*pb.Message_Wantlist_Entry, len(part))
	for i, e := range part {
		entries[i] = &pb.Message_Wantlist_Entry{Block: e.cid, Priority: e.priority, Cancel: e.cancel, SendDontHave: e.dontHave}
	}
	return &pb.Message{Wantlist: &pb.Message_Wantlist{Entries: entries}}
}
