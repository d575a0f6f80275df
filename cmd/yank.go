package cmd

import (
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/publish"
)

func (e *Env) yankCommand() *cli.Command {
	return &cli.Command{
		Name: "yank", Category: onPackages, Usage: "take a version out of new resolutions", ArgsUsage: "NAME@VERSION",
		Description: "Projects that have it locked keep it. --undo offers it again.",
		Flags: append(append(registryFlags(), keyFlags()...),
			&cli.BoolFlag{Name: "undo", Usage: "offer the version again"},
			&cli.StringFlag{Name: "reason", Usage: "say `WHY`"}),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 2)
			if err != nil {
				return err
			}
			n, text, err := nameAt("yank", args)
			if err != nil {
				return err
			}
			v, err := semver.Parse(text)
			if err != nil {
				return fail(exitUsage, "pkg info "+n.String(), "%w", err)
			}
			at, err := e.writing(c, e.projectOrNil())
			if err != nil {
				return err
			}
			do, kind, said := publish.Yank, "yanked", "yanked %s %s: entry %d, commit %d"
			if c.Bool("undo") {
				do, kind, said = publish.Unyank, "unyanked", "%s %s is offered again: entry %d, commit %d"
			}
			r, err := do(c.Context, at.Options, n, v, c.String("reason"))
			if err != nil {
				return at.explain(err)
			}
			out := signed{Name: n.String(), Version: v.String(), Entry: r.Entry, Commit: r.Commit, AlreadyThere: r.AlreadyThere}
			if r.AlreadyThere {
				e.UI.Data(kind, out, "%s %s was %s already", ui.Bold(n), v, kind)
				return nil
			}
			e.UI.Data(kind, out, said, ui.Bold(n), v, r.Entry, r.Commit)
			return nil
		},
	}
}

// signed is the JSON form of an entry that is no release.
type signed struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Versions string `json:"versions,omitempty"`
	Message  string `json:"message,omitempty"`
	Entry    uint64 `json:"entry"`
	Commit   uint64 `json:"commit"`

	AlreadyThere bool `json:"already_there,omitempty"` // nothing was signed; Entry is the release's
}

// nameAt reads "NAME@WHAT" or "NAME WHAT".
func nameAt(command string, args []string) (name.Name, string, error) {
	text, what := args[0], ""
	if len(args) > 1 {
		what = args[1]
	} else if i := strings.LastIndexByte(text, '@'); i > 0 {
		text, what = text[:i], text[i+1:]
	}
	n, err := name.Parse(text)
	if err != nil {
		return "", "", nameHelp(command, err)
	}
	if what == "" {
		return "", "", usagef("pkg %s needs a version: %s@VERSION", command, n)
	}
	return n, what, nil
}

// projectOrNil is the project here, for its [registries]; a command about a package needs none.
func (e *Env) projectOrNil() *project {
	p, err := e.project()
	if err != nil {
		return nil
	}
	return p
}
