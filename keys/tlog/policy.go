package tlog

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
)

// Limits of a policy we read; C2SP tlog-policy asks for at least 32 of each.
const (
	maxPolicy  = 64 << 10
	maxDefined = 64 // logs, witnesses and groups, each
)

// Policy is a parsed C2SP tlog-policy: known logs, known witnesses, and which of them make a quorum. The zero Policy knows
// no log and asks for no witness.
type Policy struct {
	Logs      []Log
	Witnesses []Witness
	groups    []group
	quorum    string // a witness, a group, or "none" or "" for no witness
}

// Log is a log line of a policy.
type Log struct {
	Verifier note.Verifier
	URL      string // "" when the policy has none
}

// Witness is a witness line of a policy.
type Witness struct {
	Name     string // within the policy
	Verifier note.Verifier
	URL      string // "" when the policy has none
}

// group counts as having witnessed when k of its members have.
type group struct {
	name    string
	k       int
	members []string
}

// ParsePolicy reads a policy. It follows C2SP tlog-policy strictly; of the key types it knows 0x01 for logs and 0x04 for
// witnesses.
func ParsePolicy(text string) (Policy, error) {
	if len(text) > maxPolicy {
		return Policy{}, errors.New("malformed policy: too large")
	}
	for _, b := range []byte(text) {
		if b < 0x20 && b != '\t' && b != '\n' || b == 0x7f {
			return Policy{}, fmt.Errorf("malformed policy: byte 0x%02x is not allowed", b)
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		return Policy{}, errors.New("malformed policy: the last line has no newline")
	}
	p := policyParser{kind: map[string]string{}, member: map[string]bool{}, keys: map[string]bool{}}
	line := 0
	for text := range strings.Lines(text) {
		line++
		items := strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
		if len(items) == 0 || strings.HasPrefix(items[0], "#") {
			continue
		}
		if err := p.line(items[0], items[1:]); err != nil {
			return Policy{}, fmt.Errorf("malformed policy: line %d: %w", line, err)
		}
	}
	if p.policy.quorum == "" {
		return Policy{}, errors.New("malformed policy: no quorum line")
	}
	return p.policy, nil
}

type policyParser struct {
	policy Policy
	kind   map[string]string // name → witness or group
	member map[string]bool   // names that are in a group already
	keys   map[string]bool   // keyword and public key
}

func (p *policyParser) line(word string, items []string) error {
	switch word {
	case "log":
		return p.log(items)
	case "witness":
		return p.witness(items)
	case "group":
		return p.group(items)
	case "quorum":
		return p.quorum(items)
	}
	return fmt.Errorf("unknown keyword %q", word)
}

func (p *policyParser) log(items []string) error {
	if len(items) < 1 || len(items) > 2 || len(p.policy.Logs) == maxDefined {
		return errors.New("want: log <vkey> [<url>]")
	}
	k, err := parseKey(items[0], algEd25519)
	if err != nil {
		return err
	}
	if err := p.key("log", k); err != nil {
		return err
	}
	p.policy.Logs = append(p.policy.Logs, Log{Verifier: k, URL: strings.Join(items[1:], "")})
	return nil
}

func (p *policyParser) witness(items []string) error {
	if len(items) < 2 || len(items) > 3 || len(p.policy.Witnesses) == maxDefined {
		return errors.New("want: witness <name> <vkey> [<url>]")
	}
	k, err := parseKey(items[1], algCosignature)
	if err != nil {
		return err
	}
	if err := errors.Join(p.define(items[0], "witness"), p.key("witness", k)); err != nil {
		return err
	}
	p.policy.Witnesses = append(p.policy.Witnesses,
		Witness{Name: items[0], Verifier: k, URL: strings.Join(items[2:], "")})
	return nil
}

func (p *policyParser) group(items []string) error {
	if len(items) < 3 || len(p.policy.groups) == maxDefined {
		return errors.New("want: group <name> all|any|<k> <name>")
	}
	g := group{name: items[0], members: items[2:]}
	for _, m := range g.members {
		if p.kind[m] == "" {
			return fmt.Errorf("%q is not defined above", m)
		}
		if p.member[m] {
			return fmt.Errorf("%q is a member twice", m)
		}
		p.member[m] = true
	}
	switch items[1] {
	case "all":
		g.k = len(g.members)
	case "any":
		g.k = 1
	default:
		k, err := parseDecimal(items[1])
		if err != nil || k < 1 || k > int64(len(g.members)) {
			return fmt.Errorf("threshold %q of %d members", items[1], len(g.members))
		}
		g.k = int(k)
	}
	p.policy.groups = append(p.policy.groups, g)
	return p.define(g.name, "group")
}

func (p *policyParser) quorum(items []string) error {
	if len(items) != 1 || p.policy.quorum != "" {
		return errors.New("want one line: quorum <name>")
	}
	if items[0] != "none" && p.kind[items[0]] == "" {
		return fmt.Errorf("%q is not defined above", items[0])
	}
	p.policy.quorum = items[0]
	return nil
}

// define enters a name into the single namespace of witnesses and groups.
func (p *policyParser) define(name, kind string) error {
	if name == "none" || p.kind[name] != "" {
		return fmt.Errorf("the name %q is taken", name)
	}
	p.kind[name] = kind
	return nil
}

// key refuses a public key that another line of the same kind has, whatever its name.
func (p *policyParser) key(kind string, k *key) error {
	id := kind + string(k.pub[:])
	if p.keys[id] {
		return fmt.Errorf("the key of %s %s stands twice", kind, k.name)
	}
	p.keys[id] = true
	return nil
}

// QuorumTime returns the newest time at which a quorum stood behind what was cosigned: for k of n witnesses, the k-th
// newest of their times. It is false when there is no quorum. With a policy that asks for no witness it is 0 and true.
func (p Policy) QuorumTime(cosigned []Cosignature) (t int64, ok bool) {
	if !p.Witnessed() {
		return 0, true
	}
	times := map[string]int64{}
	for _, c := range cosigned {
		if old, seen := times[c.Name]; !seen || c.T > old {
			times[c.Name] = c.T
		}
	}
	for _, g := range p.groups { // members stand before their group
		var have []int64
		for _, m := range g.members {
			if t, ok := times[m]; ok {
				have = append(have, t)
			}
		}
		if len(have) >= g.k {
			slices.Sort(have)
			times[g.name] = have[len(have)-g.k]
		}
	}
	t, ok = times[p.quorum]
	return t, ok
}

// Witnessed reports whether the policy asks for any witness.
func (p Policy) Witnessed() bool { return p.quorum != "" && p.quorum != "none" }

// verifiers returns everyone whose signature on a checkpoint means something to us.
func (p Policy) verifiers(logs []note.Verifier) note.Verifiers {
	all := slices.Clone(logs)
	for _, w := range p.Witnesses {
		all = append(all, w.Verifier)
	}
	return note.VerifierList(all...)
}

// cosignatures returns those of the verified signatures of n that the policy's witnesses made.
func (p Policy) cosignatures(n *note.Note) ([]Cosignature, error) {
	var out []Cosignature
	for _, s := range n.Sigs {
		for _, w := range p.Witnesses {
			if s.Name != w.Verifier.Name() || s.Hash != w.Verifier.KeyHash() {
				continue
			}
			raw, err := base64.StdEncoding.DecodeString(s.Base64)
			if err != nil || len(raw) < 4 || binary.BigEndian.Uint32(raw) != s.Hash {
				return nil, errors.New("malformed checkpoint: bad cosignature")
			}
			t, ok := cosignedAt(raw[4:])
			if !ok {
				return nil, errors.New("malformed checkpoint: bad cosignature")
			}
			out = append(out, Cosignature{Name: w.Name, Key: s.Name, T: t})
		}
	}
	return out, nil
}

// describe says what the policy asks for.
func (p Policy) describe() string {
	for _, g := range p.groups {
		if g.name == p.quorum {
			return strconv.Itoa(g.k) + " of " + strings.Join(g.members, ", ")
		}
	}
	return "a cosignature of " + p.quorum
}

func cosignedBy(cosigned []Cosignature) string {
	var names []string
	for _, c := range cosigned {
		names = append(names, c.Name)
	}
	if len(names) == 0 {
		return "no cosignature"
	}
	return "cosigned by " + strings.Join(names, ", ")
}

// names lists key names with their IDs, for messages.
func names(vs []note.Verifier) string {
	var out []string
	for _, v := range vs {
		out = append(out, fmt.Sprintf("%s+%08x", v.Name(), v.KeyHash()))
	}
	return strings.Join(out, ", ")
}

// signedBy lists who claims to have signed the note text, for messages.
func signedBy(text []byte) string {
	n, err := note.Open(text, note.VerifierList())
	unverified, ok := errors.AsType[*note.UnverifiedNoteError](err)
	if ok {
		n = unverified.Note
	}
	if n == nil {
		return "nobody"
	}
	var out []string
	for _, s := range n.UnverifiedSigs {
		out = append(out, fmt.Sprintf("%s+%08x", s.Name, s.Hash))
	}
	return string(bytes.ToValidUTF8([]byte(strings.Join(out, ", ")), nil))
}
