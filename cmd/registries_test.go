package cmd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
)

// idA and idB are ids as registries have them.
const (
	idA = "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
	idB = "bafyreibmbbynwnu3ajaebadr5y6cmkjiws2dyfkj75oqzk57g7smerceie"
)

func TestPlaceOfARegistry(t *testing.T) {
	t.Parallel()
	const toml = "[registries.default]\nurl = \"https://a.example\"\nid = \"" + idA + "\"\n[registries.other]\nurl = \"https://b.example/x/\"\n"
	for _, c := range []struct {
		rule, toml, config string
		lock               []lockfile.Registry
		ref                registryRef
		name               string
		want               place
		fails              bool
	}{
		{rule: "the embedded one is the default", name: defaultRegistry},
		{rule: "pkg.toml names the default", toml: toml, name: defaultRegistry, want: place{"https://a.example/", idA}},
		{rule: "config.toml does where pkg.toml does not", config: toml, name: defaultRegistry, want: place{"https://a.example/", idA}},
		{rule: "a flag comes before pkg.toml, without its id", toml: toml, ref: registryRef{URL: "http://127.0.0.1:1"}, name: defaultRegistry, want: place{url: "http://127.0.0.1:1/"}},
		{rule: "a flag may be a name", toml: toml, ref: registryRef{URL: "other"}, name: defaultRegistry, want: place{url: "https://b.example/x/"}},
		{rule: "a flag may ask for the embedded one", toml: toml, ref: registryRef{URL: manifest.LocalRegistry}, name: defaultRegistry},
		{rule: "the id of a flag counts", toml: toml, ref: registryRef{ID: idB}, name: defaultRegistry, want: place{"https://a.example/", idB}},
		{rule: "a flag says nothing of other registries", toml: toml, ref: registryRef{URL: "http://127.0.0.1:1", ID: idB}, name: "other", want: place{url: "https://b.example/x/"}},
		{rule: "the lock gives the id that nobody else gives", toml: toml, lock: []lockfile.Registry{{Name: "other", ID: idB}}, name: "other", want: place{"https://b.example/x/", idB}},
		{rule: "pkg.toml comes before the lock", toml: toml, lock: []lockfile.Registry{{Name: defaultRegistry, ID: idB}}, name: defaultRegistry, want: place{"https://a.example/", idA}},
		{rule: "local is the embedded one", toml: toml, name: manifest.LocalRegistry},
		{rule: "an unknown name is an error", toml: toml, name: "nowhere", fails: true},
		{rule: "so is it as a flag", ref: registryRef{URL: "nowhere"}, name: defaultRegistry, fails: true},
		{rule: "only http and https are spoken", ref: registryRef{URL: "ftp://a.example"}, name: defaultRegistry, fails: true},
		{rule: "a URL with a password is refused", ref: registryRef{URL: "http://me:you@a.example"}, name: defaultRegistry, fails: true},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			e, _, _ := testEnv(t)
			m, err := manifest.Parse([]byte(c.toml))
			if err != nil {
				t.Fatal(err)
			}
			if c.config != "" {
				if err := os.WriteFile(filepath.Join(e.Dir, "config.toml"), []byte(c.config), 0o600); err != nil {
					t.Fatal(err)
				}
				e.Environ = []string{"PKG_HOME=" + e.Dir}
			}
			r, err := e.registries(&project{manifest: m, lock: &lockfile.Lock{Registries: c.lock}}, c.ref, false)
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.place(c.name)
			if (err != nil) != c.fails || err == nil && got != c.want {
				t.Errorf("place(%q) = %+v, %v, want %+v, an error %v", c.name, got, err, c.want, c.fails)
			}
		})
	}
}

func TestParseWants(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   []string
		want []want
	}{
		{[]string{"left-pad"}, []want{{"left-pad", ""}}},
		{[]string{"left-pad@^1.2", "corp/tool@1.0.0"}, []want{{"left-pad", "^1.2"}, {"corp/tool", "1.0.0"}}},
		{[]string{"a@>=1 <2"}, []want{{"a", ">=1 <2"}}},
		{[]string{"a@"}, nil},
		{[]string{"@corp/tool"}, nil},
		{[]string{"A"}, nil},
		{[]string{"a@^*"}, nil},
		{[]string{"a", "a@1"}, nil},
		{[]string{""}, nil},
	} {
		got, err := parseWants(c.in)
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(want{})); diff != "" || (err == nil) != (c.want != nil) {
			t.Errorf("parseWants(%q): %v (-want +got)\n%s", c.in, err, diff)
		}
	}
}

func TestFreeNameNeverTakesAnotherRegistrysDependencies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule, toml string
		lock       []lockfile.Registry
		want       string
	}{
		{"an empty manifest has room for a default", "", nil, defaultRegistry},
		{"path dependencies come from no registry", "[dependencies]\na = { path = \"../a\" }\n", nil, defaultRegistry},
		{"dependencies without registry come from another default", "[dependencies]\na = \"1\"\n", nil, "pkg-example-org-8080"},
		{"unless the lock says that it is this one", "[dependencies]\na = \"1\"\n", []lockfile.Registry{{Name: defaultRegistry, ID: idA}}, defaultRegistry},
		{"a default is not replaced", "[registries.default]\nurl = \"https://b.example\"\n", nil, "pkg-example-org-8080"},
		{"a name is taken once", "[dependencies]\na = \"1\"\n[registries.pkg-example-org-8080]\nurl = \"https://b.example\"\n", nil, "pkg-example-org-8080-2"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			t.Parallel()
			e, _, _ := testEnv(t)
			m, err := manifest.Parse([]byte(c.toml))
			if err != nil {
				t.Fatal(err)
			}
			r, err := e.registries(&project{manifest: m, lock: &lockfile.Lock{Registries: c.lock}}, registryRef{URL: "http://pkg.example.org:8080", ID: idA}, false)
			if err != nil {
				t.Fatal(err)
			}
			o, err := r.named("")
			if err != nil {
				t.Fatal(err)
			}
			if got := r.freeName(o); got != c.want {
				t.Errorf("freeName = %q, want %q", got, c.want)
			}
		})
	}
}

func TestPruneKeepsWhatIsReached(t *testing.T) {
	t.Parallel()
	lock := &lockfile.Lock{
		Registries: []lockfile.Registry{{Name: "one"}, {Name: "two"}},
		Packages: []lockfile.Package{
			{Name: "a", Registry: "one", Dependencies: []string{"c"}},
			{Name: "b", Registry: "two", Dependencies: []string{"one:c"}},
			{Name: "c", Registry: "one", Dependencies: []string{"a"}},
		},
	}
	for toml, want := range map[string][]string{
		"":                                   {},
		"[dependencies]\na = \"*\"\n":        {"one", "a", "c"},
		"[dev-dependencies]\nb = \"*\"\n":    {"one", "two", "a", "b", "c"},
		"[dependencies]\nd = \"*\"\n":        nil,
		"[optional-dependencies]\nd = \"*\"": {},
	} {
		m, err := manifest.Parse([]byte(toml))
		if err != nil {
			t.Fatal(err)
		}
		got, ok := prune(lock, m)
		var names []string
		if ok {
			names = []string{}
			for _, g := range got.Registries {
				names = append(names, g.Name)
			}
			for _, p := range got.Packages {
				names = append(names, p.Name.String())
			}
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("prune for %q (-want +got)\n%s", toml, diff)
		}
	}
}
