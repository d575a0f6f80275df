package manifest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"pkg/lockfile/internal/toml"
)

// add writes a new pair at path, which has two parts: into the table that is
// there, or into a new one.
func (e *editor) add(path []string, value string) {
	table, key := path[:1], writeKey(path[1])
	at := e.find(table)
	switch {
	case at != nil && at.Value > 0:
		e.addInline(at, key, value)
	case at != nil:
		e.addSorted(*at, e.pairs(table, at), key, value)
	default:
		if dotted := e.pairs(table, nil); len(dotted) > 0 {
			last := dotted[len(dotted)-1]
			e.insertLine(e.lineEnd(last.End), fmt.Sprintf("%s.%s = %s\n", table[0], key, value))
			return
		}
		e.addBlock(table[0], fmt.Sprintf("[%s]\n%s = %s\n", table[0], key, value))
	}
}

// addTable writes a new table with its own header.
func (e *editor) addTable(path []string, fields []field) {
	if at := e.find(path[:1]); at != nil && at.Value > 0 {
		e.addInline(at, writeKey(path[1]), inline(fields, false))
		return
	}
	var text strings.Builder
	fmt.Fprintf(&text, "[%s.%s]\n", path[0], writeKey(path[1]))
	for _, f := range fields {
		fmt.Fprintf(&text, "%s = %s\n", f.key, f.text())
	}
	e.addBlock(path[0], text.String())
}

// pairs returns the pairs that stand directly under the header of a table, or,
// without a header, the dotted ones at the top.
func (e *editor) pairs(table []string, header *toml.Item) []toml.Item {
	var out []toml.Item
	under := header == nil
	for _, it := range e.doc.Items {
		switch {
		case it.Kind == toml.Table || it.Kind == toml.ArrayTable:
			if header == nil {
				return out
			}
			under = it.Start == header.Start
		case it.Kind == toml.Pair && under && len(it.Path) > len(table) && slices.Equal(it.Path[:len(table)], table):
			out = append(out, it)
		}
	}
	return out
}

// addSorted writes a line among the pairs of a table.
func (e *editor) addSorted(header toml.Item, pairs []toml.Item, key, value string) {
	if len(pairs) == 0 {
		e.insertLine(e.lineEnd(header.End), fmt.Sprintf("%s = %s\n", key, value))
		return
	}
	byKey := func(a, b toml.Item) int { return strings.Compare(a.Path[1], b.Path[1]) }
	next := len(pairs)
	if slices.IsSortedFunc(pairs, byKey) {
		bare := strings.Trim(key, `"`)
		next = slices.IndexFunc(pairs, func(it toml.Item) bool { return it.Path[1] > bare })
		if next < 0 {
			next = len(pairs)
		}
	}
	near := pairs[max(0, next-1)]
	line := e.src[e.lineStart(near.Start):near.Start]
	text := fmt.Sprintf("%s%s = %s\n", line[:len(line)-len(bytes.TrimLeft(line, " \t"))], key, value)
	if next == 0 {
		// Below the header, so that a comment above the first pair stays with it.
		e.insertLine(e.lineEnd(header.End), text)
		return
	}
	e.insertLine(e.lineEnd(near.End), text)
}

// addInline writes a pair into braces: on a line of its own if the others have
// theirs.
func (e *editor) addInline(at *toml.Item, key, value string) {
	pairs := e.below(at.Path)
	if len(pairs) == 0 {
		if line := e.lineStart(at.End); line > at.Value { // perhaps below a comment
			e.replace(line, line, fmt.Sprintf("  %s = %s,\n", key, value))
			return
		}
		e.replace(at.Value+1, at.End-1, fmt.Sprintf(" %s = %s ", key, value))
		return
	}
	last := pairs[0]
	for _, it := range pairs {
		if it.End > last.End {
			last = it
		}
	}
	pos := last.End + len(e.src[last.End:]) - len(bytes.TrimLeft(e.src[last.End:], " \t\r\n"))
	if e.src[pos] == ',' {
		pos++
	} else {
		pos = last.End
		e.replace(pos, pos, ",")
	}
	if bytes.IndexByte(e.src[pos:at.End], '\n') < 0 {
		e.replace(pos, pos, fmt.Sprintf(" %s = %s", key, value))
		return
	}
	line := e.src[e.lineStart(last.Start):last.Start]
	indent := line[:len(line)-len(bytes.TrimLeft(line, " \t"))]
	e.replace(e.lineEnd(pos), e.lineEnd(pos), fmt.Sprintf("%s%s = %s,\n", indent, key, value))
}

// addBlock writes a new table, in the order in which the tables are documented,
// but not between a table and the comment above it.
func (e *editor) addBlock(table, text string) {
	rank := func(t string) int {
		return slices.Index([]string{
			"package", "bin", Dependencies, DevDependencies, OptionalDependencies, "overrides", "registries", "policy",
		}, t)
	}
	for i, it := range e.doc.Items {
		if it.Kind != toml.Table || rank(it.Path[0]) <= rank(table) {
			continue
		}
		later := e.doc.Items[i:]
		if slices.ContainsFunc(later, func(it toml.Item) bool {
			return it.Kind == toml.Table && rank(it.Path[0]) <= rank(table)
		}) {
			continue
		}
		if pos := e.aboveComments(e.lineStart(it.Start)); pos > 0 {
			if !bytes.HasSuffix(bytes.ReplaceAll(e.src[:pos], []byte("\r"), nil), []byte("\n\n")) {
				text = "\n" + text
			}
			e.insertLine(pos, text+"\n")
			return
		}
	}
	body := bytes.TrimRight(e.src, " \t\r\n")
	switch {
	case len(body) == 0:
	case e.src[len(e.src)-1] != '\n':
		text = "\n\n" + text
	case bytes.HasSuffix(bytes.ReplaceAll(e.src, []byte("\r"), nil), []byte("\n\n")):
	default:
		text = "\n" + text
	}
	e.replace(len(e.src), len(e.src), text)
}

// aboveComments returns the start of the comment lines that stand directly
// above pos, the start of a line.
func (e *editor) aboveComments(pos int) int {
	for pos > 0 {
		prev := e.lineStart(pos - 1)
		if line := bytes.TrimSpace(e.src[prev:pos]); len(line) == 0 || line[0] != '#' {
			return pos
		}
		pos = prev
	}
	return pos
}

// inline writes fields as a value: a lone version as text if short.
func inline(fields []field, short bool) string {
	if short && len(fields) == 1 && fields[0].key == "version" {
		return fields[0].text()
	}
	words := make([]string, len(fields))
	for i, f := range fields {
		words[i] = f.key + " = " + f.text()
	}
	return "{ " + strings.Join(words, ", ") + " }"
}

// writeKey writes one part of a key.
func writeKey(s string) string { return toml.Key(s) }

// quote writes a basic string of TOML.
func quote(s string) string { return toml.Quote(s) }
