//go:build unix

package registry

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/publish"
)

func TestInitMakesARegistryOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sub", "reg")
	id, err := Init(t.Context(), dir, testOrigin, InitOptions{Now: newClock().now})
	if err != nil || !strings.HasPrefix(id, "bafy") {
		t.Fatalf("Init = %q, %v", id, err)
	}
	for _, f := range []string{"log.key", "root.key"} {
		info, err := os.Stat(filepath.Join(dir, f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", f, info, err)
		}
	}
	if _, err := os.Stat(dir + ".signed"); err != nil {
		t.Errorf("the signer's record: %v", err)
	}
	if _, err := Init(t.Context(), dir, testOrigin, InitOptions{}); err == nil || !strings.Contains(err.Error(), "already") {
		t.Errorf("second Init: %v", err)
	}
	s := open(t, dir, Config{})
	if s.ID() != id || s.Status().Size != 1 || s.Status().Names != 0 {
		t.Errorf("status of a new registry: %+v", s.Status())
	}
	if _, err := Open(t.Context(), dir, Config{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second Open: %v, want ErrLocked", err)
	}
}

func TestInitBeginsAgainAfterInterruption(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	if err := os.WriteFile(filepath.Join(dir, incomplete), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Config{}); err == nil {
		t.Error("an incomplete registry opens")
	}
	if _, err := Init(t.Context(), dir, "other.test", InitOptions{}); err != nil {
		t.Fatalf("Init again: %v", err)
	}
	if s := open(t, dir, Config{}); s.Origin() != "other.test" {
		t.Errorf("origin %q", s.Origin())
	}
}

func TestInitRefuses(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(t.Context(), full, testOrigin, InitOptions{}); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a directory with files: %v", err)
	}
	gone := filepath.Join(t.TempDir(), "reg")
	if err := os.WriteFile(Signed(gone), []byte("x\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Init(t.Context(), gone, testOrigin, InitOptions{}); err == nil || !strings.Contains(err.Error(), "begun anew") {
		t.Errorf("a signer's record without its registry: %v", err)
	}
}

func TestPassphraseOpensLogKey(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	path := filepath.Join(dir, logKeyFile)
	key, err := keys.ReadFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	// As Init with a passphrase writes it, but cheap to decrypt.
	ring := keys.Ring{Dir: filepath.Join(t.TempDir(), "keys"), WorkFactor: 4}
	if err := ring.New("log", key, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	b, err := ring.Export("log")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Config{}); !errors.Is(err, keys.ErrPassphraseNeeded) {
		t.Errorf("open without the passphrase: %v", err)
	}
	if _, err := Open(t.Context(), dir, Config{Passphrase: []byte("guess")}); !errors.Is(err, keys.ErrPassphrase) {
		t.Errorf("open with another passphrase: %v", err)
	}
	open(t, dir, Config{Passphrase: []byte("secret")})
}

func TestClaims(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	ada, bob := newWriter(seeded(1)), newWriter(seeded(2))
	g := ada.genesis(t, "left-pad")
	first := submit(t, s, g)
	if first.Size != 1 || first.Commit != 1 {
		t.Errorf("receipt %+v", first)
	}
	if again := submit(t, s, g); again != first {
		t.Errorf("the same genesis again: %+v, want %+v", again, first)
	}
	r := refused(t, s, http.StatusConflict, bob.genesis(t, "left-pad"))
	if !strings.Contains(r.Reason, string(seeded(1).Author())) {
		t.Errorf("the reason does not name the owner: %s", r.Reason)
	}
	if got := s.Status(); got.Size != 2 || got.Names != 1 {
		t.Errorf("status after one claim: %+v", got)
	}
	foreign := newWriter(seeded(3))
	b := author.Body{Kind: author.KindGenesis, Genesis: &author.Genesis{
		Origin: "elsewhere", Name: "x", Root: author.RootSet{Keys: [][32]byte{foreign.key.Public()}, Threshold: 1},
	}}
	refused(t, s, http.StatusUnprocessableEntity, foreign.sign(t, b))
}

func TestScopes(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	scope, pkg := newWriter(seeded(1)), newWriter(seeded(1))
	sg, pg := scope.genesis(t, "acme/"), pkg.genesis(t, "acme/tool")
	r := refused(t, s, http.StatusUnprocessableEntity, pg)
	if !strings.Contains(r.Reason, "acme/") {
		t.Errorf("reason %q", r.Reason)
	}
	submit(t, s, sg, pg)
	refused(t, s, http.StatusForbidden, newWriter(seeded(2)).genesis(t, "acme/other"))
	refused(t, s, http.StatusConflict, newWriter(seeded(2)).genesis(t, "acme/"))
	submit(t, s, newWriter(seeded(1)).genesis(t, "acme/more"))
	// The owner lets somebody else have a name by signing the claim as well.
	submit(t, s, newWriter(seeded(2)).genesis(t, "acme/guest", seeded(1)))
	check(t, s.dir, "acme/", "acme/tool", "acme/more", "acme/guest")
}

func TestEntriesFollowTheLog(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	w := newWriter(seeded(1))
	submit(t, s, w.genesis(t, "a"))
	stale := *w
	stale.state = w.state.Clone()
	e1, e2 := w.note(t, 300), w.note(t, 400)
	refused(t, s, http.StatusConflict, e2) // a gap
	if r := submit(t, s, e1, e2); r.Size != 3 {
		t.Errorf("receipt %+v", r)
	}
	r := refused(t, s, http.StatusConflict, stale.note(t, 500))
	if !strings.Contains(r.Help, "refresh") {
		t.Errorf("help of a stale entry: %q", r.Help)
	}
	if r := submit(t, s, e1); r.Size != 3 {
		t.Errorf("an entry sent again: %+v", r)
	}
	unknown := newWriter(seeded(9))
	unknown.genesis(t, "b")
	refused(t, s, http.StatusNotFound, unknown.note(t, 300))
	// All or nothing: the second entry is wrong, so the first is not recorded.
	ok := w.note(t, 300)
	refused(t, s, http.StatusConflict, ok, stale.note(t, 600))
	if got := check(t, s.dir, "a")["a"].Size; got != 3 {
		t.Errorf("log has %d entries, want 3", got)
	}
}

func TestManyPages(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := open(t, dir, Config{})
	w := newWriter(seeded(1))
	entries := [][]byte{w.genesis(t, "a")}
	for range 200 {
		entries = append(entries, w.note(t, 300))
	}
	for len(entries) > 0 {
		n := min(len(entries), 50)
		submit(t, s, entries[:n]...)
		entries = entries[n:]
	}
	if got := check(t, dir, "a")["a"]; got.Size != 201 || got.LogRoot() != w.state.LogRoot() {
		t.Errorf("log of %d entries, want 201", got.Size)
	}
}

func TestConcurrentSubmissionsShareCommits(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := open(t, dir, Config{})
	const n = 40
	var wg sync.WaitGroup
	for i := range n {
		g := newWriter(seeded(i+1)).genesis(t, fmt.Sprintf("p%d", i))
		for range 2 { // each twice: a duplicate in the same commit is no conflict
			wg.Go(func() {
				if _, err := s.Submit(t.Context(), sub(g)); err != nil {
					t.Errorf("submit %d: %v", i, err)
				}
			})
		}
	}
	wg.Wait()
	if got := s.Status(); got.Names != n || got.Size > 10 {
		t.Errorf("%d names in %d commits", got.Names, got.Size)
	}
}

func TestOneNameHasOneWinner(t *testing.T) {
	t.Parallel()
	s := open(t, newDir(t), Config{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 16 {
		g := newWriter(seeded(i+1)).genesis(t, "wanted")
		wg.Go(func() {
			_, err := s.Submit(t.Context(), sub(g))
			var r *publish.RefusedError
			if err != nil && (!errors.As(err, &r) || r.Status != http.StatusConflict) {
				t.Errorf("loser %d: %v", i, err)
			}
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d winners", won)
	}
}

func TestIdleRegistryStaysFresh(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, newDir(t), Config{Now: c.now})
	s.idle <- struct{}{}
	s.idle <- struct{}{} // the first is done when this is taken
	if n := s.Status().Size; n != 1 {
		t.Errorf("an idle registry recorded %d commits at once", n-1)
	}
	c.add(12 * time.Hour)
	s.idle <- struct{}{}
	s.idle <- struct{}{}
	st := s.Status()
	if st.Size != 2 || st.Time != c.now().Unix() {
		t.Errorf("after 12 hours: %+v", st)
	}
	c.add(-time.Hour) // a clock set back must not turn the log's time back
	submit(t, s, newWriter(seeded(1)).genesis(t, "a"))
	if got := s.Status().Time; got != st.Time {
		t.Errorf("time %d after %d", got, st.Time)
	}
}

func TestCloseFinishesWhatWasAccepted(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := open(t, dir, Config{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var acked []string
	for i := range 8 {
		n := fmt.Sprintf("p%d", i)
		g := newWriter(seeded(i+1)).genesis(t, n)
		wg.Go(func() {
			_, err := s.Submit(t.Context(), sub(g))
			switch {
			case err == nil:
				mu.Lock()
				acked = append(acked, n)
				mu.Unlock()
			case !errors.Is(err, ErrClosed):
				t.Errorf("submit %s: %v", n, err)
			}
		})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if _, err := s.Submit(t.Context(), sub(newWriter(seeded(99)).genesis(t, "late"))); !errors.Is(err, ErrClosed) {
		t.Errorf("submit after Close: %v", err)
	}
	check(t, dir, acked...)
}

func TestOlderCopyMayNotSign(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	s := open(t, dir, Config{})
	submit(t, s, newWriter(seeded(1)).genesis(t, "a"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Skipf("copy a registry: %v", err)
	}
	s = open(t, dir, Config{})
	submit(t, s, newWriter(seeded(2)).genesis(t, "b"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, dir); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{logKeyFile, rootKeyFile} {
		if err := os.Chmod(filepath.Join(dir, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(t.Context(), dir, Config{})
	var refused *guardError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "older copy") {
		t.Errorf("open a restored backup: %v", err)
	}
	if err := os.Remove(Signed(dir)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Config{}); !errors.As(err, &refused) {
		t.Errorf("open without the signer's record: %v", err)
	}
}

func TestEmbeddedIsCreatedOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "embedded")
	var wg sync.WaitGroup
	var mu sync.Mutex
	ids := map[string]bool{}
	for i := range 3 {
		g := bytes.Clone(localGenesis(t, i))
		wg.Go(func() {
			s, err := Embedded(t.Context(), dir, Config{})
			if err != nil {
				t.Errorf("Embedded: %v", err)
				return
			}
			if err := s.Push(t.Context(), sub(g)); err != nil {
				t.Errorf("push: %v", err)
			}
			mu.Lock()
			ids[s.ID()] = true
			mu.Unlock()
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("%d registries were made", len(ids))
	}
	check(t, dir, "p0", "p1", "p2")
}

func localGenesis(t *testing.T, i int) []byte {
	t.Helper()
	w := newWriter(seeded(i + 1))
	return w.sign(t, author.Body{Kind: author.KindGenesis, Genesis: &author.Genesis{
		Origin: LocalOrigin, Name: fmt.Sprintf("p%d", i), Root: author.RootSet{Keys: [][32]byte{w.key.Public()}, Threshold: 1},
	}})
}

func TestRatesRefill(t *testing.T) {
	t.Parallel()
	c := newClock()
	r := newRates(60)
	if !r.take("k", 60, c.now()) || r.take("k", 1, c.now()) || !r.take("other", 1, c.now()) {
		t.Error("a bucket of 60 does not hold 60")
	}
	c.add(time.Minute)
	if !r.take("k", 1, c.now()) || r.take("k", 1, c.now()) {
		t.Error("one a minute does not come back")
	}
	if !newRates(-1).take("k", 1<<20, c.now()) {
		t.Error("unlimited is limited")
	}
}
