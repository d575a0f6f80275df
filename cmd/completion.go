package cmd

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

func (e *Env) completionCommand() *cli.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cli.Command{
		Name: "completion", Category: onItself, Usage: "print what makes a shell complete pkg's commands and flags", ArgsUsage: "bash|zsh|fish",
		Description: `  bash:  pkg completion bash > ~/.local/share/bash-completion/completions/pkg
  zsh:   pkg completion zsh > "${fpath[1]}/_pkg"
  fish:  pkg completion fish > ~/.config/fish/completions/pkg.fish`,
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, 1)
			if err != nil {
				return err
			}
			entries := e.completions()
			var text string
			switch args[0] {
			case "bash":
				text = bash(entries)
			case "zsh":
				text = zsh(entries)
			case "fish":
				text = fish(entries)
			default:
				return unknown(fmt.Sprintf("pkg completes in %s, not in %q", strings.Join(shells, ", "), args[0]), "pkg completion", args[0], shells, "pkg completion --help")
			}
			e.UI.Raw("completion", map[string]string{"shell": args[0], "text": text}, text)
			return nil
		},
	}
}

// completable is one place on the command line: what may follow there.
type completable struct {
	path  []string // of the command; empty for pkg itself
	words [][2]string
	flags []completableFlag
}

type completableFlag struct {
	spellings []string // with dashes
	usage     string
	valued    bool
	path      bool // the value is a file or folder
}

// completions reads the command table.
func (e *Env) completions() []completable {
	commands := e.commands()
	top := completable{words: wordsOf(commands), flags: completableFlags(nil)}
	top.flags = append(top.flags, completableFlag{spellings: []string{"--version"}, usage: "say which pkg this is"})
	out := []completable{top}
	walk(commands, func(parents []*cli.Command, c *cli.Command) {
		if !c.Hidden {
			path := append(names(parents), c.Name)
			out = append(out, completable{path: path, words: wordsOf(c.Subcommands), flags: completableFlags(c.Flags)})
		}
	})
	return out
}

func wordsOf(list []*cli.Command) [][2]string {
	var out [][2]string
	for _, c := range list {
		if !c.Hidden {
			out = append(out, [2]string{c.Name, c.Usage})
		}
	}
	return out
}

func completableFlags(own []cli.Flag) []completableFlag {
	var out []completableFlag
	for _, f := range append(own[:len(own):len(own)], globalFlags()...) {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		value, plain := valueName(d.GetUsage())
		cf := completableFlag{usage: plain, valued: d.TakesValue(), path: value == "DIR" || value == "FILE"}
		for _, n := range f.Names() {
			cf.spellings = append(cf.spellings, dashed(n))
		}
		out = append(out, cf)
	}
	return append(out, completableFlag{spellings: []string{"--help"}, usage: "explain"})
}

// bash walks the words typed so far to the command, and offers what may follow it; after a flag with a value it offers
// files.
func bash(entries []completable) string {
	var b strings.Builder
	b.WriteString(`# bash completion for pkg, made by: pkg completion bash
_pkg() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} path="" words="" flags="" i skip=""
    for ((i = 1; i < COMP_CWORD; i++)); do
        if [[ -n $skip ]]; then skip=""; continue; fi
        case "${COMP_WORDS[i]}" in
`)
	fmt.Fprintf(&b, "            %s) skip=1; continue ;;\n", strings.Join(valuedFlags(entries), "|"))
	b.WriteString("            -*) continue ;;\n        esac\n        case \"$path ${COMP_WORDS[i]}\" in\n")
	for _, c := range entries[1:] {
		fmt.Fprintf(&b, "            %s) path=%s ;;\n", bashQuote(" "+strings.Join(c.path, " ")), bashQuote(" "+strings.Join(c.path, " ")))
	}
	b.WriteString("        esac\n    done\n    if [[ -n $skip ]]; then COMPREPLY=($(compgen -f -- \"$cur\")); return; fi\n    case \"$path\" in\n")
	for _, c := range entries {
		path := ""
		if len(c.path) > 0 {
			path = " " + strings.Join(c.path, " ")
		}
		var words, flags []string
		for _, w := range c.words {
			words = append(words, w[0])
		}
		for _, f := range c.flags {
			flags = append(flags, f.spellings...)
		}
		fmt.Fprintf(&b, "        %s) words=%s flags=%s ;;\n", bashQuote(path), bashQuote(strings.Join(words, " ")), bashQuote(strings.Join(flags, " ")))
	}
	b.WriteString(`    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ -n $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}
complete -o filenames -F _pkg pkg
`)
	return b.String()
}

// valuedFlags is every spelling of every flag that takes a value.
func valuedFlags(entries []completable) []string {
	var out []string
	seen := map[string]bool{}
	for _, c := range entries {
		for _, f := range c.flags {
			for _, s := range f.spellings {
				if f.valued && !seen[s] {
					out, seen[s] = append(out, s), true
				}
			}
		}
	}
	return out
}

func bashQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// zsh does the same with descriptions.
func zsh(entries []completable) string {
	var b strings.Builder
	b.WriteString("#compdef pkg\n# zsh completion for pkg, made by: pkg completion zsh\n_pkg() {\n    local path_=\"\" skip=\"\" i\n    local -a words_ flags_\n    for ((i = 2; i < CURRENT; i++)); do\n        if [[ -n $skip ]]; then skip=\"\"; continue; fi\n        case \"${words[i]}\" in\n")
	fmt.Fprintf(&b, "            %s) skip=1; continue ;;\n", strings.Join(valuedFlags(entries), "|"))
	b.WriteString("            -*) continue ;;\n        esac\n        case \"$path_ ${words[i]}\" in\n")
	for _, c := range entries[1:] {
		q := bashQuote(" " + strings.Join(c.path, " "))
		fmt.Fprintf(&b, "            %s) path_=%s ;;\n", q, q)
	}
	b.WriteString("        esac\n    done\n    if [[ -n $skip ]]; then _files; return; fi\n    case \"$path_\" in\n")
	for _, c := range entries {
		path := ""
		if len(c.path) > 0 {
			path = " " + strings.Join(c.path, " ")
		}
		var words, flags []string
		for _, w := range c.words {
			words = append(words, zshPair(w[0], w[1]))
		}
		for _, f := range c.flags {
			for _, s := range f.spellings {
				flags = append(flags, zshPair(s, f.usage))
			}
		}
		fmt.Fprintf(&b, "        %s) words_=(%s) flags_=(%s) ;;\n", bashQuote(path), strings.Join(words, " "), strings.Join(flags, " "))
	}
	b.WriteString(`    esac
    if [[ "${words[CURRENT]}" == -* ]]; then
        _describe -o 'flag' flags_
    elif (( ${#words_} )); then
        _describe 'command' words_
    else
        _files
    fi
}
if [[ "$funcstack[1]" == _pkg ]]; then _pkg "$@"; else compdef _pkg pkg; fi
`)
	return b.String()
}

func zshPair(word, usage string) string {
	return bashQuote(word + ":" + strings.ReplaceAll(usage, ":", `\:`))
}

// fish has one line per word and flag, each with the condition under which it is offered.
func fish(entries []completable) string {
	var b strings.Builder
	b.WriteString("# fish completion for pkg, made by: pkg completion fish\ncomplete -c pkg -f\n")
	for _, c := range entries {
		when := fishCondition(c)
		for _, w := range c.words {
			fmt.Fprintf(&b, "complete -c pkg -n %s -a %s -d %s\n", fishQuote(when), w[0], fishQuote(w[1]))
		}
		if len(c.path) > 0 && len(c.words) == 0 {
			fmt.Fprintf(&b, "complete -c pkg -n %s -F\n", fishQuote(when))
		}
		for _, f := range c.flags {
			b.WriteString("complete -c pkg -n " + fishQuote(when))
			for _, s := range f.spellings {
				if name, long := strings.CutPrefix(s, "--"); long {
					b.WriteString(" -l " + name)
				} else {
					b.WriteString(" -s " + s[1:])
				}
			}
			if f.valued {
				b.WriteString(" -r")
			}
			if f.path {
				b.WriteString(" -F")
			}
			b.WriteString(" -d " + fishQuote(f.usage) + "\n")
		}
	}
	return b.String()
}

// fishCondition holds where the words typed so far are this command's.
func fishCondition(c completable) string {
	if len(c.path) == 0 {
		return "__fish_use_subcommand"
	}
	cond := make([]string, 0, len(c.path)+1)
	for _, w := range c.path {
		cond = append(cond, "__fish_seen_subcommand_from "+w)
	}
	if len(c.words) > 0 {
		var words []string
		for _, w := range c.words {
			words = append(words, w[0])
		}
		cond = append(cond, "not __fish_seen_subcommand_from "+strings.Join(words, " "))
	}
	return strings.Join(cond, "; and ")
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}
