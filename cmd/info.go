package cmd

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/resolve"
)

func (e *Env) infoCommand() *cli.Command {
	return &cli.Command{
		Name: "info", Category: onPackages, Usage: "say what a registry proves of a package", ArgsUsage: "NAME",
		Flags: append(registryFlags(), modeFlag(), &cli.BoolFlag{Name: "offline", Usage: "open no socket: say what was proved before"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			n, err := name.Parse(args[0])
			if err != nil {
				return nameHelp("info", err)
			}
			who, err := e.sourcing(c)
			if err != nil {
				return err
			}
			r, err := e.registries(e.projectOrNil(), e.registryRef(c), who.Mode == modeOffline)
			if err != nil {
				return err
			}
			return e.info(c.Context, r, n, c.String("registry"))
		},
	}
}

// described is the JSON form of a package.
type described struct {
	Name     string             `json:"name"`
	ID       string             `json:"id"` // package id
	Author   string             `json:"author"`
	Registry string             `json:"registry"` // its id
	Origin   string             `json:"origin"`
	Status   string             `json:"status"`
	Latest   string             `json:"latest,omitempty"`
	Versions []describedVersion `json:"versions"`
}

type describedVersion struct {
	Version    string   `json:"version"`
	Root       string   `json:"root"`
	Size       int64    `json:"size"`
	Time       int64    `json:"time"`
	Entry      uint64   `json:"entry"`
	Commit     uint64   `json:"commit"`
	Signer     string   `json:"signer,omitempty"`
	Yanked     string   `json:"yanked,omitempty"`
	Deprecated string   `json:"deprecated,omitempty"`
	Deps       []string `json:"dependencies,omitempty"`
}

// info says what a registry proves of n. The flag is --registry: the name of a registry says which of them to ask.
func (e *Env) info(ctx context.Context, r *registries, n name.Name, flag string) error {
	regName := ""
	if _, ok := r.entry(flag); ok || flag == manifest.LocalRegistry {
		regName, r.ref = flag, registryRef{ID: r.ref.ID}
	} else if err := r.bind(ctx, true); err != nil {
		return err
	}
	if r.project != nil && flag == "" {
		if d, ok := declared(r.project.manifest, n); ok {
			regName = d.Registry
		}
	}
	o, err := r.named(regName)
	if err != nil {
		return err
	}
	if id := r.ref.ID; regName == flag && id != "" && o.ID() != "" && o.ID() != id {
		return fail(exitTrust, "pkg registry status", "%s is %s, not %s", o, o.ID(), id)
	}
	if o.empty {
		return fail(exitAbsent, "pkg info "+n.String()+" --registry URL", "%s is not in your local registry, which is empty", n)
	}
	if err := r.refresh(ctx, o); err != nil {
		return err
	}
	p, err := o.Package(ctx, n)
	if err != nil {
		return infoError(o, n, err)
	}
	d := describe(o, p)
	e.UI.Data("package", d, "%s %s", ui.Bold(d.Name), d.Latest)
	for _, line := range [][2]string{{"author", d.Author}, {"id", d.ID}, {"registry", d.Origin + " " + d.Registry}, {"status", d.Status}} {
		e.UI.Data("", nil, "  %-10s%s", line[0], line[1])
	}
	if e.JSON {
		return nil
	}
	var rows []ui.Row
	for _, v := range slices.Backward(d.Versions) {
		var notes []string
		if v.Yanked != "" {
			notes = append(notes, "yanked: "+v.Yanked)
		}
		if v.Deprecated != "" {
			notes = append(notes, "deprecated: "+v.Deprecated)
		}
		rows = append(rows, ui.Row{Cells: []any{"  " + v.Version, day(v.Time), size(v.Size), ui.Dim(v.Root), strings.Join(notes, "; ")}})
	}
	e.UI.Table("version", rows)
	return nil
}

// describe turns what is proved of a package into words.
func describe(o *opened, p *resolve.Package) described {
	d := described{
		Name: p.Name.String(), ID: hex.EncodeToString(p.ID[:]), Author: string(p.Author), Registry: o.ID(), Origin: o.Origin(),
		Status: map[resolve.Status]string{resolve.Active: "active", resolve.Frozen: "frozen", resolve.Removed: "removed"}[p.Status],
	}
	for _, rel := range p.Releases {
		v := describedVersion{
			Version: rel.Version.String(), Root: rel.Root.String(), Size: rel.Size, Time: rel.T, Entry: rel.Entry, Commit: rel.Commit,
			Signer: string(rel.Signer), Yanked: rel.Yanked, Deprecated: rel.Deprecated,
		}
		for _, dep := range rel.Deps {
			v.Deps = append(v.Deps, dep.Name.String()+" "+dep.Constraint.String())
		}
		if rel.Yanked == "" && (!rel.Version.IsPrerelease() || d.Latest == "") {
			d.Latest = v.Version
		}
		d.Versions = append(d.Versions, v)
	}
	return d
}

func infoError(o *opened, n name.Name, err error) error {
	if _, absent := errors.AsType[*resolve.NotFoundError](err); absent && o.local() {
		return fail(exitAbsent, "pkg info "+n.String()+" --registry URL", "%s is not in your local registry", n)
	}
	return err
}
