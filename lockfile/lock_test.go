package lockfile

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/lockfile/block"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

func version(t interface {
	Helper()
	Fatal(...any)
}, s string,
) semver.Version {
	t.Helper()
	v, err := semver.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// row makes a package whose fields follow from its name and version.
func row(tb testing.TB, registry, n, v string, deps ...string) Package {
	tb.Helper()
	seed := block.Sum(cid.Raw, []byte(n+v))
	digest, _ := block.Digest(seed)
	return Package{
		Name: name.Name(n), Version: version(tb, v), Registry: registry, Author: name.AuthorOf([32]byte{1}),
		ID: digest, Entry: 1, Log: digest, Commit: 2, Root: seed, Size: int64(len(n)), Dependencies: deps,
	}
}

func registry(n string) Registry {
	return Registry{Name: n, Origin: n + ".example.org/log", ID: block.Sum(cid.DagCBOR, []byte(n)).String()}
}

func sample(tb testing.TB) *Lock {
	tb.Helper()
	local := registry("local")
	local.Local = true
	signed := row(tb, "main", "qs", "6.14.0")
	signed.Signer = name.AuthorOf([32]byte{2})
	return &Lock{
		Registries: []Registry{registry("main"), local},
		Packages: []Package{
			row(tb, "main", "express", "5.1.0", "scope/accepts", "local:own"),
			row(tb, "main", "scope/accepts", "2.0.0-rc.1+build"),
			signed,
			row(tb, "local", "own", "0.1.0", "main:qs"),
			{Name: "sibling", Version: version(tb, "0.1.0"), Path: `../a "b"`, Dependencies: []string{"main:qs"}},
			{Name: "unversioned", Path: "../c"},
		},
	}
}

// equal compares locks by all fields, in any order.
func equal(a, b *Lock) string {
	order := func(l *Lock) Lock {
		out := Lock{
			sortedBy(l.Registries, func(r Registry) string { return r.Name }),
			sortedBy(l.Packages, func(p Package) string { return string(p.Name) }),
		}
		for i, p := range out.Packages {
			out.Packages[i].Dependencies = sortedBy(p.Dependencies, func(d string) string { return d })
		}
		return out
	}
	return cmp.Diff(order(a), order(b), cmp.Comparer(func(a, b cid.Cid) bool { return a == b }))
}

func TestLockIsWrittenAsInTheGoldenFile(t *testing.T) {
	t.Parallel()
	const file = "testdata/pkg.lock"
	got := sample(t).Bytes()
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got)\n%s", file, d)
	}
	l, err := Parse(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := equal(sample(t), l); d != "" {
		t.Errorf("read back (-want +got)\n%s", d)
	}
}

func TestSameRowsGiveSameBytes(t *testing.T) {
	t.Parallel()
	want := sample(t).Bytes()
	rapid.Check(t, func(rt *rapid.T) {
		l := sample(t)
		l.Packages = rapid.Permutation(l.Packages).Draw(rt, "packages")
		l.Registries = rapid.Permutation(l.Registries).Draw(rt, "registries")
		for i := range l.Packages {
			slices.Reverse(l.Packages[i].Dependencies)
		}
		before := slices.Clone(l.Packages)
		got := l.Bytes()
		if !bytes.Equal(got, want) {
			rt.Fatal(cmp.Diff(string(want), string(got)))
		}
		for i := range before {
			if before[i].Name != l.Packages[i].Name {
				rt.Fatal("Bytes sorted the lock in place")
			}
		}
		again, err := Parse(got)
		if err != nil || !bytes.Equal(again.Bytes(), want) {
			rt.Fatalf("lock(lock(x)) differs: %v", err)
		}
	})
}

func TestRandomLocksReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := &Lock{Registries: []Registry{registry("a"), registry("b")}}
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}(/[a-z]{1,3})?`), 0, 12, rapid.ID).Draw(t, "names")
		for _, n := range names {
			p := Package{
				Name: name.Name(n), Version: version(t, rapid.StringMatching(`[0-9]\.[0-9]\.[0-9](-rc\.1)?(\+x)?`).Draw(t, "version")),
				Registry: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "registry"),
				Author:   name.AuthorOf([32]byte{rapid.Byte().Draw(t, "author")}),
				Entry:    uint64(rapid.Uint32().Draw(t, "entry")), Commit: uint64(rapid.Uint32().Draw(t, "commit")),
				Root: block.Empty(), Size: rapid.Int64Min(0).Draw(t, "size"),
			}
			copy(p.ID[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "id"))
			l.Packages = append(l.Packages, p)
		}
		for i := range l.Packages {
			for _, q := range l.Packages {
				if rapid.Bool().Draw(t, "edge") {
					l.Packages[i].Dependencies = append(l.Packages[i].Dependencies, l.Packages[i].EdgeTo(q.Registry, q.Name))
				}
			}
		}
		got, err := Parse(l.Bytes())
		if err != nil {
			t.Fatalf("%v\n%s", err, l.Bytes())
		}
		if d := equal(l, got); d != "" {
			t.Fatal(d)
		}
		for i := range got.Packages {
			p, ok := got.Get(got.Packages[i].Name)
			if !ok || p != &got.Packages[i] || got.Index()[p.Name] != p {
				t.Fatalf("Get(%s) = %v, %v", got.Packages[i].Name, p, ok)
			}
		}
	})
}

func TestALockCutAnywhereIsRefused(t *testing.T) {
	t.Parallel()
	whole := sample(t).Bytes()
	windows := bytes.ReplaceAll(whole, []byte("\n"), []byte("\r\n"))
	for _, b := range [][]byte{whole, windows} {
		if _, err := Parse(b); err != nil {
			t.Fatal(err)
		}
		for n := range len(b) {
			if _, err := Parse(b[:n]); err == nil {
				t.Errorf("cut after %d of %d bytes: accepted", n, len(b))
			}
		}
	}
	for n := range len(whole) {
		if _, err := Parse(append(bytes.Clone(whole), whole[:n]...)); err == nil && n > len(firstLine) {
			t.Errorf("with its first %d bytes after it: accepted", n)
		}
	}
}

func TestAnEmptyLock(t *testing.T) {
	t.Parallel()
	b := new(Lock).Bytes()
	if want := firstLine + "version = 1\n\n" + lastLine; string(b) != want {
		t.Errorf("written as %q", b)
	}
	if l, err := Parse(b); err != nil || len(l.Packages)+len(l.Registries) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestBadLocksAreRefused(t *testing.T) {
	t.Parallel()
	whole := string(sample(t).Bytes())
	line := func(s string) string { return s + "\n" }
	digest := row(t, "main", "qs", "6.14.0").ID
	id := hex.EncodeToString(digest[:])
	tests := []struct{ what, old, new, msg string }{
		{"newer version", "version = 1\n", "version = 2\nfuture = 1\n", "pkg.lock:2: version 2 is newer"},
		{"version zero", "version = 1\n", "version = 0\n", `version is "0"`},
		{"version as text", "version = 1\n", "version = '1'\n", "version is"},
		{"no version", "version = 1\n", "", "version is missing"},
		{"unknown key", "entry = 1\n", "entri = 1\n", `did you mean "entry"`},
		{"unknown table", "[[registry]]", "[[registri]]", `did you mean "registry"`},
		{"merge conflict", "version = 1\n", "version = 1\n<<<<<<< ours\n", "pkg.lock:3: unresolved merge conflict"},
		{"end twice", "version = 1\n", "version = 1\n" + lastLine, "2 times"},
		{"registry twice", `name = "main"`, `name = "local"`, "twice"},
		{"registry id twice", registry("main").ID, registry("local").ID, "twice"},
		{"registry id", registry("main").ID, "https://example.org", "id: invalid CID"},
		{"registry name", `name = "main"`, `name = "Main"`, "the name is not"},
		{"registry origin", `origin = "main.example.org/log"`, `origin = ""`, "origin is empty"},
		{"no row for the registry", `name = "main"`, `name = "other"`, `there is no registry "main"`},
		{"package twice", `name = "qs"`, `name = "own"`, "package own is there twice"},
		{"package name", `name = "qs"`, `name = "QS"`, `did you mean "qs"`},
		{"package version", `version = "6.14.0"`, `version = "6.14"`, "invalid version"},
		{"no package version", line(`version = "6.14.0"`), "", "invalid version"},
		{"author", `author = "did:key:z6Mk`, `author = "did:key:z6MK`, "invalid author"},
		{"no author", line(`author = "` + string(name.AuthorOf([32]byte{1})) + `"`), "", "invalid author"},
		{"signer", string(name.AuthorOf([32]byte{2})), "me", "invalid author"},
		{"entry", "entry = 1\n", "entry = -1\n", "missing or negative"},
		{"no entry", "entry = 1\n", "", "missing or negative"},
		{"no commit", "commit = 2\n", "", "missing or negative"},
		{"size", "size = 2\n", "size = -2\n", "missing or negative"},
		{"no size", "size = 2\n", "", "missing or negative"},
		{"size as text", "size = 2\n", "size = '2'\n", "pkg.lock:"},
		{"id", `id = "` + id, `id = "X` + id[1:], "64 lower-case hex digits"},
		{"id in capitals", `id = "` + id, `id = "` + strings.ToUpper(id), "64 lower-case hex digits"},
		{"log", `log = "` + id, `log = "` + id[1:], "64 lower-case hex digits"},
		{"root", `root = "bafkrei`, `root = "Qm`, "root: invalid CID"},
		{"dependency without a row", `"scope/accepts",`, `"accepts",`, `dependency "accepts" has no row`},
		{"dependency of another registry", `"local:own",`, `"own",`, `dependency "own" has no row`},
		{"dependency qualified needlessly", `"scope/accepts",`, `"main:scope/accepts",`, "write scope/accepts"},
		{"dependency twice", `"local:own",`, `"local:own", "local:own",`, "twice"},
		{"path of a registry's package", `path = "../c"`, "path = \"../c\"\nsize = 1", "a path has only"},
		{"path over lines", `path = "../c"`, `path = "../c\n"`, "control characters"},
		{"NUL", `path = "../c"`, "path = \"../c\x00\"", "control character"},
		{"not TOML", "version = 1\n", "version = 1\nx\n", "pkg.lock:3: expected ="},
	}
	for _, tt := range tests {
		in := strings.Replace(whole, tt.old, tt.new, 1)
		if in == whole {
			t.Errorf("%s: nothing was changed", tt.what)
			continue
		}
		_, err := Parse([]byte(in))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.msg) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.msg)
		}
	}
	if _, err := Parse(make([]byte, 17<<20)); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("17 MiB: %v", err)
	}
}

func TestFaultsNameTheRow(t *testing.T) {
	t.Parallel()
	whole := string(sample(t).Bytes())
	in := strings.Replace(whole, `version = "6.14.0"`, `version = "6"`, 1)
	want := strings.Count(whole[:strings.Index(whole, `name = "qs"`)], "\n")
	_, err := Parse([]byte(in))
	var e *Error
	if !errors.As(err, &e) || e.Line != want || !strings.Contains(err.Error(), `package "qs"`) {
		t.Errorf("%v, want line %d", err, want)
	}
}

func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*.lock")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range seeds {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(new(Lock).Bytes())
	f.Add([]byte("version = 1\npackage = [{}]\n" + lastLine))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("error is a %T", err)
			}
			return
		}
		out := l.Bytes()
		again, err := Parse(out)
		if err != nil {
			t.Fatalf("what was written is refused: %v\n%s", err, out)
		}
		if d := equal(l, again); d != "" || !bytes.Equal(again.Bytes(), out) {
			t.Fatalf("lock(lock(x)) differs\n%s", d)
		}
	})
}

// BenchmarkParse reads a lock of 2,000 packages.
func BenchmarkParse(b *testing.B) {
	l := &Lock{Registries: []Registry{registry("main")}}
	for i := range 2000 {
		l.Packages = append(l.Packages, row(b, "main", fmt.Sprintf("package-%d", i), "1.2.3", "package-1", "package-2"))
	}
	raw := l.Bytes()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
