package cmd

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pkg/fetch"
	"pkg/fetch/swarm"

	"pkg/lockfile"
	"pkg/resolve"
)

func (e *Env) installCommand() *cli.Command {
	return &cli.Command{
		Name: "install", Category: onProject, Usage: "install what pkg.lock says, resolving where it does not match pkg.toml",
		Description: `Every package of the lock is proved against its author's log before it is linked into pkg_modules.
With CI=true the lock must match, as with --locked.`,
		Flags: append(append(registryFlags(), syncFlags()...),
			&cli.BoolFlag{Name: "locked", Usage: "fail if pkg.lock does not match pkg.toml"},
			&cli.BoolFlag{Name: "frozen", Usage: "--locked, and trust pkg.lock as reviewed: ask nobody for anything but content"},
			&cli.BoolFlag{Name: "repair", Usage: "read every installed file again, and bring back what was changed"},
			&cli.DurationFlag{Name: "seed-for", Usage: "then serve the packages of this project to others, as pkg seed does, for a `TIME`"},
			&cli.BoolFlag{Name: "prod", Usage: "without what only dev-dependencies need"}),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			o, err := e.syncOptions(c)
			if err != nil {
				return err
			}
			o.Locked = c.Bool("locked") || e.CI()
			o.Frozen, o.Prod, o.Repair = c.Bool("frozen"), c.Bool("prod"), c.Bool("repair")
			long := c.Duration("seed-for")
			if long != 0 && (long < 0 || o.From.Mode == modeHTTP || o.From.Mode == modeOffline) {
				return usagef("--seed-for %v: it is a time, and needs --mode auto or p2p", long)
			}
			err = e.change(c.Context, e.registryRef(c), o.Offline, func(ctx context.Context, r *registries) (*outcome, error) {
				if err := r.bind(ctx, !o.Frozen); err != nil {
					return nil, err
				}
				return newSync(r, o).run(ctx)
			})
			if err != nil || long == 0 {
				return err
			}
			return e.seedFor(c.Context, long, o.From.SwarmKey, e.registryRef(c))
		},
	}
}

// seedFor serves what the project has for a while, at ports nobody has.
func (e *Env) seedFor(ctx context.Context, long time.Duration, swarmKey []byte, ref registryRef) error {
	p, err := e.project()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	return e.seed(ctx, seedOptions{listen: listenAt(anyPort, swarmKey != nil), swarmKey: swarmKey, only: p.dir, ref: ref})
}

// syncFlags are for every command that ends in an install.
func syncFlags() []cli.Flag {
	return append(append(sourceFlags(), swarmKeyFlag()),
		&cli.BoolFlag{Name: "offline", Usage: "open no socket: use what is at hand"},
		&cli.StringFlag{Name: "resolution", Usage: "`STRATEGY` where versions are chosen: highest, lowest or lowest-direct", Value: "highest"},
		&cli.StringFlag{Name: "link", Usage: "`MODE` of putting files into pkg_modules: symlink, hard, reflink or copy (PKG_LINK)"})
}

// syncOptions reads the flags of syncFlags.
func (e *Env) syncOptions(c *cli.Context) (syncOptions, error) {
	m, err := e.linkMode(c.String("link"))
	if err != nil {
		return syncOptions{}, err
	}
	o := syncOptions{Mode: m}
	if o.From, err = e.sourcing(c); err != nil {
		return syncOptions{}, err
	}
	if o.From.SwarmKey, err = e.swarmKey(c); err != nil {
		return syncOptions{}, err
	}
	o.Offline = o.From.Mode == modeOffline
	if o.Strategy, err = strategy(c.String("resolution")); err != nil {
		return syncOptions{}, err
	}
	return o, nil
}

// strategy reads --resolution.
func strategy(s string) (resolve.Strategy, error) {
	switch s {
	case "", "highest":
		return resolve.Highest, nil
	case "lowest":
		return resolve.Lowest, nil
	case "lowest-direct":
		return resolve.LowestDirect, nil
	}
	return 0, usagef("--resolution is highest, lowest or lowest-direct, not %q", s)
}

// change runs do on the project, alone, and says what it did.
func (e *Env) change(ctx context.Context, ref registryRef, offline bool, do func(context.Context, *registries) (*outcome, error)) error {
	p, err := e.project()
	if err != nil {
		return err
	}
	homes, err := e.Homes()
	if err != nil {
		return err
	}
	unlock, err := lockProject(ctx, homes, p.dir)
	if err != nil {
		return err
	}
	defer unlock()
	if p, err = e.openProject(p.dir); err != nil { // as it is now that nobody else changes it
		return err
	}
	r, err := e.registries(p, ref, offline)
	if err != nil {
		return err
	}
	out, err := do(ctx, r)
	if err != nil {
		return err
	}
	e.report(out)
	return nil
}

// installed is the JSON form of what an install did.
type installed struct {
	Packages int              `json:"packages"`         // in pkg_modules
	Fetched  int              `json:"fetched"`          // packages
	Bytes    int64            `json:"bytes"`            // received
	Wasted   int64            `json:"wasted,omitempty"` // of them, of no use
	Seconds  float64          `json:"seconds,omitempty"`
	Mode     string           `json:"mode"`
	Peers    int              `json:"peers,omitempty"`   // that sent something
	ByKind   map[string]int64 `json:"by_kind,omitempty"` // bytes from registries, mirrors, peers and disks
	Sources  map[string]int64 `json:"sources,omitempty"` // bytes, by the name of the source
	Linked   int              `json:"linked"`
	Removed  int              `json:"removed"`
	UpToDate bool             `json:"up_to_date"`
}

// report says what sync did.
func (e *Env) report(out *outcome) {
	e.tell(out.Changes)
	if out.Mode == modeAuto {
		failed := unasked(e.named, out.Fetched.Failed)
		for _, addr := range sorted(failed) {
			e.UI.Warn("unasked", map[string]string{"peer": addr, "why": failed[addr]}, "--peer %s failed: %s", addr, failed[addr])
		}
	}
	sum := installed{
		Packages: out.Linked.Linked + out.Linked.Kept, Fetched: out.Fetched.Packages, Bytes: out.Fetched.Bytes, Sources: out.Fetched.BySource,
		Linked: out.Linked.Linked, Removed: out.Linked.Removed, UpToDate: out.UpToDate, Wasted: out.Fetched.Wasted, Mode: out.Mode,
	}
	how := ""
	if out.Mode != modeAuto {
		how = " in mode " + out.Mode
	}
	if sum.Fetched > 0 {
		sum.Seconds, sum.ByKind = out.Took.Seconds(), make(map[string]int64)
		for name, bytes := range sum.Sources {
			kind := out.Fetched.Kinds[name]
			if sum.ByKind[string(kind)] += bytes; kind == swarm.Peer {
				sum.Peers++
			}
		}
	}
	switch {
	case out.UpToDate:
		e.UI.Data("installed", sum, "up to date, %s", count(sum.Packages, "package"))
	case sum.Fetched > 0:
		e.UI.Data("installed", sum, "%s installed, %s fetched%s: %s in %s%s", count(sum.Packages, "package"), count(sum.Fetched, "package"), how,
			size(sum.Bytes), seconds(out.Took), shares(out.Fetched, sum.Peers))
	default:
		e.UI.Data("installed", sum, "%s installed, nothing fetched%s", count(sum.Packages, "package"), how)
	}
}

// shares says how much came from whom, n of them peers: ", 92% from 3 peers, 8% from pkg.example.org".
func shares(r fetch.Report, n int) string {
	var peers, all int64
	for name, bytes := range r.BySource {
		if all += bytes; r.Kinds[name] == swarm.Peer {
			peers += bytes
		}
	}
	percent := func(bytes int64) string {
		switch share := 100 * float64(bytes) / float64(max(all, 1)); {
		case bytes == all:
			return ""
		case share < 1:
			return "<1% "
		case share > 99:
			return ">99% "
		default:
			return fmt.Sprintf("%.0f%% ", share)
		}
	}
	var out []string
	if n > 0 {
		out = append(out, percent(peers)+"from "+count(n, "peer"))
	}
	for _, name := range sorted(r.BySource) {
		if r.Kinds[name] != swarm.Peer {
			out = append(out, percent(r.BySource[name])+"from "+name)
		}
	}
	if len(out) == 1 {
		return " " + out[0]
	}
	return ", " + strings.Join(out, ", ")
}

// seconds is a time for people.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// rowVersion is what people call a row's version.
func rowVersion(p *lockfile.Package) string {
	if p.Path != "" {
		return p.Path
	}
	return p.Version.String()
}

// count is a number of things: "1 package", "2 packages".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// size is a number of bytes for people, in powers of 1000.
func size(n int64) string {
	const kilo = 1000
	switch {
	case n < kilo:
		return fmt.Sprintf("%d B", n)
	case n < kilo*kilo:
		return fmt.Sprintf("%.1f kB", float64(n)/kilo)
	case n < kilo*kilo*kilo:
		return fmt.Sprintf("%.1f MB", float64(n)/kilo/kilo)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/kilo/kilo/kilo)
}
