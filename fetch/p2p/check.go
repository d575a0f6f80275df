package p2p

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/libp2p/go-libp2p/core/pnet"
	ma "github.com/multiformats/go-multiaddr"
)

// ParseSwarmKey reads the text of a file that holds the key of a private swarm, in the form that IPFS nodes know: the
// line /key/swarm/psk/1.0.0/, the line /base16/ or /base64/, and the 32 bytes of the key written so.
func ParseSwarmKey(file []byte) ([]byte, error) {
	lines := strings.Fields(string(file))
	if len(lines) != 3 || lines[1] != "/base16/" && lines[1] != "/base64/" {
		return nil, errors.New("a swarm key has three lines: /key/swarm/psk/1.0.0/, /base16/ and 64 hex digits")
	}
	if digits := map[string]int{"/base16/": 64, "/base64/": 44}[lines[1]]; len(lines[2]) != digits {
		return nil, fmt.Errorf("the swarm key has %d digits, not %d", len(lines[2]), digits)
	}
	key, err := pnet.DecodeV1PSK(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		return nil, errors.New("it is no swarm key: its digits or its first line are wrong") // the library's words hold digits of it
	}
	return key, nil
}

// CheckListen says what is wrong with an address to listen at, if anything is: it is /ip4|ip6/…/tcp/… or
// /ip4|ip6/…/udp/…/quic-v1, the latter not in a private swarm, which QUIC knows nothing of.
func CheckListen(text string, private bool) error {
	if len(text) > maxAddr {
		return fmt.Errorf("the address has more than %d bytes", maxAddr)
	}
	a, err := ma.NewMultiaddr(text)
	if err != nil {
		return fmt.Errorf("%q is no multiaddr: write /ip4/0.0.0.0/tcp/4107 or /ip4/0.0.0.0/udp/4107/quic-v1", text)
	}
	var names []string
	for _, c := range a {
		names = append(names, c.Protocol().Name)
	}
	switch strings.Join(names, "/") {
	case "ip4/tcp", "ip6/tcp":
	case "ip4/udp/quic-v1", "ip6/udp/quic-v1":
		if private {
			return fmt.Errorf("%s: QUIC cannot be used in a private swarm", text)
		}
	default:
		return fmt.Errorf("%s: write /ip4/…/tcp/… or /ip4/…/udp/…/quic-v1", text)
	}
	if ip, err := netip.ParseAddr(a[0].Value()); err != nil || ip.IsMulticast() {
		return fmt.Errorf("%s: %s is no address of one machine", text, a[0].Value())
	}
	return nil
}
