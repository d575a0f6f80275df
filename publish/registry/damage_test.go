//go:build unix

package registry

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDamagedRegistrySaysWhatToDo takes away or spoils one part of a registry
// with a release log: it does not open, says which part, and the command it
// names mends it.
func TestDamagedRegistrySaysWhatToDo(t *testing.T) {
	t.Parallel()
	old := newDir(t)
	s := open(t, old, Config{})
	w := newWriter(seeded(1))
	submit(t, s, w.genesis(t, "a"))
	submit(t, s, w.note(t, 300))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newer := "registry.test\n9\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	for _, c := range []struct{ part, text, says string }{
		{"reg.signed", "-", "no record"},
		{"reg.signed", "", "record cannot be read"},
		{"reg.signed", "garbage", "record cannot be read"},
		{"reg.signed", newer, "older copy"},
		{"reg/registry.json", "-", "registry.json is missing"},
		{"reg/registry.json", "", "registry.json"},
		{"reg/registry.json", "garbage", "registry.json"},
		{"reg/registry.json", "{}", "registry.json"},
		{"reg/log.key", "-", "log.key is missing"},
		{"reg/log.key", "", "log.key"},
		{"reg/log.key", "garbage", "log.key"},
		{"reg/public/head", "garbage", "public/head"},
		{"reg/public/head", "", "public/head"},
		{"reg/public/tile", "-", "public/tile is missing"},
		{"reg/public/ipfs", "-", "public/ipfs is missing"},
		{"reg/public/trust", "-", "public/trust is missing"},
		{"reg/public/trust/0", "-", "public/trust/0 is missing"},
		{"reg/public/trust/0", "garbage", "public/trust"},
		{"reg/store", "-", "store is missing"},
	} {
		t.Run(c.part+"="+c.text[:min(len(c.text), 8)], func(t *testing.T) {
			t.Parallel()
			parent := newParent(t)
			dir := filepath.Join(parent, "reg")
			run(t, parent, "cp -a "+filepath.Dir(old)+"/. .")
			path := filepath.Join(parent, filepath.FromSlash(c.part))
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if c.text != "-" {
				if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // a refusal changes nothing
				for what, open := range map[string]func() (*Server, error){
					"Open":     func() (*Server, error) { return Open(t.Context(), dir, Config{Now: newClock().now}) },
					"Embedded": func() (*Server, error) { return Embedded(t.Context(), dir, Config{Now: newClock().now}) },
				} {
					_, err := open()
					var d *DamageError
					if !errors.As(err, &d) || d.Dir != dir || !strings.Contains(d.Why, c.says) || errors.Is(err, fs.ErrNotExist) {
						t.Fatalf("%s: got %v, want a DamageError with %q", what, err, c.says)
					}
				}
			}
			_, err := Open(t.Context(), dir, Config{})
			var d *DamageError
			if !errors.As(err, &d) {
				t.Fatal(err)
			}
			if c.text == newer {
				return // the backup is no newer
			}
			backup := "ln -s " + old + " BACKUP && "
			if c.part == "reg.signed" {
				backup = "ln -s " + filepath.Dir(old) + " BACKUP && "
			}
			run(t, parent, backup+d.Help)
			mended := open(t, dir, Config{})
			check(t, dir, "a")
			if mended.Status().Size != 3 {
				t.Errorf("after %s: %+v", d.Help, mended.Status())
			}
		})
	}
}

func TestNoRegistryAtAllIsNoDamage(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), t.TempDir(), Config{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v, want that there is none", err)
	}
}

func run(t *testing.T, dir, command string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}
