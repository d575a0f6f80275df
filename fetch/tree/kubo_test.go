package tree_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"go/build"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/klauspost/compress/zstd"

	"pkg/fetch/tree"
)

// kubo runs a real ipfs in a repository of its own, or skips the test.
type kubo struct {
	bin, repo string
}

func newKubo(t *testing.T) kubo {
	t.Helper()
	if os.Getenv("PKG_TEST_ONLINE") != "1" {
		t.Skip("SKIPPED: compares with a real Kubo only under PKG_TEST_ONLINE=1")
	}
	name := "ipfs"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	bin, err := exec.LookPath(name)
	if err != nil {
		bin = filepath.Join(filepath.SplitList(build.Default.GOPATH)[0], "bin", name)
		if _, err := os.Stat(bin); err != nil {
			t.Skip("SKIPPED: no ipfs on PATH or in GOPATH/bin: go install github.com/ipfs/kubo/cmd/ipfs@v0.41.0")
		}
	}
	k := kubo{bin, t.TempDir()}
	k.run(t, nil, "init", "--empty-repo", "--profile=test")
	return k
}

func (k kubo) run(t *testing.T, in io.Reader, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), k.bin, args...)
	cmd.Env = append(os.Environ(), "IPFS_PATH="+k.repo, "IPFS_TELEMETRY=off", "HTTP_PROXY=", "IPFS_LOGGING=error")
	cmd.Stdin = in
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("ipfs %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String())
}

// writeFiles writes generated content into a new folder.
func writeFiles(t *testing.T, sizes map[string]int64) string {
	t.Helper()
	dir := t.TempDir()
	for p, size := range sizes {
		p = filepath.Join(dir, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(f, rand.NewChaCha8(sha256.Sum256([]byte(p[len(dir):]))), size); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestKuboPrintsTheSameRoot(t *testing.T) {
	t.Parallel()
	k := newKubo(t)
	deep := strings.Repeat("d/", 31) + "f"
	for name, sizes := range map[string]map[string]int64{
		"empty and one byte": {"empty": 0, "one": 1, "sub/empty": 0, "sub/one": 1},
		"dot-files":          {".npmrc": 20, ".config/.x": 30, "a/.b": 1},
		"order":              {"a/x": 1, "a.txt": 2, "a-b": 3, "B": 4, "é": 5, "日本/語": 6},
		"deep":               {deep: 10, "d/g": 11},
		"around a chunk":     {"a": 1<<20 - 1, "b": 1 << 20, "c": 1<<20 + 1, "d": 3 << 20},
		"over 174 MiB":       {"big": 175<<20 + 7, "small": 7},
	} {
		t.Run(name, func(t *testing.T) { // one at a time: ipfs locks its repository
			dir := writeFiles(t, sizes)
			if err := os.Mkdir(filepath.Join(dir, "no-files"), 0o755); err != nil {
				t.Fatal(err)
			}
			want := k.run(t, nil, "add", "-Q", "-r", "-H", "--empty-dirs=false", "--cid-version=1", "--raw-leaves",
				"--chunker=size-1048576", "--max-file-links=1024", "--inline", "--inline-limit=0", "--only-hash", dir)
			files, err := tree.Scan(dir, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := mustRoot(t, files).String(); got != want {
				t.Errorf("root %s, Kubo prints %s", got, want)
			}
		})
	}
}

// TestKuboGetsExecutablesBack imports a pack into Kubo, as the CAR that it is but for a header, and gets it out.
func TestKuboGetsExecutablesBack(t *testing.T) {
	t.Parallel()
	k := newKubo(t)
	big := strings.Repeat("#!/bin/sh\n", 300_000)
	pack, sum := mustPack(t, []tree.File{
		executable("bin/run", "#!/bin/sh\n"), executable("bin/big", big), executable("bin/empty", ""), file("lib/a", "plain"), file("lib/b", ""),
	})
	car := filepath.Join(t.TempDir(), "x.car")
	if err := os.WriteFile(car, append(carHeader(sum.Root), plain(t, pack)...), 0o644); err != nil {
		t.Fatal(err)
	}
	k.run(t, nil, "dag", "import", "--pin-roots=false", car)
	out := filepath.Join(t.TempDir(), "out")
	k.run(t, nil, "get", "--offline", "-o", out, sum.Root.String())
	want := map[string]string{
		"bin/run": "x #!/bin/sh\n", "bin/big": "x " + big, "bin/empty": "x ", "lib/a": "plain", "lib/b": "",
	}
	if diff := cmp.Diff(want, listing(t, out)); diff != "" {
		t.Error(diff)
	}
}

func plain(t *testing.T, pack []byte) []byte {
	t.Helper()
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	b, err := dec.DecodeAll(pack, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// carHeader is the DAG-CBOR map {roots: [root], version: 1} with its length before it.
func carHeader(root cid.Cid) []byte {
	h := append([]byte("\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"), root.Bytes()...)
	h = append(h, "\x67version\x01"...)
	return append(binary.AppendUvarint(nil, uint64(len(h))), h...)
}
