package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
)

// modules is the folder of a project that packages are linked into.
const modules = "pkg_modules"

// project is a folder with a pkg.toml, as it was when the command began.
type project struct {
	dir      string // absolute
	source   []byte // pkg.toml, byte for byte
	manifest *manifest.Manifest
	lock     *lockfile.Lock // empty if there is no pkg.lock
	locked   bool           // there is a pkg.lock
	lockText []byte         // pkg.lock, byte for byte
}

// project reads the project in e.Dir or the nearest folder above it.
func (e *Env) project() (*project, error) {
	start, err := e.Path(".")
	if err != nil {
		return nil, err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		_, err := os.Stat(filepath.Join(dir, manifest.File))
		switch {
		case err == nil:
			return e.openProject(dir)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("find project: %w", err)
		case filepath.Dir(dir) == dir:
			return nil, fail(exitAbsent, "pkg init", "no %s in %s or in a folder above it", manifest.File, start)
		}
	}
}

// openProject reads the project in dir.
func (e *Env) openProject(dir string) (*project, error) {
	p := &project{dir: dir, lock: &lockfile.Lock{}}
	var err error
	if p.source, p.manifest, err = e.readManifest(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, lockfile.File)
	b, err := os.ReadFile(path) //nolint:gosec // G304: the lock of the project the user named
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	} else if err != nil {
		return nil, fmt.Errorf("read lock: %w", err)
	}
	lock, err := lockfile.Parse(b)
	if err != nil {
		return nil, e.within(dir, err)
	}
	p.lock, p.locked, p.lockText = lock, true, b
	return p, nil
}

// readManifest reads the pkg.toml of dir.
func (e *Env) readManifest(dir string) ([]byte, *manifest.Manifest, error) {
	path := filepath.Join(dir, manifest.File)
	b, err := os.ReadFile(path) //nolint:gosec // G304: the manifest of the project the user named
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fail(exitAbsent, "pkg init", "no %s in %s", manifest.File, e.shown(dir))
	} else if err != nil {
		return nil, nil, fmt.Errorf("read manifest: %w", err)
	}
	m, err := manifest.Parse(b)
	if err != nil {
		return nil, nil, e.within(dir, err)
	}
	return b, m, nil
}

// within says which folder an error about its pkg.toml or pkg.lock is about, where that is another one than people are in.
func (e *Env) within(dir string, err error) error {
	if dir == e.Dir {
		return err
	}
	return fmt.Errorf("%s: %w", e.shown(dir), err)
}

// shown is a path as people know it: relative to where they are, if it is below.
func (e *Env) shown(path string) string {
	if rel, err := filepath.Rel(e.Dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// dependency is one line of a manifest's dependencies.
type dependency struct {
	manifest.Dependency
	name  name.Name
	table string
}

// tables are the tables of a manifest that hold dependencies.
const (
	tableDeps     = "dependencies"
	tableDev      = "dev-dependencies"
	tableOptional = "optional-dependencies"
)

// dependencies returns what a manifest depends on, by table and name.
func dependencies(m *manifest.Manifest) []dependency {
	var all []dependency
	add := func(table string, deps map[name.Name]manifest.Dependency) {
		for _, n := range sorted(deps) {
			all = append(all, dependency{deps[n], n, table})
		}
	}
	add(tableDeps, m.Dependencies)
	add(tableDev, m.DevDependencies)
	add(tableOptional, m.OptionalDependencies)
	return all
}

// sorted returns the keys of m in order.
func sorted[K ~string, V any](m map[K]V) []K {
	ks := make([]K, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

// keep returns the filter of packages to install: nil is all.
func (p *project) keep(l *lockfile.Lock, m *manifest.Manifest, prod bool) func(name.Name) bool {
	if !prod {
		return nil
	}
	wanted := lockfile.Prod(l, m)
	return func(n name.Name) bool { return wanted[n] }
}

// edit is a change of a project's files that has not happened yet. Both files lie complete beside the old ones, so that
// what can fail has failed before anything changes.
type edit struct{ manifest, lock staged }

// stage prepares new contents of pkg.toml and pkg.lock. Nil leaves a file as it is.
func (p *project) stage(source, lock []byte) (edit, error) {
	var ed edit
	var err error
	if source != nil && string(source) != string(p.source) {
		path := behind(filepath.Join(p.dir, manifest.File))
		if ed.manifest, err = stage(path, source, modeOf(path)); err != nil {
			return edit{}, err
		}
	}
	if lock != nil && (!p.locked || string(lock) != string(p.lockText)) {
		path := behind(filepath.Join(p.dir, lockfile.File))
		if ed.lock, err = stage(path, lock, modeOf(path)); err != nil {
			ed.discard()
			return edit{}, err
		}
	}
	return ed, nil
}

// commit writes pkg.toml, then pkg.lock. A crash between them leaves a lock that does not match, which the next install
// mends.
func (ed edit) commit() error {
	if err := ed.manifest.commit(); err != nil {
		return err
	}
	return ed.lock.commit()
}

func (ed edit) discard() {
	ed.manifest.discard()
	ed.lock.discard()
}

// behind is the file that a path leads to: a symlink stays, and what it leads to is written.
func behind(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// modeOf keeps the permissions a file has.
func modeOf(path string) fs.FileMode {
	if info, err := os.Stat(path); err == nil {
		return info.Mode().Perm()
	}
	return 0o644
}
