package cmd

import (
	"cmp"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"pkg/cmd/ui"
	"pkg/resolve/catalog"

	"github.com/urfave/cli/v2"
)

// Env is the process as a command sees it, and the place where real things are built, each when it is first needed. Tests
// make one with buffers, an environment and a clock of their own. It serves one command line and is not safe for
// concurrent use.
type Env struct {
	Stdin          io.Reader // read only if it is a terminal: see [ui.IsTerminal]
	Stdout, Stderr io.Writer // given to child processes; commands print through UI
	Environ        []string  // KEY=VALUE
	Dir            string    // the working directory, absolute; after -C, that folder
	Now            func() time.Time
	Rand           io.Reader
	Version        string // of this program, without v; empty in a build from source
	WorkFactor     int    // scrypt cost of new encrypted keys, a power of two; 0 for the default, tests use less

	// Set before an Action runs.
	UI    *ui.UI // the only way to say something
	JSON  bool   // --json: UI prints objects
	Quiet bool   // --quiet

	http    *catalog.Client // see client
	closers []func() error
	origin  string   // Dir as it was before -C
	mode    string   // as --mode or --offline says, or empty
	named   []string // the peers of --peer
}

// Getenv returns the value of an environment variable, or "".
func (e *Env) Getenv(key string) string {
	value := ""
	for _, kv := range e.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && (k == key || runtime.GOOS == "windows" && strings.EqualFold(k, key)) {
			value = v
		}
	}
	return value
}

// client is what registries are asked with: one, so that what is asked later finds the connections open.
func (e *Env) client() *catalog.Client {
	if e.http == nil {
		e.http = catalog.NewClient()
		e.Defer(func() error {
			e.http.CloseIdleConnections()
			return nil
		})
	}
	return e.http
}

// CI reports whether nobody is watching: no prompts and no progress line, and install keeps to the lock.
func (e *Env) CI() bool {
	v := e.Getenv("CI")
	return v != "" && v != "false" && v != "0"
}

// Interactive reports whether there is somebody to ask. Without a terminal no command reads stdin.
func (e *Env) Interactive() bool {
	return !e.CI() && !e.JSON && ui.IsTerminal(e.Stdin) && ui.IsTerminal(e.Stderr)
}

// Path returns p, an operand or flag, as an absolute path, seen from e.Dir: after -C, like those of git and make.
func (e *Env) Path(p string) (string, error) { return from(e.Dir, p) }

// envPath returns p, from the environment, as an absolute path: -C does not move what the environment means.
func (e *Env) envPath(p string) (string, error) {
	if e.origin != "" {
		return from(e.origin, p)
	}
	return from(e.Dir, p)
}

func from(dir, p string) (string, error) {
	if filepath.IsAbs(p) {
		return filepath.Clean(p), nil
	}
	if dir == "" {
		return "", errors.New("the working directory does not exist any more")
	}
	return filepath.Join(dir, p), nil
}

// Defer has f called when the command has ended, last one first: for what a lazily built thing holds open.
func (e *Env) Defer(f func() error) { e.closers = append(e.closers, f) }

func (e *Env) close() error {
	var errs []error
	for i := len(e.closers) - 1; i >= 0; i-- {
		errs = append(errs, e.closers[i]())
	}
	e.closers = nil
	return errors.Join(errs...)
}

// Homes are the folders and files of one user, absolute. None need exist.
type Homes struct {
	Keys     string // folder of key files
	Store    string // folder of trees and packs
	State    string // folder of what must not be forgotten: heads seen, pins, proved rows
	Registry string // folder of the embedded registry
	Config   string // the file config.toml
}

// Homes returns where this user's things are: all below PKG_HOME if that is set, else where the XDG base directory
// specification has them, below a folder named pkg. (Relative XDG paths are invalid there, and are ignored.)
func (e *Env) Homes() (Homes, error) {
	if home := e.Getenv("PKG_HOME"); home != "" {
		dir, err := e.envPath(home)
		if err != nil {
			return Homes{}, err
		}
		return homesIn(dir, filepath.Join(dir, "state"), dir), nil
	}
	if runtime.GOOS == "windows" {
		local := e.Getenv("LOCALAPPDATA")
		if !filepath.IsAbs(local) {
			return Homes{}, fail(exitFailed, "set PKG_HOME=FOLDER", "neither PKG_HOME nor LOCALAPPDATA says where to keep keys and packages")
		}
		dir := filepath.Join(local, "pkg")
		return homesIn(dir, filepath.Join(dir, "state"), dir), nil
	}
	data, err1 := e.xdg("XDG_DATA_HOME", ".local/share")
	state, err2 := e.xdg("XDG_STATE_HOME", ".local/state")
	config, err3 := e.xdg("XDG_CONFIG_HOME", ".config")
	return homesIn(data, state, config), cmp.Or(err1, err2, err3) // they say the same
}

func homesIn(data, state, config string) Homes {
	return Homes{
		Keys: filepath.Join(data, "keys"), Store: filepath.Join(data, "store"), Registry: filepath.Join(data, "registry"),
		State: state, Config: filepath.Join(config, "config.toml"),
	}
}

// xdg returns the folder pkg in one of the base directories.
func (e *Env) xdg(key, otherwise string) (string, error) {
	if v := e.Getenv(key); filepath.IsAbs(v) {
		return filepath.Join(v, "pkg"), nil
	}
	home := e.Getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", fail(exitFailed, "export PKG_HOME=FOLDER", "neither PKG_HOME, %s nor HOME says where to keep keys and packages", key)
	}
	return filepath.Join(home, filepath.FromSlash(otherwise), "pkg"), nil
}

// registryRef is a registry as named on the command line or in the environment.
type registryRef struct {
	URL string // or a name of [registries]; empty: what the project says, else the embedded one
	ID  string // empty: as pinned, else pinned at first sight, and said so
}

// registryFlags are for every command that reads or writes a registry.
func registryFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "registry", Usage: "use the registry at `URL`, or the one of that name in pkg.toml (PKG_REGISTRY)"},
		&cli.StringFlag{Name: "registry-id", Usage: "the registry must have this `ID` (PKG_REGISTRY_ID)"},
	}
}

// registryEnv returns what the environment says.
func (e *Env) registryEnv() registryRef {
	if url := e.Getenv("PKG_REGISTRY"); url != "" {
		return registryRef{URL: url, ID: e.Getenv("PKG_REGISTRY_ID")}
	}
	return registryRef{}
}

// registryRef returns what --registry and --registry-id say, else the environment. Where the environment names a URL its id
// belongs to that URL: it is not held against another registry named by flag.
func (e *Env) registryRef(c *cli.Context) registryRef {
	r := registryRef{URL: c.String("registry"), ID: c.String("registry-id")}
	env := e.Getenv("PKG_REGISTRY")
	if r.URL == "" {
		r.URL = env
	}
	if r.ID == "" && (env == "" || env == r.URL) {
		r.ID = e.Getenv("PKG_REGISTRY_ID")
	}
	return r
}
