// Package publish makes a package visible: it checks a directory, packs it,
// signs a release, pushes it to a registry and then verifies the registry's
// answer with the very code that installers use.
//
//	draft, err := publish.Check(ctx, dir)        // neither key nor network
//	receipt, err := publish.Publish(ctx, options) // the same check, then the rest
//
// A signed entry is saved in an outbox before it is sent and resent byte for
// byte, so that an interrupted publication is finished by repeating it and
// never turns into two different entries at the same place of an author log.
// Publishing what is published already changes nothing and says so.
package publish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve/catalog"
)

// Options say what to publish, as whom and where. Yank, Unyank and Deprecate
// need no Dir and no Temp.
type Options struct {
	Dir      string            // the package's directory, which holds pkg.toml
	Key      keys.Key          // the author's key
	Catalog  *catalog.Registry // the registry, read
	Registry Registry          // the registry, written
	Outbox   string            // a directory for signed entries not yet recorded
	Temp     string            // a directory for the pack while it is sent; "" is the system's
	Now      func() time.Time  // the clock
	// Registries are the ids of registries by their name in the manifest,
	// for those whose [registries] table has no id.
	Registries map[string]string
	Events     func(Event) // called serially; may be nil
}

// Event is a step of a publication, for progress.
type Event struct {
	Step string // pack, sign, push, verify
	Name name.Name
	Root cid.Cid // undefined before it is known
	Size int64   // bytes to send, at push
}

// Draft is what would be published.
type Draft struct {
	Manifest *manifest.Manifest
	Files    []tree.File
	Summary  tree.Summary
}

// Receipt says what was published and where it is recorded. Of Yank, Unyank and
// Deprecate it has name, author, entry, commit and warnings.
type Receipt struct {
	Name         name.Name
	Version      semver.Version
	Author       name.Author
	Root         cid.Cid
	Size         int64    // bytes of the files
	Files        int      // number of files
	Entry        uint64   // index in the author log
	Commit       uint64   // commit of the namespace log that recorded it
	NewName      bool     // the name was claimed by this publication
	NewScope     bool     // so was its scope
	AlreadyThere bool     // it was so before; nothing was sent, and Entry may be an older one
	Warnings     []string // sentences for people
}

// OwnedError says that a name belongs to another author.
type OwnedError struct {
	Name  name.Name
	Owner name.Author // first root key of the package
	Key   name.Author // the key that was to sign
}

// Error names both keys.
func (e *OwnedError) Error() string {
	return fmt.Sprintf("%s belongs to %s, and the key %s may not publish it", e.Name, e.Owner, e.Key)
}

// ExistsError says that a version is released with other content.
type ExistsError struct {
	Name    name.Name
	Version semver.Version // the one that exists
	Theirs  cid.Cid        // its root
	Ours    cid.Cid        // the root of the directory
}

// Error names both roots.
func (e *ExistsError) Error() string {
	return fmt.Sprintf("%s %s is published already with root %s; this directory has root %s", e.Name, e.Version, e.Theirs, e.Ours)
}

// AbsentError says that there is no such package or version to change.
type AbsentError struct {
	Name    name.Name
	Version string // empty if the name itself is absent
}

// Error says what is missing.
func (e *AbsentError) Error() string {
	if e.Version == "" {
		return fmt.Sprintf("%s is not published in this registry", e.Name)
	}
	return fmt.Sprintf("%s has no version %s in this registry", e.Name, e.Version)
}

// Publish publishes the package in o.Dir and verifies the registry's answer.
// A name nobody has is claimed for o.Key, and so is its scope. It fails with
// *OwnedError, *ExistsError, *RefusedError, *keys.TrustError, or the errors of
// Check and of the catalog.
func Publish(ctx context.Context, o Options) (*Receipt, error) {
	draft, err := read(o.Dir)
	if err != nil {
		return nil, err
	}
	n := draft.Manifest.Package.Name
	o.event(Event{Step: "pack", Name: n})
	pack, err := packTemp(ctx, o.Temp, draft)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", n, err)
	}
	r, err := publish(ctx, o, draft, pack)
	return r, errors.Join(err, os.Remove(pack.path))
}

func publish(ctx context.Context, o Options, draft *Draft, pack *packFile) (*Receipt, error) {
	p := draft.Manifest.Package
	release, err := draft.release(o)
	if err != nil {
		return nil, err
	}
	if err := fits(release); err != nil {
		return nil, fmt.Errorf("publish %s: %w", p.Name, err)
	}
	c := &change{o: o, name: p.Name, packs: []Pack{pack.pack()}, claim: true}
	c.done = func(s *author.State) (uint64, bool, error) { return released(s, p.Name, p.Version, draft.Summary.Root) }
	c.body = func() author.Body { return author.Body{Kind: author.KindRelease, Release: release} }
	r, state, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	r.Version, r.Root = p.Version, draft.Summary.Root
	r.Size, r.Files = draft.Summary.Size, draft.Summary.Files
	if err := prove(ctx, o, state, r); err != nil {
		return nil, err
	}
	r.Warnings = append(r.Warnings, unpublished(ctx, o, release)...)
	return r, nil
}

// released looks for version v in s: its entry, whether it is there with this
// root, and an *ExistsError if it is there with another.
func released(s *author.State, n name.Name, v semver.Version, root cid.Cid) (entry uint64, there bool, err error) {
	for i := range s.Releases {
		r := &s.Releases[i]
		have, err := semver.Parse(r.Release.Version)
		if err != nil || have.Core() != v.Core() {
			continue
		}
		if !r.Release.Root.Equals(root) || have.String() != v.String() {
			return 0, false, &ExistsError{Name: n, Version: have, Theirs: r.Release.Root, Ours: root}
		}
		return r.Index, true, nil
	}
	return 0, false, nil
}

// unpublished warns about dependencies that an installer would not find now.
// That is no reason to refuse: of packages that need each other one comes first.
func unpublished(ctx context.Context, o Options, r *author.Release) []string {
	var warnings []string
	for _, d := range r.Deps {
		if d.Registry != "" && d.Registry != o.Catalog.ID() {
			continue
		}
		s, _, err := o.Catalog.State(ctx, d.Name)
		if err != nil {
			continue // not known is not a reason to worry anybody
		}
		if s == nil {
			warnings = append(warnings, fmt.Sprintf("the dependency %s is not published in this registry yet", d.Name))
			continue
		}
		if !offers(s, d.Constraint) {
			warnings = append(warnings, fmt.Sprintf("no published version of the dependency %s matches %q yet", d.Name, d.Constraint))
		}
	}
	return warnings
}

func offers(s *author.State, constraint string) bool {
	c, err := semver.ParseConstraint(constraint)
	if err != nil {
		return true
	}
	for _, r := range s.Releases {
		if v, err := semver.Parse(r.Release.Version); err == nil && !r.Yanked && c.Check(v) {
			return true
		}
	}
	return false
}

func (o *Options) event(e Event) {
	if o.Events != nil {
		o.Events(e)
	}
}
