package ui

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func texts(s Settings) (u *UI, stdout, stderr *bytes.Buffer) {
	stdout, stderr = new(bytes.Buffer), new(bytes.Buffer)
	s.Stdout, s.Stderr = stdout, stderr
	return New(s), stdout, stderr
}

func TestWhatComesFromOutsideIsEscaped(t *testing.T) {
	t.Parallel()
	u, stdout, stderr := texts(Settings{Color: "always"})
	evil := "a\x1b[2J\r\n\x00b\u202ec\u200d\u2028\x9b\xff\u009b"
	u.Data("x", nil, "name %s %q %v", evil, evil, errors.New(evil))
	u.Note("x", nil, "%s %s", Dim(evil), Lines(evil))
	u.Warn("x", nil, "%-200s", evil)
	u.Table("x", []Row{{Cells: []any{evil, Bold(evil)}}})
	u.Fail(Failure{Message: evil, Detail: evil, Help: evil})
	ours := strings.NewReplacer("\x1b[1m", "", "\x1b[2m", "", "\x1b[0m", "", "\x1b[33m", "", "\x1b[1;31m", "", "\n", "")
	for _, got := range []string{stdout.String(), stderr.String()} {
		if rest := ours.Replace(got); Escape(rest) != rest {
			t.Errorf("printed %q", rest)
		}
	}
	if want := "name a\\x1b[2J\\r\\n\\x00b"; !strings.HasPrefix(stdout.String(), want) {
		t.Errorf("got %q, want it to begin %q", stdout, want)
	}
}

func TestEscapeLeavesTextAlone(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "left-pad 1.2.3", "naïve 日本語 🙂", "~!@#$%^&*()"} {
		if got := Escape(s); got != s {
			t.Errorf("Escape(%q) = %q", s, got)
		}
	}
}

func TestDataGoesToStdoutAndTheRestToStderr(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s              Settings
		stdout, stderr string
	}{
		{Settings{}, "data 1\nraw%\n", "note 2\nwarning: warn 3\npkg: failed\nmore\nhelp: pkg help\n"},
		{Settings{Quiet: true}, "data 1\nraw%\n", "warning: warn 3\npkg: failed\nmore\nhelp: pkg help\n"},
		{Settings{JSON: true}, `{"v":1,"event":"d","n":1}
{"v":1,"event":"r"}
{"v":1,"event":"n"}
{"v":1,"event":"w","message":"warn 3"}
{"v":1,"event":"error","code":4,"message":"failed","detail":"more","help":"pkg help"}
`, ""},
		{Settings{JSON: true, Quiet: true}, `{"v":1,"event":"d","n":1}
{"v":1,"event":"r"}
{"v":1,"event":"w","message":"warn 3"}
{"v":1,"event":"error","code":4,"message":"failed","detail":"more","help":"pkg help"}
`, ""},
	} {
		u, stdout, stderr := texts(c.s)
		u.Data("d", map[string]int{"n": 1}, "data %d", 1)
		u.Raw("r", nil, "raw%\n")
		u.Note("n", nil, "note %d", 2)
		u.Warn("w", nil, "warn %d", 3)
		u.Fail(Failure{Code: 4, Message: "failed", Detail: "more", Help: "pkg help"})
		if err := u.Finish(); err != nil || stdout.String() != c.stdout || stderr.String() != c.stderr {
			t.Errorf("%+v: %v\nstdout %q, want %q\nstderr %q, want %q", c.s, err, stdout, c.stdout, stderr, c.stderr)
		}
	}
}

func TestColumnsAlignWhateverTheirColour(t *testing.T) {
	t.Parallel()
	rows := []Row{{Cells: []any{Bold("a"), "日本", 1}}, {Cells: []any{"long", Dim("x")}}}
	for color, want := range map[string]string{
		"never":  "a     日本  1\nlong  x\n",
		"always": "\x1b[1ma\x1b[0m     日本  1\nlong  \x1b[2mx\x1b[0m\n",
	} {
		u, stdout, _ := texts(Settings{Color: color})
		u.Table("row", rows)
		if stdout.String() != want {
			t.Errorf("--color=%s: %q, want %q", color, stdout, want)
		}
	}
}

func TestColourRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		choice, env string
		want        bool
	}{
		{"", "", false}, // a buffer is no terminal
		{"auto", "FORCE_COLOR=1", true},
		{"auto", "FORCE_COLOR=0", false},
		{"auto", "FORCE_COLOR=1 NO_COLOR=1", false},
		{"always", "NO_COLOR=1", true},
		{"never", "FORCE_COLOR=1", false},
	} {
		getenv := func(key string) string {
			for kv := range strings.FieldsSeq(c.env) {
				if k, v, _ := strings.Cut(kv, "="); k == key {
					return v
				}
			}
			return ""
		}
		if got := colored(new(bytes.Buffer), c.choice, getenv); got != c.want {
			t.Errorf("--color=%s %s: %v, want %v", c.choice, c.env, got, c.want)
		}
	}
}

func TestProgressWaitsKeepsPaceAndDisappears(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	clock := func() time.Time { return now }
	var w bytes.Buffer
	text := &textPrinter{out: errWriter{w: &w}, err: errWriter{w: &w}}
	text.bar = &bar{w: &text.err, throttle: throttle{now: clock}, width: func() int { return 20 }}
	u := &UI{p: text}
	for range 100 {
		u.Progress("p", nil, "%s", "at "+now.Format("05.000")+" and much more than fits")
		now = now.Add(10 * time.Millisecond)
	}
	shown := strings.Split(strings.TrimPrefix(w.String(), "\r\x1b[K"), "\r\x1b[K")
	if len(shown) != 7 || shown[0] != "at 00.300 and much…" || shown[1] != "at 00.400 and much…" {
		t.Errorf("shown %d times: %q; want 7, every 100 ms from 300 ms on", len(shown), shown)
	}
	w.Reset()
	u.Note("", nil, "done")
	if got := w.String(); got != "\r\x1b[Kdone\n" {
		t.Errorf("after the line: %q", got)
	}
}

func TestATerminalOfUnknownWidthShowsProgress(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	var w bytes.Buffer
	b := &bar{w: &errWriter{w: &w}, throttle: throttle{now: func() time.Time { return now }}, width: func() int { return 0 }}
	text := strings.Repeat("x", 100)
	b.draw(text)
	now = now.Add(delay)
	b.draw(text)
	if got, want := w.String(), "\r\x1b[K"+text[:78]+"…"; got != want {
		t.Errorf("shown %q, want as much as 80 columns hold: %q", got, want)
	}
}

func TestAnAnswerThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	for _, asJSON := range []bool{false, true} {
		u := New(Settings{Stdout: full{}, Stderr: full{}, JSON: asJSON})
		u.Data("x", nil, "x")
		if err := u.Finish(); !errors.Is(err, errFull) {
			t.Errorf("json %v: %v", asJSON, err)
		}
	}
}

var errFull = errors.New("disk full")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"a", "\x1b[31m", "\xff\xfe", "\u202e\u2066", "\x9b1m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		if strings.ContainsFunc(got, unsafeRune) {
			t.Errorf("Escape(%q) = %q", s, got)
		}
		if Escape(got) != got {
			t.Errorf("Escape twice of %q: %q", s, Escape(got))
		}
	})
}
