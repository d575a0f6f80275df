package cmd

import "testing"

// TestOnThisMachine says which registries nobody is nearer to.
func TestOnThisMachine(t *testing.T) {
	for url, want := range map[string]bool{
		"http://127.0.0.1:4100": true, "http://127.9.9.9/": true, "http://[::1]:80/r": true, "http://localhost:80": true,
		"https://registry.example": false, "http://192.168.1.7:4100": false, "http://localhost.example": false, "http://127.0.0.1.example": false, "": false, ":": false,
	} {
		if got := onThisMachine(url); got != want {
			t.Errorf("onThisMachine(%q) = %v, want %v", url, got, want)
		}
	}
}

// TestLANIsAskedInModesOfPeers says when the local network is asked for what comes from a registry.
func TestLANIsAskedInModesOfPeers(t *testing.T) {
	const far, here = "https://registry.example", "http://127.0.0.1:4100"
	for _, tt := range []struct {
		mode, url, lan string
		want           bool
	}{
		{modeAuto, far, "", true},
		{modeAuto, here, "", false},
		{modeP2P, far, "", true},
		{modeP2P, here, "true", true},
		{modeHTTP, far, "", false},
		{modeOffline, far, "", false},
		{modeAuto, far, "false", false},
		{modeP2P, far, "0", false},
	} {
		s := &sync{registries: &registries{env: &Env{Environ: []string{"PKG_LAN=" + tt.lan}}}, o: syncOptions{From: sourcing{Mode: tt.mode}}}
		if got := s.asksNear(&opened{url: tt.url}); got != tt.want {
			t.Errorf("mode %s, %s, PKG_LAN=%s: asked = %v, want %v", tt.mode, tt.url, tt.lan, got, tt.want)
		}
	}
}
