package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/fetch/tree"
)

// outlined puts files into a new store and returns their outline, as another would get it.
func outlined(tb testing.TB, files ...tree.File) (*store.Store, *tree.Outline) {
	tb.Helper()
	s, err := store.Open(tb.TempDir(), store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	var pack bytes.Buffer
	sum, err := tree.Pack(tb.Context(), files, tree.Default(), &pack)
	if err != nil {
		tb.Fatal(err)
	}
	b := s.Batch()
	if _, err := b.Put(tb.Context(), sum.Root, &pack); err != nil {
		tb.Fatal(err)
	}
	if err := b.Seal(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	return s, outline(tb, s, sum.Root)
}

func outline(tb testing.TB, s *store.Store, root cid.Cid) *tree.Outline {
	tb.Helper()
	p, err := s.Parts(root)
	if err != nil {
		tb.Fatal(err)
	}
	nodes, err := p.Nodes()
	if err != nil {
		tb.Fatal(err)
	}
	o, err := tree.ReadNodes(bytes.NewReader(nodes), root, tree.Default())
	if err != nil {
		tb.Fatal(err)
	}
	return o
}

// noise is a file that does not compress.
func noise(path string, size int) tree.File {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(len(path)), byte(size)}).Read(b)
	return inMemory(path, string(b))
}

// many is a tree with large files, small ones, an executable, an empty file and content that is there twice.
func many() []tree.File {
	files := []tree.File{inMemory("bin/run", "#!"), inMemory("empty", ""), noise("large", 3<<20+5), noise("lib/large copy", 3<<20+5)}
	files[0].Exec = true
	for i := range 40 {
		files = append(files, inMemory(fmt.Sprintf("lib/d%d/f%02d", i%3, i), fmt.Sprint("content ", i/2)))
	}
	return files
}

// move brings the leaves from up to to of o from one store to a partial of another.
func move(tb testing.TB, from *store.Store, to *store.Partial, o *tree.Outline, lo, hi int) {
	tb.Helper()
	p, err := from.Parts(o.Root)
	if err != nil {
		tb.Fatal(err)
	}
	pack, err := p.Leaves(tb.Context(), lo, hi)
	if err != nil {
		tb.Fatal(err)
	}
	if err := o.ReadLeaves(bytes.NewReader(pack), lo, hi, to.Put); err != nil {
		tb.Fatal(err)
	}
}

// TestTreeIsAssembledFromParts: parts in any order make the tree that the pack makes.
func TestTreeIsAssembledFromParts(t *testing.T) {
	t.Parallel()
	src, o := outlined(t, many()...)
	dst := open(t, t.TempDir())
	p, err := dst.Partial(o)
	if err != nil {
		t.Fatal(err)
	}
	b := dst.Batch()
	done := make(chan error, 1)
	go func() {
		_, err := b.Assemble(t.Context(), o, p.Leaf)
		done <- err
	}()
	for i := o.Leaves() - 1; i >= 0; i-- {
		move(t, src, p, o, i, i+1)
	}
	if err := errors.Join(<-done, p.Remove(), b.Seal(t.Context()), dst.Verify(t.Context(), o.Root)); err != nil {
		t.Fatal(err)
	}
	if dst.Interrupted(o.Root) {
		t.Error("parts of what is there are kept")
	}
	want, err := src.Summary(o.Root)
	if got, gerr := dst.Summary(o.Root); err != nil || gerr != nil || got.Files != want.Files || got.Blocks != want.Blocks || got.Size != want.Size {
		t.Errorf("got %+v, %v, want %+v, %v", got, gerr, want, err)
	}
}

// TestWhatCameIsKept: a partial that is opened again has what it had, but for what was damaged meanwhile.
func TestWhatCameIsKept(t *testing.T) {
	t.Parallel()
	src, o := outlined(t, many()...)
	dst := open(t, t.TempDir())
	p, err := dst.Partial(o)
	if err != nil {
		t.Fatal(err)
	}
	move(t, src, p, o, 1, 2)
	move(t, src, p, o, 2, 3)
	second, err := dst.Partial(o) // at the same time
	if err != nil {
		t.Fatal(err)
	}
	if second.Has(1) {
		t.Error("two have the same parts at once")
	}
	if err := errors.Join(second.Keep(), p.Keep()); err != nil {
		t.Fatal(err)
	}
	if !dst.Interrupted(o.Root) {
		t.Error("nothing was kept")
	}
	f, err := os.OpenFile(filepath.Join(dst.Dir(), "parts", o.Root.String()), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := o.Span(2)
	if _, err := f.WriteAt([]byte("damage"), at); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if p, err = dst.Partial(o); err != nil {
		t.Fatal(err)
	}
	for i := range o.Leaves() {
		if want := i == 1; p.Has(i) != want {
			t.Errorf("leaf %d is here: %v, want %v", i, p.Has(i), want)
		}
	}
	if err := p.Keep(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := dst.Prune(t.Context(), nil); err != nil || dst.Interrupted(o.Root) {
		t.Errorf("prune: %v, and the parts are still there: %v", err, dst.Interrupted(o.Root))
	}
	if left, err := os.ReadDir(filepath.Join(dst.Dir(), "parts")); err != nil || len(left) > 0 {
		t.Errorf("%v left, %v", left, err)
	}
}

// TestAssemblyEndsWithItsParts: who waits for a leaf that never comes is told, and nothing is in the store.
func TestAssemblyEndsWithItsParts(t *testing.T) {
	t.Parallel()
	src, o := outlined(t, many()...)
	dst := open(t, t.TempDir())
	p, err := dst.Partial(o)
	if err != nil {
		t.Fatal(err)
	}
	move(t, src, p, o, 0, 1)
	b := dst.Batch()
	done := make(chan error, 1)
	go func() {
		_, err := b.Assemble(t.Context(), o, p.Leaf)
		done <- err
	}()
	mine := errors.New("no more")
	p.End(mine)
	if err := <-done; !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Assemble(ctx, o, p.Leaf); err == nil {
		t.Error("a canceled assembly succeeded")
	}
	if err := errors.Join(p.Keep(), b.Seal(t.Context())); err != nil || dst.Has(o.Root) {
		t.Errorf("%v, and the tree is there: %v", err, dst.Has(o.Root))
	}
}

// TestPartsAreBounded: no request makes the server read more than a part.
func TestPartsAreBounded(t *testing.T) {
	t.Parallel()
	s, o := outlined(t, noise("large", 6<<20))
	p, err := s.Parts(o.Root)
	if err != nil {
		t.Fatal(err)
	}
	for _, span := range [][2]int{{0, 0}, {-1, 1}, {0, 7}, {2, 1}, {0, 2}, {6, 7}} {
		if _, err := p.Leaves(t.Context(), span[0], span[1]); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("leaves %v: got %v", span, err)
		}
	}
	if _, err := open(t, t.TempDir()).Parts(o.Root); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("parts of what is not here: got %v", err)
	}
}

// TestKinAreTheLatestThatAreHere: names lead to trees that are in the store, whatever the file says.
func TestKinAreTheLatestThatAreHere(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 4)
	gone := cid.MustParse("bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi")
	for _, names := range []map[cid.Cid]string{{roots[0]: "a"}, {roots[1]: "a"}, {roots[2]: "a", gone: "a"}, {roots[3]: "b"}, {roots[0]: "a"}, nil} {
		if err := s.Remember(names); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(s.Dir(), "kin"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("rubbish\n\nbaf a\nbafy"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		kin, err := s.Kin(func(name string) bool { return name == "a" })
		if err != nil || len(kin) != 1 || len(kin["a"]) != 2 || kin["a"][0] != roots[0] || kin["a"][1] != roots[2] {
			t.Errorf("got %v, %v", kin, err)
		}
		if _, _, err := s.Prune(t.Context(), func(cid.Cid) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkAssemble compares a tree from parts with the same from its pack.
func BenchmarkAssemble(b *testing.B) {
	src, o := outlined(b, noise("large", 40<<20))
	for _, whole := range []bool{true, false} {
		b.Run(fmt.Sprintf("whole=%v", whole), func(b *testing.B) {
			b.SetBytes(o.Bytes())
			dst, err := store.Open(b.TempDir(), store.Options{})
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				batch := dst.Batch()
				if whole {
					f, _, err := src.OpenPack(o.Root)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := batch.Put(b.Context(), o.Root, f); err != nil {
						b.Fatal(err)
					}
					_ = f.Close()
				} else {
					p, err := dst.Partial(o)
					if err != nil {
						b.Fatal(err)
					}
					if err := src.Salvage(b.Context(), o.Root, o, p.Put); err != nil {
						b.Fatal(err)
					}
					if _, err := batch.Assemble(b.Context(), o, p.Leaf); err != nil {
						b.Fatal(err)
					}
					if err := p.Remove(); err != nil {
						b.Fatal(err)
					}
				}
				if err := batch.Discard(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
