package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pkg/keys/author"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// Yank marks a version so that it is chosen no more unless a lock holds it.
// A version that is yanked already is left alone, which AlreadyThere says; the
// receipt's entry is then that of the release.
func Yank(ctx context.Context, o Options, n name.Name, v semver.Version, reason string) (*Receipt, error) {
	return yank(ctx, o, n, v, reason, author.KindYank)
}

// Unyank takes a yank back. A version that is not yanked is left alone, as by
// Yank.
func Unyank(ctx context.Context, o Options, n name.Name, v semver.Version, reason string) (*Receipt, error) {
	return yank(ctx, o, n, v, reason, author.KindUnyank)
}

func yank(ctx context.Context, o Options, n name.Name, v semver.Version, reason string, kind author.Kind) (*Receipt, error) {
	c := &change{o: o, name: n}
	c.done = func(s *author.State) (uint64, bool, error) {
		for _, r := range s.Releases {
			if r.Release.Version == v.String() {
				return r.Index, r.Yanked == (kind == author.KindYank), nil
			}
		}
		return 0, false, &AbsentError{Name: n, Version: v.String()}
	}
	c.body = func() author.Body {
		return author.Body{Kind: kind, Yank: &author.Yank{Version: v.String(), Reason: reason}}
	}
	r, _, err := c.run(ctx)
	if err != nil {
		return nil, err
	}
	r.Version = v
	return r, nil
}

// ErrNoMessage says that a deprecation has no message.
var ErrNoMessage = errors.New("the message is empty: say why, or what to do instead")

// Deprecate attaches a message to the versions that a constraint matches, and
// names what to use instead; both are shown to whoever installs them. It takes
// a message, and no use or the name of a package.
func Deprecate(ctx context.Context, o Options, n name.Name, versions, message, use string) (*Receipt, error) {
	if _, err := semver.ParseConstraint(versions); err != nil {
		return nil, fmt.Errorf("deprecate %s: %w", n, err)
	}
	if strings.TrimSpace(message) == "" {
		return nil, fmt.Errorf("deprecate %s: %w", n, ErrNoMessage)
	}
	if use != "" {
		if _, err := name.Parse(use); err != nil {
			return nil, fmt.Errorf("deprecate %s: use: %w", n, err)
		}
	}
	want := author.Deprecate{Versions: versions, Message: message, Use: use}
	c := &change{o: o, name: n}
	c.done = func(s *author.State) (uint64, bool, error) {
		for i := len(s.Deprecations) - 1; i >= 0; i-- {
			if s.Deprecations[i] == want {
				return s.Size - 1, true, nil
			}
			if s.Deprecations[i].Versions == versions {
				break // a later word about the same versions counts
			}
		}
		return 0, false, nil
	}
	c.body = func() author.Body { return author.Body{Kind: author.KindDeprecate, Deprecate: &want} }
	r, _, err := c.run(ctx)
	return r, err
}
