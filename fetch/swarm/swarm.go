// Package swarm brings packs from other places: from a registry or mirror over HTTP, from a store on this disk, and
// from whatever else is a [Source]. A [Session] asks several sources for many roots, all at once.
//
// Nothing that a source sends is believed. The session hands each pack to a put function that verifies it, block by
// block, against the root that was asked for; [pkg/fetch/store.Batch.Put] does. A source that sent a wrong byte is
// dropped for the rest of the session and named; one that cannot be reached only loses its turn.
//
// Packs travel as they are stored. The request is
//
//	POST /content {"want": [want…], "shared": false}
//
// and the answer one frame for each want, in that order:
//
//	uvarint(len(cid)) ‖ cid of the root ‖ uvarint(size of the pack, 0 = not here) ‖ pack
//
// A want is a root. Of large packages, and of those of which much is here already, parts are asked for instead:
// "root?nodes" for its directories alone, and then "root?leaves=16-32" for what is missing, from all sources at once; see
// [tree.Outline]. With "shared" the client says that others may have all of this too, and the server may leave out what it
// knows peers to have and has sent often of late.
//
// GET /packs/{root} is the whole pack as a static file, which any web server can serve. [Handler] serves both.
package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"pkg/fetch/tree"
)

// Want is the pack of a root, or a part of it.
type Want struct {
	Root  cid.Cid
	Scope Scope
	// Of Leaves: from From up to, but not including, To, of that outline.
	Of       *tree.Outline
	From, To int
}

// Scope says what of a root is wanted.
type Scope int

// The scopes.
const (
	All    Scope = iota
	Nodes        // see [tree.ReadNodes]
	Leaves       // see [tree.Outline.ReadLeaves]
)

// Packs wants whole packs.
func Packs(roots ...cid.Cid) []Want {
	wants := make([]Want, len(roots))
	for i, root := range roots {
		wants[i].Root = root
	}
	return wants
}

// String is how a request names the want.
func (w Want) String() string {
	switch w.Scope {
	case Nodes:
		return w.Root.String() + "?nodes"
	case Leaves:
		return fmt.Sprintf("%s?leaves=%d-%d", w.Root, w.From, w.To)
	default:
		return w.Root.String()
	}
}

// Request is what a source is asked for.
type Request struct {
	Wants  []Want
	Shared bool // others may have all of it too: it may be refused
}

// Ask asks for whole packs.
func Ask(roots ...cid.Cid) Request { return Request{Wants: Packs(roots...)} }

// Source is a place that may have packs.
type Source interface {
	// Name says what to call the source in reports.
	Name() string

	// Content calls each for everything wanted that it has, one at a time, with its size in bytes (-1 if unknown) and
	// its pack. each need not read all of the pack, and must not keep it. An error of each ends Content at once and is
	// returned as it is. missing is what the source does not have, or refuses. Any other error means that the source
	// could not be asked, or not to the end; some wants may have been passed to each even so. Safe for concurrent use.
	Content(ctx context.Context, r Request, each Each) (missing []Want, err error)
}

// Kind says what a source is. A source tells it by a method Kind() Kind; one that has none counts as a Peer.
type Kind string

// The kinds of sources. What a Registry sends costs the registry, so it is asked for less where others are as fast.
const (
	Registry Kind = "registry"
	Mirror   Kind = "mirror"
	Peer     Kind = "peer"
	Disk     Kind = "disk"
)

// kindOf asks src for its kind.
func kindOf(src Source) Kind {
	if k, ok := src.(interface{ Kind() Kind }); ok {
		return k.Kind()
	}
	return Peer
}

// absent says that a source stands for nobody: a peer that is looked for and was not found. It tells it by a method Absent()
// bool. After an answer that is so for good.
func absent(src Source) bool {
	a, ok := src.(interface{ Absent() bool })
	return ok && a.Absent()
}

// Each takes one pack.
type Each = func(w Want, size int64, pack io.Reader) error

// SourceError is a source that could not be asked, or not to the end.
type SourceError struct {
	Source string
	Err    error
}

func (e *SourceError) Error() string { return fmt.Sprintf("%s: %v", e.Source, e.Err) }

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// MissingError says what no source gave, and what became of the sources.
type MissingError struct {
	Wants []Want
	Asked []string // the sources that answered that they do not have them
	Errs  []error  // of those that did not, or that lied
}

func (e *MissingError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no source gave %s", e.Wants[0])
	if n := len(e.Wants) - 1; n > 0 {
		fmt.Fprintf(&b, " and %d more", n)
	}
	asked := slices.DeleteFunc(slices.Clone(e.Asked), func(name string) bool { return name == "" }) // a peer that was not found
	if len(asked) > 0 {
		fmt.Fprintf(&b, "; not at %s", strings.Join(asked, ", "))
	}
	for _, err := range e.Errs {
		fmt.Fprintf(&b, "; %v", err)
	}
	return b.String()
}

// Unwrap returns the errors of the sources, so that a lie is found with errors.As.
func (e *MissingError) Unwrap() []error { return e.Errs }

// errStop is how a session tells Content that it has heard enough.
var errStop = errors.New("stopped")
