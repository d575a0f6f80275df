package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pkg/fetch"
	"pkg/fetch/store"
	"pkg/lockfile"
)

// fetching is a fetch that runs beside the command.
type fetching struct {
	cancel context.CancelFunc
	events chan fetch.Event // holds the latest

	done chan struct{} // closed when what follows is set
	haul *fetch.Haul
	took time.Duration
	err  error
}

// start begins to bring what a plan wants.
func (s *sync) start(ctx context.Context, st *store.Store, lock *lockfile.Lock, plan fetch.Plan) (*fetching, error) {
	sources, done, err := s.sources(ctx, lock, plan)
	if err != nil {
		return nil, err
	}
	f := &fetching{events: make(chan fetch.Event, 1), done: make(chan struct{})}
	ctx, f.cancel = context.WithCancel(ctx)
	go func() {
		defer close(f.done)
		began := s.env.Now()
		haul, err := fetch.Bring(ctx, plan, st, sources, func(ev fetch.Event) {
			select {
			case <-f.events:
			default:
			}
			f.events <- ev
		})
		f.haul, f.err, f.took = haul, errors.Join(err, done()), s.env.Now().Sub(began)
	}()
	return f, nil
}

// fetchAhead begins to bring what the project's lock names, into a place of its own: nothing of it is in the store before
// the lock is proved. Whatever speaks against it is for fetch to say.
func (s *sync) fetchAhead(ctx context.Context) {
	if s.o.Offline || s.o.Repair || s.ahead != nil {
		return
	}
	st, err := s.store()
	if err != nil {
		return
	}
	lock := s.project.lock
	if plan := fetch.NewPlan(lock, s.project.keep(lock, s.manifest, s.o.Prod), st); len(plan.Want) > 0 {
		s.ahead, _ = s.start(ctx, st, lock, plan)
	}
}

// drop ends what is fetched ahead and not needed, and throws it away.
func (s *sync) drop() {
	if s.ahead != nil {
		s.ahead.cancel()
		<-s.ahead.done
		_ = s.ahead.haul.Discard() // or the next command does
		s.ahead = nil
	}
}

// fetch brings what the store lacks.
func (s *sync) fetch(ctx context.Context, st *store.Store, lock *lockfile.Lock) (fetch.Report, time.Duration, error) {
	f := s.ahead
	if f == nil || lock != s.project.lock {
		s.drop()
		plan := fetch.NewPlan(lock, s.project.keep(lock, s.manifest, s.o.Prod), st)
		if len(plan.Want) == 0 {
			return fetch.Report{}, 0, nil
		}
		if s.o.Offline {
			it := plan.Want[0]
			return fetch.Report{}, 0, fail(exitNetwork, "pkg install", "%s %s is not in the store%s, and --offline forbids to fetch", it.Name, it.Version, more(len(plan.Want)-1))
		}
		var err error
		if f, err = s.start(ctx, st, lock, plan); err != nil {
			return fetch.Report{}, 0, err
		}
	}
	s.ahead = nil
	for running := true; running; {
		select {
		case ev := <-f.events:
			s.env.UI.Progress("fetching", progressed{ev.Bytes, ev.Total, ev.Done, ev.Of, ev.Peers, ev.Sent, ev.ByPeers}, "%s", progress(&ev))
		case <-f.done:
			running = false
		}
	}
	f.cancel()
	report := f.haul.Report
	for _, name := range sorted(report.Dropped) {
		s.env.UI.Warn("dropped", map[string]string{"source": name, "why": report.Dropped[name]}, "%s sent wrong bytes and was not asked again: %s", name, report.Dropped[name])
	}
	return report, f.took, errors.Join(f.err, f.haul.Seal(ctx))
}

// progressed is the JSON form of how far a fetch is.
type progressed struct {
	Bytes    int64 `json:"bytes"`
	Total    int64 `json:"total"`
	Packages int   `json:"packages"`
	Of       int   `json:"of"`
	Peers    int   `json:"peers"`
	Sent     int64 `json:"sent"`
	ByPeers  int64 `json:"by_peers"`
}

// progress is how far a fetch is, in a line: "peers 14 · 38.2/48.0 MB · 92% from peers".
func progress(ev *fetch.Event) string {
	total := size(ev.Total)
	done := size(ev.Bytes)
	if n, unit, _ := strings.Cut(done, " "); strings.HasSuffix(total, " "+unit) {
		done = n
	}
	line := done + "/" + total
	if ev.Peers == 0 {
		return fmt.Sprintf("%s · %d/%d packages", line, ev.Done, ev.Of)
	}
	return fmt.Sprintf("peers %d · %s · %.0f%% from peers", ev.Peers, line, 100*float64(ev.ByPeers)/float64(max(ev.Sent, 1)))
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" (nor are %d more)", n)
}
