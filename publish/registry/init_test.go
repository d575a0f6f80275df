//go:build unix

package registry

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pkg/publish/internal/file"
)

// tornDisk is killed in the n-th operation: a file that was to be replaced is
// left under its temporary name, one that was to be extended is half written.
type tornDisk struct {
	disk
	n   int
	ops *atomic.Int64
}

// dies reports whether the process is killed in this operation, or was before.
func (d tornDisk) dies() (now, dead bool) {
	n := int(d.ops.Add(1))
	return n == d.n, n > d.n
}

func (d tornDisk) Replace(path string, data []byte, perm fs.FileMode) error {
	now, dead := d.dies()
	if now {
		_, err := file.Temp(path, data, perm, false)
		return errors.Join(errFault, err)
	}
	if dead {
		return errFault
	}
	return d.disk.Replace(path, data, perm)
}

func (d tornDisk) Extend(path string, at int64, data []byte) error {
	now, dead := d.dies()
	if now {
		return errors.Join(errFault, d.disk.Extend(path, at, data[:len(data)/2]))
	}
	if dead {
		return errFault
	}
	return d.disk.Extend(path, at, data)
}

// works fails the test unless the registry in dir is made, or taken up, and
// then keeps its identity and what it records.
func works(t *testing.T, dir string) (id string) {
	t.Helper()
	for i := range 2 {
		s, err := Embedded(t.Context(), dir, Config{Now: newClock().now})
		if err != nil {
			t.Fatalf("Embedded: %v", err)
		}
		if i == 0 {
			id = s.ID()
			submit(t, s, localGenesis(t, 0))
		} else if s.ID() != id {
			t.Errorf("opened again it is %s, want %s", s.ID(), id)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	check(t, dir, "p0")
	for _, in := range []string{dir, filepath.Dir(dir)} {
		if left, err := filepath.Glob(filepath.Join(in, ".*.tmp*")); err != nil || len(left) != 0 {
			t.Errorf("left behind: %q %v", left, err)
		}
	}
	return id
}

// TestCreationFailsAnywhereAndIsBegunAgain fails the n-th operation of a
// creation, for every n: not done, done but reported as failed, and torn as by
// a kill.
func TestCreationFailsAnywhereAndIsBegunAgain(t *testing.T) {
	t.Parallel()
	const ops = 12 // more than there are
	var wg sync.WaitGroup
	for _, how := range []string{"not done", "done", "torn"} {
		var hits atomic.Int64
		for n := 1; n <= ops; n++ {
			wg.Go(func() {
				t.Run(fmt.Sprintf("%s,n=%d", how, n), func(t *testing.T) {
					if failedCreation(t, how, n) {
						hits.Add(1)
					}
				})
			})
		}
		wg.Wait()
		if hits.Load() < 8 || hits.Load() == ops {
			t.Errorf("%s: %d operations failed, want all of them, which are fewer than %d", how, hits.Load(), ops)
		}
	}
}

// failedCreation reports whether the n-th operation was reached.
func failedCreation(t *testing.T, how string, n int) bool {
	t.Helper()
	f := &faults{}
	f.arm(n, how == "done")
	h := hooks{disk: faultDisk{osDisk{}, f}}
	if how == "torn" {
		h = hooks{disk: tornDisk{osDisk{}, n, &atomic.Int64{}}}
	}
	dir := filepath.Join(newParent(t), "new")
	s, err := Embedded(t.Context(), dir, Config{Now: newClock().now, hooks: h})
	if err == nil {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return false
	}
	if !strings.Contains(err.Error(), errFault.Error()) { // Tessera wraps nothing
		t.Fatal(err)
	}
	works(t, dir)
	return true
}

// TestInitGoesOnAfterAKillAtTheVeryStart leaves what a kill leaves before the
// marker is there.
func TestInitGoesOnAfterAKillAtTheVeryStart(t *testing.T) {
	t.Parallel()
	parent := newParent(t)
	for i, left := range []string{".incomplete.tmp2882578541", "lock"} {
		dir := filepath.Join(parent, fmt.Sprint(i))
		if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, left), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := Init(t.Context(), dir, testOrigin, InitOptions{}); err != nil {
			t.Errorf("%s: %v", left, err)
		}
	}
	for _, mine := range []string{".incomplete.tmp", ".incomplete.tmpx", ".incomplete.tmp1.bak", "incomplete.tmp1", ".log.key.tmp1", ".incomplete.tmp1/"} {
		dir := t.TempDir()
		path := filepath.Join(dir, mine)
		put := func() error { return os.WriteFile(path, nil, 0o600) }
		if strings.HasSuffix(mine, "/") {
			put = func() error { return os.Mkdir(path, 0o700) }
		}
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if _, err := Init(t.Context(), dir, testOrigin, InitOptions{}); err == nil {
			t.Errorf("a directory with %s is taken", mine)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%s: %v", mine, err)
		}
	}
}

// TestCreationIsBegunAgainFromAnySubset keeps some of a new registry's files
// and the marker, as if the rest had not reached the disk.
func TestCreationIsBegunAgainFromAnySubset(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup // they wait more than they compute
	for seed := range uint64(8) {
		wg.Go(func() { t.Run(fmt.Sprint(seed), func(t *testing.T) { anySubset(t, seed) }) })
	}
	wg.Wait()
}

func anySubset(t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	dir := filepath.Join(newParent(t), "new")
	if _, err := Init(t.Context(), dir, LocalOrigin, InitOptions{Now: newClock().now}); err != nil {
		t.Fatal(err)
	}
	var gone []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && path != dir && random.IntN(4) == 0 {
			gone = append(gone, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if random.IntN(2) == 0 {
		gone = append(gone, Signed(dir))
	}
	// A head is written after all the rest.
	gone = append(gone, filepath.Join(dir, "public", "head"))
	for _, path := range gone {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, incomplete), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	works(t, dir)
}

// TestWholeRegistryKeepsItsIdentity is a kill just before the marker is removed:
// somebody may have read the head by then.
func TestWholeRegistryKeepsItsIdentity(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := open(t, dir, Config{})
	id := s.ID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, incomplete), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Embedded(t.Context(), dir, Config{Now: newClock().now})
	if err != nil || s.ID() != id {
		t.Fatalf("Embedded: %v, want %s", err, id)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if exists(filepath.Join(dir, incomplete)) {
		t.Error("it is still marked")
	}
}

// TestKilledCreationIsBegunAgain kills a process that makes a registry, sooner
// and later.
func TestKilledCreationIsBegunAgain(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			t.Run(fmt.Sprint(i), func(t *testing.T) { killedCreation(t, exe, time.Duration(i*i)*400*time.Microsecond) })
		})
	}
	wg.Wait()
}

func killedCreation(t *testing.T, exe string, after time.Duration) {
	t.Helper()
	dir := filepath.Join(newParent(t), "new")
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestCreatingChild$", dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for !exists(dir) && t.Context().Err() == nil { // start-up takes longer than the creation
		time.Sleep(100 * time.Microsecond)
	}
	time.Sleep(after)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	works(t, dir)
}

// TestCreatingChild is the process that is killed.
func TestCreatingChild(t *testing.T) {
	t.Parallel()
	if flag.NArg() != 1 {
		t.Skip("runs as the child of TestKilledCreationIsBegunAgain")
	}
	if _, err := Embedded(t.Context(), filepath.Clean(flag.Arg(0)), Config{}); err != nil {
		t.Fatal(err)
	}
	select {} // until killed
}
