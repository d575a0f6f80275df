package cmd

import (
	"context"
	"net/url"

	"github.com/ipfs/go-cid"
	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/fetch/peers"
	"pkg/lockfile"
	"pkg/lockfile/name"
)

func (e *Env) peersCommand() *cli.Command {
	return &cli.Command{
		Name: "peers", Category: onKeys, Usage: "say who has the packages of pkg.lock, as their registries know it", ArgsUsage: "[NAME]...",
		Description: "Packages of private registries are not asked about.",
		Flags:       registryFlags(),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, -1)
			if err != nil {
				return err
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			if who, err := e.sourcing(c); err != nil {
				return err
			} else if who.Mode == modeOffline {
				return usagef("mode offline forbids to ask who has packages")
			}
			r, err := e.registries(p, e.registryRef(c), false)
			if err != nil {
				return err
			}
			if err := r.bind(c.Context, true); err != nil {
				return err
			}
			want := make(map[name.Name]bool)
			for _, a := range args {
				n, err := name.Parse(a)
				if err != nil {
					return nameHelp("peers", err)
				}
				if _, ok := p.lock.Get(n); !ok {
					return notInstalled(p, "peers", n)
				}
				want[n] = true
			}
			return e.peers(c.Context, r, want)
		},
	}
}

// holders is the JSON form of who has a package.
type holders struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Root    string   `json:"root"`
	Peers   []string `json:"peers"`
}

// rows are the lines of a table: one for each peer, or one that there is none.
func (h holders) rows() []ui.Row {
	rows := []ui.Row{{Fields: h, Cells: []any{ui.Bold(h.Name), h.Version, len(h.Peers), ""}}}
	for i, addr := range h.Peers {
		if i > 0 {
			rows = append(rows, ui.Row{Cells: []any{"", "", "", ""}})
		}
		rows[i].Cells[3] = ui.Dim(addr)
	}
	return rows
}

// peers prints who has which package; none wanted are all.
func (e *Env) peers(ctx context.Context, r *registries, want map[name.Name]bool) error {
	rows := []ui.Row{{Cells: []any{"NAME", "VERSION", "PEERS", ""}}}
	for _, g := range r.project.lock.Registries {
		var packages []lockfile.Package
		var roots []cid.Cid
		for _, p := range r.project.lock.Packages {
			if p.Path == "" && p.Registry == g.Name && (len(want) == 0 || want[p.Name]) {
				packages, roots = append(packages, p), append(roots, p.Root)
			}
		}
		o, err := r.row(g)
		if err != nil {
			return err
		}
		if len(roots) == 0 || o.local() || r.private(g) {
			continue
		}
		base, err := url.Parse(o.url)
		if err != nil {
			return err
		}
		found, err := peers.Find(ctx, peers.Tracker{Base: base, HTTP: e.client()}, roots)
		if err != nil {
			return withHelp(err, "pkg registry status")
		}
		for _, p := range packages {
			h := holders{p.Name.String(), p.Version.String(), p.Root.String(), found[p.Root]}
			if len(h.Peers) == 0 {
				h.Peers = []string{}
			}
			rows = append(rows, h.rows()...)
		}
	}
	if len(rows) == 1 {
		e.UI.Note("", nil, "no package here comes from a registry that knows of peers")
		return nil
	}
	e.UI.Table("peers", rows)
	return nil
}
