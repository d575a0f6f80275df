//go:build unix

package registry

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestAProxyOfThisMachineSpeaksForItsClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from string
		via  []string
		want string
	}{
		{"203.0.113.1:1", nil, "203.0.113.1"},
		{"203.0.113.1:1", []string{"127.0.0.1"}, "203.0.113.1"},
		{"127.0.0.1:1", nil, "127.0.0.1"},
		{"127.0.0.1:1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"[::ffff:127.0.0.1]:1", []string{"127.0.0.1, 203.0.113.1"}, "203.0.113.1"},
		{"[::1]:1", []string{"127.0.0.1", "10.0.0.1 , 2001:db8::1"}, "2001:db8::1"},
		{"[::1]:1", []string{"203.0.113.1, unknown"}, "invalid IP"},
		{"[::1]:1", []string{""}, "invalid IP"},
		{"pipe", nil, "invalid IP"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.RemoteAddr = c.from
		r.Header["X-Forwarded-For"] = c.via
		if got := source(r).String(); got != c.want {
			t.Errorf("%s via %q: %s, want %s", c.from, c.via, got, c.want)
		}
	}
}
