package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
	"pkg/keys"
	"pkg/keys/namespace"
	"pkg/lockfile"
	"pkg/lockfile/block"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/publish"
	"pkg/publish/registry"
	"pkg/resolve"
	"pkg/resolve/catalog"
)

func TestEveryKindOfErrorHasItsCodeAndHelp(t *testing.T) {
	t.Parallel()
	trust := &keys.TrustError{Subject: "left-pad", What: "the author changed", Ours: "did:key:a", Theirs: "did:key:b"}
	refused := &url.Error{Op: "Get", URL: "http://127.0.0.1:1/head", Err: syscall.ECONNREFUSED}
	key := resolve.Key{Name: "left-pad"}
	dir := t.TempDir()
	file, missing := filepath.Join(dir, "file"), filepath.Join(dir, "missing")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, newer := lockfile.Parse([]byte("version = 2\n"))
	for _, c := range []struct {
		err  error
		code int
		help string
	}{
		{errors.New("something"), exitFailed, ""},
		{usagef("--x is no number"), exitUsage, "pkg help"},
		{&usageError{Err: errors.New("no"), Help: "pkg add --help"}, exitUsage, "pkg add --help"},
		{fail(exitDrift, "pkg install", "left-pad is not locked"), exitDrift, "pkg install"},
		{fail(exitFindings, "", "wrapped %w", trust), exitFindings, ""},
		{trust, exitTrust, "pkg registry status"},
		{&resolve.UnavailableError{Key: key, Err: trust}, exitTrust, "pkg registry status"},
		{errors.Join(refused, trust), exitTrust, "pkg registry status"},
		{&tree.HashError{Want: block.Empty(), Got: block.Empty()}, exitTrust, "pkg verify"},
		{&namespace.ResetError{Trust: namespace.Trust{Reset: &namespace.Reset{}}}, exitTrust, "pkg registry status"},
		{&catalog.StaleError{Registry: "r", Age: 300 * time.Hour, Max: 168 * time.Hour}, exitTrust, "pkg install --locked"},
		{&resolve.NotFoundError{Key: key}, exitAbsent, "pkg add NAME --registry URL"},
		{&resolve.NotFoundError{Key: key, Near: []string{"leftpad"}}, exitAbsent, "pkg add leftpad"},
		{&resolve.ConflictError{}, exitAbsent, "pkg outdated"},
		{&resolve.BudgetError{Package: key}, exitFailed, "pkg info left-pad"},
		{&resolve.UnavailableError{Key: key, Err: refused}, exitNetwork, "pkg registry status"},
		{&resolve.UnavailableError{Key: key, Offline: true}, exitNetwork, "pkg install"},
		{&manifest.Error{Line: 3, Msg: "unknown key", Help: "say it"}, exitFailed, "$EDITOR pkg.toml"},
		{&lockfile.Error{Line: 3, Msg: "cut short"}, exitFailed, "git checkout -- pkg.lock"},
		{&keys.PermError{Path: "k", Mode: 0o644, Want: 0o600}, exitFailed, "chmod 600 k"},
		{&keys.NameError{Name: "A"}, exitUsage, "pkg keys list"},
		{keys.ErrPassphrase, exitFailed, "pkg keys list"},
		{keys.ErrPassphraseNeeded, exitFailed, "export PKG_KEY_PASSPHRASE_FILE=FILE"},
		{&name.Error{Input: "A"}, exitUsage, "pkg help"},
		{&semver.ConstraintError{Input: "^*"}, exitUsage, "pkg help add"},
		{&tree.Error{Path: "a", Why: "b"}, exitFailed, "pkg publish --dry-run"},
		{&publish.RefusedError{Status: 409, Reason: "taken"}, exitFailed, "pkg registry status"},
		{&registry.DamageError{Dir: "/r", Why: "log.key is missing", Help: "cp BACKUP/log.key /r"}, exitFailed, "cp BACKUP/log.key /r"},
		{registry.ErrLocked, exitFailed, "pkg publish --registry URL"},
		{store.ErrNotFound, exitAbsent, "pkg install"},
		{refused, exitNetwork, "pkg registry status"},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, exitNetwork, "pkg registry status"},
		{context.DeadlineExceeded, exitNetwork, "pkg registry status"},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, exitFailed, "ls -ld /x"},
		{&fs.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, exitFailed, "df -h"},
		{&os.LinkError{Op: "rename", Old: "/x", New: "/y", Err: syscall.ENOSPC}, exitFailed, "df -h"},
		{errors.Join(refused, syscall.ENOSPC), exitFailed, "df -h"},
		{&swarm.MissingError{Wants: swarm.Packs(block.Empty()), Errs: []error{syscall.ENOSPC}}, exitFailed, "df -h"},
		{errors.Join(trust, syscall.ENOSPC), exitTrust, "pkg registry status"},
		{&fs.PathError{Op: "open", Path: missing, Err: fs.ErrNotExist}, exitFailed, "ls -a " + dir},
		{&fs.PathError{Op: "mkdir", Path: filepath.Join(file, "keys"), Err: syscall.ENOTDIR}, exitFailed, "ls -ld " + file},
		{&fs.PathError{Op: "open", Path: filepath.Join(dir, ".pkg.lock.123"), Err: syscall.EACCES}, exitFailed, "ls -ld " + dir},
		{&os.LinkError{Op: "rename", Old: file, New: missing, Err: syscall.EACCES}, exitFailed, "ls -ld " + missing},
		{&manifest.ConfigError{Path: "/c/config.toml", Msg: "unknown key"}, exitFailed, "$EDITOR /c/config.toml"},
		{newer, exitFailed, "pkg version"},
	} {
		f := explain(t.Context(), fmt.Errorf("install: %w", c.err))
		if f.Code != c.code || f.Help != c.help {
			t.Errorf("%T %v: exit code %d and help %q, want %d and %q", c.err, c.err, f.Code, f.Help, c.code, c.help)
		}
		if !strings.HasPrefix(f.Message, "install: ") || strings.Contains(f.Message, "\n") {
			t.Errorf("%T: message %q: want one line that says what was done", c.err, f.Message)
		}
	}
}

// TestAFullDiskIsNoMatterOfTheNetwork holds that also where a registry cannot be looked up for it, and that what a store
// without space needs is another help than other disks.
func TestAFullDiskIsNoMatterOfTheNetwork(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv(t)
	homes, err := e.Homes()
	if err != nil {
		t.Fatal(err)
	}
	for path, help := range map[string]string{
		filepath.Join(homes.State, "registries", "seen.json"): "df -h",
		filepath.Join(homes.Store, "tmp", "1"):                "pkg cache prune",
	} {
		err := fmt.Errorf("add: %w", &resolve.UnavailableError{Err: &fs.PathError{Op: "write", Path: path, Err: syscall.ENOSPC}})
		f := e.better(explain(t.Context(), err), err)
		if f.Code != exitFailed || f.Help != help || f.Message != "write "+path+": "+syscall.ENOSPC.Error() {
			t.Errorf("%v: %+v, want exit code %d, the help %q, and nothing of looking up", err, f, exitFailed, help)
		}
	}
}

func TestWhatNoPeerGaveIsForRegistriesToGive(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("fetch: %w", &swarm.MissingError{Wants: swarm.Packs(block.Empty())})
	for mode, help := range map[string]string{"": "pkg registry status", modeHTTP: "pkg registry status", modeP2P: "pkg install --mode auto"} {
		e, _, _ := testEnv(t)
		e.Environ = append(e.Environ, "PKG_MODE="+mode)
		if f := e.better(explain(t.Context(), err), err); f.Help != help || f.Code != exitAbsent {
			t.Errorf("mode %q: %+v, want the help %q", mode, f, help)
		}
	}
}
