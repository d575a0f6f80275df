package cmd

import (
	"context"
	"errors"

	"github.com/urfave/cli/v2"

	"pkg/lockfile"
	"pkg/lockfile/name"
	"pkg/resolve"
)

func (e *Env) updateCommand() *cli.Command {
	return &cli.Command{
		Name: "update", Category: onProject, Usage: "take the newest versions that pkg.toml allows", ArgsUsage: "[NAME]...",
		Description: "Without NAME every package may change, else only these and what they force to change. pkg.toml stays as it is.",
		Flags:       append(registryFlags(), syncFlags()...),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 0, -1)
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
				return e.update(ctx, r, o, args)
			})
		},
	}
}

// update resolves anew, with the named packages free of the lock, or all of them.
func (e *Env) update(ctx context.Context, r *registries, o syncOptions, args []string) (*outcome, error) {
	o.FreeAll, o.Admit = len(args) == 0, true
	o.Free = make(map[name.Name]bool)
	for _, a := range args {
		n, err := name.Parse(a)
		if err != nil {
			return nil, nameHelp("update", err)
		}
		if _, ok := r.project.lock.Get(n); !ok {
			return nil, notInstalled(r.project, "update", n)
		}
		o.Free[n] = true
	}
	if !o.FreeAll {
		// What needs a package that is updated stays as it is, and so bounds it; what the package needs may move.
		o.Held = above(r.project.lock, o.Free)
		s := newSync(r, o)
		lock, err := s.resolve(ctx)
		if _, none := errors.AsType[*resolve.ConflictError](err); !none {
			if err != nil {
				return nil, err
			}
			return s.apply(ctx, lock)
		}
		o.Held = nil
	}
	return newSync(r, o).run(ctx)
}

// above returns the packages of a lock that need one of names, directly or not, and are none of them.
func above(l *lockfile.Lock, names map[name.Name]bool) map[name.Name]bool {
	needs := make(map[name.Name][]name.Name) // who needs it
	for _, p := range l.Packages {
		for _, e := range p.Dependencies {
			_, to := p.Edge(e)
			needs[to] = append(needs[to], p.Name)
		}
	}
	out := make(map[name.Name]bool)
	var queue []name.Name
	for n := range names {
		queue = append(queue, n)
	}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, by := range needs[n] {
			if !out[by] && !names[by] {
				out[by] = true
				queue = append(queue, by)
			}
		}
	}
	return out
}

// notInstalled is the error of a name that is not in the lock.
func notInstalled(p *project, command string, n name.Name) error {
	var all []string
	for _, row := range p.lock.Packages {
		all = append(all, row.Name.String())
	}
	if near := nearest(n.String(), all); near != "" {
		return fail(exitAbsent, "pkg "+command+" "+near, "%s is not in this project", n)
	}
	return fail(exitAbsent, "pkg add "+n.String(), "%s is not in this project", n)
}
