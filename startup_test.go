package main

import (
	"bytes"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkStartup times whole processes in turn: `pkg version`, an empty main
// that imports the same third-party packages, and a net/http hello-world.
// It reports the first two and the first and third as ratios of medians.
func BenchmarkStartup(b *testing.B) {
	dir := b.TempDir()
	pkg := filepath.Join(dir, "pkg-bin")
	run(b, ".", "go", "build", "-o", pkg, ".")
	empty := buildMain(b, dir, "empty", emptyMain(thirdParty(b)))
	hello := buildMain(b, dir, "hello", "package main\n\nimport \"net/http\"\n\nfunc main() { _ = http.NewServeMux() }\n")

	env := append(os.Environ(), "PKG_HOME="+filepath.Join(dir, "home"))
	times := map[string][]time.Duration{}
	for b.Loop() {
		for range 20 {
			for _, c := range [][]string{{pkg, "version"}, {empty}, {hello}} {
				cmd := exec.CommandContext(b.Context(), c[0], c[1:]...)
				cmd.Env = env
				start := time.Now()
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %v\n%s", c, err, out)
				}
				times[c[0]] = append(times[c[0]], time.Since(start))
			}
		}
	}
	b.ReportMetric(median(times[pkg])/median(times[empty]), "x-empty-main")
	b.ReportMetric(median(times[pkg])/median(times[hello]), "x-http-hello")
}

func median(ds []time.Duration) float64 {
	slices.Sort(ds)
	return float64(ds[len(ds)/2])
}

// thirdParty lists the packages outside the standard library and this module
// that the program's own sources import on this platform.
func thirdParty(tb testing.TB) []string {
	tb.Helper()
	seen := map[string]bool{}
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") ||
			strings.HasSuffix(p, "_windows.go") || strings.Contains(p, "testdata/") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, im := range f.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				return err
			}
			if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
				seen[path] = true
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for p := range seen {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

func emptyMain(imports []string) string {
	var src bytes.Buffer
	src.WriteString("package main\n\nimport (\n\t_ \"net/http\"\n")
	for _, p := range imports {
		fmt.Fprintf(&src, "\t_ %q\n", p)
	}
	src.WriteString(")\n\nfunc main() {}\n")
	return src.String()
}

// buildMain compiles src as a main package with this module's own dependency versions.
func buildMain(tb testing.TB, dir, name, src string) string {
	tb.Helper()
	work := filepath.Join(dir, name)
	if err := os.Mkdir(work, 0o755); err != nil {
		tb.Fatal(err)
	}
	for _, f := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, f), data, 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(work, "main.go"), []byte(src), 0o644); err != nil {
		tb.Fatal(err)
	}
	bin := filepath.Join(dir, name+"-bin")
	run(tb, work, "go", "build", "-o", bin, ".")
	return bin
}

func run(tb testing.TB, dir, name string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}
