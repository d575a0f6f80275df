package ui

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAHiddenLineIsEditedAndGivenUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		typed, want, rest string
		err               error
	}{
		{typed: "horse\rnext", want: "horse", rest: "next"},
		{typed: "horse\n", want: "horse"},
		{typed: "hosé\x7f\brse\n", want: "horse"},
		{typed: "\x7fwrong\x15horse\n", want: "horse"},
		{typed: "hor\x04\x1ase\n", want: "horse"},
		{typed: "\x04", err: io.EOF},
		{typed: "horse\x03rest", rest: "rest", err: io.EOF},
		{typed: "horse", err: io.EOF},
	} {
		in := strings.NewReader(c.typed)
		got, err := readHidden(in)
		rest, _ := io.ReadAll(in)
		if string(got) != c.want || !errors.Is(err, c.err) || string(rest) != c.rest {
			t.Errorf("%q: %q, %v, then %q: want %q, %v, then %q", c.typed, got, err, rest, c.want, c.err, c.rest)
		}
	}
}
