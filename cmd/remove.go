package cmd

import (
	"context"

	"github.com/urfave/cli/v2"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
)

func (e *Env) removeCommand() *cli.Command {
	return &cli.Command{
		Name: "remove", Category: onProject, Usage: "take dependencies out of pkg.toml and pkg_modules", ArgsUsage: "NAME...",
		Flags: append(registryFlags(), syncFlags()...),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, -1)
			if err != nil {
				return err
			}
			o, err := e.syncOptions(c)
			if err != nil {
				return err
			}
			return e.change(c.Context, e.registryRef(c), o.Offline, func(ctx context.Context, r *registries) (*outcome, error) {
				if err := r.bind(ctx, true); err != nil {
					return nil, err
				}
				return e.remove(ctx, r, o, args)
			})
		},
	}
}

// remove takes dependencies out of pkg.toml and installs.
func (e *Env) remove(ctx context.Context, r *registries, o syncOptions, args []string) (*outcome, error) {
	src := r.project.source
	for _, a := range args {
		n, err := name.Parse(a)
		if err != nil {
			return nil, nameHelp("remove", err)
		}
		var removed bool
		if src, removed, err = manifest.RemoveDependency(src, n); err != nil {
			return nil, err
		}
		if !removed {
			return nil, notDeclared(r.project, n)
		}
	}
	m, err := manifest.Parse(src)
	if err != nil {
		return nil, err
	}
	o.Source, o.Manifest = src, m
	s := newSync(r, o)
	if lock, ok := prune(r.project.lock, m); ok && len(lockfile.Satisfies(lock, m)) == 0 {
		return s.apply(ctx, lock)
	}
	lock, err := s.resolve(ctx)
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, lock)
}

// notDeclared is the error of a name that pkg.toml does not depend on.
func notDeclared(p *project, n name.Name) error {
	if _, ok := p.lock.Get(n); ok {
		return fail(exitAbsent, "pkg list", "%s is not in %s: another dependency needs it", n, manifest.File)
	}
	var all []string
	for _, d := range dependencies(p.manifest) {
		all = append(all, d.name.String())
	}
	if near := nearest(n.String(), all); near != "" {
		return fail(exitAbsent, "pkg remove "+near, "%s does not depend on %s", manifest.File, n)
	}
	return fail(exitAbsent, "pkg list", "%s does not depend on %s", manifest.File, n)
}

// prune returns the rows of a lock that a manifest still reaches. It reports false if it cannot tell.
func prune(l *lockfile.Lock, m *manifest.Manifest) (*lockfile.Lock, bool) {
	keep := make(map[name.Name]bool)
	var queue []name.Name
	for _, d := range dependencies(m) {
		if _, ok := l.Get(d.name); ok {
			queue = append(queue, d.name)
		} else if d.table != tableOptional {
			return nil, false
		}
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		p, ok := l.Get(n)
		if !ok {
			return nil, false
		}
		if keep[n] {
			continue
		}
		keep[n] = true
		for _, d := range p.Dependencies {
			_, dep := p.Edge(d)
			queue = append(queue, dep)
		}
	}
	out := &lockfile.Lock{}
	used := make(map[string]bool)
	for _, p := range l.Packages {
		if keep[p.Name] {
			out.Packages = append(out.Packages, p)
			used[p.Registry] = true
		}
	}
	for _, g := range l.Registries {
		if used[g.Name] {
			out.Registries = append(out.Registries, g)
		}
	}
	return out, true
}
