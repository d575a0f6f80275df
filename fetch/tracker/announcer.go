package tracker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	defaultLifetime = time.Hour
	firstBackoff    = 30 * time.Second
	lookGap         = time.Minute // between looks at what there is to tell
	withdrawTime    = 5 * time.Second
	mostAnew        = 8 // times that all is told again between two rounds of all
)

// Announcer keeps a tracker told of what a seed has.
type Announcer struct {
	Client   *Client
	Key      crypto.PrivKey // ed25519
	Registry string         // the id of the registry whose tracker it is

	// Addrs returns where the seed listens. Up to MaxAddrs that may be announced are, public ones first; the tracker
	// keeps those that others can reach. Addrs and Roots are called before each announcement, one at a time.
	Addrs func() []ma.Multiaddr
	// Roots returns what the seed has. The announcer does not keep the slice.
	Roots func() []cid.Cid

	Protocols []string      // as in Announcement
	Lifetime  time.Duration // of an announcement, at least a minute; 0 means an hour

	Logger *slog.Logger     // nil: silent
	Now    func() time.Time // nil: the system's clock
}

// Run announces all roots at once and again at half the lifetime, until ctx is done; then it withdraws the seed, for
// which it takes at most 5 s, and returns why that failed, if it did. Once a minute it tells what is new and what is gone;
// if that is nothing, it looks whether the tracker knows the seed still, as one that was started again does not. A tracker that cannot be reached or has no room is
// tried again, first after 30 s; each failure is logged as a warning.
func (a *Announcer) Run(ctx context.Context) error {
	r := &run{Announcer: *a, told: map[cid.Cid]bool{}}
	if r.Lifetime == 0 {
		r.Lifetime = defaultLifetime
	}
	if r.Lifetime < time.Minute || r.Lifetime > MaxLifetime {
		return fmt.Errorf("announce: a lifetime of %s: a minute to %s can be", r.Lifetime, MaxLifetime)
	}
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Now == nil {
		r.Now = time.Now //nolint:forbidigo // the default of a clock that can be set
	}
	r.full = time.NewTimer(0)
	defer r.full.Stop()
	for {
		all, ok := r.wait(ctx)
		if !ok {
			return r.withdraw(ctx)
		}
		err := r.round(ctx, all)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.Logger.WarnContext(ctx, "announce", slog.Any("error", err))
			r.full.Reset(r.retry(err))
		case all:
			r.full.Reset(r.Lifetime / 2)
			if r.known {
				r.anew = 0
			}
		}
		if r.failed = err != nil; !r.failed {
			r.backoff = 0
		}
	}
}

// run is the state of one Run. One goroutine owns it.
type run struct {
	Announcer
	told    map[cid.Cid]bool // the roots that the tracker was told of
	sent    bool             // the tracker may know the seed
	known   bool             // it did when it was asked last
	seq     uint64
	full    *time.Timer   // when all roots are due
	failed  bool          // the last round did
	anew    int           // how often all was told again because the tracker did not know the seed
	backoff time.Duration // after the last failure
}

// wait waits for the next round, and reports whether it is one of all roots; ok is false when there is none.
func (r *run) wait(ctx context.Context) (all, ok bool) {
	var look <-chan time.Time
	if !r.failed { // else all are due before long
		gap := time.NewTimer(lookGap)
		defer gap.Stop()
		look = gap.C
	}
	select {
	case <-ctx.Done():
		return false, false
	case <-r.full.C:
		return true, true
	case <-look:
		return false, true
	}
}

// retry is when to try again after a failure.
func (r *run) retry(err error) time.Duration {
	most := r.Lifetime / 2
	r.backoff = min(most, max(firstBackoff, 2*r.backoff))
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		if refused.Status < 500 && refused.After == 0 {
			return most // it will not think otherwise soon
		}
		return min(most, max(r.backoff, refused.After))
	}
	return r.backoff
}

// round announces all roots, or those that are new, and withdraws those that are gone.
func (r *run) round(ctx context.Context, all bool) error {
	roots := r.Roots()
	has := make(map[cid.Cid]bool, len(roots))
	var fresh, gone []cid.Cid
	for _, root := range roots {
		if !has[root] && (all || !r.told[root]) {
			fresh = append(fresh, root)
		}
		has[root] = true
	}
	for root := range r.told {
		if !has[root] {
			gone = append(gone, root)
		}
	}
	for part := range slices.Chunk(gone, MaxRoots) {
		if _, err := r.send(ctx, r.Client, Announcement{Roots: part}); err != nil {
			return err
		}
		for _, root := range part {
			delete(r.told, root)
		}
	}
	if len(fresh) == 0 {
		if len(gone) == 0 {
			r.check(ctx)
		}
		return nil
	}
	addrs, err := r.addrs()
	if err != nil {
		return err
	}
	var last Announcement
	var kept Accepted
	for part := range slices.Chunk(fresh, MaxRoots) {
		last = Announcement{Addrs: addrs, Protocols: r.Protocols, Roots: part, Lifetime: r.Lifetime.Truncate(time.Second)}
		if kept, err = r.send(ctx, r.Client, last); err != nil {
			return err
		}
		for _, root := range part {
			r.told[root] = true
		}
	}
	r.otherwise(ctx, last, kept)
	return nil
}

// check has all told again if the tracker does not know the seed any more. If it does not know it even then, it has its
// reasons, and is not asked again; nor if it forgets time and again.
func (r *run) check(ctx context.Context) {
	id, err := peer.IDFromPrivateKey(r.Key)
	if err != nil || len(r.told) == 0 {
		return
	}
	var one cid.Cid
	for one = range r.told {
		break
	}
	found, err := r.Client.Find(ctx, []cid.Cid{one})
	there := slices.ContainsFunc(found[one], func(p peer.AddrInfo) bool { return p.ID == id })
	switch {
	case err != nil, len(found[one]) >= batchEach: // it does not say
	case there:
		r.known = true
	case r.known && r.anew < mostAnew:
		r.known = false
		r.anew++
		r.full.Reset(0)
	}
}

// otherwise announces over the other version of IP, if a public address of that version was not kept: a tracker believes
// them only from there. It is no failure of the round if there is no such way.
func (r *run) otherwise(ctx context.Context, a Announcement, kept Accepted) {
	named, believed := map[string]bool{}, map[string]bool{}
	for _, m := range a.Addrs {
		p, err := parseAddr(m, "")
		if err != nil || placeOf(p.ip) != public {
			continue
		}
		network := "tcp6"
		if p.ip.Is4() {
			network = "tcp4"
		}
		named[network] = true
		believed[network] = believed[network] || slices.Contains(kept.Addrs, p.text)
	}
	for network := range named {
		c, done := r.Client.over(network)
		if believed[network] || len(named) == 1 || c == nil {
			continue
		}
		a.Roots = a.Roots[:1] // the tracker has all of them, and wants one
		if _, err := r.send(ctx, c, a); err != nil {
			r.Logger.DebugContext(ctx, "announce", slog.String("over", network), slog.Any("error", err))
		}
		done()
	}
}

var errNoAddrs = errors.New("announce: no address that may be announced")

// addrs picks the addresses to announce: those that most can reach.
func (r *run) addrs() ([]ma.Multiaddr, error) {
	id, err := peer.IDFromPrivateKey(r.Key)
	if err != nil {
		return nil, err
	}
	type candidate struct {
		m  ma.Multiaddr
		at place
	}
	var some []candidate
	for _, m := range r.Addrs() {
		if a, err := parseAddr(m, id); err == nil {
			some = append(some, candidate{m, placeOf(a.ip)})
		}
	}
	if len(some) == 0 {
		return nil, errNoAddrs
	}
	slices.SortStableFunc(some, func(a, b candidate) int { return cmp.Compare(a.at, b.at) })
	var out []ma.Multiaddr
	for _, c := range some[:min(len(some), MaxAddrs)] {
		out = append(out, c.m)
	}
	return out, nil
}

func (r *run) send(ctx context.Context, to *Client, a Announcement) (Accepted, error) {
	now := r.Now()
	a.Time = now
	r.seq = max(r.seq+1, uint64(max(0, now.UnixNano()))) //nolint:gosec // G115: not negative; grows over restarts as well
	a.Seq = r.seq
	signed, err := a.Sign(r.Key, r.Registry)
	if err != nil {
		return Accepted{}, err
	}
	r.sent = true
	return to.Announce(ctx, signed)
}

// withdraw takes the seed back, although ctx is done.
func (r *run) withdraw(ctx context.Context) error {
	if !r.sent {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), withdrawTime)
	defer cancel()
	if _, err := r.send(ctx, r.Client, Announcement{}); err != nil {
		return fmt.Errorf("withdraw: %w", err)
	}
	return nil
}
