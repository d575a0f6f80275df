package cmd

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func (e *Env) helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Category: onItself, Usage: "explain a command", ArgsUsage: "[COMMAND]...",
		Description: "The same as pkg COMMAND --help.",
		Action: func(c *cli.Context) error {
			commands := e.commands()
			var path []*cli.Command
			list := commands
			for _, word := range c.Args().Slice() {
				next := find(list, word)
				if next == nil {
					return noCommand(path, word, list)
				}
				path, list = append(path, next), next.Subcommands
			}
			e.help(commands, path)
			return nil
		},
	}
}

// helped is the JSON form of a help text.
type helped struct {
	Command string `json:"command"`
	Usage   string `json:"usage"`
	Text    string `json:"text"`
}

// help explains the command at path, or all of pkg: on stdout, as it was asked for.
func (e *Env) help(commands, path []*cli.Command) {
	text, usage := overview(commands), "a peer-to-peer package manager"
	if n := len(path); n > 0 {
		text, usage = manual(path), path[n-1].Usage
	}
	e.UI.Raw("help", helped{Command: nameOf(path), Usage: usage, Text: text}, text)
}

// overview is the text of `pkg help`.
func overview(commands []*cli.Command) string {
	var b strings.Builder
	b.WriteString("pkg: a peer-to-peer package manager\n\nusage: pkg COMMAND [FLAG]... [OPERAND]...\n")
	wide := 0
	for _, r := range everywhere() {
		wide = max(wide, len(r[0]))
	}
	for _, category := range categories() {
		var rows [][2]string
		for _, c := range commands {
			if c.Category == category && !c.Hidden {
				rows = append(rows, [2]string{fmt.Sprintf("%-*s", wide, c.Name), c.Usage})
			}
		}
		section(&b, category, rows)
	}
	section(&b, "flags of every command", everywhere())
	b.WriteString("\npkg COMMAND --help explains a command. Start with pkg demo.\n")
	return b.String()
}

// manual is the text of `pkg help COMMAND`.
func manual(path []*cli.Command) string {
	c := path[len(path)-1]
	name := nameOf(path)
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", name, c.Usage)
	switch {
	case len(c.Subcommands) > 0 && c.Action != nil:
		fmt.Fprintf(&b, "usage: %s [COMMAND]\n", name)
	case len(c.Subcommands) > 0:
		fmt.Fprintf(&b, "usage: %s COMMAND\n", name)
	default:
		fmt.Fprintf(&b, "usage: %s\n", strings.TrimRight(name+" [FLAG]... "+c.ArgsUsage, " "))
	}
	if c.Description != "" {
		b.WriteString("\n" + strings.Trim(c.Description, "\n") + "\n")
	}
	var rows [][2]string
	for _, sub := range c.Subcommands {
		if !sub.Hidden {
			rows = append(rows, [2]string{strings.TrimRight(sub.Name+" "+sub.ArgsUsage, " "), sub.Usage})
		}
	}
	section(&b, "commands", rows)
	section(&b, "flags", flagRows(c.Flags))
	section(&b, "flags of every command", everywhere())
	return b.String()
}

// section writes a heading and two columns.
func section(b *strings.Builder, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	wide := 0
	for _, r := range rows {
		wide = max(wide, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(b, "  %-*s  %s\n", wide, r[0], r[1])
	}
}

// everywhere is what every command understands.
func everywhere() [][2]string {
	return append(flagRows(globalFlags()), [2]string{"-h, --help", "explain the command"})
}

// flagRows says each flag once: "--registry URL" and what it is for. The word in backquotes of a flag's usage names its
// value.
func flagRows(flags []cli.Flag) [][2]string {
	var rows [][2]string
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if v, visible := f.(cli.VisibleFlag); !ok || visible && !v.IsVisible() {
			continue
		}
		var spellings []string
		for _, n := range slices.SortedFunc(slices.Values(f.Names()), func(a, b string) int { return cmp.Compare(len(a), len(b)) }) {
			spellings = append(spellings, dashed(n))
		}
		left, usage := strings.Join(spellings, ", "), d.GetUsage()
		if d.TakesValue() {
			value, plain := valueName(usage)
			left, usage = left+" "+value, plain
			if v := strings.Trim(d.GetValue(), `"`); v != "" && v != "0" && v != "0s" {
				usage += " (default: " + v + ")"
			}
		}
		rows = append(rows, [2]string{left, usage})
	}
	return rows
}

// valueName takes the value's name out of a flag's usage: "work in `DIR`" is DIR and "work in DIR".
func valueName(usage string) (value, plain string) {
	before, rest, ok := strings.Cut(usage, "`")
	name, after, closed := strings.Cut(rest, "`")
	if !ok || !closed {
		return "VALUE", usage
	}
	return name, before + name + after
}
