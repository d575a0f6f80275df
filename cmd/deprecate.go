package cmd

import (
	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/publish"
)

func (e *Env) deprecateCommand() *cli.Command {
	return &cli.Command{
		Name: "deprecate", Category: onPackages, Usage: "advise against versions", ArgsUsage: "NAME CONSTRAINT MESSAGE",
		Description: "The versions stay as installable as they were; people see the message.",
		Flags: append(append(registryFlags(), keyFlags()...),
			&cli.StringFlag{Name: "use", Usage: "advise to use `NAME` instead"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 3, 3)
			if err != nil {
				return err
			}
			n, err := name.Parse(args[0])
			if err != nil {
				return nameHelp("deprecate", err)
			}
			constraint, err := semver.ParseConstraint(args[1])
			if err != nil {
				return fail(exitUsage, "pkg info "+n.String(), "%w", err)
			}
			at, err := e.writing(c, e.projectOrNil())
			if err != nil {
				return err
			}
			r, err := publish.Deprecate(c.Context, at.Options, n, constraint.String(), args[2], c.String("use"))
			if err != nil {
				return at.explain(err)
			}
			e.UI.Data("deprecated", signed{Name: n.String(), Versions: args[1], Message: args[2], Entry: r.Entry, Commit: r.Commit},
				"deprecated %s %s: entry %d, commit %d", ui.Bold(n), args[1], r.Entry, r.Commit)
			return nil
		},
	}
}
