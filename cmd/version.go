package cmd

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

func (e *Env) versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Category: onItself, Usage: "say which pkg this is",
		Description: "The same as pkg --version.",
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			e.version()
			return nil
		},
	}
}

type versioned struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (e *Env) version() {
	v := versioned{Version: e.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if v.Version == "" {
		v.Version = "devel"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
	}
	e.UI.Data("version", v, "pkg %s (%s %s/%s)", v.Version, v.Go, v.OS, v.Arch)
}
