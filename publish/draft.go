package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pkg/fetch/tree"
	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
)

const manifestLimit = 64 << 10 // bytes of pkg.toml; lockfile/manifest has the same limit

// Check reads and checks the package in dir: manifest, path rules, limits, root
// and the length of the entry. It needs neither key nor network and writes
// nothing.
func Check(ctx context.Context, dir string) (*Draft, error) {
	d, err := read(dir)
	if err != nil {
		return nil, err
	}
	if d.Summary, err = tree.Root(ctx, d.Files, tree.Default()); err != nil {
		return nil, fmt.Errorf("check %s: %w", dir, err)
	}
	if err := d.checkLength(); err != nil {
		return nil, fmt.Errorf("check %s: %w", dir, err)
	}
	return d, nil
}

// checkLength tries the entry with the ids of registries that are not known yet
// made up: all are of one length.
func (d *Draft) checkLength() error {
	ids := map[string]string{}
	for _, deps := range []map[name.Name]manifest.Dependency{d.Manifest.Dependencies, d.Manifest.OptionalDependencies} {
		for _, dep := range deps {
			ids[dep.Registry] = d.Summary.Root.String()
		}
	}
	r, err := d.release(Options{Registries: ids})
	if err != nil {
		return err
	}
	return fits(r)
}

// fits refuses a release that no entry can hold, wherever it will stand in the
// log: it is tried at the last place and signed with a key that means nothing.
func fits(r *author.Release) error {
	b := author.Body{Pkg: [32]byte{1}, I: author.MaxSize - 1, T: math.MaxUint32, Kind: author.KindRelease, Release: r}
	_, err := author.Sign(b, keys.FromSeed([32]byte{1}))
	if err == nil {
		return nil
	}
	if long, ok := errors.AsType[*keys.SizeError](err); ok {
		return fmt.Errorf("too many dependencies or too long texts: the entry has %d bytes, %d is the limit", long.Size, long.Limit)
	}
	return fmt.Errorf("no entry can say what the manifest says: %w", err)
}

// read reads the manifest and finds the files.
func read(dir string) (*Draft, error) {
	b, err := readLimited(filepath.Join(dir, manifest.File))
	if err != nil {
		return nil, err
	}
	m, err := manifest.Parse(b)
	if err != nil {
		return nil, err
	}
	if err := m.CheckPublishable(); err != nil {
		return nil, err
	}
	bins := make([]string, 0, len(m.Bin))
	for _, path := range m.Bin {
		bins = append(bins, path)
	}
	files, err := tree.Scan(dir, m.Packs, bins)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", dir, err)
	}
	if err := tree.Check(files, tree.Default()); err != nil {
		return nil, fmt.Errorf("check %s: %w", dir, err)
	}
	return &Draft{Manifest: m, Files: files}, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the manifest of the directory that is published
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, manifestLimit+1))
	return b, errors.Join(err, f.Close())
}

// release is what the manifest and the packed files say, as an entry says it.
func (d *Draft) release(o Options) (*author.Release, error) {
	p := d.Manifest.Package
	r := &author.Release{
		Version: p.Version.String(), Root: d.Summary.Root,
		Size: uint64(d.Summary.Size), Files: uint64(d.Summary.Files), //nolint:gosec // never negative
		Description: p.Description, License: p.License, Bin: d.Manifest.Bin,
	}
	for n, dep := range d.Manifest.Dependencies {
		if err := d.depend(o, r, n, dep, false); err != nil {
			return nil, err
		}
	}
	for n, dep := range d.Manifest.OptionalDependencies {
		if err := d.depend(o, r, n, dep, true); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(r.Deps, func(a, b author.Dependency) int {
		if c := strings.Compare(string(a.Name), string(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.Registry, b.Registry)
	})
	return r, nil
}

func (d *Draft) depend(o Options, r *author.Release, n name.Name, dep manifest.Dependency, optional bool) error {
	id := ""
	if dep.Registry != "" {
		if id = d.Manifest.Registries[dep.Registry].ID; id == "" {
			id = o.Registries[dep.Registry]
		}
		if id == "" {
			return fmt.Errorf("the id of the registry %q, which %s comes from, is not known: a release names registries by id", dep.Registry, n)
		}
		if o.Catalog != nil && id == o.Catalog.ID() {
			id = "" // the publisher's own
		}
	}
	r.Deps = append(r.Deps, author.Dependency{Registry: id, Name: n, Constraint: dep.Constraint.String(), Optional: optional})
	return nil
}

// packFile is the pack of a draft in a temporary file.
type packFile struct {
	path string
	sum  tree.Summary
}

// packTemp packs the files of d into a temporary file, and notes the summary.
func packTemp(ctx context.Context, dir string, d *Draft) (*packFile, error) {
	f, err := os.CreateTemp(dir, "pkg-pack-")
	if err != nil {
		return nil, err
	}
	sum, err := tree.Pack(ctx, d.Files, tree.Default(), f)
	if err == nil {
		var info os.FileInfo
		if info, err = f.Stat(); err == nil {
			sum.PackSize = info.Size()
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	d.Summary = sum
	return &packFile{f.Name(), sum}, nil
}

func (p *packFile) pack() Pack {
	return Pack{Root: p.sum.Root, Size: p.sum.PackSize, Open: func() (io.ReadCloser, error) { return os.Open(p.path) }}
}
