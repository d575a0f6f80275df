package cmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	std "sync" // a type of this package has its name
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/lockfile"
	"pkg/lockfile/name"
)

func (e *Env) seedCommand() *cli.Command {
	return &cli.Command{
		Name: "seed", Category: onKeys, Usage: "serve what your store holds to other people and to IPFS nodes, until interrupted", ArgsUsage: "[NAME]...",
		Description: `Without NAME all packages of your projects are served, but those of private registries. Each registry is told which of its
packages are here; that is withdrawn in the end. Who fetches from you checks every byte.`,
		Flags: append(registryFlags(),
			&cli.StringSliceFlag{Name: "listen", Usage: "`MULTIADDR` to listen at; may be repeated", Value: cli.NewStringSlice("/ip4/0.0.0.0/tcp/4107", "/ip4/0.0.0.0/udp/4107/quic-v1")},
			&cli.StringFlag{Name: "upload-limit", Usage: "send at most `BYTES` a second: 500k, 10M"},
			&cli.IntFlag{Name: "max-peers", Usage: "`NUMBER` of peers connected at most", Value: 128},
			&cli.StringFlag{Name: "addr-file", Usage: "write the addresses to `FILE` once they answer"},
			&cli.BoolFlag{Name: "print-unit", Usage: "print a systemd unit that runs this command, and end"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, -1)
			if err != nil {
				return err
			}
			o := seedOptions{listen: c.StringSlice("listen"), peers: c.Int("max-peers"), ref: e.registryRef(c)}
			for _, a := range args {
				n, err := name.Parse(a)
				if err != nil {
					return nameHelp("seed", err)
				}
				o.names = append(o.names, n)
			}
			if o.limit, err = byteCount(c.String("upload-limit")); err != nil {
				return err
			}
			if o.peers < 1 {
				return usagef("--max-peers is at least 1, not %d", o.peers)
			}
			if o.addrFile, err = e.optionalPath(c.String("addr-file")); err != nil {
				return err
			}
			if c.Bool("print-unit") {
				return e.printUnit(o, c.String("upload-limit"))
			}
			return e.seed(c.Context, o)
		},
	}
}

type seedOptions struct {
	names    []name.Name
	listen   []string
	limit    int64
	peers    int
	addrFile string
	ref      registryRef
}

// byteCount reads a number of bytes: 1500, 500k, 10M, 1G, in powers of 1000.
func byteCount(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	digits := strings.TrimRight(s, "kKmMgGbB")
	factor := map[string]int64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9}
	by, known := factor[strings.TrimSuffix(strings.ToLower(s[len(digits):]), "b")]
	var n int64
	if _, err := fmt.Sscanf(digits, "%d", &n); err != nil || !known || n < 1 || fmt.Sprint(n) != digits || n > (1<<62)/by {
		return 0, usagef("--upload-limit is a number of bytes a second, like 500k or 10M, not %q", s)
	}
	return n * by, nil
}

// seed serves until the context ends.
func (e *Env) seed(ctx context.Context, o seedOptions) error {
	homes, err := e.Homes()
	if err != nil {
		return err
	}
	st, err := store.Open(homes.Store, store.Options{})
	if err != nil {
		return err
	}
	sh := &shelf{env: e, store: st, names: o.names, ref: o.ref}
	if err := sh.read(); err != nil {
		return err
	}
	for _, n := range o.names {
		if !sh.has(n) {
			return fail(exitAbsent, "pkg add "+n.String(), "%s is in no project of yours", n)
		}
	}
	key, err := peerKey(filepath.Join(homes.State, "peer.key"))
	if err != nil {
		return err
	}
	level := slog.LevelWarn
	if e.Quiet {
		level = slog.LevelError
	}
	s, err := seed.Start(ctx, seed.Config{
		Store: st, Key: key, Listen: o.listen, MaxPeers: o.peers, UploadLimit: o.limit, Shares: sh.shares, Trackers: sh.trackers(),
		Logger: slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: level})), Now: e.Now,
	})
	if err != nil {
		return withHelp(err, "pkg seed --listen /ip4/127.0.0.1/tcp/0")
	}
	defer func() { e.served(s) }()
	addrs := s.Addrs()
	if o.addrFile != "" {
		if err := writeFile(o.addrFile, []byte(strings.Join(addrs, "\n")+"\n"), 0o644); err != nil {
			return errors.Join(err, s.Close())
		}
		e.Defer(func() error { return removeIfThere(o.addrFile) })
	}
	e.UI.Data("seeding", map[string]any{"peer": s.ID(), "addrs": addrs, "packages": sh.count()}, "seeding %s as %s", count(sh.count(), "package"), s.ID())
	for _, a := range addrs {
		e.UI.Note("", nil, "use it with --peer %s", a)
	}
	every := time.NewTicker(time.Minute)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := s.Close(); err != nil {
				e.UI.Warn("seed", nil, "not everybody could be told of the end: %v", err)
			}
			return nil
		case <-every.C:
			if err := sh.read(); err != nil {
				e.UI.Warn("seed", nil, "what is here could not be read again: %v", err)
			}
		}
	}
}

// served says what a seed did.
func (e *Env) served(s *seed.Seed) {
	st := s.Stats()
	e.UI.Data("served", st, "served %s in %s", size(st.Bytes), count(int(st.Requests), "request")+" and "+count(int(st.Blocks), "block"))
}

// peerKey reads the key that makes this user's seed known again, and makes it first.
func peerKey(path string) ([]byte, error) {
	b, err := os.ReadFile(path) //nolint:gosec // G304: a file of our own
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, 32)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		return key, writeFile(path, []byte(hex.EncodeToString(key)+"\n"), 0o600)
	} else if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(b)))
	if err != nil || len(key) != 32 {
		return nil, fail(exitFailed, "rm "+path, "%s is not the key of a peer", path)
	}
	return key, nil
}

// shelf is what a seed serves: what the locks of this user's projects name and the store holds.
type shelf struct {
	env   *Env
	store *store.Store
	names []name.Name // all if empty
	ref   registryRef

	mu      std.Mutex             // guards what follows
	private map[cid.Cid]bool      // never served
	named   map[cid.Cid]name.Name // of projects
	roots   map[string][]cid.Cid  // to be told of, by the id of the registry
	where   map[string]*url.URL   // registries, by id
}

// read reads the projects. Those that are gone are left out.
func (s *shelf) read() error {
	projects, err := s.store.Recorded()
	if err != nil {
		return err
	}
	private, named := make(map[cid.Cid]bool), make(map[cid.Cid]name.Name)
	roots, where := make(map[string][]cid.Cid), make(map[string]*url.URL)
	for _, rec := range projects {
		p, err := s.env.openProject(rec.Dir)
		if err != nil { // it may say of any of them that they are private
			for _, root := range rec.Roots {
				private[root] = true
			}
			continue
		}
		r, err := s.env.registries(p, s.ref, true)
		if err != nil {
			return err
		}
		for _, row := range p.lock.Registries {
			o, err := r.row(row)
			hidden := err != nil || r.private(row)
			if !hidden && !o.local() {
				if base, err := url.Parse(o.url); err == nil {
					where[row.ID] = base
				}
			}
			for _, pk := range p.lock.Packages {
				if pk.Path == "" && pk.Registry == row.Name {
					s.note(pk, row.ID, hidden, private, named, roots)
				}
			}
		}
	}
	for id := range roots {
		roots[id] = slices.DeleteFunc(roots[id], func(c cid.Cid) bool { return private[c] })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.private, s.named, s.roots, s.where = private, named, roots, where
	return nil
}

// note takes one row down.
func (s *shelf) note(pk lockfile.Package, registry string, hidden bool, private map[cid.Cid]bool, named map[cid.Cid]name.Name, roots map[string][]cid.Cid) {
	if hidden {
		private[pk.Root] = true
		return
	}
	if len(s.names) > 0 && !slices.Contains(s.names, pk.Name) || !s.store.Has(pk.Root) {
		return
	}
	named[pk.Root] = pk.Name
	if !slices.Contains(roots[registry], pk.Root) {
		roots[registry] = append(roots[registry], pk.Root)
	}
}

// shares reports whether a root is served: only what a project that can be read says is public. What lies in the store for
// another reason may be anybody's.
func (s *shelf) shares(root cid.Cid) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.named[root]
	return known && !s.private[root]
}

func (s *shelf) has(n name.Name) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.named {
		if x == n {
			return true
		}
	}
	return false
}

// count is how many packages are served by name.
func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.named)
}

// trackers returns the registries to tell.
func (s *shelf) trackers() []seed.Tracker {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []seed.Tracker
	for _, id := range sorted(s.where) {
		out = append(out, seed.Tracker{Base: s.where[id], ID: id, Roots: func() []cid.Cid {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.Clone(s.roots[id])
		}})
	}
	return out
}

// printUnit prints a systemd unit for the command as it was given.
func (e *Env) printUnit(o seedOptions, limit string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	words := []string{program, "seed"}
	for _, l := range o.listen {
		words = append(words, "--listen", l)
	}
	if limit != "" {
		words = append(words, "--upload-limit", limit)
	}
	words = append(words, "--max-peers", fmt.Sprint(o.peers))
	for _, n := range o.names {
		words = append(words, n.String())
	}
	home := ""
	if h := e.Getenv("PKG_HOME"); h != "" {
		home = "Environment=PKG_HOME=" + h + "\n"
	}
	text := `[Unit]
Description=pkg seed: serve packages to peers
After=network-online.target
Wants=network-online.target

[Service]
` + home + "ExecStart=" + strings.Join(words, " ") + `
Restart=on-failure
KillSignal=SIGINT
NoNewPrivileges=true
PrivateTmp=true

[Install]
WantedBy=default.target
`
	e.UI.Raw("unit", map[string]string{"unit": text}, text)
	return nil
}
