package bitswap

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/boxo/bitswap/message/pb"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The protocols, as Kubo offers them. Only 1.2.0 knows presences (HAVE, DONT_HAVE); before 1.1.0 a block comes without
// the prefix of its CID and is taken to be CIDv0.
const (
	protocol120 protocol.ID = "/ipfs/bitswap/1.2.0"
	protocol110 protocol.ID = "/ipfs/bitswap/1.1.0"
	protocol100 protocol.ID = "/ipfs/bitswap/1.0.0"
	protocolOld protocol.ID = "/ipfs/bitswap"
)

func protocols() []protocol.ID {
	return []protocol.ID{protocol120, protocol110, protocol100, protocolOld}
}

const (
	// maxMessage is the size in bytes of the largest message: what Kubo sends and takes at most.
	maxMessage = network.MessageSizeMax
	// maxEntries is how many wants, blocks and presences, each, are read out of one message. What is beyond is not
	// looked at.
	maxEntries = 4096
	// maxCID is the size in bytes of the longest CID that is looked at, as in Kubo.
	maxCID = 168
	// maxServed is the size in bytes of the largest block that is sent or taken.
	maxServed = 2 << 20
	// chunk is how many bytes are read or written at a time, so that a peer is seen to make progress.
	chunk = 64 << 10
)

var errMessage = errors.New("malformed bitswap message")

// message is one bitswap message as a peer sent it. Its slices are parts of the bytes it was read from: who keeps
// one longer than that copies it.
type message struct {
	full      bool
	entries   []entry
	blocks    []payload
	presences []presence
	dropped   int // beyond maxEntries
}

// entry is one line of a wantlist.
type entry struct {
	cid      []byte
	priority int32
	cancel   bool
	have     bool // want-have, else want-block
	dontHave bool // say so if the block is not here
}

// payload is a block and the prefix of its CID; nil before bitswap 1.1.0.
type payload struct{ prefix, data []byte }

// presence says that a peer has a block, or not.
type presence struct {
	cid      []byte
	dontHave bool
}

// parseMessage reads the protobuf of pb.Message. It is not proto.Unmarshal because that makes 100 bytes of every two
// that a hostile peer sends; this makes a bounded number of entries and copies no block. Unmarshal is its oracle.
func parseMessage(b []byte) (*message, error) {
	m := &message{}
	err := fields(b, func(num protowire.Number, _ uint64, val []byte) error {
		switch num {
		case 1:
			return m.wantlist(val)
		case 2:
			m.block(payload{data: val})
		case 3:
			var p payload
			if err := fields(val, func(num protowire.Number, _ uint64, val []byte) error {
				switch num {
				case 1:
					p.prefix = val
				case 2:
					p.data = val
				}
				return nil
			}, kindBytes, kindBytes); err != nil {
				return err
			}
			if p.prefix == nil {
				p.prefix = []byte{}
			}
			m.block(p)
		case 4:
			return m.presence(val)
		}
		return nil
	}, kindBytes, kindBytes, kindBytes, kindBytes, kindNumber)
	return m, err
}

func (m *message) block(p payload) {
	if len(m.blocks) == maxEntries {
		m.dropped++
		return
	}
	m.blocks = append(m.blocks, p)
}

func (m *message) presence(b []byte) error {
	var p presence
	err := fields(b, func(num protowire.Number, n uint64, val []byte) error {
		switch num {
		case 1:
			p.cid = val
		case 2:
			p.dontHave = int32(n) == int32(pb.Message_DontHave) //nolint:gosec // G115: as protobuf truncates enums
		}
		return nil
	}, kindBytes, kindNumber)
	if len(m.presences) == maxEntries {
		m.dropped++
		return err
	}
	m.presences = append(m.presences, p)
	return err
}

func (m *message) wantlist(b []byte) error {
	return fields(b, func(num protowire.Number, n uint64, val []byte) error {
		switch num {
		case 1:
			var e entry
			if err := fields(val, e.field, kindBytes, kindNumber, kindNumber, kindNumber, kindNumber); err != nil {
				return err
			}
			if len(m.entries) == maxEntries {
				m.dropped++
				return nil
			}
			m.entries = append(m.entries, e)
		case 2:
			m.full = n != 0
		}
		return nil
	}, kindBytes, kindNumber)
}

func (e *entry) field(num protowire.Number, n uint64, val []byte) error {
	switch num {
	case 1:
		e.cid = val
	case 2:
		e.priority = int32(n) //nolint:gosec // G115: as protobuf truncates an int32
	case 3:
		e.cancel = n != 0
	case 4:
		e.have = int32(n) == int32(pb.Message_Wantlist_Have) //nolint:gosec // G115: as protobuf truncates enums
	case 5:
		e.dontHave = n != 0
	}
	return nil
}

const (
	kindNumber = protowire.VarintType
	kindBytes  = protowire.BytesType
)

// fields calls each for the fields 1, 2, … of the kinds given; others are skipped, as protobuf does.
func fields(b []byte, each func(num protowire.Number, n uint64, val []byte) error, kinds ...protowire.Type) error {
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 || num > protowire.MaxValidNumber {
			return errMessage
		}
		b = b[n:]
		if int(num) > len(kinds) || kinds[num-1] != typ {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errMessage
			}
			b = b[n:]
			continue
		}
		var number uint64
		var val []byte
		if typ == kindNumber {
			number, n = protowire.ConsumeVarint(b)
		} else {
			val, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			return errMessage
		}
		b = b[n:]
		if err := each(num, number, val); err != nil {
			return err
		}
	}
	return nil
}

// readSize reads the length before a message. io.EOF is a stream that ended where it may.
func readSize(r *bufio.Reader) (int, error) {
	v, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, err
	}
	if v > maxMessage {
		return 0, fmt.Errorf("%w: %d bytes", errMessage, v)
	}
	return int(v), nil
}

// readBody reads size bytes into the memory of b. More is taken as they come, not as they are promised. came is told of
// every part.
func readBody(r io.Reader, b []byte, size int, came func(n int)) ([]byte, error) {
	b = b[:0]
	for len(b) < size {
		if len(b) == cap(b) {
			bigger := make([]byte, len(b), min(size, max(chunk, 2*cap(b))))
			copy(bigger, b)
			b = bigger
		}
		n, err := r.Read(b[len(b):min(cap(b), len(b)+chunk)])
		if b = b[:len(b)+n]; n > 0 {
			came(n)
		}
		if err != nil && len(b) < size {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return b, nil
}

// buffers lends memory for messages.
type buffers struct{ pool sync.Pool }

func (p *buffers) get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return nil
}

func (p *buffers) put(b []byte) { p.pool.Put(&b) }

// outlet writes messages to one stream. A write that makes no progress for stall resets the stream.
type outlet struct {
	s     network.Stream
	stall time.Duration
	wait  func(ctx context.Context, n int) error // before n bytes leave; nil does not wait
	pool  *buffers

	writing atomic.Bool  // it is the peer that we wait for
	chunks  atomic.Int64 // written
}

// send writes a message. made, unless nil, is called once m is not needed any more.
func (o *outlet) send(ctx context.Context, m *pb.Message, made func()) error {
	size := proto.Size(m)
	b := slices.Grow(o.pool.get(), size+binary.MaxVarintLen32)
	b = binary.AppendUvarint(b, uint64(size)) //nolint:gosec // G115: sizes are not negative
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
	if err != nil {
		return err
	}
	if made != nil {
		made()
	}
	defer o.pool.put(b)
	for len(b) > 0 {
		n := min(len(b), chunk)
		if o.wait != nil {
			if err := o.wait(ctx, n); err != nil {
				return err
			}
		}
		o.writing.Store(true)
		err := o.guard(ctx, func() error {
			_, err := o.s.Write(b[:n])
			return err
		})
		o.writing.Store(false)
		if err != nil {
			return err
		}
		o.chunks.Add(1)
		b = b[n:]
	}
	return nil
}

// guard resets the stream if f, which blocks on it, takes longer than stall, or than ctx lasts.
func (o *outlet) guard(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, o.stall)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = o.s.Reset() })
	err := f()
	if !stop() {
		<-ctx.Done()
		return fmt.Errorf("the peer takes nothing: %w", ctx.Err())
	}
	return err
}

// close ends the stream. Close may wait for the end of the protocol's negotiation.
func (o *outlet) close(ctx context.Context) {
	if err := o.guard(ctx, o.s.Close); err != nil {
		_ = o.s.Reset()
	}
}
