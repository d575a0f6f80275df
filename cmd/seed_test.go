//go:build unix

package cmd

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pkg/fetch/store"
)

// toldOf are the roots that a registry was told of, sorted.
func (s *served) toldOf() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]bool)
	for _, a := range s.told {
		for _, c := range a.Roots {
			all[c.String()] = true
		}
	}
	return sorted(all)
}

// TestSeedForServesOneProjectAndWithdraws runs pkg install --seed-for until the registry was told, and ends it.
func TestSeedForServesOneProjectAndWithdraws(t *testing.T) {
	t.Parallel()
	reg, closed := serves(t, "registry.test/seedfor"), serves(t, "registry.test/seedfor-closed")
	home := t.TempDir()
	reg.publish(t, "left", "right")
	closed.publish(t, "secret")
	ok(t, home, "-C", projectOf(t, []string{`right = "^1"`}, reg.table("default", "")), "install", "--mode", "http") // another one's
	app := projectOf(t, []string{`left = "^1"`, `secret = {version = "^1", registry = "work"}`},
		reg.table("default", "")+closed.table("work", "private = true"))
	c := process(t, []string{"PKG_HOME=" + home, "PKG_LAN=false"}, "-C", app, "install", "--seed-for", "10m")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	reg.announced(t)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%v\n%s", err, errs.String())
	}
	if got, want := reg.toldOf(), []string{rootsOf(t, app)["left"]}; !slices.Equal(got, want) {
		t.Errorf("told of %q, want the public package of the project alone, %q", got, want)
	}
	if got := closed.toldOf(); len(got) > 0 {
		t.Errorf("the private registry was told of %q", got)
	}
	last := reg.told[len(reg.told)-1]
	if last.Lifetime != 0 || len(last.Roots) != 0 {
		t.Errorf("the last that was told is %+v, want that the seed is gone", last)
	}
	if exists(filepath.Join(home, "state", "peer.key")) {
		t.Error("it served as the seed of this user, which another process may be")
	}
	if !strings.Contains(out.String(), "seeding 1 package as ") || !strings.Contains(out.String(), "\nserved ") {
		t.Errorf("said %q", out.String())
	}
}

// TestSeedTellsARegistryOfItsOwnPackagesAlone holds what --registry does to a seed: it says where one registry is, and
// nothing of the packages of others.
func TestSeedTellsARegistryOfItsOwnPackagesAlone(t *testing.T) {
	t.Parallel()
	a, b := serves(t, "registry.test/a"), serves(t, "registry.test/b")
	home := t.TempDir()
	a.publish(t, "left", "right")
	named := projectOf(t, []string{`left = "^1"`}, a.table("default", ""))
	ok(t, home, "-C", named, "install", "--mode", "http")
	bare := projectOf(t, []string{`right = "^1"`}, "")
	ok(t, home, "-C", bare, "install", "--mode", "http", "--registry", a.url, "--registry-id", a.id)
	both := slices.Sorted(maps.Values(map[string]string{"left": rootsOf(t, named)["left"], "right": rootsOf(t, bare)["right"]}))

	st, err := store.Open(filepath.Join(home, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule string
		ref  registryRef
		want map[string][]string // by registry
	}{
		{"what nobody says the registry of is not told", registryRef{}, map[string][]string{a.id: {rootsOf(t, named)["left"]}}},
		{"--registry says where it is", registryRef{URL: a.url, ID: a.id}, map[string][]string{a.id: both}},
		{"its id is asked for", registryRef{URL: a.url}, map[string][]string{a.id: both}},
		{"another registry is told nothing", registryRef{URL: b.url}, map[string][]string{a.id: {rootsOf(t, named)["left"]}}},
	} {
		e := inHome(home, new(bytes.Buffer), new(bytes.Buffer))
		e.settle(line{})
		sh := &shelf{env: e, store: st}
		if sh.at, err = e.toTell(t.Context(), c.ref); err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		if err := sh.read(); err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		got := make(map[string][]string)
		for _, tr := range sh.trackers() {
			if tr.ID == a.id && tr.Base.String() != a.url+"/" {
				t.Errorf("%s: registry %s is told at %s, want %s", c.rule, tr.ID, tr.Base, a.url)
			}
			for _, root := range tr.Roots() {
				got[tr.ID] = append(got[tr.ID], root.String())
			}
			slices.Sort(got[tr.ID])
		}
		if !maps.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%s: %v, want %v", c.rule, got, c.want)
		}
	}
}

// TestSeedLearnsOfNewProjects reads the shelf again after a project came, with a registry of its own.
func TestSeedLearnsOfNewProjects(t *testing.T) {
	t.Parallel()
	a, b := serves(t, "registry.test/first"), serves(t, "registry.test/second")
	home := t.TempDir()
	a.publish(t, "left")
	b.publish(t, "right")
	ok(t, home, "-C", projectOf(t, []string{`left = "^1"`}, a.table("default", "")), "install", "--mode", "http")
	st, err := store.Open(filepath.Join(home, "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	sh := &shelf{env: inHome(home, nil, nil), store: st}
	if err := sh.read(); err != nil {
		t.Fatal(err)
	}
	if got := sh.trackers(); len(got) != 1 || got[0].ID != a.id {
		t.Errorf("told are %v, want %s alone", got, a.id)
	}
	ok(t, home, "-C", projectOf(t, []string{`right = "^1"`}, b.table("default", "")), "install", "--mode", "http")
	if err := sh.read(); err != nil {
		t.Fatal(err)
	}
	if got := sh.trackers(); len(got) != 2 || sh.count() != 2 {
		t.Errorf("told are %v of %d packages, want both registries, of 2", got, sh.count())
	}
}

func TestByteCount(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int64{ // 0 is refused
		"1000": 1000, "500k": 500_000, "1.5M": 1_500_000, "10MiB": 10 << 20, "2Ki": 2048, "1GB": 1_000_000_000, "1.5kb": 1500, "1g": 1_000_000_000,
		"0": 0, "1": 0, "999": 0, "0.9k": 0, "-5k": 0, "1e9": 0, "0x1000": 0, "1_000": 0, "10iB": 0, "10T": 0, "M": 0, "1.2.3M": 0, "9999999999G": 0, "inf": 0, "5 M": 0, "10bb": 0,
	} {
		got, err := byteCount(in)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("byteCount(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
}

func TestNamedPeersThatFailedAreTold(t *testing.T) {
	t.Parallel()
	const peer, other = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWabcdXYZ1", "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWabcdXYZ2"
	got := unasked([]string{peer, other, "https://mirror.test/x", "https://other.test"}, map[string]string{
		"peer 12D3…XYZ1": "refused", "peer 12D3…0000": "a tracker named it", "mirror.test": "no route", "registry.test": "gone", "": "nobody",
	})
	if want := map[string]string{peer: "refused", "https://mirror.test/x": "no route"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestUnitWord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in        string
		variables bool
		want      string
	}{
		{"left-pad", true, "left-pad"},
		{"/usr/bin/pkg", false, "/usr/bin/pkg"},
		{"", true, `""`},
		{"a b", true, `"a b"`},
		{"50%", true, "50%%"},
		{"$HOME", true, "$$HOME"},
		{"$HOME", false, "$HOME"},
		{`say "no"`, true, `"say \"no\""`},
		{`it's`, true, `"it's"`},
		{`a\b`, true, `"a\\b"`},
		{"two\nlines", true, `"two\x0alines"`},
		{";", true, `";"`},
	} {
		if got := unitWord(c.in, c.variables); got != c.want {
			t.Errorf("unitWord(%q, %v) = %s, want %s", c.in, c.variables, got, c.want)
		}
	}
}
