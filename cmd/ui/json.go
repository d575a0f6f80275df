package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// Version is the version of the JSON lines: the v of every object. It grows when a field changes its meaning or goes away;
// new fields and new events may appear at any time.
const Version = 1

// jsonPrinter prints one object a line.
type jsonPrinter struct {
	w     io.Writer
	quiet bool
	err   error
	throttle
}

func (j *jsonPrinter) print(to stream, e event) {
	if e.kind == "" || to == note && j.quiet {
		return
	}
	if e.fields == nil && to == warn {
		var plain *paint
		e.fields = map[string]string{"message": plain.sentence(e)}
	}
	j.line(e.kind, e.fields)
}

func (j *jsonPrinter) table(kind string, rows []Row) {
	for _, r := range rows {
		if r.Fields != nil { // a heading has none
			j.line(kind, r.Fields)
		}
	}
}

func (j *jsonPrinter) progress(e event) {
	if !j.quiet && j.ready() {
		j.line(e.kind, e.fields)
	}
}

func (j *jsonPrinter) fail(f Failure) {
	type failure struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Detail  string `json:"detail,omitempty"`
		Help    string `json:"help,omitempty"`
		Data    any    `json:"data,omitempty"`
	}
	j.line("error", failure(f))
}

func (j *jsonPrinter) finish() error { return j.err }

// line writes {"v":1,"event":kind, and then the fields of the object.
func (j *jsonPrinter) line(kind string, fields any) {
	if j.err != nil {
		return
	}
	body := []byte("{}")
	if fields != nil {
		if body, j.err = json.Marshal(fields); j.err != nil {
			return
		}
	}
	if len(body) < 2 || body[0] != '{' {
		j.err = fmt.Errorf("event %s: its fields are no JSON object: %s", kind, body)
		return
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"v":%d,"event":%q`, Version, kind)
	if len(body) > 2 {
		b.WriteByte(',')
	}
	b.Write(body[1:])
	b.WriteByte('\n')
	_, j.err = j.w.Write(b.Bytes())
}
