package cmd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"pkg/cmd/ui"
	"pkg/fetch"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
	"pkg/fetch/tree"
	"pkg/keys"
	"pkg/keys/namespace"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/publish"
	"pkg/publish/registry"
	"pkg/resolve"
	"pkg/resolve/catalog"
)

// A rule knows one kind of error: whether err is one, and if so its exit code and help. An empty Message is err's own text.
type rule func(err error) (ui.Failure, bool)

// rules is the one table from errors to exit codes. The first rule that knows an error decides: what a command says itself
// comes first, then trust, whatever it is wrapped in, then a full disk, then what one room knows better than another, then the system. (Not net.Error: every errno of a file is one too.)
func rules() []rule {
	return []rule{
		as(func(f *failure) ui.Failure {
			return ui.Failure{Code: f.Code, Detail: f.Detail, Help: f.Help, Data: f.Data}
		}),
		as(func(u *usageError) ui.Failure { return ui.Failure{Code: exitUsage, Help: cmp.Or(u.Help, "pkg help")} }),

		as(damaged),
		as(func(*keys.TrustError) ui.Failure { return ui.Failure{Code: exitTrust, Help: "pkg registry status"} }),
		as(func(*tree.HashError) ui.Failure { return ui.Failure{Code: exitTrust, Help: "pkg verify"} }),
		as(func(*namespace.ResetError) ui.Failure {
			return ui.Failure{Code: exitTrust, Help: "pkg registry status"}
		}),
		as(func(*catalog.StaleError) ui.Failure { return ui.Failure{Code: exitTrust, Help: "pkg install --locked"} }),

		full,
		as(func(*tls.CertificateVerificationError) ui.Failure {
			return ui.Failure{Code: exitNetwork, Help: "export SSL_CERT_FILE=FILE"}
		}),
		as(absent),
		as(unavailable),
		as(func(*resolve.ConflictError) ui.Failure { return ui.Failure{Code: exitAbsent, Help: "pkg outdated"} }),
		as(func(b *resolve.BudgetError) ui.Failure {
			return ui.Failure{Code: exitFailed, Help: "pkg info " + b.Package.Name.String()}
		}),

		as(func(m *manifest.Error) ui.Failure {
			return ui.Failure{Code: exitFailed, Detail: m.Help, Help: "$EDITOR " + manifest.File}
		}),
		as(func(c *manifest.ConfigError) ui.Failure {
			return ui.Failure{Code: exitFailed, Help: "$EDITOR " + c.Path}
		}),
		as(unlocked),
		as(func(p *keys.PermError) ui.Failure { return ui.Failure{Code: exitFailed, Help: p.Help()} }),
		as(func(*keys.NameError) ui.Failure { return ui.Failure{Code: exitUsage, Help: "pkg keys list"} }),
		is(keys.ErrPassphraseNeeded, exitFailed, "export PKG_KEY_PASSPHRASE_FILE=FILE"),
		is(keys.ErrPassphrase, exitFailed, "pkg keys list"),
		as(func(*name.Error) ui.Failure { return ui.Failure{Code: exitUsage, Help: "pkg help"} }),
		as(func(*semver.ConstraintError) ui.Failure { return ui.Failure{Code: exitUsage, Help: "pkg help add"} }),
		as(func(*fetch.SizeError) ui.Failure { return ui.Failure{Code: exitTrust, Help: "pkg verify"} }),
		as(func(f *fetch.ForeignError) ui.Failure {
			return ui.Failure{Code: exitFailed, Help: "mv " + f.Path + " " + f.Path + ".mine"}
		}),
		as(func(c *fetch.ClashError) ui.Failure { return ui.Failure{Code: exitFailed, Help: "pkg remove " + c.B} }),
		as(missing),
		as(func(*tree.Error) ui.Failure { return ui.Failure{Code: exitFailed, Help: "pkg publish --dry-run"} }),
		as(func(*publish.OwnedError) ui.Failure { return ui.Failure{Code: exitFailed, Help: "pkg keys list"} }),
		as(func(x *publish.ExistsError) ui.Failure {
			return ui.Failure{Code: exitFailed, Help: "pkg info " + x.Name.String()}
		}),
		as(func(a *publish.AbsentError) ui.Failure {
			return ui.Failure{Code: exitAbsent, Help: "pkg info " + a.Name.String()}
		}),
		is(publish.ErrNoMessage, exitUsage, "pkg help deprecate"),
		as(func(r *publish.RefusedError) ui.Failure {
			return ui.Failure{Code: exitFailed, Detail: r.Help, Help: "pkg registry status"}
		}),
		is(registry.ErrLocked, exitFailed, "pkg publish --registry URL"),
		is(registry.ErrUnsupported, exitFailed, "pkg publish --registry URL"),
		is(store.ErrNotFound, exitAbsent, "pkg install"),

		as(unreached),
		as(func(l *os.LinkError) ui.Failure { return unreached(&fs.PathError{Op: l.Op, Path: l.New, Err: l.Err}) }),
		as(func(*url.Error) ui.Failure { return ui.Failure{Code: exitNetwork, Help: "pkg registry status"} }),
		as(func(*net.OpError) ui.Failure { return ui.Failure{Code: exitNetwork, Help: "pkg registry status"} }),
		as(func(*net.DNSError) ui.Failure { return ui.Failure{Code: exitNetwork, Help: "pkg registry status"} }),
		is(context.DeadlineExceeded, exitNetwork, "pkg registry status"),
	}
}

// damaged is a registry of this machine that does not open; it knows best what mends it.
func damaged(d *registry.DamageError) ui.Failure {
	f := ui.Failure{Code: exitFailed, Help: d.Help}
	if _, ok := errors.AsType[*keys.TrustError](d); ok {
		f.Code = exitTrust
	}
	return f
}

// full is a disk without space, whoever wrote to it: nothing is wrong with a registry that could not be looked up for it.
func full(err error) (ui.Failure, bool) {
	f := ui.Failure{Code: exitFailed, Help: "df -h"}
	if u, ok := errors.AsType[*resolve.UnavailableError](err); ok && u.Err != nil {
		f.Message = sentence(u.Err)
	}
	return f, errors.Is(err, syscall.ENOSPC)
}

// absent is a name that is proved not to exist.
func absent(e *resolve.NotFoundError) ui.Failure {
	help := "pkg add NAME --registry URL"
	if len(e.Near) > 0 {
		help = "pkg add " + e.Near[0]
	}
	return ui.Failure{Code: exitAbsent, Help: help}
}

// unavailable is a name of which nothing is known.
func unavailable(e *resolve.UnavailableError) ui.Failure {
	if e.Offline {
		return ui.Failure{Code: exitNetwork, Help: "pkg install"}
	}
	return ui.Failure{Code: exitNetwork, Help: "pkg registry status"}
}

// missing is content that no source gave.
func missing(e *swarm.MissingError) ui.Failure {
	if len(e.Errs) == 0 {
		return ui.Failure{Code: exitAbsent, Help: "pkg registry status"}
	}
	return ui.Failure{Code: exitNetwork, Help: "pkg registry status"}
}

// unlocked is a lock that cannot be read. An older one of version control does not help where this program is too old.
func unlocked(l *lockfile.Error) ui.Failure {
	f := ui.Failure{Code: exitFailed, Detail: l.Help, Help: "git checkout -- " + lockfile.File}
	if strings.Contains(l.Msg, "newer than this pkg reads") {
		f.Help = "pkg version"
	}
	return f
}

// unreached is a file that the system keeps from us, or that is not what it should be: to look at it helps, and where it is
// not there, or has a temporary name, to look at the nearest folder above it.
func unreached(e *fs.PathError) ui.Failure {
	path := e.Path
	switch {
	case !filepath.IsAbs(path):
	case errors.Is(e.Err, fs.ErrPermission) || errors.Is(e.Err, syscall.EROFS):
		if _, err := os.Lstat(path); err != nil && strings.HasPrefix(filepath.Base(path), ".") {
			path = filepath.Dir(path)
		}
	default:
		for {
			_, err := os.Lstat(path)
			if err == nil || filepath.Dir(path) == path {
				break
			}
			path = filepath.Dir(path)
		}
		if info, err := os.Stat(path); err == nil && info.IsDir() && path != e.Path {
			return ui.Failure{Code: exitFailed, Help: "ls -a " + path}
		}
	}
	return ui.Failure{Code: exitFailed, Help: "ls -ld " + path}
}

// withHelp gives an error that no rule knows the command that helps.
func withHelp(err error, help string) error {
	if err == nil {
		return nil
	}
	for _, r := range rules() {
		if _, known := r(err); known {
			return err
		}
	}
	return fail(exitFailed, help, "%w", err)
}

// as makes a rule for a type.
func as[T error](say func(T) ui.Failure) rule {
	return func(err error) (ui.Failure, bool) {
		if t, ok := errors.AsType[T](err); ok {
			return say(t), true
		}
		return ui.Failure{}, false
	}
}

// is makes a rule for a sentinel.
func is(target error, code int, help string) rule {
	return func(err error) (ui.Failure, bool) { return ui.Failure{Code: code, Help: help}, errors.Is(err, target) }
}
