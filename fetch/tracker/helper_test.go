package tracker

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"pkg/lockfile/block"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const registry = "bafyregistry"

// key of seed n, always the same.
func keyPair(tb testing.TB, n uint64) (crypto.PrivKey, peer.ID) {
	tb.Helper()
	seed := [32]byte{}
	binary.BigEndian.PutUint64(seed[:], n)
	k, _, err := crypto.GenerateEd25519Key(rand.NewChaCha8(seed))
	if err != nil {
		tb.Fatal(err)
	}
	id, err := peer.IDFromPrivateKey(k)
	if err != nil {
		tb.Fatal(err)
	}
	return k, id
}

func mustAddrs(tb testing.TB, texts ...string) []ma.Multiaddr {
	tb.Helper()
	var out []ma.Multiaddr
	for _, text := range texts {
		m, err := ma.NewMultiaddr(text)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func root(n int) cid.Cid { return block.Sum(cid.DagProtobuf, binary.AppendUvarint(nil, uint64(n))) }

func roots(from, to int) []cid.Cid {
	var out []cid.Cid
	for i := from; i < to; i++ {
		out = append(out, root(i))
	}
	return out
}

// world is a tracker with a clock, spoken to without a network.
type world struct {
	t   *testing.T
	now time.Time
	*Tracker
	handler http.Handler
	seq     uint64
}

func newWorld(t *testing.T, cfg Config) *world {
	t.Helper()
	w := &world{t: t, now: time.Unix(1_800_000_000, 0)}
	cfg.Registry = registry
	cfg.Now = func() time.Time { return w.now }
	w.Tracker = New(cfg)
	w.handler = w.Handler()
	return w
}

// do sends a request from an address.
func (w *world) do(from, method, path, accept string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, bytes.NewReader(body))
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 4000).String()
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

// announcement of seed n as of now.
func (w *world) announcement(n uint64, some []cid.Cid, texts ...string) Announcement {
	w.t.Helper()
	_, id := keyPair(w.t, n)
	w.seq++
	return Announcement{
		Peer: id, Addrs: mustAddrs(w.t, texts...), Protocols: []string{"transport-bitswap"}, Roots: some,
		Lifetime: time.Hour, Time: w.now, Seq: w.seq,
	}
}

func (w *world) post(from string, n uint64, a Announcement) *httptest.ResponseRecorder {
	w.t.Helper()
	k, _ := keyPair(w.t, n)
	body, err := a.Sign(k, registry)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.do(from, http.MethodPost, "/routing/pkg/announce", "", body)
}

// announce posts and expects it to be accepted.
func (w *world) announce(from string, n uint64, a Announcement) Accepted {
	w.t.Helper()
	rec := w.post(from, n, a)
	var out Accepted
	if err := json.Unmarshal(rec.Body.Bytes(), &out); rec.Code != http.StatusOK || err != nil {
		w.t.Fatalf("announcement from %s: %d %s", from, rec.Code, rec.Body)
	}
	return out
}

// ask returns the providers of a root as one who asks from an address hears of them.
func (w *world) ask(from string, c cid.Cid, query string) []record {
	w.t.Helper()
	rec := w.do(from, http.MethodGet, "/routing/v1/providers/"+c.String()+query, "", nil)
	var out one
	if err := json.Unmarshal(rec.Body.Bytes(), &out); rec.Code != http.StatusOK || err != nil || out.Providers == nil {
		w.t.Fatalf("GET %s: %d %s", c, rec.Code, rec.Body)
	}
	return out.Providers
}

// names are the seeds among 0…9 that an answer has.
func (w *world) names(some []record) map[uint64]bool {
	out := map[uint64]bool{}
	for n := range uint64(10) {
		_, id := keyPair(w.t, n)
		for _, r := range some {
			if r.ID == id.String() {
				out[n] = true
			}
		}
	}
	return out
}

// local is a network of one handler: every request comes from one address.
type local struct {
	handler http.Handler
	from    string
}

func (l local) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = io.NopCloser(strings.NewReader(""))
	}
	in.RemoteAddr = l.from + ":4000"
	rec := httptest.NewRecorder()
	l.handler.ServeHTTP(rec, in)
	return rec.Result(), nil
}
