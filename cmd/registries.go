package cmd

import (
	"context"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/keys/namespace"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/publish/registry"
	"pkg/resolve/catalog"
)

// defaultRegistry is the name of the registry that dependencies come from which name none.
const defaultRegistry = "default"

// registries knows which registry serves what, for one run of one command, and opens each once.
//
// The default registry is the one of --registry or PKG_REGISTRY, else [registries.default] of pkg.toml, else of
// config.toml, else the embedded one in the user's data folder. Its id is the one of --registry-id, else of the same table
// as the URL, else of pkg.lock, else the one first seen at that URL. For a command on the project [registries.default]
// decides which registry it is, and the others only where to find it: see bind.
type registries struct {
	env     *Env
	homes   Homes
	state   *catalog.Disk
	project *project // or nil
	config  map[string]manifest.Registry
	ref     registryRef
	offline bool
	opened  map[string]*opened // by name
	fresh   map[*opened]bool   // asked for its head in this run
	again   bool               // prove also what was proved before
}

// opened is one registry, ready to be asked.
type opened struct {
	*catalog.Registry
	name  string
	url   string // empty for the embedded one
	dir   string // of the embedded one
	empty bool   // the embedded one, which does not exist yet
}

// local reports whether this is the embedded registry of this machine.
func (o *opened) local() bool { return o.url == "" }

// String is the registry as people know it.
func (o *opened) String() string {
	if o.local() {
		return "the local registry " + o.dir
	}
	return "registry " + o.url
}

// registries returns what the command knows of registries, which are not asked if offline is set or the mode says so. The
// project may be nil.
func (e *Env) registries(p *project, ref registryRef, offline bool) (*registries, error) {
	homes, err := e.Homes()
	if err != nil {
		return nil, err
	}
	r := &registries{
		env: e, homes: homes, state: catalog.NewDisk(homes.State), project: p, ref: ref,
		opened: make(map[string]*opened), fresh: make(map[*opened]bool),
	}
	c, err := e.config()
	if err != nil {
		return nil, err
	}
	r.config = c.Registries
	r.offline = offline || e.askedMode() == modeOffline
	return r, nil
}

// named opens the registry a manifest calls name; "" is the default one.
func (r *registries) named(name string) (*opened, error) {
	if name == "" {
		name = defaultRegistry
	}
	if o, ok := r.opened[name]; ok {
		return o, nil
	}
	p, err := r.place(name)
	if err != nil {
		return nil, err
	}
	as := name
	if p.url == "" {
		as = manifest.LocalRegistry
	}
	o, ok := r.opened[as]
	if !ok {
		if o, err = r.remember(as, p); err != nil {
			return nil, err
		}
	}
	r.opened[name] = o
	return o, nil
}

// open opens the registry at a place.
func (r *registries) open(name string, p place) (*opened, error) {
	o := &opened{name: name, url: p.url}
	cfg := catalog.Config{
		Name: name, ID: p.id, URL: p.url, Offline: r.offline, Heads: r.state.Heads(), Memory: r.state,
		Now: r.env.Now, Evidence: r.state.Evidence,
	}
	if r.again {
		cfg.Memory = doubting{r.state}
	}
	if p.url == "" {
		o.dir = r.homes.Registry
		o.empty = !exists(filepath.Join(registry.Public(o.dir), "head"))
		cfg.URL, cfg.Local, cfg.Offline = o.dir, true, false // a folder is always at hand
		if cfg.ID == "" {
			cfg.ID = embeddedID(o.dir)
		}
		cfg.Source = catalog.NewDir(registry.Public(o.dir))
	} else {
		src, err := catalog.NewHTTP(p.url, r.env.agent(), r.env.client().Transport)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", name, err)
		}
		cfg.Source = src
	}
	var err error
	if o.Registry, err = catalog.Open(cfg); err != nil {
		return nil, fmt.Errorf("open %s: %w", o, err)
	}
	return o, nil
}

// row opens the registry a lock row comes from, by its id: never another one of the same name.
func (r *registries) row(row lockfile.Registry) (*opened, error) {
	var known *opened
	for _, name := range sorted(r.opened) {
		if o := r.opened[name]; o.ID() == row.ID && (known == nil || r.fresh[o]) { // rather one that answered
			known = o
		}
	}
	if known != nil {
		return known, nil
	}
	o, err := r.named(row.Name)
	switch {
	case err == nil && o.ID() == row.ID:
		return o, nil
	case row.Local && r.ref.URL != "": // somebody serves it
		p, err := r.place(defaultRegistry)
		if err != nil {
			return nil, err
		}
		if p.url != "" {
			return r.remember(row.Name, place{p.url, row.ID})
		}
		fallthrough
	case row.Local:
		return nil, fail(exitAbsent, "pkg registry serve",
			"%s comes from the local registry of another machine (%s): serve it there, and name its URL here with --registry", lockfile.File, row.ID)
	case err == nil && !o.local() && o.ID() == "": // a URL that nobody has told the id of: it must be this one
		return r.remember(row.Name, place{o.url, row.ID})
	case err != nil || o.local():
		return nil, fail(exitAbsent, "pkg install --registry URL", "%s comes from registry %s (%s) of %s, and nothing says where that is",
			r.from(row), row.Origin, row.ID, lockfile.File)
	}
	return nil, fail(exitTrust, "pkg registry status", "the registry %s is %s, but %s in %s", o.url, o.ID(), row.ID, lockfile.File)
}

// from is a package of the lock that comes from a registry.
func (r *registries) from(row lockfile.Registry) string {
	for _, p := range r.project.lock.Packages {
		if p.Path == "" && p.Registry == row.Name {
			return p.Name.String()
		}
	}
	return lockfile.File
}

// lost refuses to ask the embedded registry for what the lock has from another default one.
func (r *registries) lost(m *manifest.Manifest) error {
	o, err := r.named("")
	if err != nil || !o.local() {
		return err
	}
	for _, d := range dependencies(m) {
		p, ok := r.project.lock.Get(d.name)
		if !ok || d.Path != "" || p.Path != "" || d.Registry != "" || p.Registry != defaultRegistry && p.Registry != manifest.LocalRegistry {
			continue
		}
		if g, ok := r.project.lock.Registry(p.Registry); ok {
			if _, err := r.row(*g); err != nil {
				return err
			}
		}
	}
	return nil
}

// same refuses a lock whose registry of some name is another than the one that pkg.toml or the command line calls so.
func (r *registries) same(m *manifest.Manifest) error {
	for _, row := range r.project.lock.Registries {
		id := m.Registries[row.Name].ID
		if row.Name == defaultRegistry && r.ref.ID != "" {
			id = r.ref.ID
		}
		if id != "" && id != row.ID {
			return fail(exitTrust, "git checkout -- "+lockfile.File, "the registry %s is %s in %s, but it must be %s", row.Name, row.ID, lockfile.File, id)
		}
	}
	return nil
}

// sameOrigin refuses a row of a lock that calls a registry what its trust root does not.
func (r *registries) sameOrigin(ctx context.Context, o *opened, row lockfile.Registry) error {
	origin := o.Origin()
	if origin == "" { // nothing was asked in this run
		seen, err := r.state.Heads().Load(ctx, row.ID)
		if err != nil || len(seen.Trust) == 0 {
			return err
		}
		t, _, err := namespace.OpenTrust(seen.Trust[0])
		if err != nil {
			return err
		}
		origin = t.Origin
	}
	if origin != row.Origin {
		return fail(exitTrust, "git checkout -- "+lockfile.File, "the registry %s has the origin %s in %s, but %s in its trust root",
			row.ID, row.Origin, lockfile.File, origin)
	}
	return nil
}

// doubting is a memory that does not say which rows of a lock were proved before, so that all are proved again, from the
// logs it remembers.
type doubting struct{ catalog.Memory }

// Load implements catalog.Memory.
func (d doubting) Load(path string) ([]byte, error) {
	if strings.HasPrefix(path, "proved/") {
		return nil, fs.ErrNotExist
	}
	return d.Memory.Load(path)
}

// remember opens a registry under a name.
func (r *registries) remember(name string, p place) (*opened, error) {
	o, err := r.open(name, p)
	if err == nil {
		r.opened[name] = o
	}
	return o, err
}

// embeddedID is the id of the embedded registry as its folder says.
func embeddedID(dir string) string {
	b, err := os.ReadFile(filepath.Join(registry.Public(dir), "trust", "0"))
	if err != nil {
		return ""
	}
	_, id, err := namespace.OpenTrust(b)
	if err != nil {
		return ""
	}
	return id.String()
}

// refresh asks a registry for its newest head, once, and says what people should know of it.
func (r *registries) refresh(ctx context.Context, o *opened) error {
	if r.fresh[o] || o.empty {
		return nil
	}
	done := func() {}
	if !o.local() && !r.offline {
		done = r.env.waiting(o.url)
	}
	head, freshness, err := o.Refresh(ctx)
	done()
	if err != nil {
		return err
	}
	r.fresh[o] = true
	if o.Pinned() && !o.local() {
		r.env.UI.Note("pinned", map[string]string{"url": o.url, "id": o.ID(), "origin": o.Origin()},
			"trusting the registry first seen at %s: id %s", o.url, o.ID())
	}
	if n := len(head.Checkpoint.Cosigned); r.project != nil && !o.local() && n < r.project.manifest.Policy.RequireWitnesses {
		return fail(exitTrust, "pkg registry status", "%s has %s, and %s asks for %d",
			o, count(n, "cosignature"), manifest.File, r.project.manifest.Policy.RequireWitnesses)
	}
	if freshness != namespace.Fresh && !o.local() && !r.offline {
		r.env.UI.Warn("stale", map[string]any{"url": o.url, "time": head.AsOf}, "%s has shown nothing new since %s", o, day(head.AsOf))
	}
	return nil
}

// all returns every registry that resolving m may need.
func (r *registries) all(m *manifest.Manifest) ([]*opened, error) {
	names := []string{defaultRegistry}
	names = append(names, sorted(m.Registries)...)
	for _, d := range dependencies(m) {
		if d.Registry != "" {
			names = append(names, d.Registry)
		}
	}
	var list []*opened
	for _, n := range names {
		o, err := r.named(n)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(list, o) {
			list = append(list, o)
		}
	}
	return list, nil
}

// source is where the content of a registry comes from.
func (r *registries) source(o *opened) (swarm.Source, error) {
	if o.local() {
		s, err := store.Open(registry.Content(o.dir), store.Options{})
		if err != nil {
			return nil, err
		}
		return &swarm.Dir{Store: s}, nil
	}
	u, err := url.Parse(o.url)
	if err != nil {
		return nil, err
	}
	return &swarm.HTTP{Base: u, Client: r.env.client()}, nil
}

// store opens this user's store.
func (r *registries) store() (*store.Store, error) {
	return store.Open(r.homes.Store, store.Options{Resume: true})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// agent is how pkg introduces itself to registries.
func (e *Env) agent() string {
	if e.Version == "" {
		return "pkg"
	}
	return "pkg/" + e.Version
}

// day is a unix time for people.
func day(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02 15:04") + " UTC" }
