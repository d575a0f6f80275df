package tree_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"pkg/fetch/tree"
)

// vector is one tree of testdata/vectors/roots.json, whose root was computed by boxo's importer.
type vector struct {
	Name  string
	Files []vectorFile
	Root  string
}

type vectorFile struct {
	Path, Key string
	Size      int64
	Exec      bool
}

func vectors(t *testing.T) []vector {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "vectors", "roots.json"))
	if err != nil {
		t.Fatal(err)
	}
	var v []vector
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vector) files() []tree.File {
	files := make([]tree.File, len(v.Files))
	for i, f := range v.Files {
		files[i] = tree.File{Path: f.Path, Size: f.Size, Exec: f.Exec, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(f.Key))), f.Size)), nil
		}}
	}
	return files
}

// file is a file in memory.
func file(path, content string) tree.File {
	return tree.File{Path: path, Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

func executable(path, content string) tree.File {
	f := file(path, content)
	f.Exec = true
	return f
}

func mustRoot(t *testing.T, files []tree.File) cid.Cid {
	t.Helper()
	s, err := tree.Root(t.Context(), files, tree.Default())
	if err != nil {
		t.Fatal(err)
	}
	return s.Root
}

func mustPack(t *testing.T, files []tree.File) ([]byte, tree.Summary) {
	t.Helper()
	var b bytes.Buffer
	s, err := tree.Pack(t.Context(), files, tree.Default(), &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), s
}

func unpackTo(t *testing.T, dir string, pack []byte, root cid.Cid, l tree.Limits) (tree.Summary, *tree.Index, error) {
	t.Helper()
	dst, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = dst.Close() }()
	return tree.Unpack(t.Context(), bytes.NewReader(pack), root, dst, l)
}

// listing reads a folder back: path → content, with "x " before that of executables.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			t.Errorf("%s is %v, want a regular file", p, info.Mode())
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		mark := ""
		if info.Mode()&0o111 != 0 {
			mark = "x "
		}
		got[filepath.ToSlash(rel)] = mark + string(b)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRootEqualsTheImporterOfBoxo(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			if got := mustRoot(t, v.files()).String(); got != v.Root {
				t.Errorf("root %s, want %s", got, v.Root)
			}
		})
	}
}

func TestUnpackGivesBackWhatWasPacked(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		if strings.Contains(v.Name, "175 MiB") {
			continue // its root is enough
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			files := v.files()
			pack, sum := mustPack(t, files)
			if sum.Root.String() != v.Root {
				t.Fatalf("packed root %s, want %s", sum.Root, v.Root)
			}
			dir := t.TempDir()
			got, x, err := unpackTo(t, dir, pack, sum.Root, tree.Default())
			if err != nil {
				t.Fatal(err)
			}
			if got != sum {
				t.Errorf("unpacked %+v, packed %+v", got, sum)
			}
			again, err := tree.Scan(dir, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if r := mustRoot(t, again); r != sum.Root {
				t.Errorf("the files unpacked have root %s, want %s", r, sum.Root)
			}
			if len(x.Files) != len(files) || len(x.Blocks) != sum.Blocks {
				t.Errorf("index of %d files and %d blocks, want %d and %d", len(x.Files), len(x.Blocks), len(files), sum.Blocks)
			}
			decoded, err := tree.DecodeIndex(x.Encode())
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(decoded.Encode(), x.Encode()) {
				t.Error("the index changes when it is read and written again")
			}
		})
	}
}

func TestAnyTreeSurvivesPacking(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		want := map[string]string{}
		var files []tree.File
		for range rapid.IntRange(1, 12).Draw(r, "files") {
			elems := rapid.SliceOfN(rapid.StringMatching(`[a-c](-|\.|_)?[a-c]?[a-c]`), 1, 4).Draw(r, "path")
			content := strings.Repeat(rapid.SampledFrom([]string{"", "a", "bc", "def"}).Draw(r, "content"),
				rapid.SampledFrom([]int{1, 2, 3, 10, 100, 1000, 5000, 400_000}).Draw(r, "times"))
			f := file(strings.Join(elems, "/"), content)
			f.Exec = rapid.Bool().Draw(r, "exec")
			if tree.Check(append(files, f), tree.Default()) != nil {
				continue // a file and a directory of one name
			}
			files = append(files, f)
			if want[f.Path] = content; f.Exec {
				want[f.Path] = "x " + content
			}
		}
		pack, sum := mustPack(t, files)
		n++
		dir := filepath.Join(base, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o755); err != nil {
			r.Fatal(err)
		}
		if _, _, err := unpackTo(t, dir, pack, sum.Root, tree.Default()); err != nil {
			r.Fatal(err)
		}
		if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
			r.Fatal(diff)
		}
		rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
		if again := mustRoot(t, files); again != sum.Root {
			r.Fatalf("root depends on the order of the files: %s and %s", sum.Root, again)
		}
	})
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestFileThatChangesIsRefused(t *testing.T) {
	t.Parallel()
	twice := 0
	changing := tree.File{Path: "f", Size: 3, Open: func() (io.ReadCloser, error) {
		twice++
		return io.NopCloser(strings.NewReader(fmt.Sprintf("ab%d", twice))), nil
	}}
	big := tree.File{Path: "big", Size: 70 << 20, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(zeros{}, 70<<20)), nil
	}} // too much to be kept, so that files are read again
	longer, shorter := file("f", "abc"), file("f", "abc")
	longer.Size, shorter.Size = 2, 4
	for what, files := range map[string][]tree.File{
		"grown": {longer}, "shrunk": {shorter}, "other content the second time": {changing, big},
	} {
		_, err := tree.Pack(t.Context(), files, tree.Default(), io.Discard)
		var e *tree.Error
		if !errors.As(err, &e) || e.Path != "f" {
			t.Errorf("%s: got %v, want an Error naming f", what, err)
		}
	}
}

func TestScanRefusesWhatIsNoFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, p := range []string{"a", "sub/b", "skip/c"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, p), []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	keep := func(p string, d bool) bool { return p != "skip" || !d }
	files, err := tree.Scan(dir, keep, []string{"sub/b"})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, fmt.Sprint(f.Path, " ", f.Size, " ", f.Exec))
	}
	if diff := cmp.Diff([]string{"a 1 false", "sub/b 5 true"}, got); diff != "" {
		t.Error(diff)
	}
	var e *tree.Error
	if _, err := tree.Scan(dir, keep, []string{"skip/c"}); !errors.As(err, &e) {
		t.Errorf("missing bin target: got %v, want an Error", err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Skip("SKIPPED: no symlinks here")
	}
	if _, err := tree.Scan(dir, keep, nil); !errors.As(err, &e) || e.Path != "link" {
		t.Errorf("symlink: got %v, want an Error naming it", err)
	}
}
