package tracker

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"pkg/lockfile/block"
)

const (
	version      = 1
	domain       = "pkg tracker announcement"
	maxAnnounce  = 512 << 10 // bytes of a signed announcement
	maxSignature = 64        // bytes of an ed25519 signature
	maxProtocol  = 32        // bytes of the name of a protocol
)

var (
	errMalformed = errors.New("malformed announcement")
	errSignature = errors.New("the signature is not by this peer for this registry")
)

// Announcement says that a peer has roots, for a while. It owns its slices.
type Announcement struct {
	Peer      peer.ID        // of an ed25519 key; Sign sets it
	Addrs     []ma.Multiaddr // at most MaxAddrs; none are needed to withdraw
	Protocols []string       // at most MaxProtocols; "transport-bitswap" for those that IPFS nodes shall find
	Roots     []cid.Cid      // at most MaxRoots
	Lifetime  time.Duration  // whole seconds, at most MaxLifetime; 0 withdraws Roots, or the peer if there are none
	Time      time.Time      // when it was made, in whole seconds
	Seq       uint64         // more than that of the peer's announcement before
}

// statement is the JSON of an announcement.
type statement struct {
	V         int      `json:"v"`
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs,omitempty"`
	Protocols []string `json:"protocols,omitempty"`
	Roots     []string `json:"roots,omitempty"`
	Lifetime  int64    `json:"lifetime"` // seconds
	Time      int64    `json:"time"`     // seconds since 1970
	Seq       uint64   `json:"seq"`
}

// Sign returns the body to post: the announcement by the holder of key to a registry. It fails if the announcement
// breaks a rule or the key is not an ed25519 key.
func (a Announcement) Sign(key crypto.PrivKey, registry string) ([]byte, error) {
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("sign announcement: %w", err)
	}
	if key.Type() != crypto.Ed25519 {
		return nil, fmt.Errorf("sign announcement: %s is not an ed25519 key", id)
	}
	a.Peer = id
	if err := a.check(); err != nil {
		return nil, fmt.Errorf("sign announcement: %w", err)
	}
	s := statement{
		V: version, Peer: id.String(), Protocols: a.Protocols,
		Lifetime: int64(a.Lifetime / time.Second), Time: a.Time.Unix(), Seq: a.Seq,
	}
	for _, m := range a.Addrs {
		s.Addrs = append(s.Addrs, m.String())
	}
	for _, root := range a.Roots {
		s.Roots = append(s.Roots, root.String())
	}
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("sign announcement: %w", err)
	}
	sig, err := key.Sign(signed(registry, body))
	if err != nil {
		return nil, fmt.Errorf("sign announcement: %w", err)
	}
	body = append(body, '\n')
	body = base64.StdEncoding.AppendEncode(body, sig)
	return append(body, '\n'), nil
}

// signed is what a signature covers.
func signed(registry string, statement []byte) []byte {
	b := make([]byte, 0, len(domain)+len(registry)+len(statement)+8)
	for _, s := range []string{domain, registry} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, statement...)
}

// Open parses and verifies a body that Sign made for a registry. It knows neither the time nor what was announced
// before.
func Open(body []byte, registry string) (Announcement, error) {
	if len(body) > maxAnnounce {
		return Announcement{}, fmt.Errorf("%w: longer than %d bytes", errMalformed, maxAnnounce)
	}
	text, rest, _ := bytes.Cut(body, []byte("\n"))
	line, ended := bytes.CutSuffix(rest, []byte("\n"))
	sig, err := base64.StdEncoding.Strict().DecodeString(string(line))
	if err != nil || !ended || len(sig) != maxSignature || bytes.ContainsAny(line, "\r\n") {
		return Announcement{}, fmt.Errorf("%w: no line with a signature at its end", errMalformed)
	}
	var s statement
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil {
		return Announcement{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Announcement{}, fmt.Errorf("%w: more than one value", errMalformed)
	}
	if s.V != version {
		return Announcement{}, fmt.Errorf("%w: version %d, not %d", errMalformed, s.V, version)
	}
	id, key, err := parsePeer(s.Peer)
	if err != nil {
		return Announcement{}, err
	}
	// Before the rest is parsed, which costs more.
	if ok, err := key.Verify(signed(registry, text), sig); err != nil || !ok {
		return Announcement{}, errSignature
	}
	return s.announcement(id)
}

// parsePeer returns the ed25519 key that a peer id holds.
func parsePeer(text string) (peer.ID, crypto.PubKey, error) {
	if len(text) > 2*maxProtocol+16 {
		return "", nil, fmt.Errorf("%w: the peer id is too long", errMalformed)
	}
	id, err := peer.Decode(text)
	if err != nil {
		return "", nil, fmt.Errorf("%w: peer id: %w", errMalformed, err)
	}
	key, err := id.ExtractPublicKey()
	if err != nil || key.Type() != crypto.Ed25519 {
		return "", nil, fmt.Errorf("%w: %s is not the id of an ed25519 key", errMalformed, id)
	}
	if again, err := peer.IDFromPublicKey(key); err != nil || again != id {
		return "", nil, fmt.Errorf("%w: %s is not how its key is written", errMalformed, id)
	}
	return id, key, nil
}

// announcement parses the rest of a statement whose signature holds.
func (s *statement) announcement(id peer.ID) (Announcement, error) {
	if s.Lifetime < 0 || s.Lifetime > int64(MaxLifetime/time.Second) {
		return Announcement{}, fmt.Errorf("%w: a lifetime of %d s", errMalformed, s.Lifetime)
	}
	a := Announcement{
		Peer: id, Protocols: s.Protocols, Lifetime: time.Duration(s.Lifetime) * time.Second,
		Time: time.Unix(s.Time, 0), Seq: s.Seq,
	}
	if len(s.Addrs) > MaxAddrs || len(s.Roots) > MaxRoots {
		return Announcement{}, fmt.Errorf("%w: %d addresses and %d roots, at most %d and %d can be",
			errMalformed, len(s.Addrs), len(s.Roots), MaxAddrs, MaxRoots)
	}
	for _, text := range s.Addrs {
		m, err := parseMultiaddr(text)
		if err != nil {
			return Announcement{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		a.Addrs = append(a.Addrs, m)
	}
	for _, text := range s.Roots {
		root, err := block.Parse(text)
		if err != nil {
			return Announcement{}, fmt.Errorf("%w: %w", errMalformed, err)
		}
		a.Roots = append(a.Roots, root)
	}
	return a, a.check()
}

// check holds the rules that need neither time nor place.
func (a Announcement) check() error {
	switch {
	case len(a.Addrs) > MaxAddrs:
		return fmt.Errorf("%w: %d addresses, at most %d can be", errMalformed, len(a.Addrs), MaxAddrs)
	case len(a.Protocols) > MaxProtocols:
		return fmt.Errorf("%w: %d protocols, at most %d can be", errMalformed, len(a.Protocols), MaxProtocols)
	case len(a.Roots) > MaxRoots:
		return fmt.Errorf("%w: %d roots, at most %d can be", errMalformed, len(a.Roots), MaxRoots)
	case a.Lifetime < 0 || a.Lifetime > MaxLifetime || a.Lifetime%time.Second != 0:
		return fmt.Errorf("%w: a lifetime of %s: whole seconds to %s can be", errMalformed, a.Lifetime, MaxLifetime)
	case a.Lifetime > 0 && (len(a.Roots) == 0 || len(a.Addrs) == 0):
		return fmt.Errorf("%w: a lifetime, but no roots or no addresses", errMalformed)
	}
	for _, m := range a.Addrs {
		if _, err := parseAddr(m, a.Peer); err != nil {
			return fmt.Errorf("%w: %w", errMalformed, err)
		}
	}
	for _, p := range a.Protocols {
		if p == "" || len(p) > maxProtocol || strings.ContainsFunc(p, notInProtocol) {
			return fmt.Errorf("%w: %q is not the name of a protocol", errMalformed, clip(p))
		}
	}
	for _, root := range a.Roots {
		if err := block.Check(root); err != nil || root.Type() != cid.DagProtobuf {
			return fmt.Errorf("%w: %s is not the root of a package", errMalformed, root)
		}
	}
	return nil
}

func notInProtocol(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
}
