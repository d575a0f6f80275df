package keys_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pkg/keys"
)

func ring(t *testing.T) keys.Ring {
	t.Helper()
	return keys.Ring{Dir: filepath.Join(t.TempDir(), "keys"), WorkFactor: 1}
}

func TestPlainKeyFileComesBack(t *testing.T) {
	t.Parallel()
	b, err := keys.EncodeFile(key(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "# " + string(key(1).Author()) + "\npkg-secret-key:z3u2"
	if !strings.HasPrefix(string(b), want) {
		t.Errorf("file is %q, want it to begin %q", b, want)
	}
	k, err := keys.DecodeFile(b, []byte("not looked at"))
	if err != nil || k.Seed() != key(1).Seed() {
		t.Errorf("DecodeFile = %v, %v", k, err)
	}
	secret := strings.Split(string(b), "\n")[1]
	for _, text := range []string{string(b), secret, " " + secret + "\r\n", "# CI key\n\n" + secret} {
		if k, err := keys.ParseText(text); err != nil || k.Seed() != key(1).Seed() {
			t.Errorf("ParseText(%q) = %v, %v", text, k, err)
		}
	}
}

func TestBadKeyTextIsRefusedAndNotShown(t *testing.T) {
	t.Parallel()
	b, err := keys.EncodeFile(key(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(b), "\n")[1]
	tests := map[string]string{
		"empty":               "",
		"comment alone":       "# " + string(key(1).Author()),
		"of another key":      "# " + string(key(2).Author()) + "\n" + secret,
		"two secrets":         secret + "\n" + secret,
		"cut":                 secret[:len(secret)-1],
		"longer":              secret + "1",
		"a public key":        "pkg-secret-key:" + strings.TrimPrefix(string(key(1).Author()), "did:key:"),
		"without its prefix":  strings.TrimPrefix(secret, "pkg-secret-key:"),
		"another alphabet":    "pkg-secret-key:z0OIl",
		"quadratic base58":    "pkg-secret-key:z" + strings.Repeat("2", 10_000),
		"an OpenSSH key":      "-----BEGIN OPENSSH PRIVATE KEY-----",
		"more than a file is": strings.Repeat("#\n", 1<<14),
	}
	for rule, text := range tests {
		_, err := keys.ParseText(text)
		if err == nil {
			t.Errorf("%s: accepted", rule)
		} else if strings.Contains(err.Error(), "3u2") {
			t.Errorf("%s: the error shows the secret: %v", rule, err)
		}
	}
}

func TestEncryptedKeyNeedsItsPassphrase(t *testing.T) {
	t.Parallel()
	r := ring(t)
	if err := r.New("main", key(1), []byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Load("main", nil); !errors.Is(err, keys.ErrPassphraseNeeded) {
		t.Errorf("without: %v, want ErrPassphraseNeeded", err)
	}
	if _, err := r.Load("main", []byte("wrong")); !errors.Is(err, keys.ErrPassphrase) {
		t.Errorf("wrong: %v, want ErrPassphrase", err)
	}
	if k, err := r.Load("main", []byte("correct horse")); err != nil || k.Seed() != key(1).Seed() {
		t.Errorf("right: %v, %v", k, err)
	}
	if err := r.New("other", key(1), []byte{}); err == nil {
		t.Error("an empty passphrase is accepted")
	}
	b, err := r.Export("main")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("z3u2")) || !bytes.HasPrefix(b, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) {
		t.Errorf("the file is %s", b)
	}
	for _, bad := range [][]byte{b[:len(b)/2], bytes.Replace(b, []byte("\n"), []byte("\nA"), 1), bytes.Repeat(b, 100)} {
		if _, err := keys.DecodeFile(bad, []byte("correct horse")); err == nil {
			t.Errorf("a damaged file is accepted: %.80s", bad)
		}
	}
}

func TestRingListsWithoutPassphrases(t *testing.T) {
	t.Parallel()
	r := ring(t)
	if list, err := r.List(); err != nil || list != nil {
		t.Fatalf("of no directory: %v, %v", list, err)
	}
	for n, k := range map[string]keys.Key{"work": key(1), "ci": key(2), "lost": key(3), "lost-too": key(4)} {
		var passphrase []byte
		if n == "work" || n == "lost" {
			passphrase = []byte("p")
		}
		if err := r.New(n, k, passphrase); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range []string{"lost.pub", "lost-too.pub"} {
		if err := os.Remove(filepath.Join(r.Dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	want := []keys.Info{
		{Name: "ci", Author: key(2).Author()},
		{Name: "lost", Encrypted: true},
		{Name: "lost-too", Author: key(4).Author()},
		{Name: "work", Author: key(1).Author(), Encrypted: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	entries, err := os.ReadDir(r.Dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("the directory holds %d files, want 6: %v", len(entries), err)
	}
}

func TestRingNeverReplacesAKey(t *testing.T) {
	t.Parallel()
	r := ring(t)
	if err := r.New("main", key(1), nil); err != nil {
		t.Fatal(err)
	}
	if err := r.New("main", key(2), nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("New = %v, want os.ErrExist", err)
	}
	b, err := keys.EncodeFile(key(3), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Import("main", b, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("Import = %v, want os.ErrExist", err)
	}
	if k, err := r.Load("main", nil); err != nil || k.Seed() != key(1).Seed() {
		t.Errorf("Load = %v, %v", k, err)
	}
}

func TestOfManyWhoMakeOneKeyOneWins(t *testing.T) {
	t.Parallel()
	r := ring(t)
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			err := r.New("main", key(byte(i)), nil)
			if err == nil {
				won.Add(1)
			} else if !errors.Is(err, os.ErrExist) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
	if _, err := r.Load("main", nil); err != nil {
		t.Error(err)
	}
}

func TestExportedKeyIsImported(t *testing.T) {
	t.Parallel()
	a, b := ring(t), ring(t)
	if err := a.New("main", key(1), []byte("p")); err != nil {
		t.Fatal(err)
	}
	text, err := a.Export("main")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Import("copy", text, []byte("q")); !errors.Is(err, keys.ErrPassphrase) {
		t.Errorf("Import = %v, want ErrPassphrase", err)
	}
	if _, err := b.Import("copy", text, nil); !errors.Is(err, keys.ErrPassphraseNeeded) {
		t.Errorf("Import = %v, want ErrPassphraseNeeded", err)
	}
	if k, err := b.Import("copy", text, []byte("p")); err != nil || k.Seed() != key(1).Seed() {
		t.Fatalf("Import = %v, %v", k, err)
	}
	if k, err := b.Load("copy", []byte("p")); err != nil || k.Seed() != key(1).Seed() {
		t.Errorf("Load = %v, %v", k, err)
	}
}

func TestKeyThatOthersCanReadIsRefused(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a file's mode does not say here who may read it")
	}
	r := ring(t)
	if err := r.New("main", key(1), nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(r.Dir, "main.key")
	for file, want := range map[string]os.FileMode{r.Dir: 0o700, path: 0o600} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %o: %v", file, info.Mode(), want, err)
		}
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, load := r.Load("main", nil)
		_, export := r.Export("main")
		_, read := keys.ReadFile(path, nil)
		for _, err := range []error{load, export, read} {
			perm, ok := errors.AsType[*keys.PermError](err)
			if !ok || perm.Help() != "chmod 600 "+path {
				t.Errorf("mode %o: %v, want a *PermError with help", mode, err)
			}
		}
	}
	if err := os.Chmod(r.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*keys.PermError](r.New("next", key(2), nil)); !ok {
		t.Error("a directory that others can write to is accepted")
	}
}

func TestKeyNamesCannotLeaveTheRing(t *testing.T) {
	t.Parallel()
	r := ring(t)
	for _, n := range []string{"", ".", "..", "../x", "a/b", `a\b`, "A", "a.key", "ä", strings.Repeat("a", 65), "a\n"} {
		_, load := r.Load(n, nil)
		_, export := r.Export(n)
		_, imported := r.Import(n, nil, nil)
		for _, err := range []error{r.New(n, key(1), nil), load, export, imported} {
			if _, ok := errors.AsType[*keys.NameError](err); !ok {
				t.Errorf("%q: %v, want a *NameError", n, err)
			}
		}
	}
	if _, err := r.Load("absent", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v, want os.ErrNotExist", err)
	}
}

func TestKeyOfAnotherThanItsPubIsRefused(t *testing.T) {
	t.Parallel()
	r := ring(t)
	if err := r.New("main", key(1), nil); err != nil {
		t.Fatal(err)
	}
	pub := []byte(key(2).Author() + "\n")
	if err := os.WriteFile(filepath.Join(r.Dir, "main.pub"), pub, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Load("main", nil); err == nil {
		t.Error("accepted")
	}
}

func TestOnlyRegularFilesAreKeys(t *testing.T) {
	t.Parallel()
	if _, err := keys.ReadFile(t.TempDir(), nil); err == nil {
		t.Error("a directory is accepted")
	}
}

func FuzzDecodeFile(f *testing.F) {
	b, err := keys.EncodeFile(key(1), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YxCg==\n-----END AGE ENCRYPTED FILE-----\n"))
	f.Add([]byte("pkg-secret-key:z3u2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := keys.DecodeFile(b, nil)
		if err != nil {
			return
		}
		again, err := keys.EncodeFile(k, nil)
		if err != nil {
			t.Fatal(err)
		}
		if k2, err := keys.DecodeFile(again, nil); err != nil || k2.Seed() != k.Seed() {
			t.Fatalf("came back as %v, %v", k2, err)
		}
	})
}

func TestWhatIsNoKeyIsSaidToBeNone(t *testing.T) {
	t.Parallel()
	r := ring(t)
	if err := r.New("main", key(1), nil); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(r.Dir, "bad.key")
	for name, text := range map[string]string{"bad.key": "root:x:0:0\n", "bad.pub": string(key(1).Author()), "large.key": strings.Repeat("#\n", 1<<20)} {
		if err := os.WriteFile(filepath.Join(r.Dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var perm *keys.PermError
	if _, err := keys.ReadFile(bad, nil); err == nil || errors.As(err, &perm) {
		t.Errorf("ReadFile: %v: want an error that does not advise to change the mode", err)
	}
	got, err := r.List()
	want := []keys.Info{{Name: "bad"}, {Name: "large"}, {Name: "main", Author: key(1).Author()}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("List: %v (-want +got):\n%s", err, diff)
	}
}
