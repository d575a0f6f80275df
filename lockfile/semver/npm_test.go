package semver

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// oracle is npm's own package, by version and content.
const (
	oracleVersion   = "7.7.2"
	oracleIntegrity = "sha512-RF0Fw+rO5AMf9MAyaRXI4AV0Ulj5lMHqVxxdSgiVbixSCXoEmmX/jk0CuJw4+3SqroYO9VoUh+HcuJivvtJemA=="
)

// npm asks the package semver of the npm registry, as npm itself does.
type npm struct{ dir string }

// newNpm installs the package in a folder of its own, or skips the test.
func newNpm(t *testing.T) npm {
	t.Helper()
	if os.Getenv("PKG_TEST_ONLINE") != "1" {
		t.Skip("SKIPPED: compares with npm's semver only under PKG_TEST_ONLINE=1")
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: no %s on PATH", tool)
		}
	}
	n := npm{t.TempDir()}
	n.write(t, "package.json", map[string]any{"private": true, "dependencies": map[string]string{"semver": oracleVersion}})
	n.write(t, "package-lock.json", map[string]any{
		"lockfileVersion": 3,
		"packages": map[string]any{
			"":                    map[string]any{"dependencies": map[string]string{"semver": oracleVersion}},
			"node_modules/semver": map[string]any{"version": oracleVersion, "integrity": oracleIntegrity},
		},
	})
	cmd := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = n.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	return n
}

func (n npm) write(t *testing.T, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// ask returns npm's answer for each constraint and each of its versions.
func (n npm) ask(t *testing.T, constraints []string, versions [][]string) [][]answer {
	t.Helper()
	n.write(t, "in.json", map[string]any{"constraints": constraints, "versions": versions})
	cmd := exec.CommandContext(t.Context(), "node", "-e", `
		const semver = require("semver"), {constraints, versions} = require("./in.json")
		console.log(JSON.stringify(constraints.map((c, i) => {
			const refused = semver.validRange(c) === null
			return versions[i].map(v => {
				if (semver.valid(v) === null) throw new Error("not a version: " + v)
				return refused ? "is refused" : semver.satisfies(v, c) ? "matches" : "does not match"
			})
		})))`)
	cmd.Dir = n.dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	var answers [][]answer
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(constraints) {
		t.Fatalf("node: %d answers for %d constraints, %v", len(answers), len(constraints), err)
	}
	return answers
}

func TestNpmAgrees(t *testing.T) {
	t.Parallel()
	n := newNpm(t)
	t.Run("table", func(t *testing.T) {
		var constraints []string
		var versions [][]string
		for _, p := range prereleases() {
			constraints, versions = append(constraints, p.in), append(versions, []string{p.version})
		}
		for i, got := range n.ask(t, constraints, versions) {
			want := no
			if prereleases()[i].want {
				want = yes
			}
			if got[0] != want {
				t.Errorf("%s and %s: npm says it %s, the table that it %s", constraints[i], versions[i][0], got[0], want)
			}
		}
	})
	t.Run("departures", func(t *testing.T) {
		var constraints []string
		var versions [][]string
		for _, d := range departures() {
			constraints, versions = append(constraints, d.in), append(versions, []string{d.version})
		}
		for i, got := range n.ask(t, constraints, versions) {
			if d := departures()[i]; got[0] != d.npm {
				t.Errorf("%q and %s: npm says it %s, the table that it %s", d.in, d.version, got[0], d.npm)
			}
		}
	})
	t.Run("generated", n.generated)
}

// generated compares thousands of constraints, each on all releases and
// pre-releases that can tell them apart. What differs must be a departure.
func (n npm) generated(t *testing.T) {
	var all []string
	for i := range 4 * 4 * 4 {
		for _, pre := range []string{"", "-0", "-alpha", "-alpha.1", "-beta", "-beta.0", "-rc.2", "-10", "-rc+b"} {
			all = append(all, fmt.Sprintf("%d.%d.%d%s", i/16, i/4%4, i%4, pre))
		}
	}
	var parsed []Version
	for _, v := range all {
		parsed = append(parsed, version(t, v))
	}
	gen := rapid.Custom(drawConstraint)
	var constraints []string
	var versions [][]string
	for i := range 4000 {
		// Most that npm does not know are left out.
		if s := gen.Example(i); i%8 == 0 || !unknownToNpm(s) {
			constraints, versions = append(constraints, s), append(versions, all)
		}
	}
	same, apart := 0, map[string]int{}
	for i, answers := range n.ask(t, constraints, versions) {
		s := constraints[i]
		c, err := ParseConstraint(s)
		if err != nil || answers[0] == refused {
			switch {
			case err == nil && unknownToNpm(s):
				apart["npm does not know it"]++
			case err == nil:
				t.Errorf("%q: npm refuses it", s)
			case answers[0] != refused:
				refusalOf(t, s, err)
				apart["we refuse it"]++
			}
			continue
		}
		for j, got := range answers {
			switch {
			case c.Check(parsed[j]) == (got == yes):
				same++
			case got == no && forgetful(s):
				apart["npm forgets groups"]++
			default:
				t.Errorf("%q and %s: npm says it %s, and we do not", s, all[j], got)
			}
		}
	}
	t.Logf("%d constraints, %d pairs alike, apart: %v", len(constraints), same, apart)
	if same < 500_000 {
		t.Error("the generator does not meet what npm knows")
	}
}

// Texts that npm does not know: see departures.
var (
	unknownForms = regexp.MustCompile(`!=|=>|=<|,`)
	partialBuild = regexp.MustCompile(`(^|[^.\dxX*])(\d+|[xX*])(\.(\d+|[xX*]))?\+`)
)

func unknownToNpm(s string) bool { return unknownForms.MatchString(s) || partialBuild.MatchString(s) }

// forgetful reports whether a constraint has a group "*" beside others.
func forgetful(s string) bool {
	groups := strings.Split(s, "||")
	return len(groups) > 1 && slices.ContainsFunc(groups, func(g string) bool {
		c, err := ParseConstraint(g)
		return err == nil && slices.Equal(c.groups[0].in, []interval{{bottom(), top()}})
	})
}
