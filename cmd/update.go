package cmd

import (
	"context"

	"github.com/urfave/cli/v2"

	"pkg/lockfile/name"
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
	return newSync(r, o).run(ctx)
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
