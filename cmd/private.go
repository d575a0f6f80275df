package cmd

import (
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"pkg/fetch/p2p"
)

// The ports that seeds listen at.
const (
	seedPort = 4107
	anyPort  = 0
)

// modeFlag is for commands that fetch no content, but heed the mode.
func modeFlag() cli.Flag {
	return &cli.StringFlag{Name: "mode", Usage: "`WHOM` to ask: auto, p2p, http or offline (PKG_MODE)"}
}

// swarmKeyFlag is for every command that speaks to peers.
func swarmKeyFlag() cli.Flag {
	return &cli.StringFlag{Name: "swarm-key", Usage: "speak only to peers that have the key in `FILE` too, as private IPFS networks do (PKG_SWARM_KEY)"}
}

// swarmKeyFile is the file that --swarm-key names, else PKG_SWARM_KEY, as an absolute path; "" is none.
func (e *Env) swarmKeyFile(c *cli.Context) (string, error) {
	if file := c.String("swarm-key"); file != "" {
		return e.Path(file)
	}
	if file := e.Getenv("PKG_SWARM_KEY"); file != "" {
		return e.envPath(file)
	}
	return "", nil
}

// swarmKey reads that file; nil is no key.
func (e *Env) swarmKey(c *cli.Context) ([]byte, error) {
	path, err := e.swarmKeyFile(c)
	if err != nil || path == "" {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // G304: the user names it
	if err != nil {
		return nil, fmt.Errorf("read the swarm key: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, fmt.Errorf("read the swarm key: %w", err)
	}
	key, err := p2p.ParseSwarmKey(text)
	if err != nil {
		return nil, fail(exitFailed, "$EDITOR "+path, "%s: %w", path, err)
	}
	return key, nil
}

// listenAt are the addresses of all interfaces at a port: TCP, and QUIC unless the swarm is private.
func listenAt(port int, private bool) []string {
	out := []string{fmt.Sprintf("/ip4/0.0.0.0/tcp/%d", port)}
	if !private {
		out = append(out, fmt.Sprintf("/ip4/0.0.0.0/udp/%d/quic-v1", port))
	}
	return out
}

// checkListen refuses addresses that nobody can listen at. flag is as the user writes it, help what would work.
func checkListen(flag, help string, addrs []string, private bool) error {
	for _, a := range addrs {
		if err := p2p.CheckListen(a, private); err != nil {
			return &usageError{Err: fmt.Errorf("%s: %w", flag, err), Help: help}
		}
	}
	return nil
}
