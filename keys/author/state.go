package author

import (
	"bytes"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"pkg/keys"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// Recorded says which namespace commit recorded an entry, and its time in unix seconds.
type Recorded struct {
	Commit uint64
	T      int64
}

// State is what a log says up to its Size. The zero State is that of a log not
// begun. It can be kept as JSON, which is believed when it is read back. A State
// is not safe for concurrent use while Apply changes it; its parts, once there,
// are replaced and never changed in place, except Releases.
type State struct {
	ID          tlog.Hash // package id
	Origin      string
	Name        string
	Author      name.Author // the first root key of the genesis: for people
	Root        RootSet
	Next        *[32]byte `json:",omitempty"`
	ReleaseKeys []ReleaseKey

	Size     uint64
	Frontier []tlog.Hash // roots of the complete subtrees, largest first
	Last     Recorded    // of the last entry

	Releases     []Released // in the order of the log
	Deprecations []Deprecate
	Disowned     []Disown
	Sealed       bool

	versions map[string]int // Core to index in Releases; nil outside Follow, where it is kept
}

// Released is a release and what became of it.
type Released struct {
	Release  Release
	Version  semver.Version
	Index    uint64    // of its entry
	LogRoot  tlog.Hash // of the log through its entry
	Recorded Recorded
	Signer   name.Author

	Yanked     bool
	YankReason string
	Deprecated string // why; "" if it is not
	Use        string // instead
	Disowned   bool
}

// LogRoot returns the RFC 6962 root of the log.
func (s *State) LogRoot() [32]byte { return rootOf(s.Frontier) }

// Body returns the start of the entry that would come next, to which its content is to be added: of a log not begun a
// genesis, whatever the kind. t is the author's clock, unix seconds.
func (s *State) Body(kind Kind, t int64) Body {
	if s.Size == 0 {
		kind = KindGenesis
	}
	return Body{Pkg: s.ID, I: s.Size, Prev: s.LogRoot(), T: t, Kind: kind}
}

// Clone returns a State that can be changed apart from s.
func (s *State) Clone() *State {
	c := *s
	c.Frontier = slices.Clone(s.Frontier)
	c.Releases = slices.Clone(s.Releases)
	c.Deprecations = slices.Clone(s.Deprecations)
	c.Disowned = slices.Clone(s.Disowned)
	c.versions = nil
	return &c
}

// Find returns the release of a version, whatever its build metadata, or nil. The result points into s.
func (s *State) Find(v semver.Version) *Released {
	if i := s.find(v); i >= 0 {
		return &s.Releases[i]
	}
	return nil
}

func (s *State) find(v semver.Version) int {
	if s.versions != nil {
		if i, ok := s.versions[v.Core()]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(s.Releases, func(r Released) bool { return r.Version.Core() == v.Core() })
}

// Apply adds an entry that Decode or Sign made and that the commit at recorded.
// A genesis starts the zero State. It checks the place in the log, that the log
// is not sealed, the authority of those who signed, and that the entry makes
// sense; what it refuses is a *keys.TrustError with the entry as evidence, and
// nothing changes.
func (s *State) Apply(e Entry, at Recorded) error {
	if err := s.place(e); err != nil {
		return err
	}
	if err := s.authorise(e, at); err != nil {
		return err
	}
	return s.fold(e, at)
}

// place checks that e is the next entry of this log.
func (s *State) place(e Entry) error {
	b := &e.Body
	switch {
	case b.I != s.Size:
		return s.refuse(e, "the entry is not the next of the log",
			fmt.Sprintf("%d entries", s.Size), fmt.Sprintf("entry %d", b.I))
	case s.Size > 0 && b.Pkg != s.ID:
		return s.refuse(e, "the entry is of another package",
			fmt.Sprintf("%x", s.ID[:]), fmt.Sprintf("%x", b.Pkg[:]))
	case b.Prev != s.LogRoot():
		root := s.LogRoot()
		return s.refuse(e, "the entry continues another history",
			fmt.Sprintf("log root %x", root[:]), fmt.Sprintf("log root %x", b.Prev[:]))
	case s.Sealed:
		return s.refuse(e, "the log is sealed", "", string(b.Kind))
	}
	return nil
}

// fold takes in what e says.
func (s *State) fold(e Entry, at Recorded) error {
	b := &e.Body
	frontier := push(s.Frontier, s.Size, tlog.RecordHash(e.Leaf))
	switch b.Kind {
	case KindGenesis:
		g := b.Genesis
		s.ID, s.Origin, s.Name = e.ID(), g.Origin, g.Name
		s.Author = name.AuthorOf(g.Root.Keys[0])
		s.Root, s.Next, s.ReleaseKeys = g.Root, g.Next, g.Release
	case KindRelease:
		r := Released{Release: *b.Release, Index: b.I, LogRoot: rootOf(frontier), Recorded: at, Signer: s.signer(e, at)}
		if err := s.release(e, r); err != nil {
			return err
		}
	case KindYank, KindUnyank:
		if err := s.yank(e); err != nil {
			return err
		}
	case KindDeprecate:
		s.deprecate(*b.Deprecate)
	case KindKeys:
		s.Root, s.Next, s.ReleaseKeys = b.Keys.Root, b.Keys.Next, b.Keys.Release
	case KindDisown:
		if b.Disown.From > b.I {
			return s.refuse(e, "the entry disowns what is yet to come", "", fmt.Sprintf("from %d", b.Disown.From))
		}
		s.disown(*b.Disown)
	case KindSeal:
		s.Sealed = true
	default:
		return s.refuse(e, "the kind of the entry is unknown", "", string(b.Kind))
	}
	s.Frontier, s.Last = frontier, at
	s.Size++
	return nil
}

func (s *State) release(e Entry, r Released) error {
	v, err := semver.Parse(r.Release.Version)
	if err != nil {
		return s.refuse(e, "the version is invalid", "", r.Release.Version)
	}
	r.Version = v
	if have := s.Find(v); have != nil {
		return s.refuse(e, "the version is released already",
			fmt.Sprintf("%s with root %s", have.Release.Version, have.Release.Root),
			fmt.Sprintf("%s with root %s", r.Release.Version, r.Release.Root))
	}
	if s.versions != nil {
		s.versions[v.Core()] = len(s.Releases)
	}
	s.Releases = append(s.Releases, r)
	return nil
}

func (s *State) yank(e Entry) error {
	y := e.Body.Yank
	v, err := semver.Parse(y.Version)
	i := -1
	if err == nil {
		i = s.find(v)
	}
	if i < 0 || s.Releases[i].Release.Version != y.Version {
		return s.refuse(e, "the version was never released", "", y.Version)
	}
	r := &s.Releases[i]
	r.Yanked, r.YankReason = e.Body.Kind == KindYank, ""
	if r.Yanked {
		r.YankReason = y.Reason
	}
	return nil
}

// deprecate marks what is released so far. A constraint that cannot be read is of no version: it is advice only.
func (s *State) deprecate(d Deprecate) {
	s.Deprecations = append(s.Deprecations, d)
	c, err := semver.ParseConstraint(d.Versions)
	for i := range s.Releases {
		r := &s.Releases[i]
		if d.Versions == "" || err == nil && c.CheckLocked(r.Version) {
			r.Deprecated, r.Use = d.Message, d.Use
		}
	}
}

func (s *State) disown(d Disown) {
	s.Disowned = append(s.Disowned, d)
	for i := range s.Releases {
		if s.Releases[i].Index >= d.From {
			s.Releases[i].Disowned = true
		}
	}
}

// refuse makes the error of an entry that does not belong.
func (s *State) refuse(e Entry, what, ours, theirs string) error {
	subject := s.Name
	if subject == "" && e.Body.Genesis != nil {
		subject = e.Body.Genesis.Name
	}
	return &keys.TrustError{
		Subject: fmt.Sprintf("author log of %q, entry %d", subject, e.Body.I), What: what, Ours: ours, Theirs: theirs,
		Evidence: []keys.Evidence{{Name: fmt.Sprintf("author entry %d", e.Body.I), Data: bytes.Clone(e.Raw)}},
	}
}
