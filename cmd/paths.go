package cmd

import (
	"context"
	"fmt"
	"path"
	"path/filepath"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/resolve"
)

// readPaths reads the manifests of path dependencies, and of theirs.
func (s *sync) readPaths(ctx context.Context) error {
	s.paths = make(map[name.Name]resolve.Release)
	type todo struct {
		dependency
		base string // folder that the path is relative to, itself relative to the project
	}
	var queue []todo
	for _, d := range dependencies(s.manifest) {
		if d.Path != "" {
			queue = append(queue, todo{d, "."})
		}
	}
	for len(queue) > 0 {
		d := queue[0]
		queue = queue[1:]
		rel := path.Join(d.base, d.Path)
		if have, ok := s.paths[d.name]; ok {
			if have.Path != rel {
				return fmt.Errorf("%s is at two paths, %s and %s", d.name, have.Path, rel)
			}
			continue
		}
		_, m, err := s.env.readManifest(filepath.Join(s.project.dir, filepath.FromSlash(rel)))
		if err != nil {
			return fmt.Errorf("dependency %s: %w", d.name, err)
		}
		if m.Package.Name != d.name {
			return fail(exitFailed, "pkg remove "+d.name.String(), "the package in %s is called %s, not %s", rel, m.Package.Name, d.name)
		}
		release := resolve.Release{Version: m.Package.Version, Path: rel}
		for _, dd := range dependencies(m) {
			if dd.table == tableDev {
				continue
			}
			dep, err := s.dep(ctx, dd, d.name.String())
			if err != nil {
				return err
			}
			if dd.Path != "" {
				dep.Path = path.Join(rel, dd.Path)
				queue = append(queue, todo{dd, rel})
			}
			release.Deps = append(release.Deps, dep)
		}
		s.paths[d.name] = release
	}
	return nil
}

// pathDrift says in what the lock does not match the manifests of path dependencies.
func (s *sync) pathDrift() ([]lockfile.Drift, error) {
	declared, err := s.declaredPaths()
	if err != nil {
		return nil, err
	}
	var drift []lockfile.Drift
	for _, p := range s.project.lock.Packages {
		if p.Path == "" {
			continue
		}
		if declared[p.Name] != p.Path {
			drift = append(drift, lockfile.Drift{Name: p.Name, Why: "is the folder " + p.Path + ", which no manifest names"})
			continue
		}
		_, m, err := s.env.readManifest(filepath.Join(s.project.dir, filepath.FromSlash(p.Path)))
		if err != nil {
			return nil, fmt.Errorf("dependency %s: %w", p.Name, err)
		}
		if why := s.pathWhy(p, m); why != "" {
			drift = append(drift, lockfile.Drift{Name: p.Name, Why: why})
		}
	}
	return drift, nil
}

// declaredPaths returns the folders that the manifest and those of path dependencies name, so that a lock alone can bring no
// folder in.
func (s *sync) declaredPaths() (map[name.Name]string, error) {
	declared := make(map[name.Name]string)
	queue := []string{"."}
	for at := 0; at < len(queue); at++ {
		rel, m := queue[at], s.manifest
		if at > 0 {
			var err error
			if _, m, err = s.env.readManifest(filepath.Join(s.project.dir, filepath.FromSlash(rel))); err != nil {
				return nil, fmt.Errorf("path dependency %s: %w", rel, err)
			}
		}
		for _, d := range dependencies(m) {
			if d.Path == "" || at > 0 && d.table == tableDev {
				continue
			}
			if _, ok := declared[d.name]; !ok {
				declared[d.name] = path.Join(rel, d.Path)
				queue = append(queue, declared[d.name])
			}
		}
	}
	return declared, nil
}

// pathWhy says why a row of a path dependency does not match its manifest, or nothing.
func (s *sync) pathWhy(p lockfile.Package, m *manifest.Manifest) string {
	if m.Package.Version.String() != p.Version.String() {
		return fmt.Sprintf("is locked at %s, but %s is in %s", p.Version, m.Package.Version, p.Path)
	}
	edges := make(map[name.Name]bool)
	for _, e := range p.Dependencies {
		_, n := p.Edge(e)
		edges[n] = true
	}
	wanted := 0
	for _, d := range dependencies(m) {
		if d.table == tableDev {
			continue
		}
		row, ok := s.project.lock.Get(d.name)
		_, overridden := s.manifest.Overrides[d.name] // lockfile.Satisfies holds the row against that
		switch {
		case d.table == tableOptional && !ok:
			continue
		case !ok || !edges[d.name]:
			return fmt.Sprintf("needs %s, which is not locked for it", d.name)
		case d.Path == "" && !row.Version.IsZero() && !overridden && !d.Constraint.CheckLocked(row.Version):
			return fmt.Sprintf("needs %s %s, but %s is locked", d.name, d.Constraint, row.Version)
		}
		wanted++
	}
	if wanted != len(edges) {
		return "has other dependencies now"
	}
	return ""
}
