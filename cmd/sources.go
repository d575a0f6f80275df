package cmd

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"pkg/fetch"
	"pkg/fetch/peers"
	"pkg/fetch/swarm"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
)

// The modes: whom to ask for content.
const (
	modeAuto    = "auto"    // registries and peers, all at once
	modeP2P     = "p2p"     // peers alone; registries say what there is and who has it
	modeHTTP    = "http"    // registries alone: no other socket is opened
	modeOffline = "offline" // nobody
)

// sourceFlags are for every command that fetches content.
func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "mode", Usage: "`WHOM` to ask for content: auto, p2p, http or offline (PKG_MODE)"},
		&cli.StringSliceFlag{Name: "peer", Usage: "ask the peer at `ADDR` too, as pkg seed prints it; or a mirror or IPFS gateway at a URL"},
	}
}

// sourcing says whom to ask for content.
type sourcing struct {
	Mode     string
	Peers    []string // addresses
	SwarmKey []byte   // of the private swarm that the peers are in, or nil
}

// sourcing reads the flags of sourceFlags: the mode is what the flag says, else PKG_MODE, else config.toml. What PKG_LAN says
// is checked.
func (e *Env) sourcing(c *cli.Context) (sourcing, error) {
	s := sourcing{Mode: cmp.Or(c.String("mode"), e.Getenv("PKG_MODE")), Peers: c.StringSlice("peer")}
	wrong := usagef("--mode %s: use auto, p2p, http or offline", s.Mode)
	if c.String("mode") == "" {
		wrong = usagef("PKG_MODE=%s: use auto, p2p, http or offline", s.Mode)
	}
	if s.Mode == "" {
		config, err := e.config()
		if err != nil {
			return s, err
		}
		homes, err := e.Homes()
		if err != nil {
			return s, err
		}
		s.Mode = cmp.Or(config.Mode, modeAuto)
		wrong = &manifest.ConfigError{Path: homes.Config, Msg: fmt.Sprintf("mode = %q: use auto, p2p, http or offline", s.Mode)}
	}
	if c.Bool("offline") {
		s.Mode = modeOffline
	}
	switch s.Mode {
	case modeAuto, modeP2P, modeHTTP, modeOffline:
	default:
		return s, wrong
	}
	switch lan := e.Getenv("PKG_LAN"); lan {
	case "", "true", "1", "false", "0":
	default:
		return s, usagef("PKG_LAN=%s: use true or false", lan)
	}
	e.named = s.Peers
	for _, addr := range s.Peers {
		if err := peers.Check(addr); err != nil {
			return s, usagef("--peer: %w", err)
		}
	}
	for _, addr := range s.Peers {
		if s.Mode == modeOffline || s.Mode == modeHTTP && !strings.Contains(addr, "://") {
			return s, usagef("--peer %s opens a socket that --mode %s forbids", addr, s.Mode)
		}
	}
	return s, nil
}

// unasked says why peers that somebody named could not be asked, or not to the end, by address. failed is why sources could
// not, by their names.
func unasked(named []string, failed map[string]string) map[string]string {
	out := make(map[string]string)
	for source, why := range failed {
		for _, addr := range named {
			if u, err := url.Parse(addr); err == nil && u.Host != "" {
				if source == u.Host {
					out[addr] = why
				}
				continue
			}
			id := addr[strings.LastIndex(addr, "/")+1:]
			first, last, ok := strings.Cut(strings.TrimPrefix(source, "peer "), "…")
			if ok && strings.HasPrefix(id, first) && strings.HasSuffix(id, last) {
				out[addr] = why
			}
		}
	}
	return out
}

// sources returns who is asked for what the plan wants, and what to close when that is done.
func (s *sync) sources(ctx context.Context, lock *lockfile.Lock, plan fetch.Plan) ([]swarm.Source, func() error, error) {
	private := s.privateRoots(lock)
	public := func(root cid.Cid) bool { return private[root] == "" }
	var list []swarm.Source
	var trackers []peers.Tracker
	near := false
	for _, row := range lock.Registries {
		o, err := s.row(row)
		if err != nil && s.lostButNear(row) {
			near = true
			continue
		} else if err != nil {
			return nil, nil, err
		}
		if !o.local() {
			near = near || s.asksNear(o)
			base, err := url.Parse(o.url)
			if err != nil {
				return nil, nil, err
			}
			trackers = append(trackers, peers.Tracker{Base: base, HTTP: s.env.client()})
			if s.o.From.Mode == modeP2P {
				continue
			}
		}
		src, err := s.source(o)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, &discreet{src, func(root cid.Cid) bool { return public(root) || private[root] == row.Name }})
	}
	if s.o.From.Mode == modeHTTP {
		trackers, near = nil, false
	}
	if len(trackers) == 0 && len(s.o.From.Peers) == 0 && !near {
		return list, func() error { return nil }, nil
	}
	p := peers.New(peers.Config{Trackers: trackers, Known: s.o.From.Peers, HTTP: s.env.client(), SwarmKey: s.o.From.SwarmKey, Public: public, LAN: near})
	var roots []cid.Cid
	for _, it := range plan.Want {
		roots = append(roots, it.Root)
	}
	return append(p.Sources(ctx, roots), list...), p.Close, nil
}

// privateRoots returns the roots of private registries, with the name of the registry in the lock. A root that a public
// registry has as well is not private.
func (s *sync) privateRoots(lock *lockfile.Lock) map[cid.Cid]string {
	hidden := make(map[string]bool)
	for _, row := range lock.Registries {
		hidden[row.Name] = s.private(row)
	}
	out := make(map[cid.Cid]string)
	for _, p := range lock.Packages {
		if p.Path == "" && hidden[p.Registry] {
			out[p.Root] = p.Registry
		}
	}
	for _, p := range lock.Packages {
		if p.Path == "" && !hidden[p.Registry] {
			delete(out, p.Root)
		}
	}
	return out
}

// private reports whether pkg.toml or config.toml says that the registry of a row is: by the row's name, by its id, or by
// the address that it is asked at.
func (r *registries) private(row lockfile.Registry) bool {
	at := ""
	if o, err := r.row(row); err == nil {
		at = strings.TrimSuffix(o.url, "/")
	}
	tables := []map[string]manifest.Registry{r.config}
	if r.project != nil {
		tables = append(tables, r.project.manifest.Registries)
	}
	for _, t := range tables {
		for n, e := range t {
			if e.Private && (n == row.Name || e.ID != "" && e.ID == row.ID || at != "" && strings.TrimSuffix(e.URL, "/") == at) {
				return true
			}
		}
	}
	return false
}

// discreet is a source that is asked only for what is its business.
type discreet struct {
	swarm.Source
	mine func(root cid.Cid) bool
}

// Kind implements swarm's optional interface.
func (d *discreet) Kind() swarm.Kind {
	if k, ok := d.Source.(interface{ Kind() swarm.Kind }); ok {
		return k.Kind()
	}
	return swarm.Registry
}

// Content implements swarm.Source.
func (d *discreet) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	ask := swarm.Request{Shared: r.Shared}
	var missing []swarm.Want
	for _, w := range r.Wants {
		if d.mine(w.Root) {
			ask.Wants = append(ask.Wants, w)
		} else {
			missing = append(missing, w)
		}
	}
	if len(ask.Wants) == 0 {
		return missing, nil
	}
	lacks, err := d.Source.Content(ctx, ask, each)
	return append(missing, lacks...), err
}
