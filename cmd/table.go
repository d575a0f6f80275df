package cmd

import "github.com/urfave/cli/v2"

// Categories group the commands in `pkg help`, in this order.
const (
	onProject  = "project"
	onPackages = "packages"
	onKeys     = "keys and registries"
	onItself   = "pkg itself"
)

func categories() []string { return []string{onProject, onPackages, onKeys, onItself} }

// commands is every command there is, in the order in which help shows them. A new command is a line here.
func (e *Env) commands() []*cli.Command {
	return []*cli.Command{
		e.initCommand(),
		e.addCommand(),
		e.removeCommand(),
		e.installCommand(),
		e.updateCommand(),
		e.listCommand(),
		e.treeCommand(),
		e.whyCommand(),
		e.outdatedCommand(),
		e.statusCommand(),
		e.verifyCommand(),
		e.execCommand(),

		e.infoCommand(),
		e.publishCommand(),
		e.yankCommand(),
		e.deprecateCommand(),

		e.keysCommand(),
		e.registryCommand(),
		e.seedCommand(),
		e.peersCommand(),

		e.demoCommand(),

		e.cacheCommand(),
		e.versionCommand(),
		e.helpCommand(),
		e.completionCommand(),
	}
}

// passesThrough reports whether everything after a command's first operand belongs to somebody else: `pkg exec tsc --help`
// asks tsc for help.
func passesThrough(c *cli.Command) bool { return c.Name == "exec" }
