package p2p_test

import (
	"bytes"
	"strings"
	"testing"

	"pkg/fetch/p2p"
)

func TestParseSwarmKey(t *testing.T) {
	t.Parallel()
	const head, digits = "/key/swarm/psk/1.0.0/\n", "0101010101010101010101010101010101010101010101010101010101010101"
	want := bytes.Repeat([]byte{1}, 32)
	for _, good := range []string{
		head + "/base16/\n" + digits, head + "/base16/\n" + digits + "\n", strings.ReplaceAll(head+"/base16/\n"+digits+"\n", "\n", "\r\n"),
		head + "/base64/\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n",
	} {
		if got, err := p2p.ParseSwarmKey([]byte(good)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %x, %v, want %x", good, got, err, want)
		}
	}
	for _, bad := range []string{
		"", digits, head, head + "/base16/\n", head + "/base16/\n" + digits[2:], head + "/base16/\n" + digits + "01", head + "/base16/\n" + digits + "\nmore",
		"/key/swarm/psk/2.0.0/\n/base16/\n" + digits, head + "/base58/\n" + digits, head + "/base16/\n" + strings.Repeat("zz", 32),
		head + "/base64/\n" + strings.Repeat("%", 44),
	} {
		if got, err := p2p.ParseSwarmKey([]byte(bad)); err == nil {
			t.Errorf("%q: %x, want an error", bad, got)
		} else if strings.Contains(err.Error(), "0101") || strings.Contains(err.Error(), "zz") {
			t.Errorf("%q: the error tells of the key: %v", bad, err)
		}
	}
}

func TestCheckListen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		addr    string
		private bool
		ok      bool
	}{
		{"/ip4/0.0.0.0/tcp/4107", false, true},
		{"/ip4/0.0.0.0/tcp/4107", true, true},
		{"/ip6/::/udp/0/quic-v1", false, true},
		{"/ip6/::/udp/0/quic-v1", true, false},
		{"nonsense", false, false},
		{"", false, false},
		{"127.0.0.1:4107", false, false},
		{"/ip4/127.0.0.1", false, false},
		{"/ip4/127.0.0.1/udp/4107", false, false},
		{"/ip4/127.0.0.1/tcp/4107/ws", false, false},
		{"/ip4/127.0.0.1/tcp/70000", false, false},
		{"/dns4/localhost/tcp/4107", false, false},
		{"/ip4/224.0.0.1/tcp/4107", false, false},
		{"/ip4/127.0.0.1/tcp/4107" + strings.Repeat("/x", 1000), false, false},
	} {
		if err := p2p.CheckListen(c.addr, c.private); (err == nil) != c.ok {
			t.Errorf("CheckListen(%.60q, %v): %v, want accepted %v", c.addr, c.private, err, c.ok)
		}
	}
}
