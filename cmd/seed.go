package cmd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pkg/fetch/seed"
	"pkg/fetch/store"
	"pkg/lockfile/name"
)

func (e *Env) seedCommand() *cli.Command {
	return &cli.Command{
		Name: "seed", Category: onKeys, Usage: "serve what your store holds to other people and to IPFS nodes, until interrupted", ArgsUsage: "[NAME]...",
		Description: `Without NAME all packages of your projects are served, but those of private registries. Each registry is told which of its
packages are here, and of new ones within minutes; that is withdrawn in the end. --registry says where one registry is, and
is told of its packages alone. Who fetches from you checks every byte.`,
		Flags: append(append(registryFlags(), modeFlag(), swarmKeyFlag()),
			&cli.StringSliceFlag{Name: "listen", Usage: "`MULTIADDR` to listen at; may be repeated (default: port 4107, TCP and QUIC)"},
			&cli.StringFlag{Name: "upload-limit", Usage: "send at most `BYTES` a second: 500k, 10M"},
			&cli.IntFlag{Name: "max-peers", Usage: "`NUMBER` of peers connected at most", Value: 128},
			&cli.BoolFlag{Name: "lan", Usage: "tell the local network by mDNS that the seed is there, if it listens there; --lan=false does not (PKG_LAN)", Value: true},
			&cli.StringFlag{Name: "addr-file", Usage: "write the addresses to `FILE` once they answer"},
			&cli.BoolFlag{Name: "print-unit", Usage: "print a systemd unit that runs this command, and end"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, -1)
			if err != nil {
				return err
			}
			o := seedOptions{listen: c.StringSlice("listen"), peers: c.Int("max-peers"), ref: e.registryRef(c), hidden: !c.Bool("lan")}
			if who, err := e.sourcing(c); err != nil {
				return err
			} else if who.Mode == modeHTTP || who.Mode == modeOffline {
				return &usageError{Err: fmt.Errorf("to seed opens sockets that mode %s forbids", who.Mode), Help: "pkg seed --mode auto"}
			}
			if o.swarmKey, err = e.swarmKey(c); err != nil {
				return err
			}
			if len(o.listen) == 0 {
				o.listen = listenAt(seedPort, o.swarmKey != nil)
			}
			if err := checkListen("--listen", "pkg seed --listen /ip4/127.0.0.1/tcp/0", o.listen, o.swarmKey != nil); err != nil {
				return err
			}
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
				return e.printUnit(c, o)
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
	swarmKey []byte
	hidden   bool   // the LAN is not told
	only     string // the folder of the one project whose packages are served, as somebody unknown before; empty: all
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
	st, err := store.Open(homes.Store, store.Options{Resume: true})
	if err != nil {
		return err
	}
	sh := &shelf{env: e, store: st, names: o.names, only: o.only}
	if sh.at, err = e.toTell(ctx, o.ref); err != nil {
		return err
	}
	if err := sh.read(); err != nil {
		return err
	}
	for _, n := range o.names {
		if !sh.has(n) {
			return fail(exitAbsent, "pkg add "+n.String(), "%s is in no project of yours", n)
		}
	}
	var key []byte // a fresh one, as the end of this seed must not take back what another one of this user announced
	if o.only == "" {
		if key, err = peerKey(filepath.Join(homes.State, "peer.key")); err != nil {
			return err
		}
	}
	level := slog.LevelWarn
	if e.Quiet {
		level = slog.LevelError
	}
	s, err := seed.Start(ctx, seed.Config{
		Store: st, Key: key, SwarmKey: o.swarmKey, Listen: o.listen, MaxPeers: o.peers, UploadLimit: o.limit, Shares: sh.shares, Trackers: sh.trackers(),
		LAN:    e.lan() && !o.hidden,
		Logger: slog.New(slog.NewTextHandler(e.Stderr, &slog.HandlerOptions{Level: level})), Now: e.Now,
	})
	if err != nil {
		return fail(exitNetwork, "pkg seed --listen /ip4/127.0.0.1/tcp/0", "%w", err)
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
			s.Track(sh.trackers())
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
