package cmd

import (
	"context"
	"net/url"
	"strings"

	"pkg/lockfile"
	"pkg/lockfile/block"
	"pkg/lockfile/manifest"
)

// place is where a registry is, and which one it must be.
type place struct {
	url string // empty for the embedded one
	id  string // empty if nobody says
}

// place finds the registry a manifest calls name; "" is the default one.
func (r *registries) place(name string) (place, error) {
	var p place
	word := name
	if name == defaultRegistry && r.ref.URL != "" {
		word = r.ref.URL
	}
	entry, known := r.entry(word)
	switch {
	case known:
		p = place{entry.URL, entry.ID}
	case word == manifest.LocalRegistry || word == defaultRegistry:
	case strings.Contains(word, "://"):
		p.url = word
	default:
		return place{}, fail(exitUsage, "pkg add NAME --registry URL", "no registry is called %s: there is no [registries.%s] in %s", word, word, manifest.File)
	}
	if name == defaultRegistry && r.ref.ID != "" {
		if _, err := block.Parse(r.ref.ID); err != nil {
			return place{}, usagef("--registry-id is the id that pkg registry init printed, not %q", r.ref.ID)
		}
		p.id = r.ref.ID
	}
	if p.url == "" {
		return p, nil
	}
	if row, ok := r.locked(name); ok && p.id == "" && !r.elsewhere(name) {
		p.id = row.ID
	}
	var err error
	p.url, err = registryURL(p.url)
	return p, err
}

// elsewhere reports whether the command line puts the registry a manifest calls name at another URL than the manifest:
// then the lock need not be about that one.
func (r *registries) elsewhere(name string) bool {
	e, ok := r.entry(name)
	return ok && name == defaultRegistry && r.ref.URL != "" && r.ref.URL != name && strings.TrimSuffix(e.URL, "/") != strings.TrimSuffix(r.ref.URL, "/")
}

// bind makes [registries.default] of pkg.toml, where there is one, the default registry of a command on the project: then
// --registry and PKG_REGISTRY may only give another address of the same registry. With ask set, who answers there is asked
// for its id where nobody knows it; else what comes from there is held against the id of pkg.toml.
func (r *registries) bind(ctx context.Context, ask bool) error {
	if r.project == nil || r.ref == (registryRef{}) {
		return nil
	}
	if _, ok := r.project.manifest.Registries[defaultRegistry]; !ok {
		return nil
	}
	ref := r.ref
	there, err := r.place(defaultRegistry)
	if err != nil {
		return err
	}
	r.ref = registryRef{}
	ours, err := r.place(defaultRegistry)
	if err != nil {
		return err
	}
	if there.url == ours.url && (ref.ID == "" || ours.id == "" || ref.ID == ours.id) {
		r.ref.ID = ref.ID
		return nil
	}
	if ours.id, err = r.idAt(ctx, ours, ask); err != nil {
		return err
	}
	if there.id, err = r.idAt(ctx, there, ask); err != nil {
		return err
	}
	if there.id != ours.id && (there.id != "" || there.url == "") {
		return fail(exitTrust, "pkg registry status", "[registries.%s] of %s is the registry %s, but %s is %s",
			defaultRegistry, manifest.File, ours.id, refText(ref), orNone(there.id))
	}
	r.ref = registryRef{URL: ref.URL, ID: ours.id}
	return nil
}

// refText is a registry as the command line or the environment names it.
func refText(ref registryRef) string {
	if ref.URL == "" {
		return "--registry-id"
	}
	return "the one named by --registry or PKG_REGISTRY, " + ref.URL + ","
}

// orNone is an id, or the word for there being none.
func orNone(id string) string {
	if id == "" {
		return "empty"
	}
	return id
}

// idAt is the id of the registry at a place, empty if nobody knows it.
func (r *registries) idAt(ctx context.Context, p place, ask bool) (string, error) {
	switch {
	case p.id != "":
		return p.id, nil
	case p.url == "":
		return embeddedID(r.homes.Registry), nil
	}
	o, err := r.open(p.url, p)
	if err != nil {
		return "", err
	}
	if o.ID() == "" && ask && !r.offline {
		if _, _, err := o.Refresh(ctx); err != nil {
			return "", err
		}
	}
	return o.ID(), nil
}

// entry is what pkg.toml, else config.toml, says of a registry.
func (r *registries) entry(name string) (manifest.Registry, bool) {
	if r.project != nil {
		if e, ok := r.project.manifest.Registries[name]; ok {
			return e, true
		}
	}
	e, ok := r.config[name]
	return e, ok
}

// locked is what pkg.lock says of a registry.
func (r *registries) locked(name string) (lockfile.Registry, bool) {
	if r.project != nil {
		for _, row := range r.project.lock.Registries {
			if row.Name == name {
				return row, true
			}
		}
	}
	return lockfile.Registry{}, false
}

// registryURL is a registry's URL, checked and in its shortest form.
func registryURL(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", usagef("a registry is a URL like https://pkg.example.org, or a name of [registries], not %q", s)
	}
	return u.JoinPath("/").String(), nil
}
