package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"pkg/publish/registry"
)

func (e *Env) registryCommand() *cli.Command {
	return &cli.Command{
		Name: "registry", Category: onKeys, Usage: "make, serve and look at registries",
		Subcommands: []*cli.Command{e.registryInitCommand(), e.registryServeCommand(), e.registryStatusCommand()},
	}
}

func (e *Env) registryInitCommand() *cli.Command {
	return &cli.Command{
		Name: "init", Usage: "make a registry in a new folder and print its id", ArgsUsage: "DIR",
		Description: `The id is the registry's identity for good: tell it to the people who use the registry. DIR holds the log's key, readable
by you alone, and DIR.signed beside it what was signed last: back up the key, and never put back an old DIR.signed.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "origin", Usage: "`NAME` of the log, such as pkg.example.org: it cannot be changed"},
			passphraseFlag(),
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			origin := c.String("origin")
			if origin == "" {
				return &usageError{Err: errors.New("a registry needs --origin NAME"), Help: "pkg registry init " + args[0] + " --origin pkg.example.org"}
			}
			dir, err := e.Path(args[0])
			if err != nil {
				return err
			}
			passphrase, err := e.registryPassphrase(c)
			if err != nil {
				return err
			}
			id, err := registry.Init(c.Context, dir, origin, registry.InitOptions{Passphrase: passphrase, Now: e.Now})
			if exists(filepath.Join(dir, "registry.json")) {
				err = withHelp(err, "pkg registry serve "+args[0])
			}
			if err != nil {
				return withHelp(err, "pkg registry init --help")
			}
			e.UI.Data("registry", map[string]string{"id": id, "origin": origin, "dir": dir}, "%s", id)
			e.UI.Note("", nil, "next: pkg registry serve %s", args[0])
			return nil
		},
	}
}

// registryPassphrase is the passphrase of a registry's keys: only a file gives one, as registries run unattended.
func (e *Env) registryPassphrase(c *cli.Context) ([]byte, error) {
	if a := e.asker(c); c.String("passphrase-file") != "" {
		return a.read()
	}
	return nil, nil
}

// registryStatus is the JSON form of what is known of a registry.
type registryStatus struct {
	Name      string `json:"name"`
	URL       string `json:"url,omitempty"`
	Dir       string `json:"dir,omitempty"`
	ID        string `json:"id"`
	Origin    string `json:"origin"`
	Commits   uint64 `json:"commits"`
	Time      int64  `json:"time"`
	Freshness string `json:"freshness"`
	HeadBytes int    `json:"head_bytes"`
	Map       string `json:"map"`
	Empty     bool   `json:"empty,omitempty"`
}

func (e *Env) registryStatusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "ask a registry for its newest head and verify it",
		Description: "It is the registry that commands use here; pkg.toml may name more, which --registry NAME shows.",
		Flags:       registryFlags(),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			r, err := e.registries(e.projectOrNil(), e.registryRef(c), false)
			if err != nil {
				return err
			}
			return e.registryStatus(c.Context, r)
		},
	}
}

func (e *Env) registryStatus(ctx context.Context, r *registries) error {
	o, err := r.named("")
	if err != nil {
		return err
	}
	st := registryStatus{Name: o.name, URL: o.url, Dir: o.dir, Empty: o.empty}
	if o.empty {
		e.UI.Data("registry", st, "there is no local registry in %s yet: the first pkg publish makes it", o.dir)
		return nil
	}
	if err := r.refresh(ctx, o); err != nil {
		return err
	}
	head, fresh, err := o.Refresh(ctx)
	if err != nil {
		return err
	}
	st.ID, st.Origin, st.Commits, st.Time = o.ID(), o.Origin(), head.Commit.N+1, head.Commit.T
	st.Freshness, st.HeadBytes, st.Map = fresh.String(), len(head.Raw), head.Commit.M.String()
	e.UI.Data("registry", st, "%s", o)
	for _, line := range [][2]string{
		{"id", st.ID},
		{"origin", st.Origin},
		{"head", fmt.Sprintf("commit %d of %s, %s", head.Commit.N, day(st.Time), st.Freshness)},
		{"map", st.Map},
		{"proof", fmt.Sprintf("%d bytes, verified", st.HeadBytes)},
	} {
		e.UI.Data("", nil, "  %-8s%s", line[0], line[1])
	}
	return nil
}
