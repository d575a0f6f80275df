package toml

import (
	"bytes"
	"fmt"
	"slices"
	"unicode/utf8"

	burntsushi "github.com/BurntSushi/toml"
)

// Kind says what an Item is.
type Kind uint8

// The kinds of items.
const (
	Table      Kind = iota // [a.b]
	ArrayTable             // [[a.b]]
	Pair                   // key = value, on a line of its own
	InlinePair             // key = value, inside braces
)

// An Item is a table header or a key with its value. Offsets are bytes of the
// text; a range ends before its second offset.
type Item struct {
	Kind       Kind
	Path       []string // from the top level, header included
	Line       int      // where the key or header begins, from 1
	Start, End int      // "[a.b]" or "key = value", without comment and newline
	Value      int      // where the value begins; 0 of a header
}

// Doc is where everything stands in a text, which it refers to.
type Doc struct {
	Items []Item // in the order of the text

	src []byte
}

// Line returns the line of the item at path, or of the nearest one above it, or
// 0. Of rows of an array of tables it is the first.
func (d *Doc) Line(path ...string) int {
	for ; len(path) > 0; path = path[:len(path)-1] {
		for _, it := range d.Items {
			if len(it.Path) >= len(path) && slices.Equal(it.Path[:len(path)], path) {
				return it.Line
			}
		}
	}
	return 0
}

type scanner struct {
	b      []byte
	pos    int
	line   int
	tables int
	keep   bool // collect items
	doc    Doc
	header []string // path of the current table
}

func scan(b []byte, limit int, keep bool) (*Doc, error) {
	if len(b) > limit {
		return nil, &Error{0, fmt.Sprintf("%d bytes, more than the limit of %d", len(b), limit)}
	}
	s := &scanner{b: b, line: 1, keep: keep, doc: Doc{src: b}}
	if err := s.characters(); err != nil {
		return nil, err
	}
	s.pos = len(b) - len(bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")))
	for {
		s.blank()
		if s.pos == len(b) {
			return &s.doc, nil
		}
		if err := s.statement(); err != nil {
			return nil, err
		}
	}
}

// characters refuses what is not text.
func (s *scanner) characters() error {
	if !utf8.Valid(s.b) {
		return &Error{0, "not UTF-8"}
	}
	line := 1
	for i, c := range s.b {
		switch {
		case c == '\n':
			line++
		case c == '\r' && i+1 < len(s.b) && s.b[i+1] == '\n', c == '\t':
		case c < 0x20 || c == 0x7f:
			return &Error{line, fmt.Sprintf("control character %#02x", c)}
		}
	}
	return nil
}

func (s *scanner) fail(format string, args ...any) error {
	return &Error{s.line, fmt.Sprintf(format, args...)}
}

// peek returns the next byte, or 0 at the end; the text holds no 0.
func (s *scanner) peek() byte {
	if s.pos < len(s.b) {
		return s.b[s.pos]
	}
	return 0
}

func (s *scanner) space() {
	for s.peek() == ' ' || s.peek() == '\t' {
		s.pos++
	}
}

// blank skips space, newlines and comments.
func (s *scanner) blank() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r':
			s.pos++
		case '\n':
			s.pos++
			s.line++
		case '#':
			s.comment()
		default:
			return
		}
	}
}

func (s *scanner) comment() {
	n := bytes.IndexByte(s.b[s.pos:], '\n')
	if n < 0 {
		n = len(s.b) - s.pos
	}
	s.pos += n
}

// statement reads a header or a pair, and the rest of its line.
func (s *scanner) statement() error {
	it := Item{Line: s.line, Start: s.pos}
	var err error
	if s.peek() == '[' {
		err = s.tableHeader(&it)
	} else {
		err = s.pair(Pair, s.header, 0)
	}
	if err != nil {
		return err
	}
	s.space()
	if s.peek() == '#' {
		s.comment()
	}
	if s.peek() == '\r' {
		s.pos++
	}
	if s.pos < len(s.b) && s.peek() != '\n' {
		return s.fail("expected the end of the line, found %s", s.found())
	}
	return nil
}

func (s *scanner) found() string {
	if s.pos == len(s.b) {
		return "the end of the file"
	}
	r, _ := utf8.DecodeRune(s.b[s.pos:])
	if r == '\n' || r == '\r' {
		return "the end of the line"
	}
	return fmt.Sprintf("%q", r)
}

func (s *scanner) tableHeader(it *Item) error {
	s.pos++
	if s.peek() == '[' {
		s.pos++
		it.Kind = ArrayTable
	}
	path, err := s.key()
	if err != nil {
		return err
	}
	for range int(it.Kind) + 1 {
		if s.peek() != ']' {
			return s.fail("expected ], found %s", s.found())
		}
		s.pos++
	}
	s.header = path
	it.Path, it.End = path, s.pos
	s.emit(*it)
	return s.table()
}

func (s *scanner) table() error {
	if s.tables++; s.tables > MaxTables {
		return s.fail("more than %d tables", MaxTables)
	}
	return nil
}

func (s *scanner) emit(it Item) {
	if s.keep {
		s.doc.Items = append(s.doc.Items, it)
	}
}

// key reads a dotted key and the space after it.
func (s *scanner) key() ([]string, error) {
	var path []string
	start := s.pos
	for n := 1; ; n++ {
		if n > MaxParts {
			return nil, s.fail("dotted key of more than %d parts", MaxParts)
		}
		s.space()
		part, err := s.keyPart(start)
		if err != nil {
			return nil, err
		}
		if s.keep {
			path = append(path, part)
		}
		s.space()
		if s.pos-start > MaxKey {
			return nil, s.fail("key of more than %d bytes", MaxKey)
		}
		if s.peek() != '.' {
			return path, nil
		}
		s.pos++
	}
}

func (s *scanner) keyPart(start int) (string, error) {
	from := s.pos
	if q := s.peek(); q == '"' || q == '\'' {
		escaped, err := s.quoted(q)
		if err != nil {
			return "", err
		}
		raw := s.b[from:s.pos]
		if s.pos-start > MaxKey {
			return "", s.fail("key of more than %d bytes", MaxKey)
		}
		if escaped && s.keep {
			return s.unescape(raw)
		}
		return string(raw[1 : len(raw)-1]), nil
	}
	for s.pos < len(s.b) && bare(s.b[s.pos]) {
		s.pos++
	}
	if s.pos == from {
		return "", s.fail("expected a key, found %s", s.found())
	}
	if s.pos-start > MaxKey {
		return "", s.fail("key of more than %d bytes", MaxKey)
	}
	return string(s.b[from:s.pos]), nil
}

func bare(c byte) bool {
	return c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// unescape has the parser read one short quoted string.
func (s *scanner) unescape(raw []byte) (string, error) {
	var v struct {
		K string `toml:"k"`
	}
	if _, err := burntsushi.Decode("k="+string(raw), &v); err != nil {
		return "", s.fail("invalid escape in the key %s", clip(string(raw)))
	}
	return v.K, nil
}

// quoted reads a string of one line, whose quote is next.
func (s *scanner) quoted(q byte) (escaped bool, err error) {
	for s.pos++; s.pos < len(s.b); s.pos++ {
		switch c := s.b[s.pos]; {
		case c == q:
			s.pos++
			return escaped, nil
		case c == '\n':
			return false, s.fail("string without an end")
		case c == '\\' && q == '"':
			escaped = true
			if s.pos++; s.peek() == '\n' {
				return false, s.fail("string without an end")
			}
		}
	}
	return false, s.fail("string without an end")
}

// multiline reads a string between three quotes, which are next.
func (s *scanner) multiline(q byte) error {
	began := s.line
	for s.pos += 3; s.pos < len(s.b); s.pos++ {
		switch c := s.b[s.pos]; {
		case c == '\n':
			s.line++
		case c == '\\' && q == '"':
			if s.pos++; s.peek() == '\n' {
				s.line++
			}
		case c == q:
			n := 1
			for s.pos+n < len(s.b) && s.b[s.pos+n] == q {
				n++
			}
			if n > 5 {
				return s.fail("more than five quotes at the end of a string")
			}
			s.pos += n
			if n >= 3 {
				return nil
			}
			s.pos--
		}
	}
	return &Error{began, "string without an end"}
}

// pair reads a key and its value, inside depth brackets.
func (s *scanner) pair(kind Kind, table []string, depth int) error {
	it := Item{Kind: kind, Line: s.line, Start: s.pos}
	path, err := s.key()
	if err != nil {
		return err
	}
	if s.peek() != '=' {
		return s.fail("expected = after the key, found %s", s.found())
	}
	s.pos++
	s.space()
	it.Path, it.Value = slices.Concat(table, path), s.pos
	n := len(s.doc.Items)
	s.emit(it)
	if err := s.value(it.Path, depth); err != nil {
		return err
	}
	if s.keep {
		s.doc.Items[n].End = s.pos
	}
	return nil
}

// value reads a value. It calls itself, by pair, at most MaxDepth deep.
func (s *scanner) value(path []string, depth int) error {
	switch c := s.peek(); c {
	case '"', '\'':
		if bytes.HasPrefix(s.b[s.pos:], []byte{c, c, c}) {
			return s.multiline(c)
		}
		_, err := s.quoted(c)
		return err
	case '[', '{':
		if depth == MaxDepth {
			return s.fail("more than %d brackets within each other", MaxDepth)
		}
		s.pos++
		if c == '[' {
			return s.array(path, depth+1)
		}
		if err := s.table(); err != nil {
			return err
		}
		return s.inline(path, depth+1)
	}
	return s.scalar()
}

func (s *scanner) array(path []string, depth int) error {
	for {
		s.blank()
		if s.peek() == ']' {
			s.pos++
			return nil
		}
		if err := s.value(path, depth); err != nil {
			return err
		}
		if done, err := s.separator(']'); done || err != nil {
			return err
		}
	}
}

func (s *scanner) inline(path []string, depth int) error {
	for {
		s.blank()
		if s.peek() == '}' {
			s.pos++
			return nil
		}
		if err := s.pair(InlinePair, path, depth); err != nil {
			return err
		}
		if done, err := s.separator('}'); done || err != nil {
			return err
		}
	}
}

// separator reads a comma, or the bracket that ends.
func (s *scanner) separator(end byte) (done bool, err error) {
	s.blank()
	switch s.peek() {
	case ',':
		s.pos++
		return false, nil
	case end:
		s.pos++
		return true, nil
	}
	return false, s.fail("expected a comma or %c, found %s", end, s.found())
}

// scalar reads a number, date or word, without looking into it. A date may
// have one space inside.
func (s *scanner) scalar() error {
	from := s.pos
	for s.pos < len(s.b) {
		c := s.b[s.pos]
		if !bare(c) && c != '+' && c != '.' && c != ':' && (c != ' ' || !s.dateGoesOn(from)) {
			break
		}
		s.pos++
	}
	if s.pos == from {
		return s.fail("expected a value, found %s", s.found())
	}
	return nil
}

// dateGoesOn reports whether the space at pos is between a date and a time.
func (s *scanner) dateGoesOn(from int) bool {
	next := s.pos + 1
	return s.pos-from == len("2006-01-02") && next < len(s.b) && '0' <= s.b[next] && s.b[next] <= '9'
}
