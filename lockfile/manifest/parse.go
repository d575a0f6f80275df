package manifest

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"pkg/lockfile/block"
	"pkg/lockfile/internal/toml"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

const (
	maxDescription = 1 << 10 // bytes; it is part of every signed release
	maxText        = 256     // bytes of any other text
	maxReason      = 200     // bytes of the reason for an override
	maxCommand     = 64      // bytes of a command name
	maxPath        = 1 << 10 // bytes
)

// file is the shape of pkg.toml.
type file struct {
	Package              rawPackage             `toml:"package"`
	Bin                  map[string]string      `toml:"bin"`
	Dependencies         map[string]rawDep      `toml:"dependencies"`
	DevDependencies      map[string]rawDep      `toml:"dev-dependencies"`
	OptionalDependencies map[string]rawDep      `toml:"optional-dependencies"`
	Overrides            map[string]rawOverride `toml:"overrides"`
	Registries           map[string]rawRegistry `toml:"registries"`
	Policy               rawPolicy              `toml:"policy"`
}

type rawPackage struct {
	Name        *string  `toml:"name"`
	Version     *string  `toml:"version"`
	Description string   `toml:"description"`
	License     string   `toml:"license"`
	Authors     []string `toml:"authors"`
	Repository  string   `toml:"repository"`
	Homepage    string   `toml:"homepage"`
	Keywords    []string `toml:"keywords"`
	Security    string   `toml:"security"`
	Include     []string `toml:"include"`
	Exclude     []string `toml:"exclude"`
}

type rawDep struct {
	Version  *string `toml:"version"`
	Registry *string `toml:"registry"`
	Author   *string `toml:"author"`
	Path     *string `toml:"path"`
}

type rawOverride struct {
	Version *string `toml:"version"`
	Reason  *string `toml:"reason"`
}

type rawRegistry struct {
	URL     string `toml:"url"`
	ID      string `toml:"id"`
	Private bool   `toml:"private"`
}

type rawPolicy struct {
	MinAge           string `toml:"min-age"`
	RequireWitnesses int    `toml:"require-witnesses"`
	DenyAdvisories   bool   `toml:"deny-advisories"`
}

// UnmarshalTOML accepts a constraint, or a table.
func (d *rawDep) UnmarshalTOML(v any) error {
	return texts(v, []rawText{{"version", &d.Version}, {"registry", &d.Registry}, {"author", &d.Author}, {"path", &d.Path}})
}

// UnmarshalTOML accepts a constraint, or a table.
func (o *rawOverride) UnmarshalTOML(v any) error {
	return texts(v, []rawText{{"version", &o.Version}, {"reason", &o.Reason}})
}

// A rawText is a key of a table, and where its text goes.
type rawText struct {
	key string
	dst **string
}

// texts reads a constraint, which is the first field, or a table of the fields.
func texts(v any, fields []rawText) error {
	if s, ok := v.(string); ok {
		*fields[0].dst = &s
		return nil
	}
	table, ok := v.(map[string]any)
	if !ok {
		return errors.New(`want a constraint such as "^1.2", or a table`)
	}
	for _, f := range fields {
		if v, ok := table[f.key]; ok {
			s, ok := v.(string)
			if !ok {
				return fmt.Errorf("%s is not a text", f.key)
			}
			*f.dst = &s
		}
	}
	return nil
}

// Parse reads a manifest. The error is an *Error.
func Parse(b []byte) (*Manifest, error) {
	var f file
	doc, err := toml.Decode(b, toml.MaxManifest, &f)
	if err != nil {
		return nil, wrap(err)
	}
	p := parser{doc: doc, m: new(Manifest)}
	p.pkg(&f.Package)
	p.bin(f.Bin)
	p.m.Dependencies = p.dependencies(Dependencies, f.Dependencies)
	p.m.DevDependencies = p.dependencies(DevDependencies, f.DevDependencies)
	p.m.OptionalDependencies = p.dependencies(OptionalDependencies, f.OptionalDependencies)
	p.overrides(f.Overrides)
	p.registries(f.Registries)
	p.policy(&f.Policy)
	p.across()
	if p.err != nil {
		return nil, p.err
	}
	return p.m, nil
}

func wrap(err error) error {
	e := &Error{Msg: err.Error(), err: err}
	var te *toml.Error
	if errors.As(err, &te) {
		e.Line, e.Msg = te.Line, te.Msg
	}
	return e
}

// parser turns the shape into a Manifest and keeps the fault that stands first
// in the file.
type parser struct {
	doc *toml.Doc
	m   *Manifest
	err *Error
}

// fail records a fault at a key.
func (p *parser) fail(cause error, help string, at []string, format string, args ...any) {
	e := &Error{p.doc.Line(at...), fmt.Sprintf(format, args...), help, cause}
	if p.err == nil || e.Line < p.err.Line {
		p.err = e
	}
}

func (p *parser) pkg(r *rawPackage) {
	out := &p.m.Package
	if r.Name != nil {
		n, err := name.Parse(*r.Name)
		if err != nil {
			p.fail(err, "", []string{"package", "name"}, "%v", err)
		}
		out.Name = n
	}
	if r.Version != nil {
		v, err := semver.Parse(*r.Version)
		if err != nil {
			p.fail(err, `write three numbers, as in version = "0.1.0"`, []string{"package", "version"}, "%v", err)
		}
		out.Version = v
	}
	p.text("description", r.Description, maxDescription)
	p.text("license", r.License, maxText)
	p.text("repository", r.Repository, maxText)
	p.text("homepage", r.Homepage, maxText)
	p.text("security", r.Security, maxText)
	for _, s := range r.Authors {
		p.text("authors", s, maxText)
	}
	for _, s := range r.Keywords {
		p.text("keywords", s, maxText)
	}
	p.globs("include", r.Include)
	p.globs("exclude", r.Exclude)
	out.Description, out.License, out.Authors = r.Description, r.License, r.Authors
	out.Repository, out.Homepage, out.Keywords = r.Repository, r.Homepage, r.Keywords
	out.Security, out.Include, out.Exclude = r.Security, r.Include, r.Exclude
}

// text refuses what would not fit on a line of a screen.
func (p *parser) text(key, s string, limit int) {
	at := []string{"package", key}
	if len(s) > limit {
		p.fail(nil, "", at, "%s has %d bytes, at most %d are allowed", key, len(s), limit)
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		p.fail(nil, "", at, "%s holds the control character %q", key, s[i])
	}
}

func (p *parser) globs(key string, globs []string) {
	for _, g := range globs {
		if _, err := compileGlob(g); err != nil {
			p.fail(err, "", []string{"package", key}, "%s: %q is not a pattern: %v", key, g, err)
		}
	}
}

func (p *parser) bin(bin map[string]string) {
	p.m.Bin = bin
	for _, cmd := range sorted(bin) {
		target := bin[cmd]
		if why := badCommand(cmd); why != "" {
			p.fail(nil, "", []string{"bin", cmd}, "command %q: %s", cmd, why)
		}
		if why := badTarget(target); why != "" {
			p.fail(nil, `write a path from the folder of pkg.toml, as in "bin/tool.js"`, []string{"bin", cmd},
				"command %s: path %q %s", cmd, target, why)
		}
	}
}

func badCommand(s string) string {
	if s == "" || len(s) > maxCommand {
		return fmt.Sprintf("a command has 1 to %d characters", maxCommand)
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune("._-", rune(c)) {
			return "only letters, digits, dot, _ and - are allowed"
		}
	}
	if s[0] == '.' || s[0] == '-' {
		return "a command begins with a letter, a digit or _"
	}
	return ""
}

func badTarget(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxPath:
		return fmt.Sprintf("has more than %d bytes", maxPath)
	case strings.ContainsRune(s, '\\'):
		return `holds a \; use /`
	case strings.ContainsFunc(s, unicode.IsControl):
		return "holds a control character"
	case path.IsAbs(s):
		return "is absolute"
	case s == "." || s == ".." || strings.HasPrefix(path.Clean(s), "../"):
		return "leaves the package"
	case path.Clean(s) != s:
		return fmt.Sprintf("is not the shortest form of %q", path.Clean(s))
	}
	return ""
}

func (p *parser) dependencies(table string, raw map[string]rawDep) map[name.Name]Dependency {
	if raw == nil {
		return nil
	}
	out := make(map[name.Name]Dependency, len(raw))
	for _, key := range sorted(raw) {
		at := []string{table, key}
		n, err := name.Parse(key)
		if err != nil {
			p.fail(err, "", at, "%v", err)
			continue
		}
		out[n] = p.dependency(n, raw[key], at)
	}
	return out
}

func (p *parser) dependency(n name.Name, r rawDep, at []string) Dependency {
	var d Dependency
	if r.Version != nil {
		d.Constraint = p.constraint(n, *r.Version, at)
	}
	if r.Registry != nil {
		if d.Registry = *r.Registry; !validPart(d.Registry) {
			p.fail(nil, "", at, "dependency %s: %q is not the name of a registry", n, d.Registry)
		}
	}
	if r.Author != nil {
		a, err := name.ParseAuthor(*r.Author)
		if err != nil {
			p.fail(err, "", at, "dependency %s: %v", n, err)
		}
		d.Author = a
	}
	if r.Path == nil {
		if r.Version == nil {
			p.fail(nil, `write version = "*" to accept any release`, at, "dependency %s has no version", n)
		}
		return d
	}
	d.Path = *r.Path
	switch {
	case d.Path == "" || len(d.Path) > maxPath || strings.ContainsFunc(d.Path, unicode.IsControl):
		p.fail(nil, "", at, "dependency %s: %q is not a path", n, d.Path)
	case r.Registry != nil || r.Author != nil:
		p.fail(nil, "", at, "dependency %s has a path, so it has neither registry nor author", n)
	}
	return d
}

func (p *parser) constraint(n name.Name, s string, at []string) semver.Constraint {
	c, err := semver.ParseConstraint(s)
	if err != nil {
		var ce *semver.ConstraintError
		help := ""
		if errors.As(err, &ce) && ce.Suggestion != "" {
			help = fmt.Sprintf("write %s", quote(ce.Suggestion))
		}
		p.fail(err, help, at, "%s: %v", n, err)
	}
	return c
}

func (p *parser) overrides(raw map[string]rawOverride) {
	if raw == nil {
		return
	}
	p.m.Overrides = make(map[name.Name]Override, len(raw))
	for _, key := range sorted(raw) {
		at := []string{"overrides", key}
		n, err := name.Parse(key)
		if err != nil {
			p.fail(err, "", at, "%v", err)
			continue
		}
		p.m.Overrides[n] = p.override(n, raw[key], at)
	}
}

func (p *parser) override(n name.Name, r rawOverride, at []string) Override {
	var o Override
	if r.Version == nil {
		p.fail(nil, `say which with version = "^1"`, at, "override %s has no version", n)
	} else {
		o.Constraint = p.constraint(n, *r.Version, at)
	}
	if r.Reason == nil {
		return o
	}
	o.Reason = *r.Reason
	if why := badReason(o.Reason); why != "" {
		p.fail(nil, `say it on one line, as in reason = "2.x breaks our build", or leave it out`, append(at, "reason"),
			"override %s: the reason %s", n, why)
	}
	return o
}

// badReason refuses what would not fit beside a package in a list.
func badReason(s string) string {
	i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) })
	switch {
	case strings.TrimSpace(s) == "":
		return "is empty"
	case len(s) > maxReason:
		return fmt.Sprintf("has %d bytes, at most %d are allowed", len(s), maxReason)
	case i >= 0 && strings.ContainsAny(s[i:], "\n\r\u2028\u2029"):
		return "has more than one line"
	case i >= 0:
		r, _ := utf8.DecodeRuneInString(s[i:])
		return fmt.Sprintf("holds the control character %q", r)
	}
	return ""
}

func (p *parser) registries(raw map[string]rawRegistry) {
	if raw == nil {
		return
	}
	p.m.Registries = make(map[string]Registry, len(raw))
	for _, key := range sorted(raw) {
		r := raw[key]
		if err := checkRegistry(key, Registry(r)); err != nil {
			p.fail(err, "", []string{"registries", key}, "%v", err)
		}
		p.m.Registries[key] = Registry(r)
	}
}

func checkRegistry(key string, r Registry) error {
	if !validPart(key) {
		return fmt.Errorf("%q is not the name of a registry: write a-z, 0-9 and -", key)
	}
	u, err := url.Parse(r.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("registry %s: url %q is not an http or https address", key, r.URL)
	}
	if u.User != nil {
		return fmt.Errorf("registry %s: url holds a user name", key)
	}
	if r.ID == "" {
		return nil
	}
	if _, err := block.Parse(r.ID); err != nil {
		return fmt.Errorf("registry %s: id: %w", key, err)
	}
	return nil
}

func (p *parser) policy(r *rawPolicy) {
	age, err := parseAge(r.MinAge)
	if err != nil {
		p.fail(err, `write it as in min-age = "3d" or "12h"`, []string{"policy", "min-age"}, "min-age: %v", err)
	}
	if r.RequireWitnesses < 0 || r.RequireWitnesses > 1000 {
		p.fail(nil, "", []string{"policy", "require-witnesses"}, "require-witnesses is %d", r.RequireWitnesses)
	}
	p.m.Policy = Policy{age, r.RequireWitnesses, r.DenyAdvisories}
}

// parseAge reads a Go duration, or a number of days or weeks ("3d", "2w").
func parseAge(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	const year = 365 * 24 * time.Hour
	d, err := time.ParseDuration(s)
	for unit, length := range map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour} {
		if num, ok := strings.CutSuffix(s, unit); ok {
			var n uint64
			n, err = strconv.ParseUint(num, 10, 16)
			d = time.Duration(n) * length
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a length of time", s)
	}
	if d < 0 || d > 10*year {
		return 0, fmt.Errorf("%q is not between 0 and ten years", s)
	}
	return d, nil
}

// across checks what concerns more than one table.
func (p *parser) across() {
	seen := make(map[name.Name]string)
	for _, table := range []string{Dependencies, DevDependencies, OptionalDependencies} {
		deps := p.m.Table(table)
		for _, n := range sorted(deps) {
			if first, ok := seen[n]; ok {
				p.fail(nil, "keep one of them", []string{table, string(n)},
					"dependency %s is in both [%s] and [%s]", n, first, table)
			}
			seen[n] = table
			if r := deps[n].Registry; r != "" && r != LocalRegistry {
				if _, ok := p.m.Registries[r]; !ok {
					p.fail(nil, fmt.Sprintf("add a table [registries.%s] with its url and id", r),
						[]string{table, string(n)}, "dependency %s: there is no [registries.%s]", n, r)
				}
			}
		}
	}
	if n := p.m.Package.Name; n != "" && seen[n] != "" {
		p.fail(nil, "", []string{seen[n], string(n)}, "%s depends on itself", n)
	}
}

// validPart reports whether s is one part of a name.
func validPart(s string) bool {
	n, err := name.Parse(s)
	return err == nil && n.Scope() == ""
}

func sorted[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
