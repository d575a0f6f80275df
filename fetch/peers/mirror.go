package peers

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"pkg/fetch/swarm"
)

// parseMirror reads the URL of a mirror.
func parseMirror(addr string) (*url.URL, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%q: want http:// or https:// and a host", addr)
	}
	return u, nil
}

// mirror is a server that somebody named: one that serves packs, or, for what it does not have as such, a trustless gateway
// of IPFS, as Kubo runs one.
type mirror struct {
	*swarm.HTTP
	gateway *swarm.HTTP
}

func newMirror(base *url.URL, client *http.Client) *mirror {
	return &mirror{
		&swarm.HTTP{Base: base, Client: client, Mirror: true},
		&swarm.HTTP{Base: base, Client: client, Mirror: true, Gateway: true},
	}
}

// Content implements swarm.Source.
func (m *mirror) Content(ctx context.Context, r swarm.Request, each swarm.Each) ([]swarm.Want, error) {
	missing, err := m.HTTP.Content(ctx, r, each)
	if err != nil || len(missing) == 0 {
		return missing, err
	}
	return m.gateway.Content(ctx, swarm.Request{Wants: missing, Shared: r.Shared}, each)
}
