package link

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes a folder as the store has them.
func tree(t *testing.T, store, root string, files map[string]string) Item {
	t.Helper()
	dir := filepath.Join(store, "trees", root)
	for p, content := range files {
		p = filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		perm := os.FileMode(0o444)
		if strings.HasPrefix(content, "#!") {
			perm = 0o555
		}
		if err := os.WriteFile(p, []byte(content), perm); err != nil {
			t.Fatal(err)
		}
	}
	return Item{Root: root, Tree: dir}
}

// world is a project beside a store with a few trees.
type world struct {
	project, store string
	a1, a2, b      Item
}

func newWorld(t *testing.T) world {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("SKIPPED: symlinks need a privilege here")
	}
	w := world{project: t.TempDir(), store: t.TempDir()}
	w.a1 = tree(t, w.store, "bafya1", map[string]string{"f": "a1", "bin/run": "#!/bin/sh\n"})
	w.a2 = tree(t, w.store, "bafya2", map[string]string{"f": "a2", "bin/run": "#!/bin/sh\n"})
	w.b = tree(t, w.store, "bafyb", map[string]string{"g": "b", "d/e/f": "deep"})
	return w
}

func named(it Item, name string) Item {
	it.Name = name
	return it
}

func (w world) run(t *testing.T, mode Mode, items ...Item) Report {
	t.Helper()
	r, err := Run(t.Context(), w.project, items, mode)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// see lists pkg_modules as a user sees it, following links, but for our own files.
func (w world) see(t *testing.T) map[string]string {
	t.Helper()
	got := map[string]string{}
	var walk func(dir, rel string)
	walk = func(dir, rel string) {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		for _, e := range entries {
			p, r := filepath.Join(dir, e.Name()), rel+e.Name()
			if r == stateFile || r == lockFile {
				continue
			}
			info, err := os.Stat(p)
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir() {
				walk(p, r+"/")
				continue
			}
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			got[r] = string(b)
		}
	}
	walk(filepath.Join(w.project, Folder), "")
	return got
}

func (w world) want(t *testing.T, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, w.see(t)); diff != "" {
		t.Error(diff)
	}
}

const sh = "#!/bin/sh\n"

func TestEveryModeLinksUpdatesAndRemoves(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Symlink, Hard, Reflink, Copy} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := named(w.a1, "a")
			a.Bin = map[string]string{"run": "bin/run"}
			if r := w.run(t, mode, a, named(w.b, "scope/b")); r.Linked != 2 || len(r.Bins) != 1 {
				t.Errorf("first run: %+v", r)
			}
			first := map[string]string{"a/f": "a1", "a/bin/run": sh, ".bin/run": sh, "scope/b/g": "b", "scope/b/d/e/f": "deep"}
			w.want(t, first)
			if info, err := os.Stat(filepath.Join(w.project, Folder, ".bin", "run")); err != nil || info.Mode()&0o100 == 0 {
				t.Errorf("the command is not executable: %v, %v", info, err)
			}
			if r := w.run(t, mode, a, named(w.b, "scope/b")); r.Linked+r.Removed != 0 || r.Kept != 2 {
				t.Errorf("second run is no no-op: %+v", r)
			}
			if r := w.run(t, mode, named(w.a2, "a")); r.Linked != 1 || r.Removed != 1 {
				t.Errorf("update: %+v", r)
			}
			w.want(t, map[string]string{"a/f": "a2", "a/bin/run": sh})
			for _, p := range []string{"scope", ".bin"} {
				if _, err := os.Lstat(filepath.Join(w.project, Folder, p)); err == nil {
					t.Errorf("an empty %s stays behind", p)
				}
			}
			if r := w.run(t, mode); r.Removed != 1 {
				t.Errorf("removal: %+v", r)
			}
			w.want(t, map[string]string{})
			if _, err := os.Stat(filepath.Join(w.a2.Tree, "f")); err != nil {
				t.Errorf("removing a link removed the store's file: %v", err)
			}
		})
	}
}

func TestModeCanChangeBothWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, mode := range []Mode{Symlink, Copy, Hard, Symlink} {
		if r := w.run(t, mode, named(w.a1, "a")); r.Linked != 1 {
			t.Errorf("to %s: %+v", mode, r)
		}
		w.want(t, map[string]string{"a/f": "a1", "a/bin/run": sh})
		if link := (&linker{root: mustRoot(t, w)}).isSymlink("a"); link != (mode == Symlink) {
			t.Errorf("%s: is a symlink = %v", mode, link)
		}
	}
}

func mustRoot(t *testing.T, w world) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(filepath.Join(w.project, Folder))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func TestNameCanBecomeScopeAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, mode := range []Mode{Symlink, Copy} {
		for _, name := range []string{"x", "x/y", "x"} {
			w.run(t, mode, named(w.b, name))
			w.want(t, map[string]string{name + "/g": "b", name + "/d/e/f": "deep"})
		}
	}
	w.run(t, Copy, named(w.b, "x/y"))
	mine := filepath.Join(w.project, Folder, "x", "mine")
	if err := os.WriteFile(mine, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var foreign *ForeignError
	if _, err := Run(t.Context(), w.project, []Item{named(w.b, "x")}, Copy); !errors.As(err, &foreign) {
		t.Errorf("a scope with a foreign file gives way: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("the foreign file is gone: %v", err)
	}
}

func TestClashesAreFoundBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := named(w.a1, "a"), named(w.b, "b")
	a.Bin, b.Bin = map[string]string{"run": "bin/run"}, map[string]string{"RUN": "g"}
	var clash *ClashError
	if _, err := Run(t.Context(), w.project, []Item{b, a}, Symlink); !errors.As(err, &clash) || clash.A != "a" || clash.B != "b" {
		t.Errorf("commands: %v, want a ClashError naming a and b", err)
	}
	if _, err := Run(t.Context(), w.project, []Item{named(w.a1, "x"), named(w.b, "x/y")}, Symlink); !errors.As(err, &clash) {
		t.Errorf("name and scope: %v, want a ClashError", err)
	}
	a.Bin = map[string]string{"run": "../../evil"}
	if _, err := Run(t.Context(), w.project, []Item{a}, Symlink); err == nil {
		t.Error("a command outside of its package is linked")
	}
	if _, err := os.Lstat(filepath.Join(w.project, Folder)); err == nil {
		t.Error("something was made")
	}
}

func TestForeignFilesAreNeverTouched(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ path, link string }{
		"file":              {path: "a"},
		"folder":            {path: "a/mine"},
		"link":              {path: "a", link: "/etc"},
		"file at a scope":   {path: "s"},
		"link at a scope":   {path: "s", link: "/tmp"},
		"folder in a scope": {path: "s/b/mine"},
		"command":           {path: ".bin/run"},
		"linked command":    {path: ".bin/run", link: "/bin/sh"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			p := filepath.Join(w.project, Folder, filepath.FromSlash(c.path))
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			var err error
			if c.link != "" {
				err = os.Symlink(c.link, p)
			} else {
				err = os.WriteFile(p, []byte("mine"), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			a := named(w.a1, "a")
			a.Bin = map[string]string{"run": "bin/run"}
			var foreign *ForeignError
			if _, err := Run(t.Context(), w.project, []Item{a, named(w.b, "s/b")}, Symlink); !errors.As(err, &foreign) {
				t.Errorf("got %v, want a ForeignError", err)
			}
			if to, err := os.Readlink(p); to != c.link || c.link != "" && err != nil {
				t.Errorf("the link is now %q, %v", to, err)
			}
			if b, err := os.ReadFile(p); c.link == "" && (err != nil || string(b) != "mine") {
				t.Errorf("the file is now %q, %v", b, err)
			}
		})
	}
}

// TestLockIsNotFollowed: a project that somebody else made may hold a pkg_modules
// whose lock leads out of it.
func TestLockIsNotFollowed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Mkdir(filepath.Join(w.project, Folder), 0o755); err != nil {
		t.Fatal(err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Symlink(outside, filepath.Join(w.project, Folder, lockFile)); err != nil {
		t.Fatal(err)
	}
	_, err := Run(t.Context(), w.project, []Item{named(w.a1, "a")}, Symlink)
	var foreign *ForeignError
	if !errors.As(err, &foreign) {
		t.Errorf("got %v, want a ForeignError", err)
	}
	if _, err := os.Lstat(outside); err == nil {
		t.Error("a file was made outside of the project")
	}
}

func TestWhatTheUserPutInPlaceOfALinkStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, Symlink, named(w.a1, "a"), named(w.b, "b"))
	for _, name := range []string{"a", "b"} {
		p := filepath.Join(w.project, Folder, name)
		if err := errors.Join(os.Remove(p), os.Mkdir(p, 0o755), os.WriteFile(filepath.Join(p, "mine"), []byte("mine"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	var foreign *ForeignError
	if _, err := Run(t.Context(), w.project, []Item{named(w.a2, "a")}, Symlink); !errors.As(err, &foreign) {
		t.Errorf("update over a folder of the user: %v, want a ForeignError", err)
	}
	w.run(t, Symlink) // nothing wanted: what is not ours stays
	w.want(t, map[string]string{"a/mine": "mine", "b/mine": "mine"})
}

func TestLivingFolderIsAlwaysARelativeLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sibling := filepath.Join(w.project, "sibling")
	if err := errors.Join(os.Mkdir(sibling, 0o755), os.WriteFile(filepath.Join(sibling, "x"), []byte("1"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w.run(t, Copy, Item{Name: "scope/sib", Tree: sibling})
		if to, err := os.Readlink(filepath.Join(w.project, Folder, "scope", "sib")); err != nil || to != "../../sibling" {
			t.Errorf("link to %q, %v", to, err)
		}
	}
	w.want(t, map[string]string{"scope/sib/x": "1"})
}

func TestCrashAnywhereIsMendedByTheNextRun(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Symlink, Copy} {
		w := newWorld(t)
		w.run(t, mode, named(w.a1, "a"))
		dir := filepath.Join(w.project, Folder)
		// Claimed and half made: a temporary name, no package.
		l, err := open(t.Context(), w.project, true)
		if err != nil {
			t.Fatal(err)
		}
		a2, b := named(w.a2, "a"), named(w.b, "b")
		l.state.claim(&a2)
		l.state.claim(&b)
		err = errors.Join(l.state.write(l.root), os.Mkdir(filepath.Join(dir, tmpName()), 0o755), os.RemoveAll(filepath.Join(dir, "a")), l.close())
		if err != nil {
			t.Fatal(err)
		}
		if r := w.run(t, mode, a2, b); r.Linked != 2 {
			t.Errorf("%s: %+v", mode, r)
		}
		w.want(t, map[string]string{"a/f": "a2", "a/bin/run": sh, "b/g": "b", "b/d/e/f": "deep"})
		// Made, but the notes are lost.
		if err := os.Remove(filepath.Join(dir, stateFile)); err != nil {
			t.Fatal(err)
		}
		_, err = Run(t.Context(), w.project, []Item{a2, b}, mode)
		var foreign *ForeignError
		if mode == Symlink && err != nil || mode == Copy && !errors.As(err, &foreign) {
			t.Errorf("%s without notes: %v", mode, err)
		}
	}
}

func TestStateThatDoesNotParseIsForgotten(t *testing.T) {
	t.Parallel()
	for what, broken := range map[string]string{
		"empty": "", "truncated": `{"version":1,"packages":{"a":{"ro`, "zeros": "\x00\x00\x00\x00", "garbage": "garbage",
		"no version": "{}", "null": "null", "a list": "[]", "a bad name": `{"version":1,"packages":{"../x":{}}}`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			sibling := Item{Name: "sib", Tree: filepath.Join(w.project, "sibling")}
			if err := os.Mkdir(sibling.Tree, 0o755); err != nil {
				t.Fatal(err)
			}
			a1, a2, b := named(w.a1, "a"), named(w.a2, "a"), named(w.b, "s/b")
			a1.Bin, a2.Bin = map[string]string{"run": "bin/run"}, map[string]string{"run": "f"}
			b.Bin = map[string]string{"go": "g"}
			lose := func() {
				if err := os.WriteFile(filepath.Join(w.project, Folder, stateFile), []byte(broken), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			w.run(t, Symlink, a1, b, sibling)
			lose()
			w.run(t, Symlink, a1, b, sibling)
			w.want(t, map[string]string{"a/f": "a1", "a/bin/run": sh, ".bin/run": sh, "s/b/g": "b", "s/b/d/e/f": "deep", ".bin/go": "b"})
			if r := w.run(t, Symlink, a1, b, sibling); r.Linked+r.Removed != 0 {
				t.Errorf("the run after is no no-op: %+v", r)
			}
			lose()
			w.run(t, Symlink, a2) // another version, and two packages less
			got := w.see(t)
			want := map[string]string{"a/f": "a2", "a/bin/run": sh, ".bin/run": "a2"}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			lose()
			mine := filepath.Join(w.project, Folder, "mine")
			if err := os.WriteFile(mine, []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
			var foreign *ForeignError
			if _, err := Run(t.Context(), w.project, []Item{a2, named(w.b, "mine")}, Symlink); !errors.As(err, &foreign) || foreign.Path != Folder+"/mine" {
				t.Errorf("over a file of the user: %v, want a ForeignError naming it", err)
			}
		})
	}
}

func TestStateOfANewerPkgIsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(t, Symlink, named(w.a1, "a"))
	path := filepath.Join(w.project, Folder, stateFile)
	if err := os.WriteFile(path, []byte(`{"version":2}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), w.project, []Item{named(w.a1, "a")}, Symlink); !errors.Is(err, errNewer) {
		t.Errorf("got %v, want that it is newer", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != `{"version":2}` {
		t.Errorf("the state is now %q, %v", b, err)
	}
}

func TestManyInstallsOfOneProjectTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a := named([]Item{w.a1, w.a2}[i%2], "a")
			if _, err := Run(t.Context(), w.project, []Item{a, named(w.b, "b")}, Copy); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := w.see(t)
	if len(got) != 4 || got["b/g"] != "b" || got["a/f"] != "a1" && got["a/f"] != "a2" {
		t.Errorf("got %v", got)
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"packages":{"a":{"root":"bafy","tree":"/x","as":"copy"}},"bin":{"run":"a/bin/run"}}`))
	f.Add([]byte(`{"version":1,"packages":{"../x":{}}}`))
	f.Add([]byte(`{"version":1,"packages":null,"bin":{"../../x":"y"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseState(b)
		if err != nil {
			return
		}
		for name := range s.Packages {
			if !filepath.IsLocal(name) || name[0] == '.' {
				t.Errorf("package %q is accepted", name)
			}
		}
		for cmd := range s.Bin {
			if !filepath.IsLocal(cmd) {
				t.Errorf("command %q is accepted", cmd)
			}
		}
	})
}
