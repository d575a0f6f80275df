package gateway_test

import (
	"bytes"
	"go/build"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pkg/fetch/gateway"
	"pkg/lockfile/block"
)

// TestKuboFetchesFromGateway imports CARs of ours, whole and in part, into a real Kubo.
func TestKuboFetchesFromGateway(t *testing.T) {
	t.Parallel()
	if os.Getenv("PKG_TEST_ONLINE") != "1" {
		t.Skip("SKIPPED: asks a real Kubo only under PKG_TEST_ONLINE=1")
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
	repo := func(t *testing.T) func(in io.Reader, args ...string) string {
		t.Helper()
		dir := t.TempDir()
		run := func(in io.Reader, args ...string) string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), bin, append([]string{"--offline"}, args...)...)
			cmd.Env = append(os.Environ(), "IPFS_PATH="+dir, "IPFS_TELEMETRY=off", "HTTP_PROXY=", "IPFS_LOGGING=error")
			cmd.Stdin = in
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatalf("ipfs %s: %v: %s", strings.Join(args, " "), err, errs.String())
			}
			return out.String()
		}
		run(nil, "init", "--empty-repo", "--profile=test")
		return run
	}
	sh := newShop(t, files())
	root := sh.root.String()
	slow := listen(t, &gateway.Handler{Blocks: sh.h.Blocks})
	for what, url := range map[string]string{"pack": sh.url, "walk": slow, "dups": slow} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			query := "?format=car"
			if what == "dups" {
				query += "&car-dups=y"
			}
			ipfs := repo(t)
			_, car := get(t, url+"/ipfs/"+root+query)
			if out := ipfs(bytes.NewReader(car), "dag", "import", "--stats"); !strings.Contains(out, "Pinned root\t"+root+"\tsuccess") {
				t.Errorf("ipfs dag import says %s", out)
			}
			if out := ipfs(nil, "repo", "verify"); !strings.Contains(out, "verify complete") {
				t.Errorf("ipfs repo verify says %s", out)
			}
			for _, f := range files() {
				r, err := f.Open()
				if err != nil {
					t.Fatal(err)
				}
				want, err := io.ReadAll(r)
				if err != nil {
					t.Fatal(err)
				}
				if got := ipfs(nil, "cat", "/ipfs/"+root+"/"+f.Path); got != string(want) {
					t.Errorf("%s has %d bytes, want %d", f.Path, len(got), len(want))
				}
			}
			if what == "dups" {
				return
			}
			// Kubo exports the identity CID as a block of no bytes; its gateway, like ours, does not.
			_, theirs := readCAR(t, []byte(ipfs(nil, "dag", "export", root)))
			theirs = slices.DeleteFunc(theirs, func(s section) bool { return s.c.Equals(block.Empty()) })
			_, ours := readCAR(t, car)
			if diff := cmp.Diff(cids(theirs), cids(ours)); diff != "" {
				t.Errorf("ipfs dag export gives other blocks (-theirs +ours):\n%s", diff)
			}
		})
	}
	t.Run("part", func(t *testing.T) {
		t.Parallel()
		ipfs := repo(t)
		_, car := get(t, sh.url+"/ipfs/"+root+"/large?format=car&entity-bytes=1048576:1048580")
		ipfs(bytes.NewReader(car), "dag", "import", "--pin-roots=false")
		want := content(2)[1048576:][:5]
		if got := ipfs(nil, "cat", "--offset=1048576", "--length=5", "/ipfs/"+root+"/large"); got != want {
			t.Errorf("the bytes asked for are %q, want %q", got, want)
		}
	})
}
