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
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
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
			&cli.StringFlag{Name: "upload-limit", Usage: "send at most `BYTES` a second: 500k, 1.5M, 10MiB"},
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

// leastUpload is the least that --upload-limit may say: with fewer bytes a second nobody gets anything in good time.
const leastUpload = 1000

// byteCount reads a number of bytes: 1500, 500k, 1.5M, 1G, in powers of 1000, or 10MiB, in powers of 1024.
func byteCount(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	number := strings.TrimRight(s, "kKmMgGiIbB")
	factor := map[string]float64{"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "ki": 1 << 10, "mi": 1 << 20, "gi": 1 << 30}
	by, known := factor[strings.TrimSuffix(strings.ToLower(s[len(number):]), "b")]
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !known || strings.Trim(number, "0123456789.") != "" || n*by > 1<<62 {
		return 0, usagef("--upload-limit is a number of bytes a second, like 500k, 1.5M or 10MiB, not %q", s)
	}
	if n*by < leastUpload {
		return 0, usagef("--upload-limit is at least %d bytes a second, not %q", leastUpload, s)
	}
	return int64(n * by), nil
}

// seed serves until the context ends.
func (e *Env) seed(ctx context.Context, o seedOptions) error {
	homes, err := e.Homes()
	if err != nil {
		return err
	}
	var key []byte // a fresh one, as the end of this seed must not take back what another one of this user announced
	if o.only == "" {
		path := filepath.Join(homes.State, "peer.key")
		if o.swarmKey != nil { // it runs beside the public one
			path = filepath.Join(homes.State, "peer-private.key")
		}
		unlock, err := lockPeer(path)
		if err != nil {
			return err
		}
		defer unlock()
		if key, err = peerKey(path); err != nil {
			return err
		}
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
		switch {
		case sh.has(n):
		case sh.hides(n):
			return fail(exitFailed, "pkg seed", "%s comes from a private registry, and a seed does not serve that", n)
		default:
			return fail(exitAbsent, "pkg add "+n.String(), "%s is in no project of yours", n)
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
	if sh.count() == 0 {
		e.UI.Note("", nil, "there is nothing to serve yet: pkg install in a project brings packages, which are served within minutes, but for those of private registries")
	}
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

// lockPeer lets nobody else be the seed that the key at path makes known, until unlock is called: the registries know one by
// its id, and the end of either would take back what both announced. The lock says which process holds it.
func lockPeer(path string) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	l := flock.New(path+".lock", flock.SetPermissions(0o600))
	if ok, err := l.TryLock(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", l.Path(), err), l.Close())
	} else if !ok {
		return nil, errors.Join(running(l.Path()), l.Close())
	}
	_ = os.WriteFile(l.Path(), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600) // Windows lets nobody write: then it has no number
	return func() { _ = l.Close() }, nil
}

// running is the error of a seed that is not alone. The process is known where a lock can be read by others.
func running(lock string) error {
	b, _ := os.ReadFile(lock) //nolint:gosec // G304: a file of our own
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return fail(exitFailed, "pkg help seed", "a seed of this home runs already, and serves what new projects lock, too")
	}
	help := fmt.Sprintf("kill %d", pid)
	if runtime.GOOS == "windows" {
		help = fmt.Sprintf("tasklist /FI \"PID eq %d\"", pid)
	}
	return fail(exitFailed, help, "a seed of this home runs already, as process %d, and serves what new projects lock, too", pid)
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
