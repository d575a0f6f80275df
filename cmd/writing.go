package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pkg/publish"
	"pkg/publish/registry"
)

// writing is a registry to be written to, as one author.
type writing struct {
	publish.Options
	to *opened
}

// writing opens the registry that a command publishes to. The project may be nil.
func (e *Env) writing(c *cli.Context, p *project) (*writing, error) {
	r, err := e.registries(p, e.registryRef(c), false)
	if err != nil {
		return nil, err
	}
	o, err := r.named("")
	if err != nil {
		return nil, err
	}
	if r.offline && !o.local() {
		return nil, &usageError{Err: fmt.Errorf("to write to %s asks it, which mode offline forbids", o), Help: "PKG_MODE=auto " + c.Command.HelpName}
	}
	key, err := e.signer(c)
	if err != nil {
		return nil, err
	}
	w := &writing{to: o, Options: publish.Options{
		Key: key, Outbox: filepath.Join(r.homes.State, "outbox"), Now: e.Now, Registries: make(map[string]string),
		Events: func(ev publish.Event) {
			e.UI.Progress("publishing", map[string]string{"step": ev.Step, "name": ev.Name.String()}, "%s %s", ev.Step, ev.Name)
		},
	}}
	if w.Registry, err = e.pushTo(c.Context, o); err != nil {
		return nil, err
	}
	if o.empty { // it was made just now
		if o, err = r.open(o.name, place{}); err != nil {
			return nil, err
		}
		r.opened[defaultRegistry], w.to = o, o
		e.UI.Note("created", map[string]string{"dir": o.dir}, "made your local registry in %s", o.dir)
	}
	if err := r.refresh(c.Context, o); err != nil {
		return nil, err
	}
	w.Catalog = o.Registry
	return w, r.ids(c.Context, w.Registries)
}

// ids fills in the ids of the registries that the project's dependencies name.
func (r *registries) ids(ctx context.Context, into map[string]string) error {
	if r.project == nil {
		return nil
	}
	for _, d := range dependencies(r.project.manifest) {
		if d.Registry == "" || into[d.Registry] != "" {
			continue
		}
		o, err := r.named(d.Registry)
		if err != nil {
			return err
		}
		if o.ID() == "" {
			if err := r.refresh(ctx, o); err != nil {
				return err
			}
		}
		into[d.Registry] = o.ID()
	}
	return nil
}

// pushTo opens the writing side of a registry, and makes the embedded one if there is none.
func (e *Env) pushTo(ctx context.Context, o *opened) (publish.Registry, error) {
	if !o.local() {
		u, err := url.Parse(o.url)
		if err != nil {
			return nil, err
		}
		return &publish.HTTP{Base: u}, nil
	}
	patience := 10 * time.Second // other writers take a moment; a server keeps it for good
	served, err := e.servedAt()
	if err != nil {
		return nil, err
	} else if served != nil {
		patience = 200 * time.Millisecond
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := registry.Embedded(wait, o.dir, registry.Config{Now: e.Now, Wait: true})
	locked := ctx.Err() == nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, registry.ErrLocked))
	switch {
	case locked && served != nil:
		return &publish.HTTP{Base: served}, nil
	case locked:
		return nil, fail(exitFailed, "pkg publish --registry URL", "another process has your local registry open: if it is pkg registry serve, publish to its URL")
	case err != nil:
		return nil, withHelp(err, "ls -la "+o.dir)
	}
	e.Defer(s.Close)
	return s, nil
}

// servedAt is where another process of this user serves the embedded registry, if the file that says so is right: nil is
// nowhere. It need not be believed, as the registry's answer is verified.
func (e *Env) servedAt() (*url.URL, error) {
	homes, err := e.Homes()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(servedFile(homes))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // documented
	} else if err != nil {
		return nil, fmt.Errorf("find the server of the local registry: %w", err)
	}
	return url.Parse(strings.TrimSpace(string(b)))
}

// servedFile says where the embedded registry is served, while it is.
func servedFile(homes Homes) string { return filepath.Join(homes.State, "serving") }

// explain adds the command that helps.
func (w *writing) explain(err error) error {
	if refused, ok := errors.AsType[*publish.RefusedError](err); ok {
		return fail(exitFailed, refused.Help, "%w", err)
	}
	return err
}
