package cmd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/keys"
	"pkg/publish/registry"
)

func (e *Env) registryServeCommand() *cli.Command {
	return &cli.Command{
		Name: "serve", Usage: "serve a registry over HTTP until interrupted", ArgsUsage: "[DIR]",
		Description: "Without DIR it is your local registry, which is made if there is none.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` to listen at", Value: "127.0.0.1:7654"},
			&cli.StringFlag{Name: "addr-file", Usage: "write the URL to `FILE` once it answers"},
			&cli.StringSliceFlag{Name: "p2p-listen", Usage: "serve packages to peers and IPFS nodes at `MULTIADDR` too; may be repeated"},
			&cli.DurationFlag{Name: "checkpoint-interval", Usage: "`TIME` between checkpoints, at least 100ms", Value: registry.DefaultInterval},
			&cli.IntFlag{Name: "claims-per-hour", Usage: "`NUMBER` of names an author or address may claim, -1 for any; loopback is never limited", Value: 1000},
			swarmKeyFlag(), passphraseFlag(),
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, 1)
			if err != nil {
				return err
			}
			o := serveOptions{listen: c.String("listen"), p2p: c.StringSlice("p2p-listen"), cfg: registry.Config{
				Now: e.Now, CheckpointInterval: c.Duration("checkpoint-interval"), ClaimsPerHour: c.Int("claims-per-hour"),
			}}
			if o.cfg.CheckpointInterval < 100*time.Millisecond {
				return usagef("--checkpoint-interval is at least 100ms, not %v", o.cfg.CheckpointInterval)
			}
			if o.cfg.Passphrase, err = e.registryPassphrase(c); err != nil {
				return err
			}
			if o.addrFile, err = e.optionalPath(c.String("addr-file")); err != nil {
				return err
			}
			if len(o.p2p) > 0 {
				if o.swarmKey, err = e.swarmKey(c); err != nil {
					return err
				}
			} else if c.IsSet("swarm-key") {
				return &usageError{Err: errors.New("--swarm-key is for --p2p-listen: over HTTP everybody may ask"), Help: "pkg registry serve --p2p-listen /ip4/0.0.0.0/tcp/4107 --swarm-key FILE"}
			}
			if err := checkListen("--p2p-listen", "pkg registry serve --p2p-listen /ip4/127.0.0.1/tcp/0", o.p2p, o.swarmKey != nil); err != nil {
				return err
			}
			if len(args) == 1 {
				if o.dir, err = e.Path(args[0]); err != nil {
					return err
				}
			}
			return e.serve(c.Context, o)
		},
	}
}

// optionalPath is Path, but leaves "" alone.
func (e *Env) optionalPath(p string) (string, error) {
	if p == "" {
		return "", nil
	}
	return e.Path(p)
}

type serveOptions struct {
	dir      string // empty is the embedded one
	listen   string
	p2p      []string // multiaddrs
	swarmKey []byte   // of the private swarm that they are in, or nil
	addrFile string
	cfg      registry.Config
}

// serve serves a registry until the context ends.
func (e *Env) serve(ctx context.Context, o serveOptions) error {
	level := slog.LevelInfo
	if e.Quiet {
		level = slog.LevelWarn
	}
	o.cfg.Logger = slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: level}))
	s, err := e.openRegistry(ctx, o)
	if err != nil {
		return err
	}
	e.Defer(s.Close)
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fail(exitNetwork, "pkg registry serve --listen 127.0.0.1:0", "listen at %s: %w", o.listen, err)
	}
	base := "http://" + l.Addr().String()
	if err := e.announce(o, base); err != nil {
		return errors.Join(err, l.Close())
	}
	st := s.Status()
	e.UI.Data("serving", map[string]any{"url": base, "id": st.ID, "origin": st.Origin, "commits": st.Size, "names": st.Names}, "serving %s at %s", st.ID, base)
	e.UI.Note("", nil, "use it with --registry %s --registry-id %s", base, st.ID)
	if len(o.p2p) > 0 {
		if err := e.seedRegistry(ctx, o, s, base); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	return registry.Serve(ctx, s, l)
}

// seedRegistry serves the packages of a registry as a seed does, and tells the registry's own tracker of them.
func (e *Env) seedRegistry(ctx context.Context, o serveOptions, s *registry.Server, base string) error {
	dir := o.dir
	if dir == "" {
		homes, err := e.Homes()
		if err != nil {
			return err
		}
		dir = homes.Registry
	}
	at, err := url.Parse(base)
	if err != nil {
		return err
	}
	st, err := store.Open(registry.Content(dir), store.Options{})
	if err != nil {
		return err
	}
	key, err := peerKey(filepath.Join(dir, "peer.key"))
	if err != nil {
		return err
	}
	sd, err := seed.Start(ctx, seed.Config{
		Store: st, Key: key, SwarmKey: o.swarmKey, Listen: o.p2p, Logger: o.cfg.Logger, Now: e.Now,
		Trackers: []seed.Tracker{{Base: at, ID: s.ID(), Roots: func() []cid.Cid {
			roots, err := st.Roots()
			if err != nil {
				o.cfg.Logger.WarnContext(ctx, "seed", slog.Any("error", err))
			}
			return roots
		}}},
	})
	if err != nil {
		return fail(exitNetwork, "pkg registry serve --p2p-listen /ip4/127.0.0.1/tcp/0", "%w", err)
	}
	e.Defer(func() error {
		if err := sd.Close(); err != nil { // its tracker has ended before it
			o.cfg.Logger.DebugContext(ctx, "seed", slog.Any("error", err))
		}
		return nil
	})
	s.IsPeer(sd.ID())
	e.UI.Data("seeding", map[string]any{"peer": sd.ID(), "addrs": sd.Addrs()}, "seeding as %s", sd.ID())
	for _, a := range sd.Addrs() {
		e.UI.Note("", nil, "use it with --peer %s", a)
	}
	return nil
}

// announce writes the URL where it is looked for. The socket is open and queues connections, so that whoever reads it is
// answered.
func (e *Env) announce(o serveOptions, url string) error {
	files := []string{o.addrFile}
	if o.dir == "" {
		homes, err := e.Homes()
		if err != nil {
			return err
		}
		if err := os.MkdirAll(homes.State, 0o700); err != nil {
			return fmt.Errorf("announce the registry: %w", err)
		}
		files = append(files, servedFile(homes))
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		if err := writeFile(file, []byte(url+"\n"), 0o644); err != nil {
			return err
		}
		e.Defer(func() error { return removeIfThere(file) })
	}
	return nil
}

// openRegistry opens the registry to serve, and makes the embedded one if there is none.
func (e *Env) openRegistry(ctx context.Context, o serveOptions) (*registry.Server, error) {
	s, err := e.registryServer(ctx, o)
	if errors.Is(err, keys.ErrPassphrase) || errors.Is(err, keys.ErrPassphraseNeeded) {
		help := "pkg registry serve --passphrase-file FILE"
		if o.dir != "" {
			help = "pkg registry serve " + e.shown(o.dir) + " --passphrase-file FILE"
		}
		return nil, fail(exitFailed, help, "%w", err)
	}
	return s, withHelp(err, "pkg registry serve --help")
}

func (e *Env) registryServer(ctx context.Context, o serveOptions) (*registry.Server, error) {
	if o.dir != "" {
		s, err := registry.Open(ctx, o.dir, o.cfg)
		if errors.Is(err, os.ErrNotExist) {
			return nil, fail(exitAbsent, "pkg registry init "+e.shown(o.dir)+" --origin NAME", "there is no registry in %s", e.shown(o.dir))
		}
		return s, err
	}
	homes, err := e.Homes()
	if err != nil {
		return nil, err
	}
	if !exists(filepath.Join(homes.Registry, "registry.json")) || exists(filepath.Join(homes.Registry, "incomplete")) {
		s, err := registry.Embedded(ctx, homes.Registry, o.cfg)
		if err == nil {
			e.UI.Note("created", map[string]string{"dir": homes.Registry}, "made your local registry in %s", homes.Registry)
		}
		return s, err
	}
	return registry.Open(ctx, homes.Registry, o.cfg)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", path, err)
	}
	return nil
}
