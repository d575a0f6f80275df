package namespace

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/note"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/internal/cbor"
	"pkg/keys/tlog"
	"pkg/lockfile/block"
	"pkg/lockfile/name"
)

const (
	trustDomain = "pkg trust root v1\n"

	// MaxTrust bounds the bytes of a signed trust root.
	MaxTrust = 64 << 10

	maxLogs     = 16
	maxRootKeys = 16
	maxPolicy   = 32 << 10
	maxAge      = 366 * 24 * 60 * 60
)

// Trust is one trust root: who speaks for a registry. The first has N = 0, and its CID is the identity of the registry.
type Trust struct {
	N      uint64
	Origin string         // of the namespace log
	Keys   author.RootSet // that sign this trust root and the next
	Logs   []string       // vkeys of the namespace log (C2SP signed-note); their name is the origin
	Policy string         // C2SP tlog-policy of witnesses, naming no log; "" asks for none
	MaxAge int64          // seconds after which a head is stale; 0 is a day
	Reset  *Reset         // the log no longer continues what was known of it
}

// Reset says where a log starts over.
type Reset struct {
	Size uint64 // leaves; 0 when nothing is kept
	Root [32]byte
}

// ResetError is a valid next trust root that says the log starts over: nothing of the registry is believed until a person
// accepts it.
type ResetError struct {
	Trust Trust
}

func (e *ResetError) Error() string {
	return fmt.Sprintf("trust root %d of %s starts its log over at %d leaves", e.Trust.N, e.Trust.Origin, e.Trust.Reset.Size)
}

// TrustID returns the CID of a trust root, given its signed body.
func TrustID(body []byte) cid.Cid { return block.Sum(cid.DagCBOR, body) }

// body returns what is signed.
func (t *Trust) body() []byte {
	b := cbor.AppendMap(nil, 8)
	b = cbor.AppendUint(cbor.AppendText(b, "n"), t.N)
	b = cbor.AppendUint(cbor.AppendText(b, "v"), 1)
	b = cbor.AppendList(cbor.AppendText(b, "logs"), len(t.Logs))
	for _, l := range t.Logs {
		b = cbor.AppendText(b, l)
	}
	b = cbor.AppendMap(cbor.AppendText(b, "root"), 2)
	b = cbor.AppendList(cbor.AppendText(b, "keys"), len(t.Keys.Keys))
	for _, k := range t.Keys.Keys {
		b = cbor.AppendBytes(b, k[:])
	}
	b = cbor.AppendUint(cbor.AppendText(b, "threshold"), t.Keys.Threshold)
	b = cbor.AppendText(b, "reset")
	if t.Reset == nil {
		b = cbor.AppendNull(b)
	} else {
		b = cbor.AppendMap(b, 2)
		b = cbor.AppendBytes(cbor.AppendText(b, "root"), t.Reset.Root[:])
		b = cbor.AppendUint(cbor.AppendText(b, "size"), t.Reset.Size)
	}
	b = cbor.AppendText(cbor.AppendText(b, "origin"), t.Origin)
	b = cbor.AppendText(cbor.AppendText(b, "policy"), t.Policy)
	return cbor.AppendInt(cbor.AppendText(b, "max-age"), t.MaxAge)
}

// SignTrust returns the signed trust root. OpenTrust says whether it is a valid one.
func SignTrust(t Trust, ks ...keys.Key) []byte {
	return keys.SignEnvelope(trustDomain, t.body(), ks...)
}

// OpenTrust reads a signed trust root strictly and checks that its own keys signed it. That makes it consistent, not
// trusted: of root 0 the id says whether it is the expected one, of later ones [Trust.Next].
func OpenTrust(raw []byte) (t Trust, id cid.Cid, err error) {
	t, sigs, id, err := openTrust(raw)
	if err != nil {
		return Trust{}, cid.Undef, err
	}
	if !t.Keys.Met(sigs) {
		return Trust{}, cid.Undef, t.distrust("a trust root is not signed by its own keys", t.Keys, sigs, raw)
	}
	return t, id, nil
}

// Next verifies raw as the trust root that follows t: the next number, the same origin, signed by the thresholds of both.
// It says nothing of a Reset in it, which [Seen.Advance] stops at.
func (t *Trust) Next(raw []byte) (Trust, error) {
	next, sigs, _, err := openTrust(raw)
	if err != nil {
		return Trust{}, err
	}
	switch {
	case next.N != t.N+1:
		return Trust{}, fmt.Errorf("trust root %d does not follow %d", next.N, t.N)
	case next.Origin != t.Origin:
		return Trust{}, &keys.TrustError{
			Subject: t.Origin, What: "the next trust root is of another registry", Ours: t.Origin, Theirs: next.Origin,
			Evidence: []keys.Evidence{{Name: "trust root", Data: raw}},
		}
	case !t.Keys.Met(sigs):
		return Trust{}, t.distrust("the next trust root is not signed by the keys of this one", t.Keys, sigs, raw)
	case !next.Keys.Met(sigs):
		return Trust{}, t.distrust("a trust root is not signed by its own keys", next.Keys, sigs, raw)
	}
	for _, s := range sigs {
		if !t.Keys.Has(s.Key) && !next.Keys.Has(s.Key) {
			return Trust{}, errors.New("malformed trust root: signed by a stranger")
		}
	}
	return next, nil
}

// OpenChain opens the trust roots raws, from root 0 up, and returns the last. Root 0 must have the given id, unless that is
// undefined. Another id is a *keys.TrustError.
func OpenChain(id cid.Cid, raws [][]byte) (t Trust, first cid.Cid, err error) {
	if len(raws) == 0 {
		return Trust{}, cid.Undef, errors.New("open trust roots: there are none")
	}
	if t, first, err = OpenTrust(raws[0]); err != nil {
		return Trust{}, cid.Undef, err
	}
	if t.N != 0 {
		return Trust{}, cid.Undef, fmt.Errorf("open trust roots: the first is root %d", t.N)
	}
	if id.Defined() && !first.Equals(id) {
		return Trust{}, cid.Undef, &keys.TrustError{
			Subject: t.Origin, What: "this is another registry", Ours: id.String(), Theirs: first.String(),
			Evidence: []keys.Evidence{{Name: "trust root", Data: raws[0]}},
		}
	}
	for _, raw := range raws[1:] {
		if t, err = t.Next(raw); err != nil {
			return Trust{}, cid.Undef, err
		}
	}
	return t, first, nil
}

// Age returns MaxAge, or its default of a day.
func (t *Trust) Age() time.Duration {
	if t.MaxAge == 0 {
		return 24 * time.Hour
	}
	return time.Duration(t.MaxAge) * time.Second
}

// verifiers returns the keys and the policy by which checkpoints are opened.
func (t *Trust) verifiers() ([]note.Verifier, tlog.Policy, error) {
	var logs []note.Verifier
	for _, vkey := range t.Logs {
		v, err := tlog.NewLogVerifier(vkey)
		if err != nil {
			return nil, tlog.Policy{}, err
		}
		if v.Name() != t.Origin {
			return nil, tlog.Policy{}, fmt.Errorf("the log key of %q is named %q", t.Origin, v.Name())
		}
		logs = append(logs, v)
	}
	if t.Policy == "" {
		return logs, tlog.Policy{}, nil
	}
	policy, err := tlog.ParsePolicy(t.Policy)
	if err == nil && len(policy.Logs) > 0 {
		err = errors.New("the policy names logs")
	}
	return logs, policy, err
}

func openTrust(raw []byte) (t Trust, sigs []keys.Signature, id cid.Cid, err error) {
	body, sigs, err := keys.OpenEnvelope(trustDomain, raw, MaxTrust)
	if err != nil {
		return Trust{}, nil, cid.Undef, fmt.Errorf("open trust root: %w", err)
	}
	if t, err = decodeTrust(body); err != nil {
		return Trust{}, nil, cid.Undef, err
	}
	return t, sigs, TrustID(body), nil
}

func decodeTrust(body []byte) (t Trust, err error) {
	d := cbor.NewReader(body)
	if d.Map() != 8 {
		return Trust{}, malformed("trust root", d, "wrong number of fields")
	}
	d.Key("n")
	t.N = d.Uint()
	d.Key("v")
	version := d.Uint()
	d.Key("logs")
	if n := d.List(); n > maxLogs {
		d.Fail(errBounds)
	} else {
		for range n {
			t.Logs = append(t.Logs, d.Text(maxText))
		}
	}
	d.Key("root")
	t.Keys = readSet(d)
	d.Key("reset")
	if !d.Null() {
		if d.Map() != 2 {
			return Trust{}, malformed("trust root", d, "bad reset")
		}
		t.Reset = &Reset{}
		d.Key("root")
		t.Reset.Root = d.Bytes32()
		d.Key("size")
		t.Reset.Size = d.Uint()
	}
	d.Key("origin")
	t.Origin = d.Text(maxText)
	d.Key("policy")
	t.Policy = d.Text(maxPolicy)
	d.Key("max-age")
	t.MaxAge = d.Int()
	if d.End() != nil || version != 1 {
		return Trust{}, malformed("trust root", d, "unknown version")
	}
	if err := t.Check(); err != nil {
		return Trust{}, malformed("trust root", d, err.Error())
	}
	return t, nil
}

// readSet reads a root set.
func readSet(d *cbor.Reader) (set author.RootSet) {
	if d.Map() != 2 {
		d.Fail(errors.New("bad root set"))
		return set
	}
	d.Key("keys")
	if n := d.List(); n > maxRootKeys {
		d.Fail(errBounds)
	} else {
		for range n {
			set.Keys = append(set.Keys, d.Bytes32())
		}
	}
	d.Key("threshold")
	set.Threshold = d.Uint()
	return set
}

// Check says what is wrong with t, if anything.
func (t *Trust) Check() error {
	if t.N > maxCount || t.MaxAge < 0 || t.MaxAge > maxAge {
		return errBounds
	}
	if t.N == 0 && t.Reset != nil || t.Reset != nil && t.Reset.Size > maxCount {
		return errors.New("a reset of nothing")
	}
	if err := t.Keys.Check(); err != nil {
		return err
	}
	if len(t.Logs) == 0 || len(t.Logs) > maxLogs {
		return fmt.Errorf("%d log keys", len(t.Logs))
	}
	for i, l := range t.Logs {
		if slices.Contains(t.Logs[:i], l) {
			return errors.New("a log key that stands twice")
		}
	}
	_, _, err := t.verifiers()
	return err
}

func (t *Trust) distrust(what string, want author.RootSet, sigs []keys.Signature, raw []byte) error {
	var who []string
	for _, s := range sigs {
		who = append(who, name.AuthorOf(s.Key).Short())
	}
	return &keys.TrustError{
		Subject: t.Origin, What: what, Ours: describeSet(want), Theirs: fmt.Sprintf("signed by %v", who),
		Evidence: []keys.Evidence{{Name: "trust root", Data: raw}},
	}
}

// describeSet says who is in a root set.
func describeSet(set author.RootSet) string {
	var who []string
	for _, k := range set.Keys {
		who = append(who, name.AuthorOf(k).Short())
	}
	return fmt.Sprintf("%d of %v", set.Threshold, who)
}
