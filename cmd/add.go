package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

func (e *Env) addCommand() *cli.Command {
	return &cli.Command{
		Name: "add", Category: onProject, Usage: "add dependencies to pkg.toml and install them", ArgsUsage: "NAME[@CONSTRAINT]...",
		Description: `Without a constraint the newest version that fits is taken and ^VERSION written. The author's key is shown when it is
trusted for the first time, and pinned in pkg.lock. --registry writes the registry into pkg.toml, so that everybody who
has the project finds it.`,
		Flags: append(append(registryFlags(), syncFlags()...),
			&cli.BoolFlag{Name: "dev", Usage: "needed only to work on this project"},
			&cli.BoolFlag{Name: "optional", Usage: "used only if something else brings it"},
			&cli.StringFlag{Name: "path", Usage: "depend on the package in the folder `DIR`"}),
		Action: func(c *cli.Context) error {
			least, most := 1, -1
			if c.String("path") != "" {
				least, most = 0, 1
			}
			args, err := operands(c, least, most)
			if err != nil {
				return err
			}
			o, err := e.addOptions(c)
			if err != nil {
				return err
			}
			if o.wants, err = parseWants(args); err != nil {
				return err
			}
			o.Given = given{wants: o.wants, flags: addFlags(c), table: o.table}
			ref := e.registryRef(c)
			if c.String("registry") != "" { // it is for the operands: the others come from where they came
				o.flag, ref = ref, e.registryEnv()
			}
			return e.change(c.Context, ref, o.Offline, func(ctx context.Context, r *registries) (*outcome, error) {
				if err := r.bind(ctx, true); err != nil {
					return nil, err
				}
				return e.add(ctx, r, o)
			})
		},
	}
}

type addOptions struct {
	syncOptions
	table string
	path  string      // absolute folder of a path dependency, or empty
	flag  registryRef // --registry as given, or empty
	wants []want
}

// want is one operand of add.
type want struct {
	name       name.Name
	constraint string // empty: choose
}

func (e *Env) addOptions(c *cli.Context) (addOptions, error) {
	so, err := e.syncOptions(c)
	if err != nil {
		return addOptions{}, err
	}
	o := addOptions{syncOptions: so, table: tableDeps}
	switch {
	case c.Bool("dev") && c.Bool("optional"):
		return o, usagef("a dependency is --dev or --optional, not both")
	case c.Bool("dev"):
		o.table = tableDev
	case c.Bool("optional"):
		o.table = tableOptional
	}
	if p := c.String("path"); p != "" {
		if c.String("registry") != "" {
			return o, usagef("a dependency comes from --path or from --registry, not both")
		}
		o.path, err = e.Path(p)
	}
	return o, err
}

// addFlags is what a command line says of what is added, each flag followed by a space.
func addFlags(c *cli.Context) string {
	var b strings.Builder
	for _, f := range []string{"dev", "optional", "offline"} {
		if c.Bool(f) {
			b.WriteString("--" + f + " ")
		}
	}
	for _, f := range []string{"registry", "registry-id", "resolution"} {
		if v := c.String(f); v != "" && c.IsSet(f) {
			b.WriteString("--" + f + " " + quoted(v) + " ")
		}
	}
	return b.String()
}

// parseWants reads operands like "left-pad", "left-pad@^1.2" and "scope/name@1.0.0".
func parseWants(args []string) ([]want, error) {
	var wants []want
	for _, a := range args {
		text, constraint, versioned := a, "", false
		if i := strings.LastIndexByte(a, '@'); i > 0 {
			text, constraint, versioned = a[:i], a[i+1:], true
		}
		n, err := name.Parse(text)
		if err != nil {
			return nil, nameHelp("add", err)
		}
		if versioned {
			if _, err := semver.ParseConstraint(constraint); err != nil {
				return nil, constraintHelp(n, err)
			}
		}
		if slices.ContainsFunc(wants, func(w want) bool { return w.name == n }) {
			return nil, usagef("%s is given twice", n)
		}
		wants = append(wants, want{n, constraint})
	}
	return wants, nil
}

// nameHelp is the error of a word that is no name.
func nameHelp(command string, err error) error {
	if bad, ok := errors.AsType[*name.Error](err); ok && bad.Suggestion != "" {
		return fail(exitUsage, "pkg "+command+" "+bad.Suggestion, "%w", err)
	}
	return fail(exitUsage, "pkg "+command+" --help", "%w", err)
}

// constraintHelp is the error of a word that is no constraint.
func constraintHelp(n name.Name, err error) error {
	if bad, ok := errors.AsType[*semver.ConstraintError](err); ok && bad.Suggestion != "" {
		return fail(exitUsage, fmt.Sprintf("pkg add '%s@%s'", n, bad.Suggestion), "%w", err)
	}
	return fail(exitUsage, "pkg add "+n.String(), "%w", err)
}

// add writes dependencies into pkg.toml and installs.
func (e *Env) add(ctx context.Context, r *registries, o addOptions) (*outcome, error) {
	src := r.project.source
	var err error
	if o.path != "" {
		if src, err = e.addPath(r.project, o); err != nil {
			return nil, err
		}
		return e.sync(ctx, r, o.syncOptions, src)
	}
	regName := ""
	if o.flag.URL != "" {
		if regName, src, err = r.adopt(ctx, src, o.flag); err != nil {
			return nil, err
		}
	}
	if err := r.lost(r.project.manifest); err != nil {
		return nil, err
	}
	open := make(map[name.Name]bool) // constraints to be chosen
	for _, w := range o.wants {
		if w.name == r.project.manifest.Package.Name {
			return nil, usagef("%s is this project: a package cannot depend on itself", w.name)
		}
		d := manifest.Dependency{Registry: regName}
		if old, ok := declared(r.project.manifest, w.name); ok {
			d.Author = old.Author
			if o.flag.URL == "" && old.Path == "" {
				d.Registry = old.Registry
			}
		}
		text := w.constraint
		if o.table == tableOptional { // the resolver need not look at it
			newest, err := r.newest(ctx, w.name, d.Registry)
			if err != nil {
				return nil, err
			}
			if text == "" {
				text = "^" + newest
			}
		}
		if text == "" {
			open[w.name] = true
			if text, err = r.widest(ctx, w.name, d.Registry); err != nil {
				return nil, err
			}
		}
		if d.Constraint, err = semver.ParseConstraint(text); err != nil {
			return nil, constraintHelp(w.name, err)
		}
		if src, err = setDependency(src, o.table, w.name, d); err != nil {
			return nil, err
		}
	}
	return e.addResolved(ctx, r, o, src, open)
}

// addResolved resolves src, narrows the open constraints to what was found, and installs.
func (e *Env) addResolved(ctx context.Context, r *registries, o addOptions, src []byte, open map[name.Name]bool) (*outcome, error) {
	m, err := manifest.Parse(src)
	if err != nil {
		return nil, err
	}
	so := o.syncOptions
	so.Source, so.Manifest, so.Free = src, m, open
	s := newSync(r, so)
	lock, err := s.resolve(ctx)
	if err != nil {
		return nil, err
	}
	for n := range open {
		row, ok := lock.Get(n)
		if !ok { // optional, and nothing else brings it
			continue
		}
		d, _ := declared(m, n)
		if d.Constraint, err = semver.ParseConstraint(semver.Caret(row.Version).String()); err != nil {
			return nil, err
		}
		if src, err = manifest.SetDependency(src, o.table, n, d); err != nil {
			return nil, err
		}
	}
	if s.o.Source = src; len(open) > 0 {
		if s.manifest, err = manifest.Parse(src); err != nil {
			return nil, err
		}
	}
	return s.apply(ctx, lock)
}

// sync installs what the new manifest src says.
func (e *Env) sync(ctx context.Context, r *registries, o syncOptions, src []byte) (*outcome, error) {
	m, err := manifest.Parse(src)
	if err != nil {
		return nil, err
	}
	o.Source, o.Manifest = src, m
	s := newSync(r, o)
	lock, err := s.resolve(ctx)
	if err != nil {
		return nil, err
	}
	return s.apply(ctx, lock)
}

// setDependency writes a dependency into one table and takes it out of the others.
func setDependency(src []byte, table string, n name.Name, d manifest.Dependency) ([]byte, error) {
	m, err := manifest.Parse(src)
	if err != nil {
		return nil, err
	}
	for _, old := range dependencies(m) {
		if old.name == n && old.table != table {
			if src, _, err = manifest.RemoveDependency(src, n); err != nil {
				return nil, err
			}
		}
	}
	return manifest.SetDependency(src, table, n, d)
}

// declared is what a manifest says of a dependency, in whichever table.
func declared(m *manifest.Manifest, n name.Name) (manifest.Dependency, bool) {
	for _, d := range dependencies(m) {
		if d.name == n {
			return d.Dependency, true
		}
	}
	return manifest.Dependency{}, false
}

// addPath writes a dependency on a folder.
func (e *Env) addPath(p *project, o addOptions) ([]byte, error) {
	_, m, err := e.readManifest(o.path)
	if err != nil {
		return nil, err
	}
	n := m.Package.Name
	switch {
	case n == "":
		return nil, fail(exitFailed, "pkg init -C "+e.shown(o.path), "the package in %s has no name", e.shown(o.path))
	case n == p.manifest.Package.Name:
		return nil, usagef("%s is this project: a package cannot depend on itself", n)
	case len(o.wants) == 1 && o.wants[0].name != n:
		return nil, fail(exitUsage, fmt.Sprintf("pkg add %s --path %s", n, e.shown(o.path)), "the package in %s is called %s, not %s", e.shown(o.path), n, o.wants[0].name)
	case len(o.wants) == 1 && o.wants[0].constraint != "":
		return nil, usagef("a path dependency has no constraint: what is in the folder is used")
	}
	rel, err := filepath.Rel(p.dir, o.path)
	if err != nil {
		return nil, fmt.Errorf("add %s: %w", n, err)
	}
	return setDependency(p.source, o.table, n, manifest.Dependency{Path: filepath.ToSlash(rel)})
}

// widest is the constraint that a package without one is resolved with: every version, or its newest pre-release where
// there is nothing else.
func (r *registries) widest(ctx context.Context, n name.Name, regName string) (string, error) {
	o, err := r.named(regName)
	if err != nil {
		return "", err
	}
	if o.empty {
		return "*", nil // the resolver's error says it all
	}
	if err := r.refresh(ctx, o); err != nil {
		return "", err
	}
	p, err := o.Package(ctx, n)
	if _, absent := errors.AsType[*resolve.NotFoundError](err); absent {
		return "*", nil
	} else if err != nil {
		return "", err
	}
	newest := ""
	for _, rel := range p.Releases {
		if rel.Yanked != "" {
			continue
		}
		if !rel.Version.IsPrerelease() {
			return "*", nil
		}
		newest = rel.Version.String()
	}
	if newest == "" {
		return "*", nil
	}
	return "^" + newest, nil
}

// newest is the highest version of a package that a project can choose, a pre-release only where there is nothing else.
func (r *registries) newest(ctx context.Context, n name.Name, regName string) (string, error) {
	s := newSync(r, syncOptions{})
	dep, err := s.dep(ctx, dependency{manifest.Dependency{Registry: regName}, n, tableOptional}, manifest.File)
	if err != nil {
		return "", err
	}
	constraint, err := r.widest(ctx, n, regName)
	if err != nil {
		return "", err
	}
	if dep.Constraint, err = semver.ParseConstraint(constraint); err != nil {
		return "", err
	}
	dep.Optional = false
	o, err := r.named(regName)
	if err != nil {
		return "", err
	}
	p, err := o.Package(ctx, n)
	if err != nil {
		return "", s.explain(ctx, err)
	}
	now := r.env.Now()
	for _, rel := range slices.Backward(p.Releases) {
		young := time.Unix(rel.T, 0).After(now.Add(-s.manifest.Policy.MinAge)) && s.manifest.Policy.MinAge > 0
		if rel.Yanked == "" && rel.Broken == "" && !young && dep.Constraint.Check(rel.Version) {
			return rel.Version.String(), nil
		}
	}
	return "", fail(exitAbsent, "pkg info "+n.String(), "no version of %s can be chosen: what there is was yanked, is broken or too young", n)
}
