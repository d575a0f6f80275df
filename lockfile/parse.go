package lockfile

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"pkg/lockfile/block"
	"pkg/lockfile/internal/toml"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
)

const maxText = 1 << 10 // bytes of an origin or a path

// file is the shape of pkg.lock.
type file struct {
	Version    int64         `toml:"version"`
	Registries []rawRegistry `toml:"registry"`
	Packages   []rawPackage  `toml:"package"`
}

type rawRegistry struct {
	Name   string `toml:"name"`
	Origin string `toml:"origin"`
	ID     string `toml:"id"`
	Local  bool   `toml:"local"`
}

type rawPackage struct {
	Name         string   `toml:"name"`
	Version      string   `toml:"version"`
	Registry     string   `toml:"registry"`
	Author       string   `toml:"author"`
	ID           string   `toml:"id"`
	Entry        *int64   `toml:"entry"`
	Log          string   `toml:"log"`
	Commit       *int64   `toml:"commit"`
	Root         string   `toml:"root"`
	Size         *int64   `toml:"size"`
	Signer       string   `toml:"signer"`
	Dependencies []string `toml:"dependencies"`
	Path         string   `toml:"path"`
}

// Parse reads a lock of at most 16 MiB, with rows in any order and lines that
// end in LF or CRLF; the result is sorted. It refuses a newer version, unknown
// keys, rows given twice, and dependencies and registries that have no row. The
// error is an *Error.
func Parse(b []byte) (*Lock, error) {
	if err := checkMerged(b); err != nil {
		return nil, err
	}
	doc, err := toml.Parse(b, toml.MaxLock)
	if err != nil {
		if cut := checkEnd(b); cut != nil && len(b) <= toml.MaxLock {
			return nil, cut // the likelier cause
		}
		return nil, wrap(err)
	}
	if err := checkVersion(b, doc); err != nil {
		return nil, err
	}
	if err := checkEnd(b); err != nil {
		return nil, err
	}
	var f file
	if err := doc.Decode(&f); err != nil {
		return nil, wrap(err)
	}
	p := newParser(doc)
	l, err := p.lock(&f)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func wrap(err error) error {
	e := &Error{Msg: err.Error(), Help: "restore it from version control, or delete it and run: pkg install", err: err}
	var te *toml.Error
	if errors.As(err, &te) {
		e.Line, e.Msg = te.Line, te.Msg
	}
	return e
}

// checkMerged finds the marks that a merge leaves.
func checkMerged(b []byte) error {
	line := 1
	for l := range bytes.Lines(b) {
		if bytes.HasPrefix(l, []byte("<<<<<<< ")) {
			return &Error{
				Line: line, Msg: "unresolved merge conflict",
				Help: "keep either side of each conflict, then run: pkg install",
			}
		}
		line++
	}
	return nil
}

// checkVersion refuses a newer format before its keys are called unknown.
func checkVersion(b []byte, doc *toml.Doc) error {
	for _, it := range doc.Items {
		if it.Kind != toml.Pair || len(it.Path) != 1 || it.Path[0] != "version" {
			continue
		}
		raw := string(b[it.Value:it.End])
		v, err := strconv.ParseUint(raw, 10, 63)
		switch {
		case err != nil || v == 0:
			return &Error{Line: it.Line, Msg: fmt.Sprintf("version is %.20q, want %d", raw, Version)}
		case v > Version:
			return &Error{
				Line: it.Line, Msg: fmt.Sprintf("version %d is newer than this pkg reads (%d)", v, Version),
				Help: "install a newer pkg",
			}
		}
		return nil
	}
	return &Error{Msg: "version is missing", Help: "restore the file from version control"}
}

// checkEnd requires the last line, once.
func checkEnd(b []byte) error {
	mark := []byte(strings.TrimSuffix(lastLine, "\n"))
	found, last := 0, false
	for l := range bytes.Lines(b) {
		line, ended := bytes.CutSuffix(l, []byte("\n"))
		last = ended && bytes.Equal(bytes.TrimSuffix(line, []byte("\r")), mark)
		if last {
			found++
		}
	}
	if last && found == 1 {
		return nil
	}
	msg := fmt.Sprintf("it is cut short: the last line is not %q", mark)
	if found > 1 {
		msg = fmt.Sprintf("the line %q is there %d times", mark, found)
	}
	return &Error{Msg: msg, Help: "restore it from version control, or delete it and run: pkg install"}
}

// parser turns the shape into a Lock. Rows are found again by their order.
type parser struct {
	rows map[string][]int // table → line of each row
}

func newParser(doc *toml.Doc) *parser {
	p := &parser{rows: make(map[string][]int)}
	for _, it := range doc.Items {
		if it.Kind == toml.ArrayTable && len(it.Path) == 1 {
			p.rows[it.Path[0]] = append(p.rows[it.Path[0]], it.Line)
		}
	}
	return p
}

// at is the error of the i-th row of a table.
func (p *parser) at(table string, i int, format string, args ...any) error {
	line := 0
	if i < len(p.rows[table]) {
		line = p.rows[table][i]
	}
	err := fmt.Errorf(format, args...)
	return &Error{Line: line, Msg: err.Error(), err: errors.Unwrap(err)}
}

func (p *parser) lock(f *file) (*Lock, error) {
	l := new(Lock)
	names, ids := make(map[string]bool), make(map[string]bool)
	for i, raw := range f.Registries {
		r := Registry(raw)
		if err := checkRegistry(r); err != nil {
			return nil, p.at("registry", i, "registry %.80q: %w", r.Name, err)
		}
		if names[r.Name] || ids[r.ID] {
			return nil, p.at("registry", i, "registry %s or its id is there twice", r.Name)
		}
		names[r.Name], ids[r.ID] = true, true
		l.Registries = append(l.Registries, r)
	}
	seen := make(map[name.Name]string, len(f.Packages))
	for i := range f.Packages {
		row, err := parseRow(&f.Packages[i])
		if err != nil {
			return nil, p.at("package", i, "package %.80q: %w", f.Packages[i].Name, err)
		}
		if _, ok := seen[row.Name]; ok {
			return nil, p.at("package", i, "package %s is there twice", row.Name)
		}
		if row.Path == "" && !names[row.Registry] {
			return nil, p.at("package", i, "package %s: there is no registry %.80q", row.Name, row.Registry)
		}
		seen[row.Name] = row.Registry
		l.Packages = append(l.Packages, row)
	}
	for i := range l.Packages {
		if err := checkEdges(&l.Packages[i], seen); err != nil {
			return nil, p.at("package", i, "package %s: %w", l.Packages[i].Name, err)
		}
	}
	l.Registries = sortedBy(l.Registries, func(r Registry) string { return r.Name })
	l.Packages = sortedBy(l.Packages, func(p Package) string { return string(p.Name) })
	return l, nil
}

func checkRegistry(r Registry) error {
	if n, err := name.Parse(r.Name); err != nil || n.Scope() != "" {
		return errors.New("the name is not a-z, 0-9 and -")
	}
	if err := plain("origin", r.Origin); err != nil {
		return err
	}
	if _, err := block.Parse(r.ID); err != nil {
		return fmt.Errorf("id: %w", err)
	}
	return nil
}

func plain(key, s string) error {
	if s == "" || len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("%s is empty, too long or holds control characters", key)
	}
	return nil
}

// checkEdges wants a row from the right registry for each dependency, once.
func checkEdges(p *Package, rows map[name.Name]string) error {
	p.Dependencies = sortedBy(p.Dependencies, func(d string) string { return d })
	for i, d := range p.Dependencies {
		if i > 0 && d == p.Dependencies[i-1] {
			return fmt.Errorf("dependency %s is there twice", d)
		}
		reg, n := p.Edge(d)
		if got, ok := rows[n]; !ok || got != reg {
			return fmt.Errorf("dependency %.140q has no row", d)
		}
		if p.EdgeTo(reg, n) != d {
			return fmt.Errorf("dependency %s: write %s", d, n)
		}
	}
	return nil
}

func parseRow(raw *rawPackage) (Package, error) {
	out := Package{Registry: raw.Registry, Path: raw.Path}
	if len(raw.Dependencies) > 0 {
		out.Dependencies = raw.Dependencies
	}
	var err error
	if out.Name, err = name.Parse(raw.Name); err != nil {
		return out, err
	}
	if raw.Version != "" || raw.Path == "" {
		if out.Version, err = semver.Parse(raw.Version); err != nil {
			return out, err
		}
	}
	if raw.Path != "" {
		return out, raw.checkPath()
	}
	if out.Author, err = name.ParseAuthor(raw.Author); err != nil {
		return out, err
	}
	if raw.Signer != "" && raw.Signer != raw.Author {
		if out.Signer, err = name.ParseAuthor(raw.Signer); err != nil {
			return out, err
		}
	}
	if out.ID, err = parseHex("id", raw.ID); err != nil {
		return out, err
	}
	if out.Log, err = parseHex("log", raw.Log); err != nil {
		return out, err
	}
	if out.Root, err = block.Parse(raw.Root); err != nil {
		return out, fmt.Errorf("root: %w", err)
	}
	if out.Entry, err = count("entry", raw.Entry); err != nil {
		return out, err
	}
	if out.Commit, err = count("commit", raw.Commit); err != nil {
		return out, err
	}
	if _, err = count("size", raw.Size); err != nil {
		return out, err
	}
	out.Size = *raw.Size
	return out, nil
}

// checkPath refuses what the row of a path does not have.
func (raw *rawPackage) checkPath() error {
	if raw.Registry != "" || raw.Author != "" || raw.ID != "" || raw.Log != "" || raw.Root != "" || raw.Signer != "" ||
		raw.Entry != nil || raw.Commit != nil || raw.Size != nil {
		return errors.New("a path has only name, version and dependencies")
	}
	return plain("path", raw.Path)
}

// count reads a number that is there and not negative. The shape has no uint64:
// the parser would wrap a negative number around.
func count(key string, v *int64) (uint64, error) {
	if v == nil || *v < 0 {
		return 0, fmt.Errorf("%s is missing or negative", key)
	}
	return uint64(*v), nil
}

func parseHex(key, s string) (out [32]byte, err error) {
	if len(s) != 2*len(out) || strings.ToLower(s) != s {
		return out, fmt.Errorf("%s is not 64 lower-case hex digits", key)
	}
	if _, err := hex.Decode(out[:], []byte(s)); err != nil {
		return out, fmt.Errorf("%s: %w", key, err)
	}
	return out, nil
}
