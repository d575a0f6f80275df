package cmd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"pkg/cmd/ui"
	"pkg/keys"
	"pkg/lockfile/name"

	"github.com/urfave/cli/v2"
)

func (e *Env) keysCommand() *cli.Command {
	return &cli.Command{
		Name: "keys", Category: onKeys, Usage: "make and keep author keys",
		Description: `An author key signs what its owner publishes; pkg shows it as a did:key. Keys live in files of their own, readable by
their owner alone and encrypted with a passphrase unless --no-passphrase. Nobody can restore a lost key: export a copy.`,
		Subcommands: []*cli.Command{e.keysNew(), e.keysList(), e.keysShow(), e.keysExport(), e.keysImport()},
	}
}

// shownKey is one key in JSON.
type shownKey struct {
	Name      string      `json:"name"`
	Author    name.Author `json:"author"`
	Encrypted bool        `json:"encrypted"`
	Damaged   bool        `json:"damaged,omitempty"` // nothing says whose key it is
	File      string      `json:"file,omitempty"`
}

func (e *Env) keysNew() *cli.Command {
	return &cli.Command{
		Name: "new", Usage: "make a key", ArgsUsage: "NAME",
		Description: "Prints the new key's did:key on stdout. A key that exists is never replaced.",
		Flags: []cli.Flag{
			passphraseFlag(),
			&cli.BoolFlag{Name: "no-passphrase", Usage: "do not encrypt the file, as for CI"},
		},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			ring, err := e.ring()
			if err != nil {
				return err
			}
			if c.Bool("no-passphrase") && c.String("passphrase-file") != "" {
				return usagef("a key has --passphrase-file or --no-passphrase, not both")
			}
			var passphrase []byte
			if !c.Bool("no-passphrase") {
				if passphrase, err = e.asker(c).chosen(c.Context, args[0]); err != nil {
					return err
				}
			}
			k, err := keys.Generate(e.Rand)
			if err != nil {
				return err
			}
			if err := ring.New(args[0], k, passphrase); err != nil {
				return taken(args[0], err)
			}
			file := filepath.Join(ring.Dir, args[0]+".key")
			e.UI.Note("", nil, "made the key %s in %s", ui.Bold(args[0]), file)
			e.UI.Data("key", shownKey{Name: args[0], Author: k.Author(), Encrypted: passphrase != nil, File: file}, "%s", k.Author())
			return nil
		},
	}
}

// taken explains a key that is not replaced.
func taken(key string, err error) error {
	if errors.Is(err, os.ErrExist) {
		return fail(exitFailed, "pkg keys show "+key, "there is a key %q already, and keys are never replaced", key)
	}
	return err
}

func (e *Env) keysList() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the keys",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			ring, err := e.ring()
			if err != nil {
				return err
			}
			list, err := ring.List()
			if err != nil {
				return err
			}
			if len(list) == 0 {
				e.UI.Note("", nil, "no keys in %s; make one with: pkg keys new NAME", ring.Dir)
			}
			var rows []ui.Row
			for _, k := range list {
				row := ui.Row{
					Fields: shownKey{Name: k.Name, Author: k.Author, Encrypted: k.Encrypted, Damaged: k.Author == ""},
					Cells:  []any{ui.Bold(k.Name), k.Author, ui.Dim(protection(k.Encrypted))},
				}
				if k.Author == "" {
					row.Cells = []any{ui.Bold(k.Name), ui.Bad("unreadable")}
				}
				rows = append(rows, row)
			}
			e.UI.Table("key", rows)
			return nil
		},
	}
}

func protection(encrypted bool) string {
	if encrypted {
		return "encrypted"
	}
	return "not encrypted"
}

func (e *Env) keysShow() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show the public half of a key", ArgsUsage: "NAME",
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			ring, err := e.ring()
			if err != nil {
				return err
			}
			list, err := ring.List()
			if err != nil {
				return err
			}
			for _, k := range list {
				if k.Name == args[0] {
					file := filepath.Join(ring.Dir, k.Name+".key")
					if k.Author == "" {
						return unreadable(k, file)
					}
					e.UI.Note("", nil, "%s, %s", file, protection(k.Encrypted))
					e.UI.Data("key", shownKey{Name: k.Name, Author: k.Author, Encrypted: k.Encrypted, File: file}, "%s", k.Author)
					return nil
				}
			}
			return noKey(args[0], ring)
		},
	}
}

// unreadable is the error of a key of which nobody knows whose it is. One that is only encrypted says so when it is opened.
func unreadable(k keys.Info, file string) error {
	if k.Encrypted {
		return fail(exitFailed, "pkg keys import "+k.Name+"-2 "+file, "%s is encrypted, and the public half beside it is lost", file)
	}
	return fail(exitFailed, "ls -l "+file, "%s is not a key file", file)
}

func noKey(key string, ring keys.Ring) error {
	return fail(exitAbsent, "pkg keys list", "there is no key %q in %s", key, ring.Dir)
}

func (e *Env) keysExport() *cli.Command {
	return &cli.Command{
		Name: "export", Usage: "print a key's file, secret and all, to keep a copy", ArgsUsage: "NAME",
		Description: "Prints the file as it is: an encrypted key stays encrypted with its passphrase. Whoever has the copy of a key that is\nnot encrypted can publish in your name.",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`, readable by you alone, instead of stdout"}},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			ring, err := e.ring()
			if err != nil {
				return err
			}
			text, err := ring.Export(args[0])
			if errors.Is(err, os.ErrNotExist) {
				return noKey(args[0], ring)
			} else if err != nil {
				return err
			}
			if out := c.String("output"); out != "" {
				return e.writeSecret(args[0], out, text)
			}
			e.UI.Raw("exported", map[string]string{"name": args[0], "text": string(text)}, string(text))
			return nil
		},
	}
}

// writeSecret writes a new file that nobody else can read.
func (e *Env) writeSecret(key, out string, text []byte) error {
	path, err := e.Path(out)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // G304: the user names the file
	if errors.Is(err, os.ErrExist) {
		return fail(exitFailed, "pkg keys export "+key+" --output ANOTHER-FILE", "%s exists already, and is not replaced", out)
	} else if err != nil {
		return fmt.Errorf("export %s: %w", key, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("export %s: %w", key, errors.Join(err, os.Remove(path)))
	}
	e.UI.Data("exported", map[string]string{"name": key, "file": path}, "exported %s to %s", ui.Bold(key), out)
	return nil
}

func (e *Env) keysImport() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "take a key file in under a name", ArgsUsage: "NAME FILE",
		Description: "FILE is what pkg keys export wrote. It keeps its passphrase, and FILE stays where it is.",
		Flags:       []cli.Flag{passphraseFlag()},
		Action: func(c *cli.Context) error {
			args, err := operands(c, 2, 2)
			if err != nil {
				return err
			}
			ring, err := e.ring()
			if err != nil {
				return err
			}
			path, err := e.Path(args[1])
			if err != nil {
				return err
			}
			text, _, err := readSmall(path)
			if err != nil {
				return fmt.Errorf("import %s: %w", args[0], err)
			}
			k, err := e.asker(c).unlock(c.Context, args[1], func(passphrase []byte) (keys.Key, error) {
				return ring.Import(args[0], text, passphrase)
			})
			if err != nil {
				return withHelp(taken(args[0], err), "pkg keys import --help")
			}
			e.UI.Note("", nil, "imported the key %s from %s", ui.Bold(args[0]), args[1])
			e.UI.Data("key", shownKey{Name: args[0], Author: k.Author(), File: filepath.Join(ring.Dir, args[0]+".key")}, "%s", k.Author())
			return nil
		},
	}
}
