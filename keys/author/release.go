package author

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"pkg/keys/internal/cbor"
	"pkg/lockfile/block"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

// Bounds on texts, in bytes. An entry is smaller than all of them together.
const (
	maxName       = 129 // scope, slash, name
	maxOrigin     = 255
	maxText       = 4 << 10 // descriptions, reasons, messages
	maxLicense    = 256
	maxVersion    = 256
	maxConstraint = 256
	maxID         = 64
	maxCommand    = 64
	maxPath       = 1024
	maxType       = 256

	maxBytes = 1 << 50 // of a package
	maxFiles = 1 << 32
)

var (
	errSorted   = errors.New("a list is not sorted, each item once")
	errEmpty    = errors.New("a text is empty")
	errFlag     = errors.New("a flag is there and not set")
	errCommand  = errors.New("not the name of a command")
	errBinPath  = errors.New("the path of a command is not inside the package")
	errRegistry = errors.New("the registry is not an id")
)

// Dependency is one package that a release needs.
type Dependency struct {
	Registry   string // its id; "" is the registry the release is published in
	Name       name.Name
	Constraint string // as written; not parsed when read, so that an odd one does not hide the release
	Optional   bool
}

// Attestation points to a statement about a release.
type Attestation struct {
	Type string
	CID  cid.Cid
}

// Release publishes a version.
type Release struct {
	Version      string  // strict semver
	Root         cid.Cid // of the package's directory
	Size         uint64  // bytes of all files
	Files        uint64  // their number
	Deps         []Dependency
	Description  string
	License      string
	Bin          map[string]string // command to path
	Attestations []Attestation
}

func (v *Release) append(out []byte) []byte {
	out = cbor.AppendMap(out, 9)
	out = appendBin(cbor.AppendText(out, "bin"), v.Bin)
	out = appendDeps(cbor.AppendText(out, "deps"), v.Deps)
	out = cbor.AppendLink(cbor.AppendText(out, "root"), v.Root)
	out = cbor.AppendUint(cbor.AppendText(out, "size"), v.Size)
	out = cbor.AppendUint(cbor.AppendText(out, "files"), v.Files)
	out = cbor.AppendText(cbor.AppendText(out, "license"), v.License)
	out = cbor.AppendText(cbor.AppendText(out, "version"), v.Version)
	out = cbor.AppendText(cbor.AppendText(out, "description"), v.Description)
	out = cbor.AppendList(cbor.AppendText(out, "attestations"), len(v.Attestations))
	sorted := slices.Clone(v.Attestations)
	slices.SortFunc(sorted, compareAttestations)
	for _, a := range sorted {
		out = cbor.AppendMap(out, 2)
		out = cbor.AppendLink(cbor.AppendText(out, "cid"), a.CID)
		out = cbor.AppendText(cbor.AppendText(out, "type"), a.Type)
	}
	return out
}

func readRelease(r *cbor.Reader) *Release {
	v := &Release{}
	readMap(r, 9)
	r.Key("bin")
	v.Bin = readBin(r)
	r.Key("deps")
	v.Deps = readDeps(r)
	r.Key("root")
	v.Root = r.Link()
	r.Key("size")
	v.Size = r.Uint()
	r.Key("files")
	v.Files = r.Uint()
	if v.Size > maxBytes || v.Files > maxFiles {
		r.Fail(errBounds)
	}
	r.Key("license")
	v.License = r.Text(maxLicense)
	r.Key("version")
	v.Version = readVersion(r)
	r.Key("description")
	v.Description = r.Text(maxText)
	r.Key("attestations")
	v.Attestations = readAttestations(r)
	return v
}

func compareAttestations(a, b Attestation) int {
	if c := strings.Compare(a.Type, b.Type); c != 0 {
		return c
	}
	return strings.Compare(a.CID.KeyString(), b.CID.KeyString())
}

func readAttestations(r *cbor.Reader) []Attestation {
	var all []Attestation
	for i := range r.List() {
		var a Attestation
		readMap(r, 2)
		r.Key("cid")
		a.CID = r.Link()
		r.Key("type")
		a.Type = readText(r, maxType)
		if i > 0 && compareAttestations(all[i-1], a) >= 0 {
			r.Fail(errSorted)
		}
		if r.Err() != nil {
			return nil
		}
		all = append(all, a)
	}
	return all
}

func appendDeps(out []byte, deps []Dependency) []byte {
	deps = slices.Clone(deps)
	slices.SortFunc(deps, func(a, b Dependency) int { return strings.Compare(string(a.Name), string(b.Name)) })
	out = cbor.AppendList(out, len(deps))
	for _, d := range deps {
		n := 2
		if d.Optional {
			n++
		}
		if d.Registry != "" {
			n++
		}
		out = cbor.AppendMap(out, n)
		out = cbor.AppendText(cbor.AppendText(out, "name"), string(d.Name))
		if d.Optional {
			out = cbor.AppendBool(cbor.AppendText(out, "optional"), true)
		}
		if d.Registry != "" {
			out = cbor.AppendText(cbor.AppendText(out, "registry"), d.Registry)
		}
		out = cbor.AppendText(cbor.AppendText(out, "constraint"), d.Constraint)
	}
	return out
}

func readDeps(r *cbor.Reader) []Dependency {
	var deps []Dependency
	for i := range r.List() {
		d := readDep(r)
		if i > 0 && deps[i-1].Name >= d.Name {
			r.Fail(errSorted)
		}
		if r.Err() != nil {
			return nil
		}
		deps = append(deps, d)
	}
	return deps
}

func readDep(r *cbor.Reader) (d Dependency) {
	fields := r.Map()
	r.Key("name")
	if n, err := name.Parse(r.Text(maxName)); err != nil {
		r.Fail(err)
	} else {
		d.Name = n
	}
	want := 2
	if r.OptKey("optional") {
		want++
		if d.Optional = r.Bool(); !d.Optional {
			r.Fail(errFlag)
		}
	}
	if r.OptKey("registry") {
		want++
		d.Registry = r.Text(maxID)
		if c, err := block.Parse(d.Registry); err != nil || c.Prefix().Codec != cid.DagCBOR {
			r.Fail(errRegistry)
		}
	}
	r.Key("constraint")
	d.Constraint = readText(r, maxConstraint)
	if fields != want {
		r.Fail(errFields)
	}
	return d
}

func appendBin(out []byte, bin map[string]string) []byte {
	commands := slices.SortedFunc(maps.Keys(bin), func(a, b string) int {
		if cbor.Before(a, b) {
			return -1
		}
		return 1
	})
	out = cbor.AppendMap(out, len(commands))
	for _, c := range commands {
		out = cbor.AppendText(cbor.AppendText(out, c), bin[c])
	}
	return out
}

func readBin(r *cbor.Reader) map[string]string {
	n := r.Map()
	if n == 0 {
		return nil
	}
	bin := make(map[string]string, min(n, 64))
	last := ""
	for range n {
		c, path := r.Text(maxCommand), r.Text(maxPath)
		switch {
		case r.Err() != nil:
			return nil
		case !cbor.Before(last, c):
			r.Fail(errSorted)
		case !isCommand(c):
			r.Fail(fmt.Errorf("%w: %q", errCommand, c))
		case !fs.ValidPath(path) || path == "." || strings.ContainsAny(path, "\\\x00"):
			r.Fail(fmt.Errorf("%w: %q", errBinPath, path))
		}
		bin[c], last = path, c
	}
	return bin
}

// isCommand reports whether c can be the name of a file in a directory of commands.
func isCommand(c string) bool {
	if c == "" || c[0] == '.' {
		return false
	}
	for i := range len(c) {
		if b := c[i] | 0x20; (b < 'a' || b > 'z') && (c[i] < '0' || c[i] > '9') && !strings.Contains("._-", c[i:i+1]) {
			return false
		}
	}
	return true
}

// readVersion reads a strict semver version.
func readVersion(r *cbor.Reader) string {
	text := r.Text(maxVersion)
	if _, err := semver.Parse(text); err != nil {
		r.Fail(err)
	}
	return text
}

// readText reads a text that is not empty.
func readText(r *cbor.Reader, limit int) string {
	s := r.Text(limit)
	if s == "" {
		r.Fail(errEmpty)
	}
	return s
}
