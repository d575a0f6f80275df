package vmap_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/keys"
	"pkg/keys/vmap"
	"pkg/lockfile/block"
)

// memory is a block store that also counts.
type memory struct {
	blocks map[cid.Cid][]byte
	puts   int
	gets   map[cid.Cid]bool
}

func newMemory() *memory {
	return &memory{blocks: map[cid.Cid][]byte{}, gets: map[cid.Cid]bool{}}
}

func (m *memory) Get(_ context.Context, c cid.Cid) ([]byte, error) {
	b, ok := m.blocks[c]
	if !ok {
		return nil, fmt.Errorf("block %s: %w", c, fs.ErrNotExist)
	}
	m.gets[c] = true
	return b, nil
}

func (m *memory) put(c cid.Cid, b []byte) error {
	m.puts++
	m.blocks[c] = b
	return nil
}

func (m *memory) add(b []byte) cid.Cid {
	c := block.Sum(cid.DagCBOR, b)
	m.blocks[c] = b
	return c
}

func isTrust(err error) bool {
	_, ok := errors.AsType[*keys.TrustError](err)
	return ok
}

func build(tb testing.TB, m *memory, entries map[string]string) cid.Cid {
	tb.Helper()
	var list []vmap.Entry
	for k, v := range entries {
		list = append(list, vmap.Entry{Name: k, Value: []byte(v)})
	}
	root, err := vmap.Build(list, m.put)
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

func numbered(n int) map[string]string {
	out := make(map[string]string, n)
	for i := range n {
		out[fmt.Sprintf("p%d", i)] = fmt.Sprintf("value of %d", i)
	}
	return out
}

// TestApplyEqualsBuildOverRandomHistories is the property that auditors rely on: in whatever batches a map came to be, its
// root is that of its entries.
func TestApplyEqualsBuildOverRandomHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := newMemory()
		want := map[string]string{}
		root := build(t, m, want)
		span := rapid.SampledFrom([]int{10, 40, 70, 600, 1500}).Draw(rt, "names")
		deletes := rapid.IntRange(0, 9).Draw(rt, "deletes of 10")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		for step := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			var changes []vmap.Change
			for range 1 + r.IntN(2*span) {
				c := vmap.Change{Name: fmt.Sprintf("p%d", r.IntN(span))}
				if r.IntN(10) >= deletes {
					c.Value = binary.BigEndian.AppendUint64(nil, r.Uint64())
				}
				changes = append(changes, c)
				if want[c.Name] = string(c.Value); c.Value == nil {
					delete(want, c.Name)
				}
			}
			var err error
			if root, err = vmap.Apply(t.Context(), m, root, changes, m.put); err != nil {
				rt.Fatal(err)
			}
			if plain := build(t, newMemory(), want); plain != root {
				rt.Fatalf("step %d, %d names: Apply gives %s, Build %s", step, len(want), root, plain)
			}
		}
		got := map[string]string{}
		err := vmap.Walk(t.Context(), m, root, func(name string, value []byte) error {
			got[name] = string(value)
			return nil
		})
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			rt.Fatalf("Walk: %v, (-want +got)\n%s", err, diff)
		}
		reader := vmap.NewReader(m, root)
		for i := range span {
			name := fmt.Sprintf("p%d", i)
			value, err := reader.Lookup(t.Context(), name)
			if v, ok := want[name]; err != nil || string(value) != v || (value != nil) != ok {
				rt.Fatalf("Lookup(%s) = %q, %v; want %q", name, value, err, v)
			}
		}
	})
}

func TestApplyPutsOnlyWhatTheNewMapHolds(t *testing.T) {
	t.Parallel()
	m := newMemory()
	root := build(t, m, numbered(5000))
	m.gets = map[cid.Cid]bool{}
	before := maps.Clone(m.blocks)
	fresh := newMemory()
	root, err := vmap.Apply(t.Context(), m, root, []vmap.Change{{Name: "p7", Value: []byte("new")}, {Name: "p8"}}, fresh.put)
	if err != nil {
		t.Fatal(err)
	}
	want := numbered(5000)
	want["p7"] = "new"
	delete(want, "p8")
	all := newMemory()
	if plain := build(t, all, want); plain != root {
		t.Fatalf("Apply gives %s, Build %s", root, plain)
	}
	for c := range fresh.blocks {
		if all.blocks[c] == nil {
			t.Errorf("put %s, which the map does not hold", c)
		}
	}
	for c := range all.blocks {
		if before[c] == nil && fresh.blocks[c] == nil {
			t.Errorf("did not put %s", c)
		}
	}
}

func TestUpdateReadsOnlyItsPath(t *testing.T) {
	t.Parallel()
	m := newMemory()
	root := build(t, m, numbered(5000))
	path, err := vmap.NewReader(m, root).Path(t.Context(), "p7")
	if err != nil {
		t.Fatal(err)
	}
	m.gets = map[cid.Cid]bool{}
	if _, err := vmap.Apply(t.Context(), m, root, []vmap.Change{{Name: "p7", Value: []byte("new")}}, newMemory().put); err != nil {
		t.Fatal(err)
	}
	if len(m.gets) != len(path) {
		t.Errorf("read %d blocks, the path has %d", len(m.gets), len(path))
	}
}

func TestApplyOfNothingChangesNothing(t *testing.T) {
	t.Parallel()
	m := newMemory()
	for _, n := range []int{0, 1, 16, 17, 2000} {
		root := build(t, m, numbered(n))
		for _, changes := range [][]vmap.Change{nil, {{Name: "absent"}}, {{Name: "x", Value: []byte("1")}, {Name: "x"}}} {
			got, err := vmap.Apply(t.Context(), m, root, changes, m.put)
			if err != nil || got != root {
				t.Errorf("%d names: Apply(%v) = %s, %v; want %s", n, changes, got, err, root)
			}
		}
	}
}

func TestLeafHoldsUpToSixteen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ names, blocks int }{{0, 1}, {1, 1}, {16, 1}} {
		m := newMemory()
		build(t, m, numbered(tt.names))
		if len(m.blocks) != tt.blocks {
			t.Errorf("%d names make %d blocks, want %d", tt.names, len(m.blocks), tt.blocks)
		}
	}
	m := newMemory()
	if build(t, m, numbered(17)); len(m.blocks) < 3 {
		t.Errorf("17 names make %d blocks", len(m.blocks))
	}
}

func TestEntriesAreBounded(t *testing.T) {
	t.Parallel()
	m := newMemory()
	root := build(t, m, nil)
	long := string(bytes.Repeat([]byte("n"), vmap.MaxName+1))
	for _, e := range []vmap.Entry{
		{"", []byte("v")},
		{long, []byte("v")},
		{"n", nil},
		{"n", make([]byte, vmap.MaxValue+1)},
	} {
		if _, err := vmap.Build([]vmap.Entry{e}, m.put); err == nil {
			t.Errorf("Build accepts a name of %d and a value of %d bytes", len(e.Name), len(e.Value))
		}
		if len(e.Value) == 0 {
			continue
		}
		if _, err := vmap.Apply(t.Context(), m, root, []vmap.Change{{e.Name, e.Value}}, m.put); err == nil {
			t.Errorf("Apply accepts a name of %d and a value of %d bytes", len(e.Name), len(e.Value))
		}
	}
	if _, err := vmap.Build([]vmap.Entry{{"n", []byte("1")}, {"n", []byte("2")}}, m.put); err == nil {
		t.Error("Build accepts one name twice")
	}
	if _, err := vmap.Lookup(t.Context(), m, root, long); err == nil {
		t.Error("Lookup accepts a long name")
	}
}

func TestLargestLeafIsABlock(t *testing.T) {
	t.Parallel()
	var entries []vmap.Entry
	for i := range vmap.Bucket {
		entries = append(entries, vmap.Entry{
			Name: fmt.Sprintf("%0*d", vmap.MaxName, i), Value: make([]byte, vmap.MaxValue),
		})
	}
	m := newMemory()
	root, err := vmap.Build(entries, m.put)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(m.blocks[root]); size > vmap.MaxBlock {
		t.Errorf("a leaf of %d bytes", size)
	}
	if v, err := vmap.Lookup(t.Context(), m, root, entries[3].Name); err != nil || len(v) != vmap.MaxValue {
		t.Errorf("Lookup: %d bytes, %v", len(v), err)
	}
}

// TestUnavailableIsNeverAbsent takes every block of a map away in turn: no name whose path needs it is then said to be
// absent, or present.
func TestUnavailableIsNeverAbsent(t *testing.T) {
	t.Parallel()
	m := newMemory()
	entries := numbered(150)
	root := build(t, m, entries)
	names := append(slices.Collect(maps.Keys(entries)), "absent", "absent-too", "q1", "q2")
	for c, data := range maps.Clone(m.blocks) {
		for _, name := range names {
			path, err := vmap.NewReader(m, root).Path(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			delete(m.blocks, c)
			value, err := vmap.Lookup(t.Context(), m, root, name)
			m.blocks[c] = data
			if !slices.Contains(path, c) {
				if err != nil || string(value) != entries[name] {
					t.Errorf("%s without %s: %q, %v", name, c, value, err)
				}
				continue
			}
			if !errors.Is(err, fs.ErrNotExist) || isTrust(err) || value != nil {
				t.Errorf("%s without %s: %q, %v; want not exist", name, c, value, err)
			}
		}
		if err := vmap.Walk(t.Context(), m, block.Sum(cid.DagCBOR, []byte("?")), nil); err == nil {
			t.Error("Walk of a root that is not there succeeds")
		}
	}
}

// TestAnyFlippedByteIsDistrusted changes each byte of each block on a path.
func TestAnyFlippedByteIsDistrusted(t *testing.T) {
	t.Parallel()
	m := newMemory()
	root := build(t, m, numbered(200))
	path, err := vmap.NewReader(m, root).Path(t.Context(), "p7")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range path {
		good := m.blocks[c]
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 0x40
			m.blocks[c] = bad
			if v, err := vmap.Lookup(t.Context(), m, root, "p7"); !isTrust(err) || v != nil {
				t.Fatalf("byte %d of %s changed: %q, %v; want a trust error", i, c, v, err)
			}
		}
		m.blocks[c] = good
	}
}

func TestRootMustBeAMapCID(t *testing.T) {
	t.Parallel()
	m := newMemory()
	for _, c := range []cid.Cid{cid.Undef, block.Empty(), block.Sum(cid.Raw, []byte("x"))} {
		if _, err := vmap.Lookup(t.Context(), m, c, "p1"); err == nil {
			t.Errorf("Lookup in %s succeeds", c)
		}
		if _, err := vmap.Apply(t.Context(), m, c, nil, m.put); err == nil {
			t.Errorf("Apply to %s succeeds", c)
		}
		if err := vmap.Walk(t.Context(), m, c, nil); err == nil {
			t.Errorf("Walk of %s succeeds", c)
		}
	}
}

func TestErrorsOfPutAndWalkAreReturned(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	fail := func(cid.Cid, []byte) error { return full }
	m := newMemory()
	root := build(t, m, numbered(50))
	if _, err := vmap.Build([]vmap.Entry{{"a", []byte("b")}}, fail); !errors.Is(err, full) {
		t.Errorf("Build: %v", err)
	}
	if _, err := vmap.Apply(t.Context(), m, root, []vmap.Change{{"a", []byte("b")}}, fail); !errors.Is(err, full) {
		t.Errorf("Apply: %v", err)
	}
	if err := vmap.Walk(t.Context(), m, root, func(string, []byte) error { return full }); !errors.Is(err, full) {
		t.Errorf("Walk: %v", err)
	}
}
