package manifest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"pkg/lockfile/internal/toml"
	"pkg/lockfile/name"
)

// SetDependency returns src with the dependency n of the table set to d, moved
// there if another table had it. It changes the value where it stands, however
// it is written, or adds a line: in alphabetical place if the table is in
// alphabetical order, else at its end. The error is an *Error, and then nothing
// is returned.
func SetDependency(src []byte, table string, n name.Name, d Dependency) ([]byte, error) {
	if !slices.Contains(tables(), table) {
		return nil, &Error{Msg: fmt.Sprintf("[%s] is not a table of dependencies", table)}
	}
	want, err := Parse(src)
	if err != nil {
		return nil, err
	}
	out := src
	for _, t := range tables() {
		if _, ok := want.Table(t)[n]; ok && t != table {
			if out, err = remove(out, []string{t, string(n)}); err != nil {
				return nil, err
			}
			delete(want.Table(t), n)
		}
	}
	out, err = set(out, []string{table, string(n)}, dependencyFields(d), true)
	if err != nil {
		return nil, err
	}
	return verified(out, want, func(m *Manifest) {
		deps := map[string]*map[name.Name]Dependency{
			Dependencies: &m.Dependencies, DevDependencies: &m.DevDependencies, OptionalDependencies: &m.OptionalDependencies,
		}[table]
		put(deps, n, d)
	})
}

// RemoveDependency returns src without the dependency n in any table, and
// whether there was one. Its line goes with the comment on it; comments above
// stay, and so does a table that is now empty.
func RemoveDependency(src []byte, n name.Name) (out []byte, removed bool, err error) {
	want, err := Parse(src)
	if err != nil {
		return nil, false, err
	}
	out = src
	for _, t := range tables() {
		if _, ok := want.Table(t)[n]; !ok {
			continue
		}
		removed = true
		delete(want.Table(t), n)
		if out, err = remove(out, []string{t, string(n)}); err != nil {
			return nil, false, err
		}
	}
	out, err = verified(out, want, func(*Manifest) {})
	return out, removed && err == nil, err
}

// SetRegistry returns src with the table [registries.NAME] set to r. A registry
// that is private stays so.
func SetRegistry(src []byte, regName string, r Registry) ([]byte, error) {
	want, err := Parse(src)
	if err != nil {
		return nil, err
	}
	if err := checkRegistry(regName, r); err != nil {
		return nil, &Error{Msg: err.Error(), err: err}
	}
	r.Private = want.Registries[regName].Private
	fields := []field{{key: "url", value: r.URL}}
	if r.ID != "" {
		fields = append(fields, field{key: "id", value: r.ID})
	}
	if r.Private {
		fields = append(fields, field{key: "private", value: "true", plain: true})
	}
	out, err := set(src, []string{"registries", regName}, fields, false)
	if err != nil {
		return nil, err
	}
	return verified(out, want, func(m *Manifest) { put(&m.Registries, regName, r) })
}

func tables() []string { return []string{Dependencies, DevDependencies, OptionalDependencies} }

func put[K comparable, V any](m *map[K]V, k K, v V) {
	if *m == nil {
		*m = make(map[K]V)
	}
	(*m)[k] = v
}

// verified parses the edited text and holds it against what was meant.
func verified(out []byte, want *Manifest, change func(*Manifest)) ([]byte, error) {
	change(want)
	got, err := Parse(out)
	if err != nil {
		return nil, fmt.Errorf("edit: %w", err)
	}
	for _, m := range []*Manifest{got, want} {
		tidy(&m.Dependencies)
		tidy(&m.DevDependencies)
		tidy(&m.OptionalDependencies)
		tidy(&m.Registries)
	}
	if !reflect.DeepEqual(got, want) {
		return nil, &Error{
			Msg:  "it is written in a way that this edit would break",
			Help: "make the change by hand",
		}
	}
	return out, nil
}

// tidy makes an empty table equal to a missing one.
func tidy[K comparable, V any](m *map[K]V) {
	if len(*m) == 0 {
		*m = nil
	}
}

// A field is a key of a small table, with a text.
type field struct {
	key, value string
	plain      bool // the value is no string
}

// text is the value as it is written.
func (f field) text() string {
	if f.plain {
		return f.value
	}
	return quote(f.value)
}

func dependencyFields(d Dependency) []field {
	var out []field
	for _, f := range []field{
		{key: "version", value: d.Constraint.String()},
		{key: "registry", value: d.Registry},
		{key: "author", value: string(d.Author)},
		{key: "path", value: d.Path},
	} {
		if f.value != "" {
			out = append(out, f)
		}
	}
	return out
}

// An editor collects changes to a text and applies them together.
type editor struct {
	src     []byte
	doc     *toml.Doc
	changes []change
}

type change struct {
	from, to int
	text     string
}

func newEditor(src []byte) (*editor, error) {
	doc, err := toml.Parse(src, toml.MaxManifest)
	if err != nil {
		return nil, wrap(err)
	}
	return &editor{src: src, doc: doc}, nil
}

func (e *editor) replace(from, to int, text string) {
	e.changes = append(e.changes, change{from, to, text})
}

// bytes applies the changes, which should not overlap. New lines end as the file's
// lines do.
func (e *editor) bytes() []byte {
	slices.SortStableFunc(e.changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	crlf := bytes.Contains(e.src, []byte("\r\n"))
	var out []byte
	pos := 0
	for _, c := range e.changes {
		if crlf {
			c.text = strings.ReplaceAll(c.text, "\n", "\r\n")
		}
		out = append(out, e.src[pos:max(pos, c.from)]...)
		out = append(out, c.text...)
		pos = max(pos, c.to)
	}
	return append(out, e.src[pos:]...)
}

// find returns the item at exactly this path, or nil.
func (e *editor) find(path []string) *toml.Item {
	for i := range e.doc.Items {
		if slices.Equal(e.doc.Items[i].Path, path) {
			return &e.doc.Items[i]
		}
	}
	return nil
}

// below returns the items whose path goes on from path, in order.
func (e *editor) below(path []string) []toml.Item {
	var out []toml.Item
	for _, it := range e.doc.Items {
		if len(it.Path) > len(path) && slices.Equal(it.Path[:len(path)], path) {
			out = append(out, it)
		}
	}
	return out
}

// lineStart returns the offset of the line that holds pos.
func (e *editor) lineStart(pos int) int {
	return bytes.LastIndexByte(e.src[:pos], '\n') + 1
}

// lineEnd returns the offset after the line that holds pos, newline included.
func (e *editor) lineEnd(pos int) int {
	if n := bytes.IndexByte(e.src[pos:], '\n'); n >= 0 {
		return pos + n + 1
	}
	return len(e.src)
}

// set writes the fields of the table at path, which has two parts.
func set(src []byte, path []string, fields []field, short bool) ([]byte, error) {
	e, err := newEditor(src)
	if err != nil {
		return nil, err
	}
	at := e.find(path)
	switch {
	case at != nil && at.Value > 0:
		e.setValue(at, fields, short)
	case at != nil || len(e.below(path)) > 0:
		e.setPairs(at, path, fields)
	case short:
		e.add(path, inline(fields, short))
	default:
		e.addTable(path, fields)
	}
	return e.bytes(), nil
}

// setValue changes "key = value". If the value is an inline table with the same
// keys, only the texts that differ change.
func (e *editor) setValue(at *toml.Item, fields []field, short bool) {
	if short && len(fields) == 1 && fields[0].key == "version" && e.src[at.Value] != '{' {
		e.setText(*at, fields[0])
		return
	}
	pairs := e.below(at.Path)
	same := len(pairs) == len(fields)
	for _, it := range pairs {
		same = same && slices.ContainsFunc(fields, func(f field) bool { return f.key == it.Path[len(it.Path)-1] })
	}
	if !same {
		e.replace(at.Value, at.End, inline(fields, short))
		return
	}
	for _, it := range pairs {
		for _, f := range fields {
			if f.key == it.Path[len(it.Path)-1] {
				e.setText(it, f)
			}
		}
	}
}

// setText changes the value of a pair unless it says the same already.
func (e *editor) setText(it toml.Item, f field) {
	if raw := string(e.src[it.Value:it.End]); raw != f.text() && raw != "'"+f.value+"'" {
		e.replace(it.Value, it.End, f.text())
	}
}

// setPairs changes a table with a header of its own, or dotted keys.
func (e *editor) setPairs(header *toml.Item, path []string, fields []field) {
	pairs := e.below(path)
	rest := slices.Clone(fields)
	var last *toml.Item
	for i, it := range pairs {
		n := slices.IndexFunc(rest, func(f field) bool { return f.key == it.Path[len(it.Path)-1] })
		if n < 0 {
			e.replace(e.lineStart(it.Start), e.lineEnd(it.End), "")
			continue
		}
		e.setText(it, rest[n])
		rest = slices.Delete(rest, n, n+1)
		last = &pairs[i]
	}
	if len(rest) == 0 {
		return
	}
	prefix, from := "", header
	switch {
	case last != nil:
		// The same indentation, and the same dotted prefix.
		key := string(e.src[e.lineStart(last.Start):last.Value])
		if dot := strings.LastIndexByte(key, '.'); dot >= 0 && header == nil {
			prefix = key[:dot+1]
		} else {
			prefix = key[:len(key)-len(strings.TrimLeft(key, " \t"))]
		}
		from = last
	case header == nil:
		return // the check of the result refuses
	}
	var text strings.Builder
	for _, f := range rest {
		fmt.Fprintf(&text, "%s%s = %s\n", prefix, f.key, f.text())
	}
	e.insertLine(e.lineEnd(from.End), text.String())
}

// insertLine adds lines at the start of a line, or at the end of the text,
// which may lack its newline.
func (e *editor) insertLine(pos int, text string) {
	if pos > 0 && e.src[pos-1] != '\n' {
		text = "\n" + text
	}
	e.replace(pos, pos, text)
}

// remove takes the item at path out, however it is written.
func remove(src []byte, path []string) ([]byte, error) {
	e, err := newEditor(src)
	if err != nil {
		return nil, err
	}
	at := e.find(path)
	switch {
	case at == nil:
		for _, it := range e.below(path) {
			e.replace(e.lineStart(it.Start), e.lineEnd(it.End), "")
		}
	case at.Kind == toml.Pair:
		e.replace(e.lineStart(at.Start), e.lineEnd(at.End), "")
	case at.Kind == toml.InlinePair:
		e.removeInline(at)
	default:
		e.removeTable(at)
	}
	if len(e.changes) == 0 {
		return nil, &Error{Msg: fmt.Sprintf("cannot find %s", path[len(path)-1]), err: errors.ErrUnsupported}
	}
	return e.bytes(), nil
}

// removeInline takes a pair and one comma out of an inline table.
func (e *editor) removeInline(at *toml.Item) {
	from, to := at.Start, at.End
	after := to + len(e.src[to:]) - len(bytes.TrimLeft(e.src[to:], " \t\r\n"))
	if after < len(e.src) && e.src[after] == ',' {
		to = after + 1
		to += len(e.src[to:]) - len(bytes.TrimLeft(e.src[to:], " \t"))
	} else if head := bytes.TrimRight(e.src[:from], " \t\r\n"); bytes.HasSuffix(head, []byte(",")) {
		from = len(head) - 1
	}
	e.replace(from, to, "")
}

// removeTable takes a header and its pairs out, and one of two blank lines that
// then meet.
func (e *editor) removeTable(at *toml.Item) {
	from, end := e.lineStart(at.Start), at.End
	for _, it := range e.below(at.Path) {
		end = max(end, it.End)
	}
	to := e.lineEnd(end)
	blankAbove := from == 0 || bytes.HasSuffix(bytes.TrimRight(e.src[:from], " \t\r"), []byte("\n\n")) ||
		bytes.HasSuffix(e.src[:from], []byte("\r\n\r\n"))
	next := e.lineEnd(to)
	if blankAbove && to < len(e.src) && len(bytes.TrimSpace(e.src[to:next])) == 0 {
		to = next
	}
	e.replace(from, to, "")
}
