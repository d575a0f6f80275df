package tracker

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
)

const (
	outside = "8.8.8.8"
	quic    = "/ip4/8.8.8.8/udp/4001/quic-v1"
	tcp     = "/ip4/8.8.8.8/tcp/4001"
)

func TestAProviderIsFoundByAnyCIDOfItsMultihash(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	got := w.announce(outside, 1, w.announcement(1, roots(0, 3), quic, tcp))
	if diff := cmp.Diff(Accepted{Roots: 3, Addrs: []string{quic, tcp}}, got); diff != "" {
		t.Error(diff)
	}
	_, id := keyPair(t, 1)
	want := []record{{Schema: "peer", ID: id.String(), Addrs: []string{quic, tcp}, Protocols: []string{"transport-bitswap"}}}
	for _, c := range []cid.Cid{root(1), cid.NewCidV0(root(1).Hash()), cid.NewCidV1(cid.Raw, root(1).Hash())} {
		if diff := cmp.Diff(want, w.ask(outside, c, "")); diff != "" {
			t.Errorf("%s: %s", c, diff)
		}
	}
	for _, c := range []cid.Cid{root(4), block.Empty()} {
		if got := w.ask(outside, c, ""); len(got) != 0 {
			t.Errorf("%s: %v", c, got)
		}
	}
}

func TestAnswersOfGet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce(outside, 1, w.announcement(1, roots(0, 1), quic))
	w.announce(outside, 2, w.announcement(2, roots(0, 1), tcp))
	path := "/routing/v1/providers/"
	for _, c := range []struct {
		from, path, accept string
		status             int
		media, cache       string
		lines              int
	}{
		{outside, path + root(0).String(), "", 200, typeJSON, "public, max-age=60", 1},
		{outside, path + root(0).String(), "application/json", 200, typeJSON, "public, max-age=60", 1},
		{outside, path + root(0).String(), "application/json, application/x-ndjson;q=0.5", 200, typeNDJSON, "public, max-age=60", 2},
		{outside, path + root(1).String(), "application/x-ndjson", 200, typeNDJSON, "public, max-age=15", 0},
		{outside, path + root(1).String(), "", 200, typeJSON, "public, max-age=15", 1},
		{"192.168.1.2", path + root(0).String(), "", 200, typeJSON, "private, max-age=60", 1},
		{"::1", path + root(0).String(), "", 200, typeJSON, "private, max-age=60", 1},
		{outside, path + "x", "", 400, typeJSON, "no-store", 1},
		{outside, path + strings.Repeat("b", 5000), "", 400, typeJSON, "no-store", 1},
	} {
		rec := w.do(c.from, http.MethodGet, c.path, c.accept, nil)
		h := rec.Header()
		if rec.Code != c.status || h.Get("Content-Type") != c.media || h.Get("Cache-Control") != c.cache || strings.Count(rec.Body.String(), "\n") != c.lines {
			t.Errorf("%.60s by %s: %d %v %s; want %v", c.path, c.from, rec.Code, h, rec.Body, c)
		}
		if strings.HasPrefix(c.cache, "public") != (h.Get("Access-Control-Allow-Origin") == "*") {
			t.Errorf("%s by %s: web pages may read it: %v", c.path, c.from, h)
		}
	}
	rec := w.do(outside, http.MethodPut, path+root(0).String(), "", nil)
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("PUT: %d", rec.Code)
	}
}

func TestFiltersOfGet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce(outside, 1, w.announcement(1, roots(0, 1), quic, tcp))
	a := w.announcement(2, roots(0, 1), tcp)
	a.Protocols = nil
	w.announce(outside, 2, a)
	for query, want := range map[string]string{
		"":                                   "1:2 2:1",
		"filter-protocols=transport-bitswap": "1:2",
		"filter-protocols=Transport-Bitswap": "1:2",
		"filter-protocols=unknown":           "2:1",
		"filter-protocols=unknown,transport-bitswap": "1:2 2:1",
		"filter-protocols=x":                         "",
		"filter-addrs=tcp":                           "1:1 2:1",
		"filter-addrs=quic-v1":                       "1:1",
		"filter-addrs=!tcp":                          "1:1",
		"filter-addrs=unknown":                       "",
		"filter-addrs=" + strings.Repeat("x,", 1000): "",
	} {
		var got []string
		for _, r := range w.ask(outside, root(0), "?"+query) {
			for n := range w.names([]record{r}) {
				got = append(got, fmt.Sprintf("%d:%d", n, len(r.Addrs)))
			}
		}
		slices.Sort(got)
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", query, s, want)
		}
	}
}

func TestPrivateAddressesStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	const lan, loop = "/ip4/192.168.1.5/tcp/4001", "/ip4/127.0.0.1/tcp/4001"
	if got := w.announce(outside, 1, w.announcement(1, roots(0, 1), tcp, lan, loop)); len(got.Addrs) != 1 {
		t.Errorf("from outside are kept %v", got.Addrs)
	}
	if got := w.announce("192.168.7.7", 2, w.announcement(2, roots(0, 1), lan, loop)); len(got.Addrs) != 1 {
		t.Errorf("from the same network are kept %v", got.Addrs)
	}
	if got := w.announce("127.0.0.1", 3, w.announcement(3, roots(0, 1), lan, loop)); len(got.Addrs) != 2 {
		t.Errorf("from this machine are kept %v", got.Addrs)
	}
	if rec := w.post(outside, 4, w.announcement(4, roots(0, 1), lan, loop)); rec.Code != http.StatusUnprocessableEntity {
		t.Errorf("nothing that can be reached: %d %s", rec.Code, rec.Body)
	}
	for from, want := range map[string]map[uint64]bool{
		outside:       {1: true},
		"10.0.0.1":    {1: true},
		"192.168.9.9": {1: true, 2: true, 3: true},
		"127.0.0.1":   {1: true, 2: true, 3: true},
	} {
		got := w.ask(from, root(0), "")
		if diff := cmp.Diff(want, w.names(got)); diff != "" {
			t.Errorf("%s is told of %s", from, diff)
		}
		for _, r := range got {
			if from == "192.168.9.9" && slices.Contains(r.Addrs, loop) {
				t.Errorf("%s is told of the loopback of others", from)
			}
		}
	}
}

// TestPublicAddressesAreTheAnnouncersOwn: nobody can have the world dial somebody else. What was announced over the other
// IP version stays as long as it is still named.
func TestPublicAddressesAreTheAnnouncersOwn(t *testing.T) {
	t.Parallel()
	const own6, victim4, victim6 = "/ip6/2606:4700:1:1::9/tcp/1", "/ip4/9.9.9.9/tcp/53", "/ip6/2606:4700:1:2::1/tcp/1"
	w := newWorld(t, Config{})
	if rec := w.post(outside, 1, w.announcement(1, roots(0, 1), victim4, victim6)); rec.Code != http.StatusUnprocessableEntity {
		t.Errorf("addresses of others: %d %s", rec.Code, rec.Body)
	}
	for i, c := range []struct {
		from  string
		named []string
		want  []string
	}{
		{outside, []string{tcp, own6, victim4, victim6}, []string{tcp}},
		{"2606:4700:1:1::1", []string{tcp, own6, victim4, victim6}, []string{own6, tcp}},
		{outside, []string{quic, own6, victim6}, []string{quic, own6}},
		{outside, []string{tcp}, []string{tcp}},
		{outside, []string{tcp, own6}, []string{tcp}},
		{"198.51.100.7", []string{tcp}, nil},
		{"10.1.2.3", []string{tcp}, []string{tcp}},
		{"127.0.0.1", []string{tcp, victim6}, []string{tcp, victim6}},
	} {
		rec := w.post(c.from, 1, w.announcement(1, roots(0, 1), c.named...))
		var got Accepted
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil || (rec.Code == http.StatusOK) != (c.want != nil) {
			t.Fatalf("%d: %d %s", i, rec.Code, rec.Body)
		}
		if diff := cmp.Diff(c.want, got.Addrs); diff != "" {
			t.Errorf("%d, from %s: %s", i, c.from, diff)
		}
	}
}

func TestBatchNamesEachPeerOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	w.announce(outside, 1, w.announcement(1, roots(0, 500), tcp))
	w.announce(outside, 2, w.announcement(2, roots(250, 750), tcp, "/ip4/9.9.9.9/tcp/9"))
	var q want
	for _, c := range roots(0, 1000) {
		q.Want = append(q.Want, c.String())
	}
	q.Want[999] = block.Empty().String()
	body, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	rec := w.do(outside, http.MethodPost, "/routing/pkg/providers", "", body)
	var m many
	if err := json.Unmarshal(rec.Body.Bytes(), &m); err != nil || rec.Code != 200 || rec.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if len(m.Providers) != 2 || len(m.Roots) != 750 || len(m.Roots[root(300).String()]) != 2 {
		t.Errorf("%d providers of %d roots", len(m.Providers), len(m.Roots))
	}
	bad := func(name, body string, status int) {
		if rec := w.do(outside, http.MethodPost, "/routing/pkg/providers", "", []byte(body)); rec.Code != status {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
	}
	bad("nothing", "", 400)
	bad("none", `{"want":[]}`, 400)
	bad("unknown field", `{"want":["`+root(1).String()+`"],"x":1}`, 400)
	bad("no CID", `{"want":["x"]}`, 400)
	bad("too many", `{"want":[`+strings.Repeat(`"x",`, MaxWant)+`"x"]}`, 400)
	bad("too long", `{"want":["`+strings.Repeat("x", maxBatch)+`"]}`, 413)
}

func TestBatchLeavesNoRootWithoutAProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	keys := map[string]key{}
	id := uint64(0)
	for i := range MaxWant { // 5 providers each, that have nothing else: more than fit
		k, _ := keyOf(root(i))
		keys[root(i).String()] = k
		for range 5 {
			id++
			w.put(t, id, "198.51.100.1", k)
		}
	}
	m := w.findMany(keys, filter{})
	if len(m.Providers) != batchPeers || len(m.Roots) != MaxWant {
		t.Errorf("%d providers of %d roots", len(m.Providers), len(m.Roots))
	}
}

func TestWhatTheTrackerMayNotSpeakOfIsLikeNothing(t *testing.T) {
	t.Parallel()
	secret := root(1)
	hidden := true
	w := newWorld(t, Config{Shares: func(c cid.Cid) bool { return !hidden || !c.Equals(secret) }})
	if got := w.announce(outside, 1, w.announcement(1, roots(0, 3), tcp)); got.Roots != 2 {
		t.Errorf("%d roots are kept", got.Roots)
	}
	hidden = false
	if got := w.ask(outside, secret, ""); len(got) != 0 {
		t.Error("a root that is not shared was kept")
	}
	w.announce(outside, 1, w.announcement(1, roots(0, 3), tcp))
	hidden = true
	if got := w.ask(outside, cid.NewCidV1(cid.Raw, secret.Hash()), ""); len(got) != 0 {
		t.Error("a root that is no longer shared was found")
	}
	rec := w.do(outside, http.MethodPost, "/routing/pkg/providers", "", []byte(`{"want":["`+secret.String()+`"]}`))
	if strings.TrimSpace(rec.Body.String()) != `{"Providers":[],"Roots":{}}` {
		t.Errorf("in a batch: %s", rec.Body)
	}
}

func TestSourceDecidesWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	at := netip.MustParseAddr(outside)
	w := newWorld(t, Config{Source: func(*http.Request) netip.Addr { return at }})
	if got := w.announce("127.0.0.1", 1, w.announcement(1, roots(0, 1), tcp, "/ip4/127.0.0.1/tcp/1")); len(got.Addrs) != 1 {
		t.Errorf("kept %v", got.Addrs)
	}
	at = netip.Addr{}
	if rec := w.post("127.0.0.1", 2, w.announcement(2, roots(0, 1), tcp)); rec.Code != http.StatusForbidden {
		t.Errorf("from nowhere: %d", rec.Code)
	}
	if got := w.ask("127.0.0.1", root(0), ""); len(got) != 1 {
		t.Errorf("told %v", got)
	}
}

func TestAnnouncementsAreInOrderAndOnTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{})
	status := func(change func(*Announcement)) int {
		a := w.announcement(1, roots(0, 1), tcp)
		change(&a)
		return w.post(outside, 1, a).Code
	}
	for _, c := range []struct {
		name   string
		change func(*Announcement)
		want   int
	}{
		{"first", func(a *Announcement) { a.Seq = 50 }, 200},
		{"again", func(a *Announcement) { a.Seq = 50 }, 409},
		{"older", func(a *Announcement) { a.Seq = 49 }, 409},
		{"next", func(a *Announcement) { a.Seq = 51 }, 200},
		{"ten minutes late", func(a *Announcement) { a.Seq, a.Time = 52, w.now.Add(-MaxSkew) }, 200},
		{"later", func(a *Announcement) { a.Seq, a.Time = 53, w.now.Add(-MaxSkew-time.Second) }, 400},
		{"early", func(a *Announcement) { a.Seq, a.Time = 54, w.now.Add(MaxSkew+time.Second) }, 400},
		{"withdrawal", func(a *Announcement) { a.Seq, a.Lifetime, a.Roots, a.Addrs = 55, 0, nil, nil }, 200},
		{"replay after the withdrawal", func(a *Announcement) { a.Seq = 54 }, 409},
	} {
		if got := status(c.change); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	k, _ := keyPair(t, 1)
	body, err := w.announcement(1, roots(0, 1), tcp).Sign(k, "another registry")
	if err != nil {
		t.Fatal(err)
	}
	if rec := w.do(outside, http.MethodPost, "/routing/pkg/announce", "", body); rec.Code != http.StatusForbidden {
		t.Errorf("for another registry: %d", rec.Code)
	}
	if rec := w.do(outside, http.MethodPost, "/routing/pkg/announce", "", make([]byte, maxAnnounce+1)); rec.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too long: %d", rec.Code)
	}
	if rec := w.do(outside, http.MethodPost, "/routing/pkg/announce", "", []byte("{}\n")); rec.Code != http.StatusBadRequest {
		t.Errorf("no signature: %d", rec.Code)
	}
}

func TestRatesOfSourcesAndPeers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, Config{Limits: Limits{BySource: 10, ByPeer: 3}})
	for range 3 {
		w.announce(outside, 1, w.announcement(1, roots(0, 1), tcp))
	}
	rec := w.post("9.9.9.9", 1, w.announcement(1, roots(0, 1), "/ip4/9.9.9.9/tcp/1"))
	if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "1200" {
		t.Errorf("a fourth of one peer: %d %v", rec.Code, rec.Header())
	}
	for n := range uint64(7) {
		w.announce(outside, 10+n, w.announcement(10+n, roots(0, 1), tcp))
	}
	if rec := w.post(outside, 30, w.announcement(30, roots(0, 1), tcp)); rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "360" {
		t.Errorf("an eleventh of one source: %d %v", rec.Code, rec.Header())
	}
	w.announce("9.9.9.9", 30, w.announcement(30, roots(0, 1), "/ip4/9.9.9.9/tcp/1"))
	w.now = w.now.Add(6 * time.Minute)
	w.announce(outside, 31, w.announcement(31, roots(0, 1), tcp))
	if rec := w.post(outside, 32, w.announcement(32, roots(0, 1), tcp)); rec.Code != http.StatusTooManyRequests {
		t.Errorf("two, when one came back: %d", rec.Code)
	}
	v6 := newWorld(t, Config{Limits: Limits{BySource: 1}})
	v6.announce("2606:4700:1:1::1", 1, v6.announcement(1, roots(0, 1), "/ip6/2606:4700:1:1::1/tcp/1"))
	if rec := v6.post("2606:4700:1:2::1", 2, v6.announcement(2, roots(0, 1), "/ip6/2606:4700:1:2::1/tcp/1")); rec.Code != http.StatusTooManyRequests {
		t.Errorf("a customer's other IPv6 network: %d", rec.Code)
	}
}

func TestRatesForgetFullBucketsFirst(t *testing.T) {
	t.Parallel()
	r, now := newRates(2), time.Unix(0, 0)
	for i := range 2 * maxBuckets {
		now = now.Add(time.Second)
		r.take(netip.PrefixFrom(netip.AddrFrom4([4]byte{1, byte(i >> 16), byte(i >> 8), byte(i)}), 32), now)
	}
	if n := len(r.buckets); n > maxBuckets {
		t.Errorf("%d buckets", n)
	}
}

func TestGateKeepsRoomForOthers(t *testing.T) {
	t.Parallel()
	g := &gate{limit: 8, by: map[netip.Prefix]int{}}
	net := func(n byte) netip.Prefix { return netip.PrefixFrom(netip.AddrFrom4([4]byte{1, 1, 1, n}), 32) }
	in := 0
	for range 5 {
		if g.enter(net(1)) {
			in++
		}
	}
	if in != 2 || !g.enter(net(2)) {
		t.Errorf("%d of one network, and no other", in)
	}
	for n := byte(3); n < 20; n++ {
		g.enter(net(n))
	}
	if g.all != 8 || g.enter(net(30)) {
		t.Errorf("%d are in", g.all)
	}
	g.leave(net(1))
	if !g.enter(net(1)) || len(g.by) != g.all-1 {
		t.Errorf("%d of %d networks", g.all, len(g.by))
	}
}
