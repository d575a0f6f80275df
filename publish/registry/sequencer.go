//go:build unix

package registry

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"pkg/keys/namespace"
	"pkg/keys/tlog"
)

const (
	queueLength = 1024
	// clockLook is how often an idle registry looks at the clock.
	clockLook = time.Minute
	// retryPause is how long the sequencer leaves a commit that could not be
	// finished alone before it tries again by itself.
	retryPause = time.Second
	// settle is how long a batch stays open after one was answered, for those
	// who were answered and have more: else they would miss it, and there
	// would be two groups of publishers waiting for each other.
	settle = 10 * time.Millisecond
	// burst is how long the first submission after a pause waits for others.
	burst = 3 * time.Millisecond
)

// errUnconfirmed is the answer to submissions whose commit could not be
// published now. They may yet be recorded: sending them again is right.
func errUnconfirmed(err error) error {
	return &unconfirmedError{err}
}

type unconfirmedError struct{ err error }

func (e *unconfirmedError) Error() string {
	return "the registry could not confirm the submission, send it again: " + e.err.Error()
}
func (e *unconfirmedError) Unwrap() error { return e.err }

// run is the sequencer. It ends when the queue is closed and empty.
func (s *Server) run(ctx context.Context) {
	defer close(s.done)
	tick := time.NewTicker(clockLook)
	defer tick.Stop()
	retry := time.NewTimer(retryPause)
	defer retry.Stop()
	for {
		var err error
		select {
		case w, ok := <-s.queue:
			if !ok {
				if err := s.finishPending(ctx); err != nil {
					s.troubled(ctx, err)
				}
				return
			}
			s.gather(ctx, w)
		case <-tick.C:
			err = s.stayFresh(ctx)
		case <-s.idle:
			err = s.stayFresh(ctx)
		case <-retry.C:
			err = s.finishPending(ctx)
		}
		if err != nil {
			s.troubled(ctx, err)
		}
		if s.pending != nil {
			retry.Reset(retryPause)
		}
	}
}

// gather waits until the log would soon publish at once, and commits everything
// that was submitted until then together.
func (s *Server) gather(ctx context.Context, first *work) {
	batch := []*work{first}
	wait := time.NewTimer(max(s.log.Ready()-s.lead, settle-systemNow().Sub(s.acked), burst))
	defer wait.Stop()
	size := first.size
	queue := s.queue
	for open := true; open; {
		if size >= opsBudget {
			<-wait.C
			break
		}
		select {
		case w, ok := <-queue:
			if !ok {
				queue = nil // closing: what is in hand is still committed
				continue
			}
			batch = append(batch, w)
			size += w.size
		case <-wait.C:
			open = false
		}
	}
	s.commit(ctx, batch)
}

// pace keeps the mean of what it takes to get a commit ready for the log, by
// which the next one is begun earlier: then only the log's own work comes on top
// of the checkpoint interval.
func (s *Server) pace(took time.Duration) {
	s.lead = min((3*s.lead+took)/4, s.cfg.CheckpointInterval*4/5)
}

// commit records the batch in as few commits as fit.
func (s *Server) commit(ctx context.Context, batch []*work) {
	for len(batch) > 0 {
		if err := s.finishPending(ctx); err != nil {
			answer(batch, errUnconfirmed(err))
			return
		}
		start := systemNow()
		st, err := s.newStage(ctx)
		if err != nil {
			answer(batch, errUnconfirmed(err))
			return
		}
		batch = st.addAll(ctx, batch)
		if len(st.accepted) > 0 && len(st.order) == 0 {
			st.acknowledge(s.now.Load().head.Commit.N + 1) // all of it was there before
			continue
		}
		if len(st.order) == 0 {
			continue
		}
		if err := s.publish(ctx, st, start); err != nil {
			s.troubled(ctx, err)
			answer(st.accepted, errUnconfirmed(err))
		}
	}
}

// publish builds the commit of st, makes it durable and publishes it.
func (s *Server) publish(ctx context.Context, st *stage, start time.Time) error {
	r, pkgs, err := st.build(ctx)
	if err != nil {
		return err
	}
	if err := s.journal.append(r); err != nil {
		return err
	}
	ready := systemNow().Sub(start)
	s.pending = &r
	if err := s.finishPending(ctx); err != nil {
		return err
	}
	s.pace(ready + s.placing)
	for _, p := range pkgs {
		s.packages.add(p.record.Index, p)
	}
	st.acknowledge(r.commit.N)
	s.acked = systemNow()
	return nil
}

// finishPending publishes the commit that is in the journal. Every step of it
// can be repeated, so it is also what recovers after an error or a crash.
func (s *Server) finishPending(ctx context.Context) error {
	r := s.pending
	if r == nil {
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		start := systemNow()
		err := s.blocks.place(gctx, r.blocks)
		s.placing = systemNow().Sub(start)
		return err
	})
	g.Go(func() error {
		// A leaf that comes too early waits for a whole interval more.
		if wait := s.log.Ready(); wait > 0 {
			time.Sleep(wait)
		}
		return s.seq.Append(ctx, r.commit.N, r.leaf)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if err := s.publishHead(ctx, r.commit); err != nil {
		return err
	}
	if err := s.learnOps(r); err != nil {
		return err
	}
	s.pending = nil
	s.counters.trouble.Store(nil)
	s.counters.commits.Add(1)
	if err := s.journal.shrink(s.blocks.dir); err != nil {
		s.cfg.Logger.WarnContext(ctx, "shrink the journal", slog.Any("error", err))
	}
	return nil
}

// publishHead replaces the head by the one whose last leaf is c. Tree, blocks and signer's record are durable by now, so whoever reads
// the head finds all it names.
func (s *Server) publishHead(ctx context.Context, c namespace.Commit) error {
	text, err := s.seq.Checkpoint(ctx, c.N+1)
	if err != nil {
		return err
	}
	_, size, root, err := tlog.ParseCheckpoint(text)
	if err != nil {
		return err
	}
	hashes, err := tlog.ProveInclusion(ctx, s.log, size, root, size-1)
	if err != nil {
		return err
	}
	raw := namespace.FormatHead(text, c, hashes)
	head, err := namespace.OpenHead(raw, s.trust)
	if err != nil {
		return fmt.Errorf("the head just made: %w", err)
	}
	if err := s.disk.Replace(filepath.Join(s.public, "head"), raw, 0o644); err != nil {
		return fmt.Errorf("replace the head: %w", err)
	}
	s.now.Store(&view{raw: raw, head: head})
	return nil
}

// learnOps remembers the ids of the names a commit claims.
func (s *Server) learnOps(r *record) error {
	for _, b := range r.blocks {
		if !b.cid.Equals(r.commit.O) {
			continue
		}
		ops, err := namespace.DecodeOps(b.data)
		if err != nil {
			return err
		}
		for _, op := range ops {
			if id, n, ok := claimed(op); ok {
				s.learn(id, n)
			}
		}
	}
	return nil
}

// stayFresh records an empty commit if the last one is old.
func (s *Server) stayFresh(ctx context.Context) error {
	if err := s.finishPending(ctx); err != nil {
		return err
	}
	last := s.now.Load().head.Commit
	if s.cfg.IdleInterval < 0 || s.cfg.Now().Sub(time.Unix(last.T, 0)) < s.cfg.IdleInterval {
		return nil
	}
	st, err := s.newStage(ctx)
	if err != nil {
		return err
	}
	return s.publish(ctx, st, systemNow())
}

// enqueue hands w to the sequencer and waits for the sequencer's answer.
func (s *Server) enqueue(ctx context.Context, w *work) (Receipt, error) {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return Receipt{}, ErrClosed
	}
	select {
	case s.queue <- w:
		s.mu.RUnlock()
	case <-ctx.Done():
		s.mu.RUnlock()
		return Receipt{}, ctx.Err()
	}
	select {
	case a := <-w.answer:
		return a.receipt, a.err
	case <-ctx.Done():
		return Receipt{}, ctx.Err()
	}
}

// troubled notes that a commit was not published: /healthz and the log say so.
func (s *Server) troubled(ctx context.Context, err error) {
	text := err.Error()
	s.counters.trouble.Store(&text)
	s.cfg.Logger.ErrorContext(ctx, "commit", slog.Any("error", err))
}

func answer(batch []*work, err error) {
	for _, w := range batch {
		w.answer <- reply{err: err}
	}
}
