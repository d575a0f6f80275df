package tracker

import (
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"
	mh "github.com/multiformats/go-multihash"

	"pkg/lockfile/block"
)

const (
	// replay is for how long the seq of a peer that left is remembered: until its announcements are too old.
	replay = 2 * MaxSkew
	// sweepEvery is how often what has expired is taken out; until then it is only not found.
	sweepEvery = time.Minute
)

// key is the sha2-256 digest of a root.
type key [32]byte

// keyOf returns the key of any CID that has a sha2-256 digest.
func keyOf(c cid.Cid) (k key, ok bool) {
	d, err := mh.Decode(c.Hash())
	if err != nil || d.Code != mh.SHA2_256 || len(d.Digest) != len(k) {
		return k, false
	}
	return key(d.Digest), true
}

// root is the CID as packages have it.
func (k key) root() cid.Cid { return block.Of(cid.DagProtobuf, k) }

// seed is a peer that announced, or, without addresses, one that left and whose seq is remembered.
type seed struct {
	id        peer.ID
	addrs     []addr
	protocols []string
	network   *network
	at        int // position in network.seeds
	seq       uint64
	bucket    bucket
	links     int   // in all roots, expired ones among them until they are swept
	until     int64 // Unix seconds; it is forgotten then
	gone      bool  // no longer in the table; its links wait for the sweep
}

// network is an announcer, however many keys it has.
type network struct {
	prefix netip.Prefix
	seeds  []*seed
	links  int
	count  int // of its links to one root, while one that is full is looked at
}

// link says that a seed has a root. 16 bytes: there are many.
type link struct {
	seed    *seed
	expires int64 // Unix seconds
}

func (l link) live(now int64) bool { return !l.seed.gone && l.expires > now }

// table is what the tracker knows. Lookups share it; one announcement at a time changes it.
type table struct {
	limits Limits
	intN   func(int) int

	mu       sync.RWMutex // guards all below
	seeds    map[peer.ID]*seed
	networks map[netip.Prefix]*network
	roots    map[key][]link
	links    int // in roots, dead ones among them
	swept    int64
}

func newTable(limits Limits, intN func(int) int) *table {
	return &table{
		limits: limits, intN: intN,
		seeds: map[peer.ID]*seed{}, networks: map[netip.Prefix]*network{}, roots: map[key][]link{},
	}
}

// news is an announcement that was checked.
type news struct {
	id        peer.ID
	from      netip.Addr
	addrs     []addr
	other     []addr // public ones of the other IP version, which an announcement over that must have named before
	protocols []string
	roots     []key
	lifetime  time.Duration // 0: withdraw
	all       bool          // withdraw everything
	seq       uint64
}

// record changes the table, and returns how many roots were linked or withdrawn, and the addresses of the peer.
func (t *table) record(n news, at time.Time) (roots int, addrs []addr, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := at.Unix()
	if now-t.swept >= int64(sweepEvery/time.Second) {
		t.sweep(now)
	}
	s, err := t.enter(n, at)
	if err != nil {
		return 0, nil, err
	}
	s.until = max(s.until, now+int64((n.lifetime+replay)/time.Second))
	switch {
	case n.all:
		return t.withdraw(s, now), nil, nil
	case n.lifetime == 0:
		for _, k := range n.roots {
			if t.unlink(s, k) {
				roots++
			}
		}
		return roots, s.addrs, nil
	}
	addrs = slices.Clip(n.addrs)
	for _, a := range n.other {
		if slices.Contains(s.addrs, a) {
			addrs = append(addrs, a)
		}
	}
	s.addrs, s.protocols = addrs, n.protocols
	return t.linkAll(s, n.roots, now, now+int64(n.lifetime/time.Second)), addrs, nil
}

// enter returns the seed of an announcement, new or known, if the announcement is its next.
func (t *table) enter(n news, at time.Time) (*seed, error) {
	s := t.seeds[n.id]
	if s != nil && n.seq <= s.seq {
		return nil, refuse(http.StatusConflict, "", "announcement %d of this peer came after its %d", n.seq, s.seq)
	}
	if s == nil {
		if len(t.seeds) >= t.limits.Peers { // a sweep for each newcomer would cost too much
			t.evict(nil, func(w *network) int { return len(w.seeds) })
		}
		s = &seed{id: n.id, bucket: newBucket(t.limits.ByPeer, at)}
		t.seeds[n.id] = s
	}
	t.move(s, networkOf(n.from))
	if !s.bucket.take(t.limits.ByPeer, at) {
		return nil, tooMany("announcements of this peer", t.limits.ByPeer)
	}
	s.seq = n.seq
	return s, nil
}

// withdraw takes all roots from s. Its seq stays, so that nobody brings it back with an announcement of before.
func (t *table) withdraw(s *seed, now int64) (roots int) {
	prefix, roots := s.network.prefix, s.links
	t.forget(s) // with its links, which the sweep takes out
	left := &seed{id: s.id, seq: s.seq, bucket: s.bucket, until: now + int64(replay/time.Second)}
	t.seeds[s.id] = left
	t.move(left, prefix)
	return roots
}

// move counts s to a network.
func (t *table) move(s *seed, prefix netip.Prefix) {
	if s.network != nil && s.network.prefix == prefix {
		return
	}
	t.leave(s)
	w := t.networks[prefix]
	if w == nil {
		w = &network{prefix: prefix}
		t.networks[prefix] = w
	}
	s.network, s.at = w, len(w.seeds)
	w.seeds = append(w.seeds, s)
	w.links += s.links
}

// leave counts s to no network.
func (t *table) leave(s *seed) {
	w := s.network
	if w == nil {
		return
	}
	end := len(w.seeds) - 1
	w.seeds[s.at], w.seeds[end].at = w.seeds[end], s.at
	w.seeds[end] = nil
	w.seeds = w.seeds[:end]
	w.links -= s.links
	if end == 0 {
		delete(t.networks, w.prefix)
	}
	s.network = nil
}

// forget takes s out of the table. Its links are dead, and taken out by the sweep.
func (t *table) forget(s *seed) {
	t.leave(s)
	delete(t.seeds, s.id)
	s.gone, s.addrs, s.protocols = true, nil, nil
}

// find calls each with the peers that have a root, one after the other in random order, until it returns false. What is
// passed must not be changed; its addrs and protocols may be kept.
func (t *table) find(k key, now int64, each func(*seed) bool) {
	list := t.roots[k]
	var order [MaxProviders]uint8
	for i := range list {
		order[i] = uint8(i) //nolint:gosec // G115: less than MaxProviders
	}
	for i := range list {
		j := i + t.intN(len(list)-i)
		order[i], order[j] = order[j], order[i]
		if l := list[order[i]]; l.live(now) && !each(l.seed) {
			return
		}
	}
}
