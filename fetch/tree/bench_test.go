package tree_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// The sizes of the measures: 2,000 files of 20 KB, which compress about as well as source code does.
const benchFiles, benchSize = 2000, 20_000

// benchDir writes the files once a benchmark and returns their folder.
func benchDir(b *testing.B) string {
	b.Helper()
	dir := b.TempDir()
	rnd := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4000)
	for i := range words {
		words[i] = strconv.FormatUint(rnd.Uint64()>>(rnd.UintN(40)+20), 36)
	}
	for i := range benchFiles {
		sub := filepath.Join(dir, "d"+strconv.Itoa(i/50))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		var text strings.Builder
		for text.Len() < benchSize {
			text.WriteString(words[min(rnd.UintN(4000), rnd.UintN(4000))])
			text.WriteByte(" \n(),.;="[rnd.UintN(8)])
		}
		if err := os.WriteFile(filepath.Join(sub, "f"+strconv.Itoa(i)), []byte(text.String()[:benchSize]), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return dir
}

// against runs ours and the shell's command by turns in one run and reports the ratio of their fastest times, as
// "ratio", beside the ratio of the sums.
func against(b *testing.B, ours func(), command string, args ...string) {
	b.Helper()
	for _, tool := range []string{"bash", "tar", "sha256sum", "zstd"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skipf("SKIPPED: %s is not installed", tool)
		}
	}
	theirs := func() {
		out, err := exec.CommandContext(b.Context(), "bash", append([]string{"-ec", command, "bash"}, args...)...).CombinedOutput()
		if err != nil {
			b.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	ours()
	theirs()
	var sum [2]time.Duration
	best := [2]time.Duration{1 << 62, 1 << 62}
	for b.Loop() {
		for i, run := range []func(){ours, theirs} {
			start := time.Now()
			run()
			took := time.Since(start)
			sum[i] += took
			best[i] = min(best[i], took)
		}
	}
	b.SetBytes(benchFiles * benchSize)
	b.ReportMetric(float64(best[0])/float64(best[1]), "ratio")
	b.ReportMetric(float64(sum[0])/float64(sum[1]), "ratio-of-means")
	b.ReportMetric(float64(best[0].Microseconds())/1000, "ours-ms")
	b.ReportMetric(float64(best[1].Microseconds())/1000, "theirs-ms")
}

// BenchmarkRoot is the root of a folder against tar | sha256sum: at most 1.0.
func BenchmarkRoot(b *testing.B) {
	dir := benchDir(b)
	against(b, func() {
		files, err := tree.Scan(dir, nil, nil)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := tree.Root(b.Context(), files, tree.Default()); err != nil {
			b.Fatal(err)
		}
	}, `tar -C "$1" -cf - . | sha256sum >/dev/null`, dir)
}

// BenchmarkPack is root and stored pack against tar | zstd -1 -T2: at most 1.5.
func BenchmarkPack(b *testing.B) {
	dir, out := benchDir(b), b.TempDir()
	var size int64
	against(b, func() { size = benchPack(b, dir, filepath.Join(out, "pack")).PackSize },
		`tar -C "$1" -cf - . | zstd -1 -T2 -q -f -o "$2"`, dir, filepath.Join(out, "tar.zst"))
	theirs, err := os.Stat(filepath.Join(out, "tar.zst"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size)/float64(theirs.Size()), "size-ratio")
}

func benchPack(b *testing.B, dir, to string) tree.Summary {
	b.Helper()
	files, err := tree.Scan(dir, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	s, err := tree.Pack(b.Context(), files, tree.Default(), f)
	if err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkUnpack is extraction against tar --zstd -x, both into a new folder: at most 1.5.
func BenchmarkUnpack(b *testing.B) {
	dir, out := benchDir(b), b.TempDir()
	pack := filepath.Join(out, "pack")
	s := benchPack(b, dir, pack)
	if msg, err := exec.CommandContext(b.Context(), "bash", "-ec", `tar -C "$1" -cf - . | zstd -1 -T2 -q -f -o "$2"`, "bash",
		dir, filepath.Join(out, "tar.zst")).CombinedOutput(); err != nil {
		b.Skipf("SKIPPED: %v: %s", err, msg)
	}
	n := 0
	into := func() string {
		n++
		to := filepath.Join(out, "x"+strconv.Itoa(n))
		if err := os.Mkdir(to, 0o755); err != nil {
			b.Fatal(err)
		}
		return to
	}
	against(b, func() { benchUnpack(b, pack, into(), s.Root) },
		`d=$(mktemp -d -p "$2"); tar -C "$d" --zstd -xf "$1"`, filepath.Join(out, "tar.zst"), out)
}

func benchUnpack(b *testing.B, pack, to string, root cid.Cid) {
	b.Helper()
	data, err := os.ReadFile(pack)
	if err != nil {
		b.Fatal(err)
	}
	dst, err := os.OpenRoot(to)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = dst.Close() }()
	// The pack is kept beside the tree, as the store does.
	keep, err := os.Create(to + ".pack")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = keep.Close() }()
	_, x, err := tree.Unpack(b.Context(), io.TeeReader(bytes.NewReader(data), keep), root, dst, tree.Default())
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(to+".index", x.Encode(), 0o644); err != nil {
		b.Fatal(err)
	}
}
