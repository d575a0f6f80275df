package cmd

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"pkg/lockfile/manifest"
)

// adopt writes the registry of --registry into a manifest and returns the name it has there, "" for the default one. It
// becomes the default where no dependency came from another default.
func (r *registries) adopt(ctx context.Context, src []byte, flag string) (string, []byte, error) {
	if _, ok := r.entry(flag); ok { // a name
		if flag == defaultRegistry {
			return "", src, nil
		}
		return flag, src, nil
	}
	o, err := r.named("")
	if err != nil {
		return "", nil, err
	}
	if err := r.refresh(ctx, o); err != nil {
		return "", nil, err
	}
	entry := manifest.Registry{URL: o.url, ID: o.ID()}
	regs := r.project.manifest.Registries
	for _, n := range sorted(regs) {
		if u, err := registryURL(regs[n].URL); err == nil && u == o.url {
			if regs[n].ID != "" && regs[n].ID != entry.ID {
				return "", nil, fail(exitTrust, "pkg registry status", "the registry at %s is %s, but %s in %s", o.url, entry.ID, regs[n].ID, manifest.File)
			}
			src, err = manifest.SetRegistry(src, n, manifest.Registry{URL: regs[n].URL, ID: entry.ID})
			return strings.TrimPrefix(n, defaultRegistry), src, r.undefault(n, o, err)
		}
	}
	n := r.freeName(o)
	src, err = manifest.SetRegistry(src, n, entry)
	if err == nil && n == defaultRegistry {
		return "", src, nil
	}
	return n, src, r.undefault(n, o, err)
}

// undefault makes the registry of --registry the one called n, and the default what it was.
func (r *registries) undefault(n string, o *opened, err error) error {
	if err != nil || n == defaultRegistry {
		return err
	}
	p, err := registryURL(o.url)
	if err != nil {
		return err
	}
	r.ref = registryRef{}
	delete(r.opened, defaultRegistry)
	_, err = r.remember(n, place{p, o.ID()})
	return err
}

// freeName is the name under which a manifest gets a new registry: "default" if nothing else is that, else its host.
func (r *registries) freeName(o *opened) string {
	m := r.project.manifest
	_, taken := m.Registries[defaultRegistry]
	used := slices.ContainsFunc(dependencies(m), func(d dependency) bool { return d.Registry == "" && d.Path == "" })
	if row, ok := r.locked(defaultRegistry); ok && row.ID == o.ID() {
		used = false // they come from this very registry
	}
	if !taken && !used {
		return defaultRegistry
	}
	host := "registry"
	if u, err := url.Parse(o.url); err == nil {
		host = strings.Trim(strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, strings.ToLower(u.Host)), "-")
	}
	n := host
	for i := 2; ; i++ {
		if _, taken := m.Registries[n]; !taken {
			return n
		}
		n = fmt.Sprintf("%s-%d", host, i)
	}
}
