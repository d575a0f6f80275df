package cmd

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"pkg/lockfile/block"
	"pkg/lockfile/manifest"
)

// adopt writes the registry of add's --registry into a manifest and returns the name it has there, "" for the default one.
// It becomes the default where no dependency came from another default. What pkg.toml says already stays as it is.
func (r *registries) adopt(ctx context.Context, src []byte, flag registryRef) (string, []byte, error) {
	if _, ok := r.entry(flag.URL); ok || flag.URL == manifest.LocalRegistry || flag.URL == defaultRegistry {
		n, err := r.adoptName(ctx, flag)
		return n, src, err
	}
	u, err := registryURL(flag.URL)
	if err != nil {
		if !strings.Contains(flag.URL, "://") {
			_, err = r.place(flag.URL)
		}
		return "", nil, err
	}
	if flag.ID != "" {
		if _, err := block.Parse(flag.ID); err != nil {
			return "", nil, usagef("--registry-id is the id that pkg registry init printed, not %q", flag.ID)
		}
	}
	n := r.tableAt(u)
	p := place{url: u, id: flag.ID}
	if n != "" && p.id == "" {
		p.id = r.project.manifest.Registries[n].ID
	}
	o, err := r.open(defaultRegistry, p)
	if err != nil {
		return "", nil, err
	}
	if err := r.refresh(ctx, o); err != nil {
		return "", nil, err
	}
	regs := r.project.manifest.Registries
	for _, t := range sorted(regs) {
		if n == "" && regs[t].ID == o.ID() {
			n = t // the same at another address
		}
	}
	switch {
	case n == "":
		n = r.freeName(o)
		src, err = manifest.SetRegistry(src, n, manifest.Registry{URL: o.url, ID: o.ID()})
	case regs[n].ID == "":
		src, err = manifest.SetRegistry(src, n, manifest.Registry{URL: regs[n].URL, ID: o.ID()})
	case regs[n].ID != o.ID():
		err = fail(exitTrust, "pkg registry status", "the registry at %s is %s, but %s in %s", o.url, o.ID(), regs[n].ID, manifest.File)
	}
	o.name = n
	r.opened[n] = o
	if n == defaultRegistry {
		return "", src, err
	}
	return n, src, err
}

// adoptName is adopt for a registry that has a name.
func (r *registries) adoptName(ctx context.Context, flag registryRef) (string, error) {
	o, err := r.named(flag.URL)
	if err != nil {
		return "", err
	}
	if flag.ID != "" {
		if err := r.refresh(ctx, o); err != nil {
			return "", err
		}
		if o.ID() != flag.ID {
			return "", fail(exitTrust, "pkg registry status", "%s is %s, not %s", o, orNone(o.ID()), flag.ID)
		}
	}
	if d, err := r.named(""); err == nil && d == o {
		return "", nil
	}
	return flag.URL, nil
}

// tableAt is the name that pkg.toml gives the registry at a URL, or "".
func (r *registries) tableAt(u string) string {
	regs := r.project.manifest.Registries
	for _, n := range sorted(regs) {
		if at, err := registryURL(regs[n].URL); err == nil && at == u {
			return n
		}
	}
	return ""
}

// freeName is the name under which a manifest gets a new registry: "default" if nothing else is that, else its host.
func (r *registries) freeName(o *opened) string {
	m := r.project.manifest
	_, taken := m.Registries[defaultRegistry]
	used := slices.ContainsFunc(dependencies(m), func(d dependency) bool { return d.Registry == "" && d.Path == "" })
	if row, ok := r.locked(defaultRegistry); ok && row.ID == o.ID() {
		used = false // they come from this very registry
	}
	if u, err := registryURL(r.ref.URL); err == nil && u != o.url {
		used = true // PKG_REGISTRY names another default
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
