package cmd

import (
	"strings"
	"testing"

	"pkg/cmd/ui"
)

func TestEveryPeerHasALine(t *testing.T) {
	t.Parallel()
	for want, peers := range map[string][]string{
		"a  1.0.0  0\n":                          {},
		"a  1.0.0  1  /one\n":                    {"/one"},
		"a  1.0.0  2  /one\n             /two\n": {"/one", "/two"},
	} {
		for _, json := range []bool{false, true} {
			e, stdout, _ := testEnv(t)
			e.UI = ui.New(ui.Settings{Stdout: stdout, JSON: json})
			e.UI.Table("peers", holders{"a", "1.0.0", "root", peers}.rows())
			if got := stdout.String(); !json && got != want {
				t.Errorf("%q: printed %q, want %q", peers, got, want)
			} else if json && strings.Count(got, "\n") != 1 {
				t.Errorf("%q: printed %q, want one object", peers, got)
			}
		}
	}
}
