package p2p

import (
	"io"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

// turn is how much of a stream is sent under one turn of the upload limit, in bytes.
const turn = 16 << 10

// stream is a stream whose writes are held to the upload limit and to the peer taking them.
type stream struct {
	network.Stream
	lazy   io.ReadWriteCloser // negotiates with the first bytes; nil if that is done
	bucket *bucket            // nil: no limit
	gone   <-chan struct{}    // closed with the connection; nil without a limit
	times  times

	mu       sync.Mutex    // guards what follows, and the closing of done
	deadline time.Time     // for writes, as the caller wants it
	writing  int           // writes under way
	over     bool          // done is closed
	done     chan struct{} // closed when nothing more is written
}

// wrap holds HTTP to the upload limit. What else serves content asks [Host.Upload], where it can tell a wait for the limit
// from one for the peer; identify and the like must not wait for those who fetch.
func (n *node) wrap(s network.Stream, lazy io.ReadWriteCloser) *stream {
	w := &stream{Stream: s, lazy: lazy, times: n.times, done: make(chan struct{})}
	if n.bucket != nil && s.Protocol() == Protocol {
		w.bucket, w.gone = n.bucket, n.leaves.when(s.Conn())
	}
	return w
}

// resetAfter resets a stream after a while. stop reports whether it was in time.
func resetAfter(s network.Stream, d time.Duration) (stop func() bool) {
	return time.AfterFunc(d, func() { _ = s.Reset() }).Stop
}

func (s *stream) Read(b []byte) (int, error) {
	if s.lazy != nil {
		return s.lazy.Read(b)
	}
	return s.Stream.Read(b)
}

func (s *stream) Write(b []byte) (n int, err error) {
	if !s.begin() {
		return 0, network.ErrReset
	}
	defer s.end()
	if s.bucket == nil {
		return s.send(b)
	}
	for len(b) > 0 && err == nil {
		part := b[:min(len(b), turn)]
		waited, ok := s.bucket.wait(s.Conn().RemotePeer(), len(part), s.done, s.gone)
		if !ok {
			return n, network.ErrReset
		}
		if waited > 0 {
			s.extend(waited)
		}
		var m int
		m, err = s.send(part)
		s.bucket.give(len(part) - m)
		n, b = n+m, b[m:]
	}
	return n, err
}

// send writes. A peer that does not take it loses the stream.
func (s *stream) send(b []byte) (int, error) {
	defer resetAfter(s.Stream, s.times.stall)()
	if s.lazy != nil {
		return s.lazy.Write(b)
	}
	return s.Stream.Write(b)
}

// extend moves the deadline: what the limit took is not the peer's fault.
func (s *stream) extend(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.deadline.IsZero() {
		s.deadline = s.deadline.Add(d)
		_ = s.Stream.SetWriteDeadline(s.deadline) // the write tells
	}
}

// SetWriteDeadline sets the deadline of writes; the time that the upload limit takes does not count.
func (s *stream) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return s.Stream.SetWriteDeadline(t)
}

// SetDeadline sets the deadlines of reads and writes.
func (s *stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// begin and end hold a write: none begins after the end of the stream.
func (s *stream) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.writing++
	return true
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
}

// finish ends what is written. It reports whether a write was under way, from which now bytes are missing.
func (s *stream) finish() (cut bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.over = true
		close(s.done)
	}
	return s.writing > 0
}

func (s *stream) Reset() error {
	s.finish()
	return s.Stream.Reset()
}

func (s *stream) ResetWithError(code network.StreamErrorCode) error {
	s.finish()
	return s.Stream.ResetWithError(code)
}

// Close closes both directions. What was written is still sent, but where a write is under way the stream is reset: QUIC
// would leave that waiting for ever.
func (s *stream) Close() error {
	if s.finish() {
		return s.Stream.Reset()
	}
	if s.lazy == nil {
		return s.Stream.Close()
	}
	// It waits for the peer to agree on the protocol (go-multistream issue 47).
	defer resetAfter(s.Stream, s.times.negotiate)()
	return s.lazy.Close()
}

// CloseWrite ends what is written.
func (s *stream) CloseWrite() error {
	s.finish()
	if f, ok := s.lazy.(interface{ Flush() error }); ok {
		_ = f.Flush() // the peer may not read any more: the next read tells
	}
	return s.Stream.CloseWrite()
}
