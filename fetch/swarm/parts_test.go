package swarm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// TestPartsComeFromEverySource: the nodes and then the leaves of a tree, which together are all of it.
func TestPartsComeFromEverySource(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 3)
	for name, src := range map[string]swarm.Source{
		"http": serve(t, under(swarm.Handler(sh.s))),
		"dir":  &swarm.Dir{Store: sh.s},
	} {
		t.Run(name, func(t *testing.T) {
			for _, root := range sh.roots {
				var o *tree.Outline
				if missing, err := src.Content(t.Context(), swarm.Request{Wants: []swarm.Want{{Root: root, Scope: swarm.Nodes}}}, func(_ swarm.Want, _ int64, pack io.Reader) (err error) {
					o, err = tree.ReadNodes(pack, root, tree.Default())
					return err
				}); err != nil || len(missing) > 0 {
					t.Fatal(missing, err)
				}
				n := 0
				var wants []swarm.Want
				for i := range o.Leaves() + 1 { // the last there is not
					wants = append(wants, swarm.Want{Root: root, Scope: swarm.Leaves, Of: o, From: i, To: i + 1})
				}
				missing, err := src.Content(t.Context(), swarm.Request{Wants: wants}, func(w swarm.Want, _ int64, pack io.Reader) error {
					return o.ReadLeaves(pack, w.From, w.To, func(int, []byte) error { n++; return nil })
				})
				if err != nil || n != o.Leaves() || !slices.Equal(missing, wants[o.Leaves():]) {
					t.Errorf("%d of %d leaves, missing %v, %v", n, o.Leaves(), missing, err)
				}
			}
		})
	}
}

// TestWrongRequestsAreRefused: each says what is wrong with it.
func TestWrongRequestsAreRefused(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 0)
	root := sh.roots[0].String()
	h := swarm.Handler(sh.s)
	for body, why := range map[string]string{
		`{"want":["` + root + `?leaves=1"]}`:                      "neither nodes nor leaves",
		`{"want":["` + root + `?leaves=01-2"]}`:                   "neither nodes nor leaves",
		`{"want":["` + root + `?leaves=1-99999999999999999999"]}`: "neither nodes nor leaves",
		`{"want":["` + root + `?block"]}`:                         "neither nodes nor leaves",
		`{"want":["` + root + `?"]}`:                              "neither nodes nor leaves",
		`{"want":["?nodes"]}`:                                     "malformed request",
		`{"want":["` + root + `","` + root + `"]}`:                "wanted twice",
		`{"want":["` + root + `"],"have":[]}`:                     "unknown field",
	} {
		if got := post(h, body); got.Code != 400 || !strings.Contains(got.Body.String(), why) {
			t.Errorf("%s: %d %s", body, got.Code, got.Body)
		}
	}
}

// TestCopiesAreRationedWhereOthersHaveThem: who may ask others is left to it after two copies, who may not is served.
func TestCopiesAreRationedWhereOthersHaveThem(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 0)
	now := time.Unix(1e9, 0)
	elsewhere := true
	h := (&swarm.Server{Store: sh.s, Now: func() time.Time { return now }, Elsewhere: func(cid.Cid) bool { return elsewhere }}).Handler()
	root := sh.roots[0].String()
	sent := func(want string, shared bool) bool {
		t.Helper()
		got := post(h, fmt.Sprintf(`{"want":[%q],"shared":%v}`, want, shared))
		if got.Code != 200 {
			t.Fatal(got.Code, got.Body)
		}
		return got.Body.Len() > 100
	}
	for _, want := range []string{root, root + "?leaves=0-1"} {
		for i, ok := range []bool{true, true, false, false} {
			if sent(want, true) != ok {
				t.Errorf("%s: copy %d was sent: %v", want, i+1, !ok)
			}
		}
		if !sent(want, false) {
			t.Errorf("%s was kept from who has nobody else", want)
		}
	}
	now = now.Add(time.Minute)
	for range 3 {
		sent(root, false)
		sent(root+"?leaves=7-8", true) // there is none
	}
	if !sent(root, true) {
		t.Error("copies for those who have nobody else were counted")
	}
	for range 3 {
		if !sent(root+"?nodes", true) {
			t.Error("nodes were rationed")
		}
	}
	elsewhere = false
	if !sent(root, true) {
		t.Error("what nobody else has was rationed")
	}
	elsewhere, now = true, now.Add(time.Minute)
	if !sent(root, true) {
		t.Error("the ration does not come again")
	}
}

// TestRefusedForOthersIsAskedAgainWithoutThem: a registry that leaves a root to peers is asked once more when they fail.
func TestRefusedForOthersIsAskedAgainWithoutThem(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(same(20, 300_000)...)
		saves := &thrifty{sim: &sim{goods: g, name: "registry", kind: swarm.Registry, delay: rtt}}
		o := mustRace(t, g, &sim{goods: g, name: "peer", delay: rtt, fault: stalling, after: 3}, saves)
		if saves.refused == 0 || o.from["registry"] == 0 || o.from["peer"] == 0 {
			t.Errorf("refused %d, from %v", saves.refused, o.from)
		}
		if o.took > 40*rtt {
			t.Errorf("it took %v", o.took)
		}
	})
}

// TestDrippingPeersDoNotKeepARegistryAway: a peer that sends a few bytes a second is no reason to leave a root to it.
func TestDrippingPeersDoNotKeepARegistryAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newGoods(same(20, 300_000)...)
		saves := &thrifty{sim: &sim{goods: g, name: "registry", kind: swarm.Registry, delay: rtt}}
		o := mustRace(t, g, &sim{goods: g, name: "peer", delay: rtt, fault: dripping}, saves)
		if saves.refused == 0 || o.took > 5*time.Second {
			t.Errorf("refused %d times, and it took %v", saves.refused, o.took)
		}
	})
}

// TestPartsThatDripAreGivenUp: where a source is idle that may have the whole, parts are not waited for at any pace.
func TestPartsThatDripAreGivenUp(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 0)
	var nodes bytes.Buffer
	dir := &swarm.Dir{Store: sh.s}
	if _, err := dir.Content(t.Context(), swarm.Request{Wants: []swarm.Want{{Root: sh.roots[0], Scope: swarm.Nodes}}}, func(_ swarm.Want, _ int64, pack io.Reader) error {
		_, err := nodes.ReadFrom(pack)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	o, err := tree.ReadNodes(&nodes, sh.roots[0], tree.Default())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		files := stub{"files", func([]cid.Cid, swarm.Each) ([]swarm.Want, error) {
			return []swarm.Want{{Root: sh.roots[0], Scope: swarm.Leaves, Of: o, From: 0, To: 1}}, nil
		}}
		s := swarm.Session{Sources: []swarm.Source{drips{}, files}, Put: func(_ context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
			_, err := io.Copy(io.Discard, a.Pack)
			return nil, err
		}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var missing *swarm.MissingError
		if _, err := s.Get(ctx, []swarm.Want{{Root: sh.roots[0], Scope: swarm.Leaves, Of: o, From: 0, To: 1}}); !errors.As(err, &missing) {
			t.Errorf("got %v", err)
		}
	})
}

// drips sends everything, but slowly.
type drips struct{}

func (drips) Name() string { return "drips" }

func (drips) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	var due time.Duration
	for _, w := range r.Wants {
		if err := each(w, 1<<20, &wire{ctx: ctx, rate: 10, zeros: true, due: &due}); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// thrifty gives nothing that others may have.
type thrifty struct {
	*sim
	refused int
}

func (s *thrifty) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	if !r.Shared {
		return s.sim.Content(ctx, r, each)
	}
	s.refused++
	return r.Wants, wait(ctx, s.delay)
}

// TestMoreIsFetchedOfWhatArrived: what Put asks for is brought like everything else, by who has what led to it.
func TestMoreIsFetchedOfWhatArrived(t *testing.T) {
	t.Parallel()
	sh := newShelf(t, 3)
	o := map[cid.Cid]*tree.Outline{}
	lacking := &swarm.Dir{Store: newShelf(t, 0).s}
	var got int
	s := swarm.Session{Sources: []swarm.Source{lacking, &swarm.Dir{Store: sh.s}}, Put: func(_ context.Context, a *swarm.Arrival) (more []swarm.Want, err error) {
		switch a.Scope {
		case swarm.Nodes:
			if o[a.Root], err = tree.ReadNodes(a.Pack, a.Root, tree.Default()); err != nil {
				return nil, err
			}
			for i := range o[a.Root].Leaves() {
				more = append(more, swarm.Want{Root: a.Root, Scope: swarm.Leaves, Of: o[a.Root], From: i, To: i + 1})
			}
			return more, nil
		default:
			return nil, a.Of.ReadLeaves(a.Pack, a.From, a.To, func(int, []byte) error { got++; return nil })
		}
	}}
	_, err := s.Get(t.Context(), []swarm.Want{{Root: sh.roots[3], Scope: swarm.Nodes}})
	if err != nil || got == 0 || got != o[sh.roots[3]].Leaves() {
		t.Errorf("%d leaves, %v", got, err)
	}
	s.Put = func(_ context.Context, a *swarm.Arrival) ([]swarm.Want, error) {
		_, err := io.Copy(io.Discard, a.Pack)
		return []swarm.Want{{Root: absent(t)}}, err
	}
	var missing *swarm.MissingError
	if _, err := s.Get(t.Context(), swarm.Packs(sh.roots...)); !errors.As(err, &missing) || len(missing.Wants) != 1 || missing.Wants[0].Root != absent(t) {
		t.Errorf("got %v", err)
	}
}

// post posts a request for content.
func post(h http.Handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("POST", "/content", strings.NewReader(body)))
	return w
}
