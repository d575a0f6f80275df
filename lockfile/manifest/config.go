package manifest

import (
	"errors"
	"fmt"

	"pkg/lockfile/internal/toml"
)

// ConfigFile is the name of the configuration of a user.
const ConfigFile = "config.toml"

// Config is what a user's config.toml says, for every project:
//
//	link = "copy" # how files get into a project
//	mode = "http" # whom to ask for content
//
//	[registries.work]
//	url = "https://pkg.example.org"
//	id = "bafyrei…"
type Config struct {
	Link       string // for those who link to understand, or ""
	Mode       string // for those who fetch to understand, or ""
	Registries map[string]Registry
}

// ConfigError says what is wrong with a config.toml, and where.
type ConfigError struct {
	Path string // of the file; as ParseConfig returns it, its name alone
	Line int    // from 1; 0 if the whole file is meant
	Msg  string // the fault
	err  error
}

// Error implements error.
func (e *ConfigError) Error() string {
	if e.Line == 0 {
		return e.Path + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Msg)
}

// Unwrap returns the cause, or nil.
func (e *ConfigError) Unwrap() error { return e.err }

// ParseConfig reads a config.toml. It has the limits of a manifest, and unknown
// keys are errors here too. The error is a *ConfigError.
func ParseConfig(b []byte) (*Config, error) {
	var f struct {
		Link       string                 `toml:"link"`
		Mode       string                 `toml:"mode"`
		Registries map[string]rawRegistry `toml:"registries"`
	}
	doc, err := toml.Decode(b, toml.MaxManifest, &f)
	if err != nil {
		e := &ConfigError{Path: ConfigFile, Msg: err.Error(), err: err}
		if te, ok := errors.AsType[*toml.Error](err); ok {
			e.Line, e.Msg = te.Line, te.Msg
		}
		return nil, e
	}
	p := parser{doc: doc, m: new(Manifest)}
	p.registries(f.Registries)
	if p.err != nil {
		return nil, &ConfigError{Path: ConfigFile, Line: p.err.Line, Msg: p.err.Msg, err: p.err.err}
	}
	return &Config{Link: f.Link, Mode: f.Mode, Registries: p.m.Registries}, nil
}
