package manifest_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"pkg/lockfile/manifest"
)

func TestConfigHasKeysOfItsOwn(t *testing.T) {
	t.Parallel()
	got, err := manifest.ParseConfig([]byte("link = \"copy\"\nmode = \"http\"\n\n[registries.work]\nurl = \"https://pkg.example.org\"\nprivate = true\n"))
	want := &manifest.Config{Link: "copy", Mode: "http", Registries: map[string]manifest.Registry{"work": {URL: "https://pkg.example.org", Private: true}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("ParseConfig: %v\n%s", err, diff)
	}
	for text, want := range map[string]string{
		"\nlnk = \"copy\"":               `config.toml:2: unknown key "lnk" (did you mean "link"?)`,
		"[dependencies]":                 `config.toml:1: unknown key "dependencies" (known: link, mode, registries)`,
		"link = 3":                       `config.toml:1: the value is of type int64, want string`,
		"[registries.work]\nurl = \"x\"": `config.toml:1: registry work: url "x" is not an http or https address`,
	} {
		_, err := manifest.ParseConfig([]byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("link = \"copy\"\n[registries.work]\nurl = \"https://pkg.example.org\"\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := manifest.ParseConfig(b); (c == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", b, c, err)
		}
	})
}
