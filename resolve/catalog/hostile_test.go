package catalog_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/keys/vmap"
)

func TestTheSourceLies(t *testing.T) {
	t.Parallel()
	f := standard(t)
	old := f.fork()
	f.now += 100
	f.release("a 1.2.0", "")
	f.commit()
	fork := old.fork()
	fork.now += 100
	fork.release("a 9.9.9", "")
	fork.commit()
	longer := fork.fork()
	longer.commit()

	// Each of these is met by a machine that has seen f.
	for _, tc := range []struct {
		what string
		lie  func(*source)
		want string
	}{
		{"an older head", func(s *source) { s.f = old }, "older head"},
		{"another history of the same size", func(s *source) { s.f = fork }, ""},
		{"another history that is longer", func(s *source) { s.f = longer }, ""},
		{"another registry", func(s *source) { s.f = newFake(t, "other.test") }, ""},
		{"a head that another key signed", func(s *source) {
			g := f.fork()
			g.signer = newFake(t, "registry.test2").signer
			g.commit()
			s.f = g
		}, ""},
		{"a record for another name's log", func(s *source) {
			g := f.fork()
			b := g.logs["b"].state
			g.extra["a"] = func(r *namespace.Record) { r.ID, r.Size, r.Log, r.Epoch = b.ID, b.Size, b.LogRoot(), 1 }
			g.commit()
			s.f = g
		}, "another package"},
		{"a log that is shorter than before", func(s *source) {
			g := f.fork()
			l := g.logs["a"]
			o := old.logs["a"]
			l.raws, l.at, l.state = o.raws, o.at, *o.state.Clone()
			g.commit()
			s.f = g
		}, "hidden"},
		{"a name that is gone", func(s *source) {
			g := f.fork()
			delete(g.logs, "a")
			g.commit()
			s.f = g
		}, "no longer knows"},
		{"another history of the author's log", func(s *source) {
			g := old.fork()
			g.release("a 1.2.0", "evil *")
			g.commit() // the same size as f, so make it differ only later
			h := f.fork()
			h.logs["a"] = g.logs["a"]
			h.commit()
			s.f = h
		}, "histor"},
		{"a page with other bytes", func(s *source) {
			g := f.fork()
			g.release("a 1.3.0", "")
			g.commit()
			s.f = g
			page := author.EncodePage(g.logs["a"].raws)
			s.read = func(path string) ([]byte, error, bool) {
				return append(page, 0), nil, bytes.Equal(g.files[path], page)
			}
		}, "not the block asked for"},
		{"a map block with other bytes", func(s *source) {
			g := f.fork()
			g.commit()
			g.release("zzz 1.0.0", "")
			g.commit()
			s.f = g
			m := "ipfs/" + g.commits[len(g.commits)-1].M.String()
			s.read = func(path string) ([]byte, error, bool) { return []byte{0xa0}, nil, path == m }
		}, ""},
		{"a tile with other bytes", func(s *source) {
			g := f.fork()
			g.commit()
			s.f = g
			s.read = func(path string) ([]byte, error, bool) {
				return make([]byte, len(g.files[path])), nil, strings.HasPrefix(path, "tile/")
			}
		}, "tiles"},
		{"a time that runs backwards", func(s *source) {
			g := f.fork()
			g.now = start
			g.commit()
			s.f = g
		}, ""},
		{"a head from the future", func(s *source) {
			g := f.fork()
			g.now = start + 100_000
			g.commit()
			s.f = g
		}, "future"},
	} {
		for _, lookup := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lookup %v", tc.what, lookup), func(t *testing.T) {
				t.Parallel()
				c := newClient(t)
				c.now = start + 300
				versions(t, c.open(f.source()), "a")
				seen := c.memory.seen[f.id]
				s := f.source()
				tc.lie(s)
				if lookup {
					s.withLookup()
					if s.read != nil {
						t.Skip("a lie in a static file only")
					}
				}
				r := c.open(s)
				_, err := r.Package(t.Context(), "a")
				wantTrust(t, err, tc.want)
				if len(c.evidence) == 0 || !strings.Contains(err.Error(), "evidence kept in evidence/1") {
					t.Errorf("no evidence of %v", err)
				}
				asked := len(s.reads)
				if _, again := r.Package(t.Context(), "a"); again == nil || again.Error() != err.Error() {
					t.Errorf("a second try gives %v, want the same failure", again)
				}
				if len(s.reads) != asked {
					t.Error("the source was asked again after a trust failure")
				}
				if len(c.evidence) != 1 {
					t.Errorf("evidence was kept %d times", len(c.evidence))
				}
				if now := c.memory.seen[f.id]; now.Equal(seen) {
					return
				} else if h, _, _ := now.Last(); h.Checkpoint.Size < 4 {
					t.Error("a refused head was remembered")
				}
			})
		}
	}
}

func TestAFirstContactIsNotFooled(t *testing.T) {
	t.Parallel()
	f := standard(t)
	for what, tc := range map[string]struct {
		id   string
		lie  func(*source)
		want string
	}{
		"another id than the one named": {id: newFake(t, "other.test").id, want: ""},
		"a log begun for another name": {lie: func(s *source) {
			g := f.fork()
			g.logs["a"] = g.logs["c"]
			g.commit()
			s.f = g
		}, want: "begun for another name"},
		"a log begun for another registry": {lie: func(s *source) {
			g := f.fork()
			o := newFake(t, "other.test")
			o.release("a 1.0.0", "")
			g.logs["a"] = o.logs["a"]
			g.commit()
			s.f = g
		}, want: "begun for another registry"},
		"a release recorded in the future": {lie: func(s *source) {
			g := f.fork()
			g.logs["a"].at[1].Commit = 99
			g.commit()
			s.f = g
		}, want: "yet to come"},
		"a record that is none": {lie: func(s *source) {
			g := f.fork()
			g.commitMap([]vmap.Entry{{Name: "a", Value: []byte{0x80}}})
			s.f = g
		}, want: "not a record"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			c := newClient(t)
			c.cfg.ID = tc.id
			s := f.source()
			if tc.lie != nil {
				tc.lie(s)
			}
			_, err := c.open(s).Package(t.Context(), "a")
			wantTrust(t, err, tc.want)
			if tc.id != "" && len(c.memory.seen)+len(c.memory.files) > 0 {
				t.Error("something was remembered of a registry that is not the one named")
			}
		})
	}
}

func TestAnotherRegistryAtAPinnedURL(t *testing.T) {
	t.Parallel()
	f, g := standard(t), newFake(t, "other.test")
	g.release("a 1.0.0", "")
	g.commit()
	c := newClient(t)
	r := c.open(f.source())
	versions(t, r, "a")
	again := c.open(f.source())
	if again.ID() != f.id {
		t.Errorf("the second run opens %q, want the pinned id", again.ID())
	}
	versions(t, again, "a")
	if again.Pinned() {
		t.Error("the second run says that it pinned")
	}
	_, err := c.open(g.source()).Package(t.Context(), "a")
	wantTrust(t, err, "")

	c.cfg.ID = g.id // a person names the new id
	if got := versions(t, c.open(g.source()), "a"); got != "1.0.0" {
		t.Errorf("a has %s", got)
	}
	c.cfg.ID = ""
	if id := c.open(g.source()).ID(); id != g.id {
		t.Errorf("the URL stands for %s now, want %s", id, g.id)
	}
}
