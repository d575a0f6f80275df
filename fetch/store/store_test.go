package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/fetch/tree"
)

// The test binary is its own child: with storeEnv set it uses the store there instead of running tests.
const storeEnv, childEnv = "STORE_TEST_DIR", "STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(storeEnv); dir != "" {
		if err := child(dir, os.Getenv(childEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child puts and seals ten trees, or hangs in the middle of the first or the fourth until it is killed.
func child(dir, what string) error {
	s, err := store.Open(dir, store.Options{Resume: true})
	if err != nil {
		return err
	}
	b := s.Batch()
	for i := range 10 {
		pack, sum, err := makePack(i)
		if err != nil {
			return err
		}
		var r io.Reader = bytes.NewReader(pack)
		if what == "hang" || what == "hang late" && i == 3 {
			r = io.MultiReader(bytes.NewReader(pack[:len(pack)-10]), hang{})
		}
		if _, err := b.Put(context.Background(), sum.Root, r); err != nil {
			return err
		}
		if i == 5 {
			if err := b.Seal(context.Background()); err != nil {
				return err
			}
		}
	}
	return b.Seal(context.Background())
}

// hang says that it was reached, and never returns.
type hang struct{}

func (hang) Read([]byte) (int, error) {
	fmt.Println("hanging")
	<-time.After(time.Hour) // without a timer the runtime may find a deadlock and end the process
	panic("nobody killed it")
}

func inMemory(path, content string) tree.File {
	return tree.File{Path: path, Size: int64(len(content)), Exec: strings.HasPrefix(path, "bin/"), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

// makePack packs a small tree, another one for each n.
func makePack(n int) ([]byte, tree.Summary, error) {
	var b bytes.Buffer
	sum, err := tree.Pack(context.Background(), []tree.File{
		inMemory("pkg.toml", fmt.Sprintf("[package]\nname = \"p%d\"\n", n)), inMemory("empty", ""), inMemory("LICENSE", "free"),
		inMemory("sub/LICENSE", "free"), inMemory("bin/run", "#!/bin/sh\n"), inMemory("big", strings.Repeat(fmt.Sprint(n), 3<<20)),
	}, tree.Default(), &b)
	return b.Bytes(), sum, err
}

func mustPack(t *testing.T, n int) ([]byte, tree.Summary) {
	t.Helper()
	pack, sum, err := makePack(n)
	if err != nil {
		t.Fatal(err)
	}
	return pack, sum
}

func open(t *testing.T, dir string) *store.Store {
	t.Helper()
	s, err := store.Open(dir, store.Options{Resume: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filled is a store with the trees 0 to n-1.
func filled(t *testing.T, n int) (*store.Store, []cid.Cid) {
	t.Helper()
	s := open(t, t.TempDir())
	b := s.Batch()
	var roots []cid.Cid
	for i := range n {
		pack, sum := mustPack(t, i)
		if _, err := b.Put(t.Context(), sum.Root, bytes.NewReader(pack)); err != nil {
			t.Fatal(err)
		}
		roots = append(roots, sum.Root)
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, roots
}

func tmpEntries(t *testing.T, s *store.Store) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.Dir(), "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestSealedTreesAreThereAndNothingElse(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	pack, sum := mustPack(t, 1)
	b := s.Batch()
	got, err := b.Put(t.Context(), sum.Root, bytes.NewReader(pack))
	if err != nil || got != sum {
		t.Fatalf("Put = %+v, %v, want %+v", got, err, sum)
	}
	if s.Has(sum.Root) {
		t.Error("the tree is there before it is sealed")
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !s.Has(sum.Root) || tmpEntries(t, s) != 0 {
		t.Errorf("Has = %v with %d entries in tmp, want true with none", s.Has(sum.Root), tmpEntries(t, s))
	}
	if got, err := s.Summary(sum.Root); err != nil || got != sum {
		t.Errorf("Summary = %+v, %v, want %+v", got, err, sum)
	}
	if err := s.Verify(t.Context(), sum.Root); err != nil {
		t.Error(err)
	}
	f, size, err := s.OpenPack(sum.Root)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	kept, err := io.ReadAll(f)
	if err != nil || size != int64(len(pack)) || !bytes.Equal(kept, pack) {
		t.Errorf("the pack kept is not the pack put: %d bytes, %v", len(kept), err)
	}
	dir, _ := s.Tree(sum.Root)
	for path, perm := range map[string]os.FileMode{"pkg.toml": 0o444, "bin/run": 0o555, "empty": 0o444} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm()&^0o022 != perm&^0o022 && os.Getenv("OS") == "" {
			t.Errorf("%s: %v, %v, want mode %v", path, info, err, perm)
		}
	}
	// Again, with a reader that must not be read.
	if got, err := b.Put(t.Context(), sum.Root, hang{}); err != nil || got != sum {
		t.Errorf("Put of what is there = %+v, %v", got, err)
	}
	if st, err := s.Stats(); err != nil || st.Trees != 1 || st.Files != 6 || st.TreeBytes != sum.Size || st.PackBytes != sum.PackSize {
		t.Errorf("Stats = %+v, %v", st, err)
	}
}

func TestDiscardAndFailureLeaveNothing(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	pack, sum := mustPack(t, 1)
	b := s.Batch()
	bad := bytes.Clone(pack)
	bad[len(bad)/2] ^= 1
	if _, err := b.Put(t.Context(), sum.Root, bytes.NewReader(bad)); err == nil {
		t.Fatal("a damaged pack is accepted")
	}
	if _, err := b.Put(t.Context(), sum.Root, bytes.NewReader(pack)); err != nil {
		t.Errorf("the good pack after the bad one: %v", err)
	}
	if err := b.Discard(); err != nil {
		t.Fatal(err)
	}
	if s.Has(sum.Root) || tmpEntries(t, s) != 0 {
		t.Error("something is left after Discard")
	}
	if err := b.Seal(t.Context()); err != nil {
		t.Errorf("sealing an empty batch: %v", err)
	}
	_, other := mustPack(t, 2)
	var e *tree.Error
	if _, err := b.Put(t.Context(), other.Root, bytes.NewReader(pack)); !errors.As(err, &e) {
		t.Errorf("the pack of another root: got %v, want a tree.Error", err)
	}
	if err := b.Seal(t.Context()); err != nil || s.Has(other.Root) {
		t.Errorf("Seal = %v, Has = %v", err, s.Has(other.Root))
	}
}

func TestEveryBlockIsServedAndChecked(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 1)
	root := roots[0]
	dir, _ := s.Tree(root)
	leaf := func(content string) cid.Cid {
		c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum([]byte(content))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if b, err := s.Block(t.Context(), root, root); err != nil || len(b) == 0 {
		t.Errorf("the root: %d bytes, %v", len(b), err)
	}
	if b, err := s.Block(t.Context(), root, leaf("free")); err != nil || string(b) != "free" {
		t.Errorf("a leaf: %q, %v", b, err)
	}
	if b, err := s.Block(t.Context(), root, cid.MustParse("bafkqaaa")); err != nil || len(b) != 0 {
		t.Errorf("the empty file: %q, %v", b, err)
	}
	if _, err := s.Block(t.Context(), root, leaf("absent")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a block that is not there: %v", err)
	}
	if _, err := s.Block(t.Context(), leaf("no root"), root); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a root that is not there: %v", err)
	}
	overwrite(t, filepath.Join(dir, "LICENSE"), "fear")
	var h *tree.HashError
	if _, err := s.Block(t.Context(), root, leaf("free")); !errors.As(err, &h) {
		t.Errorf("a block that was changed: %v, want a HashError", err)
	}
}

func overwrite(t *testing.T, path, content string) {
	t.Helper()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyNamesWhatChanged(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(t *testing.T, dir string) (path string, hash bool){
		"content": func(t *testing.T, dir string) (string, bool) {
			t.Helper()
			overwrite(t, filepath.Join(dir, "sub", "LICENSE"), "fear")
			return "sub/LICENSE", true
		},
		"length": func(t *testing.T, dir string) (string, bool) {
			t.Helper()
			overwrite(t, filepath.Join(dir, "big"), "short")
			return "big", false
		},
		"missing": func(t *testing.T, dir string) (string, bool) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, "empty")); err != nil {
				t.Fatal(err)
			}
			return "empty", false
		},
		"added": func(t *testing.T, dir string) (string, bool) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			return "new", false
		},
		"executable": func(t *testing.T, dir string) (string, bool) {
			t.Helper()
			if err := os.Chmod(filepath.Join(dir, "pkg.toml"), 0o755); err != nil {
				t.Fatal(err)
			}
			return "pkg.toml", false
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, roots := filled(t, 1)
			dir, _ := s.Tree(roots[0])
			path, hash := damage(t, dir)
			err := s.Verify(t.Context(), roots[0])
			var h *tree.HashError
			var d *store.DamageError
			if hash && !errors.As(err, &h) || !hash && !errors.As(err, &d) {
				t.Fatalf("got %T: %v", err, err)
			}
			if !hash && d.Path != path {
				t.Errorf("got %v, want it to name %s", err, path)
			}
		})
	}
}

func TestManyProcessesShareAStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if out, err := childCommand(t, dir, "").CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	s := open(t, dir)
	for range 2 { // and goroutines of one process, on one batch
		b := s.Batch()
		var puts sync.WaitGroup
		for i := range 10 {
			for range 2 {
				pack, sum := mustPack(t, i)
				puts.Go(func() {
					if _, err := b.Put(t.Context(), sum.Root, bytes.NewReader(pack)); err != nil {
						t.Error(err)
					}
				})
			}
		}
		puts.Wait()
		if err := b.Seal(t.Context()); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	roots, err := s.Roots()
	if err != nil || len(roots) != 10 || tmpEntries(t, s) != 0 {
		t.Fatalf("%d trees, %d entries in tmp, %v; want 10 and none", len(roots), tmpEntries(t, s), err)
	}
	for _, root := range roots {
		if err := s.Verify(t.Context(), root); err != nil {
			t.Error(err)
		}
	}
}

func childCommand(t *testing.T, dir, what string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), storeEnv+"="+dir, childEnv+"="+what)
	return cmd
}

func TestKilledProcessLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := childCommand(t, dir, "hang")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("hanging"))); err != nil {
		t.Fatal(err)
	}
	if s := open(t, dir); tmpEntries(t, s) != 2 {
		t.Errorf("%d entries in tmp beside a living process, want its folder and its lock", tmpEntries(t, s))
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	s := open(t, dir)
	if n := tmpEntries(t, s); n != 0 {
		t.Errorf("%d entries in tmp after its process was killed, want none", n)
	}
	if roots, err := s.Roots(); err != nil || len(roots) != 0 {
		t.Errorf("%d trees, %v: an unsealed tree counts as there", len(roots), err)
	}
}

// TestKilledProcessLeavesItsPacks: what it had of each pack is there for the next, until it is forgotten.
func TestKilledProcessLeavesItsPacks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := childCommand(t, dir, "hang late")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("hanging"))); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	s := open(t, dir)
	for i := range 3 {
		pack, sum := mustPack(t, i)
		r, _, err := s.Left(sum.Root)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, pack) {
			t.Errorf("pack %d: %d bytes were left of %d, %v", i, len(got), len(pack), err)
		}
		if !s.Interrupted(sum.Root) {
			t.Errorf("pack %d was not interrupted", i)
		}
		if err := s.Forget(sum.Root); err != nil || s.Interrupted(sum.Root) {
			t.Errorf("pack %d is not forgotten: %v", i, err)
		}
	}
	_, never := mustPack(t, 9)
	if _, _, err := s.Left(never.Root); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v for what was never begun", err)
	}
}

func TestPruneKeepsWhatLivingProjectsUse(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 4)
	alive, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	for dir, of := range map[string][]cid.Cid{alive: roots[:1], gone: roots[1:2]} {
		if err := s.Record(dir, of); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Record("relative", roots); err == nil {
		t.Error("a relative project is recorded")
	}
	freed, n, err := s.Prune(t.Context(), func(c cid.Cid) bool { return c == roots[2] })
	if err != nil || n != 2 || freed == 0 {
		t.Errorf("Prune = %d bytes, %d roots, %v; want 2 roots", freed, n, err)
	}
	for i, want := range []bool{true, false, true, false} {
		if s.Has(roots[i]) != want {
			t.Errorf("root %d: Has = %v, want %v", i, !want, want)
		}
		if _, _, err := s.OpenPack(roots[i]); (err == nil) != want {
			t.Errorf("root %d: OpenPack: %v", i, err)
		}
	}
	projects, err := s.Recorded()
	if err != nil || len(projects) != 1 || projects[0].Dir != alive {
		t.Errorf("Recorded = %v, %v; want the living project alone", projects, err)
	}
	if err := s.Record(alive, nil); err != nil {
		t.Fatal(err)
	}
	if _, n, err := s.Prune(t.Context(), nil); err != nil || n != 2 {
		t.Errorf("Prune = %d, %v; want the other 2", n, err)
	}
	if err := s.Remove(roots[0]); err != nil {
		t.Errorf("removing what is not there: %v", err)
	}
}

func TestNothingIsRemovedWhileItIsUsed(t *testing.T) {
	t.Parallel()
	s, roots := filled(t, 1)
	release, err := s.Use(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Use(t.Context())
	if err != nil {
		t.Fatal("two cannot use the store at once")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Prune(ctx, nil); err == nil || !s.Has(roots[0]) {
		t.Errorf("Prune = %v beside a user", err)
	}
	if err := errors.Join(release(), second()); err != nil {
		t.Fatal(err)
	}
	if _, n, err := s.Prune(t.Context(), nil); err != nil || n != 1 {
		t.Errorf("Prune = %d, %v", n, err)
	}
}
