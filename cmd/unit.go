package cmd

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// printUnit prints a systemd unit for the command as it was given. What the environment says of it is written out, as a
// service has another one.
func (e *Env) printUnit(c *cli.Context, o seedOptions) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	words := []string{"seed"}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, value)
		}
	}
	for _, l := range c.StringSlice("listen") {
		add("--listen", l)
	}
	add("--upload-limit", c.String("upload-limit"))
	add("--max-peers", strconv.Itoa(o.peers))
	add("--registry", o.ref.URL)
	add("--registry-id", o.ref.ID)
	add("--mode", c.String("mode"))
	add("--addr-file", o.addrFile)
	key, err := e.swarmKeyFile(c)
	if err != nil {
		return err
	}
	add("--swarm-key", key)
	if o.hidden || !e.lan() {
		words = append(words, "--lan=false")
	}
	if e.Quiet {
		words = append(words, "--quiet")
	}
	for _, n := range o.names {
		words = append(words, n.String())
	}
	line := []string{unitWord(program, false)}
	for _, w := range words {
		line = append(line, unitWord(w, true))
	}
	homes, err := e.unitHomes()
	if err != nil {
		return err
	}
	text := `[Unit]
Description=pkg seed: serve packages to peers
After=network-online.target
Wants=network-online.target

[Service]
` + homes + "ExecStart=" + strings.Join(line, " ") + `
Restart=on-failure
KillSignal=SIGINT
NoNewPrivileges=true
PrivateTmp=true

[Install]
WantedBy=default.target
`
	e.UI.Raw("unit", map[string]string{"unit": text}, text)
	return nil
}

// unitHomes are the lines of a unit that say where this user's things are, as [Env.Homes] finds them.
func (e *Env) unitHomes() (string, error) {
	if home := e.Getenv("PKG_HOME"); home != "" {
		dir, err := e.envPath(home)
		return "Environment=" + unitWord("PKG_HOME="+dir, false) + "\n", err
	}
	var out strings.Builder
	for _, key := range []string{"XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"} {
		if v := e.Getenv(key); filepath.IsAbs(v) && runtime.GOOS != "windows" {
			out.WriteString("Environment=" + unitWord(key+"="+v, false) + "\n")
		}
	}
	return out.String(), nil
}

// unitWord writes one word of a line of a unit (systemd.syntax(7), systemd.service(5)): quoted where it needs to be, with
// percent signs doubled, and with dollar signs doubled where variables are put in, which is everywhere but in the name of
// the program and in Environment=.
func unitWord(s string, variables bool) string {
	var b strings.Builder
	quote := s == ""
	for _, r := range s {
		switch {
		case r == '%':
			b.WriteString("%%")
		case r == '$' && variables:
			b.WriteString("$$")
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
			quote = true
		case r < ' ' || r == 0x7f:
			const hex = "0123456789abcdef"
			b.WriteString(`\x` + string(hex[r>>4]) + string(hex[r&15]))
			quote = true
		case r == ' ' || r == '\'' || r == ';':
			b.WriteRune(r)
			quote = true
		default:
			b.WriteRune(r)
		}
	}
	if quote {
		return `"` + b.String() + `"`
	}
	return b.String()
}
