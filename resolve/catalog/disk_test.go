package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pkg/keys"
	"pkg/keys/namespace"
	"pkg/resolve/catalog"
)

func TestDiskIsAMemory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	for what, m := range map[string]catalog.Memory{"disk": catalog.NewDisk(dir), "memory": newMemory()} {
		if _, err := m.Load("names/x/_a.json"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: Load of nothing = %v", what, err)
		}
		if l, err := m.List("names/x"); err != nil || len(l) != 0 {
			t.Errorf("%s: List of nothing = %v, %v", what, l, err)
		}
		for _, data := range []string{"one", "", "three"} {
			if err := m.Save("names/x/_a.json", []byte(data)); err != nil {
				t.Fatal(err)
			}
			if b, err := m.Load("names/x/_a.json"); err != nil || string(b) != data {
				t.Errorf("%s: Load = %q, %v; want %q", what, b, err, data)
			}
		}
		if err := m.Save("pins/y", []byte("id")); err != nil {
			t.Fatal(err)
		}
		if l, err := m.List("names/x"); err != nil || len(l) != 1 || l[0] != "_a.json" {
			t.Errorf("%s: List = %v, %v", what, l, err)
		}
	}
}

func TestDiskStaysInItsFolder(t *testing.T) {
	t.Parallel()
	d := catalog.NewDisk(t.TempDir())
	for _, p := range []string{"../x", "/x", "a/../../x", "", "a//b", "a/"} {
		if err := d.Save(p, nil); err == nil {
			t.Errorf("Save(%q) is accepted", p)
		}
	}
	if err := d.Heads().Swap(t.Context(), "../../x", namespace.Seen{}, namespace.Seen{Ratchet: 1}); err == nil {
		t.Error("an id that is a path is accepted")
	}
}

func TestDiskIsPrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	d := catalog.NewDisk(dir)
	if err := d.Save("pins/x", []byte("id")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"", "pins", "pins/x"} {
		fi, err := os.Stat(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		if os.PathSeparator == '/' && fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q has mode %v", p, fi.Mode())
		}
	}
}

// TestDiskSwapsOnce has many compare-and-swaps at once: every success is seen by
// the next.
func TestDiskSwapsOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var wg sync.WaitGroup
	const workers, each = 4, 10
	for range workers {
		wg.Go(func() {
			h := catalog.NewDisk(dir).Heads() // each like a process of its own
			for done := 0; done < each; {
				old, err := h.Load(t.Context(), "id")
				if err != nil {
					t.Error(err)
					return
				}
				next := old
				next.Trust = [][]byte{[]byte("root")}
				next.Ratchet++
				switch err := h.Swap(t.Context(), "id", old, next); {
				case err == nil:
					done++
				case !errors.Is(err, namespace.ErrChanged):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	seen, err := catalog.NewDisk(dir).Heads().Load(t.Context(), "id")
	if err != nil || seen.Ratchet != workers*each {
		t.Errorf("counted %d, %v; want %d", seen.Ratchet, err, workers*each)
	}
}

func TestDiskRefusesSpoiledState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := catalog.NewDisk(dir)
	if err := d.Save("registries/id/seen.json", []byte(`{"Ratchet":`)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Heads().Load(t.Context(), "id"); err == nil {
		t.Error("a head that cannot be read back counts as none: a rollback would go unseen")
	}
}

func TestDiskKeepsEvidence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := catalog.NewDisk(dir)
	e := &keys.TrustError{Subject: "a", What: "two histories", Evidence: []keys.Evidence{
		{Name: "head known here", Data: []byte("ours")},
		{Name: "../../head served", Data: []byte("theirs")},
		{Name: "..", Data: []byte("x")},
	}}
	path, err := d.Evidence(e)
	if err != nil {
		t.Fatal(err)
	}
	again, err := d.Evidence(e)
	if err != nil || again != path || !strings.HasPrefix(path, dir) {
		t.Errorf("kept in %s, then %s, %v", path, again, err)
	}
	files, err := filepath.Glob(filepath.Join(path, "*"))
	if err != nil || len(files) != 4 {
		t.Errorf("evidence %v, %v; want three files and what they show", files, err)
	}
	if b, err := os.ReadFile(filepath.Join(path, "head served")); err != nil || string(b) != "theirs" {
		t.Errorf("evidence %q, %v", b, err)
	}
}

func TestDiskKeepsEvidenceOfOneName(t *testing.T) {
	t.Parallel()
	e := &keys.TrustError{Subject: "a", What: "tiles lie", Evidence: []keys.Evidence{
		{Name: "tile/0/000", Data: []byte("zero")},
		{Name: "tile/1/000", Data: []byte("one")},
		{Name: "README", Data: []byte("two")},
	}}
	path, err := catalog.NewDisk(t.TempDir()).Evidence(e)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(path, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	for _, x := range e.Evidence {
		if !slices.Contains(all, string(x.Data)) {
			t.Errorf("%s is lost, kept are %q", x.Name, all)
		}
	}
}

// TestRegistryOnDisk runs a whole life on a disk: first contact, a second run,
// offline, and spoiled files of what can be proved again.
func TestRegistryOnDisk(t *testing.T) {
	t.Parallel()
	f := standard(t)
	dir := t.TempDir()
	open := func(offline bool) *catalog.Registry {
		c := newClient(t)
		d := catalog.NewDisk(dir)
		r, err := catalog.Open(catalog.Config{
			URL: "https://registry.test", Offline: offline, Source: f.source(), Heads: d.Heads(), Memory: d, Now: c.clock, Evidence: d.Evidence,
		})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for _, offline := range []bool{false, false, true} {
		r := open(offline)
		if got := versions(t, r, "a"); got != "1.0.0 1.1.0" {
			t.Errorf("a has %s", got)
		}
		if err := r.Prove(t.Context(), row(t, f, "a", "1.0.0")); err != nil {
			t.Error(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "names", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if err := os.WriteFile(file, nil, 0o600); err != nil { // as after a crash of the machine
			t.Fatal(err)
		}
	}
	if got := versions(t, open(false), "a"); got != "1.0.0 1.1.0" {
		t.Errorf("after a crash a has %s", got)
	}
}

func TestDir(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := standard(t)
	for p, b := range f.files {
		file := filepath.Join(dir, "public", filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("key"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := catalog.NewDir(filepath.Join(dir, "public"))
	for _, p := range []string{"../secret", "/etc/passwd", "a/../../secret"} {
		if b, err := d.Read(t.Context(), p, 100); err == nil {
			t.Errorf("Read(%q) = %q", p, b)
		}
	}
	if _, err := d.Read(t.Context(), "trust/9", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := d.Read(t.Context(), "head", 10); err == nil {
		t.Error("a file longer than its limit was read")
	}
	if _, err := catalog.NewDir(filepath.Join(dir, "nothing")).Read(t.Context(), "trust/0", 10); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	c := newClient(t)
	c.cfg.Local = true
	if got := versions(t, c.open(d), "a"); got != "1.0.0 1.1.0" {
		t.Errorf("a has %s", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	m := newMemory()
	for what, cfg := range map[string]catalog.Config{
		"nothing":      {},
		"no source":    {Heads: heads{m}, Memory: m, Now: newClient(t).clock},
		"a bad id":     {Heads: heads{m}, Memory: m, Now: newClient(t).clock, Offline: true, ID: "../x"},
		"a foreign id": {Heads: heads{m}, Memory: m, Now: newClient(t).clock, Offline: true, ID: "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"},
	} {
		if _, err := catalog.Open(cfg); err == nil {
			t.Errorf("Open with %s is accepted", what)
		}
	}
	r, err := catalog.Open(catalog.Config{Heads: heads{m}, Memory: m, Now: newClient(t).clock, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Refresh(context.Background()); err == nil || !strings.Contains(fmt.Sprint(err), "offline") {
		t.Errorf("Refresh offline with nothing seen: %v", err)
	}
}
