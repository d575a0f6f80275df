package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"pkg/fetch"
	"pkg/lockfile/manifest"
)

// config reads this user's config.toml; without one it is empty.
func (e *Env) config() (*manifest.Config, error) {
	homes, err := e.Homes()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(homes.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return &manifest.Config{}, nil
	} else if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	c, err := manifest.ParseConfig(b)
	if bad, ok := errors.AsType[*manifest.ConfigError](err); ok {
		bad.Path = homes.Config
	}
	return c, err
}

// askedMode is the mode as the command, PKG_MODE or config.toml say it, or empty.
func (e *Env) askedMode() string {
	if said := cmp.Or(e.mode, e.Getenv("PKG_MODE")); said != "" {
		return said
	}
	c, err := e.config()
	if err != nil {
		return ""
	}
	return c.Mode
}

// linkMode is how files get into the project: as the flag says, else PKG_LINK, else config.toml.
func (e *Env) linkMode(flag string) (fetch.Mode, error) {
	if said := cmp.Or(flag, e.Getenv("PKG_LINK")); said != "" {
		m, err := fetch.ParseMode(said)
		if err != nil {
			return "", usagef("--link %s: use symlink, hard, reflink or copy", said)
		}
		return m, nil
	}
	c, err := e.config()
	if err != nil {
		return "", err
	}
	m, err := fetch.ParseMode(c.Link)
	if err != nil {
		homes, _ := e.Homes() // it was asked just now
		return "", &manifest.ConfigError{Path: homes.Config, Msg: fmt.Sprintf("link = %q: use symlink, hard, reflink or copy", c.Link)}
	}
	return m, nil
}
