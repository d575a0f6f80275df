package author

import (
	"fmt"

	"pkg/keys/internal/cbor"
	"pkg/lockfile/semver"
)

// Genesis begins a log.
type Genesis struct {
	Origin  string // of the registry whose namespace the name is in
	Name    string // as claimed: whether it is a valid name is for the registry, and for whoever looks it up, to say
	Root    RootSet
	Next    *[32]byte // RootHash of the root set after this one, if announced
	Release []ReleaseKey
}

func (v *Genesis) append(out []byte) []byte {
	out = cbor.AppendMap(out, 5)
	out = cbor.AppendText(cbor.AppendText(out, "name"), v.Name)
	out = appendNext(cbor.AppendText(out, "next"), v.Next)
	out = v.Root.sorted().append(cbor.AppendText(out, "root"))
	out = cbor.AppendText(cbor.AppendText(out, "origin"), v.Origin)
	return appendReleaseKeys(cbor.AppendText(out, "release"), v.Release)
}

func readGenesis(r *cbor.Reader) *Genesis {
	v := &Genesis{}
	readMap(r, 5)
	r.Key("name")
	v.Name = readText(r, maxName)
	r.Key("next")
	v.Next = readNext(r)
	r.Key("root")
	v.Root = readRootSet(r)
	r.Key("origin")
	v.Origin = readText(r, maxOrigin)
	r.Key("release")
	v.Release = readReleaseKeys(r)
	return v
}

// Keys replaces who may sign.
type Keys struct {
	Root    RootSet
	Next    *[32]byte
	Release []ReleaseKey
}

func (v *Keys) append(out []byte) []byte {
	out = cbor.AppendMap(out, 3)
	out = appendNext(cbor.AppendText(out, "next"), v.Next)
	out = v.Root.sorted().append(cbor.AppendText(out, "root"))
	return appendReleaseKeys(cbor.AppendText(out, "release"), v.Release)
}

func readKeys(r *cbor.Reader) *Keys {
	v := &Keys{}
	readMap(r, 3)
	r.Key("next")
	v.Next = readNext(r)
	r.Key("root")
	v.Root = readRootSet(r)
	r.Key("release")
	v.Release = readReleaseKeys(r)
	return v
}

// Yank takes a version out of new resolutions, or as an unyank back in.
type Yank struct {
	Version string // exactly as released
	Reason  string // may be empty
}

func (v *Yank) append(out []byte) []byte {
	out = cbor.AppendMap(out, 2)
	out = cbor.AppendText(cbor.AppendText(out, "reason"), v.Reason)
	return cbor.AppendText(cbor.AppendText(out, "version"), v.Version)
}

func readYank(r *cbor.Reader) *Yank {
	v := &Yank{}
	readMap(r, 2)
	r.Key("reason")
	v.Reason = r.Text(maxText)
	r.Key("version")
	v.Version = readVersion(r)
	return v
}

// Deprecate advises against versions that are released already.
type Deprecate struct {
	Versions string // a constraint; "" is every version
	Message  string // "" takes the advice back
	Use      string // what to use instead, or ""
}

func (v *Deprecate) append(out []byte) []byte {
	out = cbor.AppendMap(out, 3)
	out = cbor.AppendText(cbor.AppendText(out, "use"), v.Use)
	out = cbor.AppendText(cbor.AppendText(out, "message"), v.Message)
	return cbor.AppendText(cbor.AppendText(out, "versions"), v.Versions)
}

func readDeprecate(r *cbor.Reader) *Deprecate {
	v := &Deprecate{}
	readMap(r, 3)
	r.Key("use")
	v.Use = r.Text(maxText)
	r.Key("message")
	v.Message = r.Text(maxText)
	r.Key("versions")
	v.Versions = r.Text(maxConstraint)
	return v
}

// Disown marks the releases of entries [From, this one) as not the author's: a key was stolen. It erases nothing.
type Disown struct {
	From   uint64
	Reason string
}

func (v *Disown) append(out []byte) []byte {
	out = cbor.AppendMap(out, 2)
	out = cbor.AppendUint(cbor.AppendText(out, "from"), v.From)
	return cbor.AppendText(cbor.AppendText(out, "reason"), v.Reason)
}

func readDisown(r *cbor.Reader) *Disown {
	v := &Disown{}
	readMap(r, 2)
	r.Key("from")
	v.From = r.Uint()
	r.Key("reason")
	v.Reason = r.Text(maxText)
	return v
}

// checkConstraints parses what a reader would pass over.
func (b *Body) checkConstraints() error {
	if b.Release != nil {
		for _, d := range b.Release.Deps {
			if _, err := semver.ParseConstraint(d.Constraint); err != nil {
				return fmt.Errorf("dependency %s: %w", d.Name, err)
			}
		}
	}
	if b.Deprecate != nil && b.Deprecate.Versions != "" {
		if _, err := semver.ParseConstraint(b.Deprecate.Versions); err != nil {
			return fmt.Errorf("deprecated versions: %w", err)
		}
	}
	return nil
}
