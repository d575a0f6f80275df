// Package toml stands between foreign bytes and the TOML parser.
//
// github.com/BurntSushi/toml decodes; before it sees a byte, Guard has read the
// whole text once, in linear time and constant memory, and refused what is too
// large or too deep: a dotted key of 40 kB costs the parser 15 GB, and a run of
// "[" overflows its stack. After the guard every key is held against the Go
// type it is decoded into, by its exact spelling, so that an unknown key is an
// error with a line and a suggestion.
//
// The scan also yields where every key and value stands; the manifest's
// textual edits use that.
//
// All functions are safe for concurrent use.
package toml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	burntsushi "github.com/BurntSushi/toml"

	"pkg/lockfile/name"
)

// Limits of what is accepted.
const (
	MaxManifest = 64 << 10 // bytes of a manifest
	MaxLock     = 16 << 20 // bytes of a lock
	MaxDepth    = 16       // arrays and inline tables within each other
	MaxParts    = 8        // parts of a dotted key
	MaxKey      = 1 << 10  // bytes of a dotted key as written
	MaxTables   = 1 << 16  // tables, inline tables included
)

// Error says what is wrong with a text, and where.
type Error struct {
	Line int    // from 1; 0 if the whole text is meant
	Msg  string // the fault
}

// Error implements error.
func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Msg
	}
	return fmt.Sprintf("line %d: %s", e.Line, e.Msg)
}

// Guard refuses a text of more than limit bytes, one that is not UTF-8 or holds
// control characters, and one that breaks a limit above or the outer shape of
// TOML: keys, brackets, quotes. It does not look into numbers, dates and
// escapes, nor for keys given twice. The error is an *Error.
func Guard(b []byte, limit int) error {
	_, err := scan(b, limit, false)
	return err
}

// Parse is Guard, and returns where everything stands.
func Parse(b []byte, limit int) (*Doc, error) { return scan(b, limit, true) }

// Decode is Parse and Doc.Decode.
func Decode(b []byte, limit int, into any) (*Doc, error) {
	doc, err := Parse(b, limit)
	if err != nil {
		return nil, err
	}
	if err := doc.Decode(into); err != nil {
		return nil, err
	}
	return doc, nil
}

// Decode decodes the text into the struct that into points to. Keys are matched
// with the toml tags of the fields exactly; unknown keys are errors. The error
// is an *Error.
func (d *Doc) Decode(into any) (err error) {
	if err := d.check(reflect.TypeOf(into)); err != nil {
		return err
	}
	defer func() {
		// The parser panics where it meets what it calls a bug of its own.
		if r := recover(); r != nil {
			err = &Error{Msg: fmt.Sprintf("not valid TOML: %.200v", r)}
		}
	}()
	md, err := burntsushi.Decode(string(d.src), into)
	if err != nil {
		return translate(d, err)
	}
	if extra := md.Undecoded(); len(extra) > 0 {
		return &Error{d.Line(extra[0]...), fmt.Sprintf("unknown key %q", clip(extra[0].String()))}
	}
	return nil
}

// translate turns an error of the parser into ours.
func translate(doc *Doc, err error) error {
	var pe burntsushi.ParseError
	if errors.As(err, &pe) {
		return &Error{max(pe.Position.Line, 1), clip(pe.Message)}
	}
	// A value of the wrong type comes as text alone, after "line 3 (last key
	// "a.b"): ", or with the key somewhere inside.
	line, msg := 0, strings.TrimPrefix(err.Error(), "toml: ")
	if _, serr := fmt.Sscanf(msg, "line %d (last key", &line); serr == nil {
		_, msg, _ = strings.Cut(msg, "): ")
	} else {
		line = mentioned(doc, msg)
	}
	msg = strings.Replace(msg, "incompatible types: TOML value has type ", "the value is of type ", 1)
	msg = strings.Replace(msg, "; destination has type ", ", want ", 1)
	return &Error{line, clip(msg)}
}

// mentioned returns the line of the first key that stands quoted in msg, or 0.
func mentioned(doc *Doc, msg string) int {
	if len(msg) > 4*MaxKey {
		return 0
	}
	for _, it := range doc.Items {
		path := burntsushi.Key(it.Path).String()
		if strings.Contains(msg, fmt.Sprintf("%q", path)) || strings.Contains(msg, "'"+path+"'") {
			return it.Line
		}
	}
	return 0
}

// check holds every key against the type it is decoded into.
func (d *Doc) check(t reflect.Type) error {
	types := make(shapes)
	for _, it := range d.Items {
		at := t
		for i, part := range it.Path {
			next, known := types.below(at, part)
			if next == nil && known == nil {
				at = nil // below a scalar: the parser says so
				break
			}
			if next == nil {
				return &Error{it.Line, unknown(it.Path[:i], part, known)}
			}
			at = next
		}
		if at != nil {
			if why := d.misshaped(it, at); why != "" {
				return &Error{it.Line, why}
			}
		}
	}
	return nil
}

// misshaped says in the words of TOML what the parser would say in those of Go.
func (d *Doc) misshaped(it Item, t reflect.Type) string {
	path := clip(burntsushi.Key(it.Path).String())
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	tables := t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
	table := t.Kind() == reflect.Struct || t.Kind() == reflect.Map
	free := reflect.PointerTo(t).Implements(reflect.TypeFor[burntsushi.Unmarshaler]())
	switch {
	case it.Kind == ArrayTable && !tables:
		return fmt.Sprintf("[[%s]] is not a list of tables", path)
	case it.Kind == Table && tables:
		return fmt.Sprintf("write [[%s]]: there may be many", path)
	case it.Kind == Table && !table:
		return fmt.Sprintf("%s is a value, not a table", path)
	case it.Value > 0 && table && !free && d.src[it.Value] != '{':
		return fmt.Sprintf("%s is a table, not a value: write [%s]", path, path)
	}
	return ""
}

// shapes keeps the fields of struct types, since reflection is slow.
type shapes map[reflect.Type]fields

type fields struct {
	types map[string]reflect.Type
	known []string
}

// below returns the type below part, or nil and the keys there are.
func (s shapes) below(t reflect.Type, part string) (next reflect.Type, known []string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), nil
	case reflect.Struct:
		f, ok := s[t]
		if !ok {
			f = fieldsOf(t)
			s[t] = f
		}
		return f.types[part], f.known
	}
	return nil, nil
}

func fieldsOf(t reflect.Type) fields {
	out := fields{types: make(map[string]reflect.Type)}
	for f := range t.Fields() {
		if tag, _, _ := strings.Cut(f.Tag.Get("toml"), ","); tag != "" && tag != "-" {
			out.types[tag] = f.Type
			out.known = append(out.known, tag)
		}
	}
	return out
}

func unknown(table []string, key string, known []string) string {
	msg := fmt.Sprintf("unknown key %q", clip(key))
	if len(table) > 0 {
		msg += fmt.Sprintf(" in [%s]", clip(burntsushi.Key(table).String()))
	}
	if near := Nearest(key, known); near != "" {
		return msg + fmt.Sprintf(" (did you mean %q?)", near)
	}
	return msg + " (known: " + strings.Join(known, ", ") + ")"
}

// clip cuts text that may be long and foreign.
func clip(s string) string {
	const limit = 160
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// Nearest returns the candidate closest to s by edit distance, where a swap of
// neighbours counts as one edit, or "" if none is close. Of equals the first
// wins.
func Nearest(s string, candidates []string) string {
	best, bestDist := "", 1+max(1, min(len(s), 24)/3)
	if len(s) > 64 {
		return ""
	}
	fold := strings.NewReplacer("_", "-", " ", "-")
	s = fold.Replace(strings.ToLower(s))
	for _, c := range candidates {
		if d := name.Distance(s, strings.ToLower(c)); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}
