package cmd

import (
	"net/netip"
	"net/url"
	"slices"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
)

// lan reports whether seeds tell the local network of themselves, and installs ask there: PKG_LAN=false says no.
func (e *Env) lan() bool {
	v := e.Getenv("PKG_LAN")
	return v != "false" && v != "0"
}

// asksNear reports whether the seeds of the local network are asked for what comes from a registry: always in mode p2p, and
// in mode auto unless the registry is on this machine, which nobody is nearer to.
func (s *sync) asksNear(o *opened) bool {
	switch s.o.From.Mode {
	case modeP2P:
		return s.env.lan()
	case modeAuto:
		return s.env.lan() && !onThisMachine(o.url)
	}
	return false
}

// lostButNear reports whether seeds of the local network are asked for what comes from a registry although nothing says
// where that is: in mode p2p, where the content of a lock needs no registry. One that could be private is not among them.
func (s *sync) lostButNear(row lockfile.Registry) bool {
	return s.o.From.Mode == modeP2P && s.env.lan() && !row.Local && !s.hides()
}

// hides reports whether some registry is private.
func (r *registries) hides() bool {
	tables := []map[string]manifest.Registry{r.config}
	if r.project != nil {
		tables = append(tables, r.project.manifest.Registries)
	}
	return slices.ContainsFunc(tables, func(t map[string]manifest.Registry) bool {
		for _, e := range t {
			if e.Private {
				return true
			}
		}
		return false
	})
}

// onThisMachine reports whether a URL leads to the loopback.
func onThisMachine(at string) bool {
	u, err := url.Parse(at)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}
