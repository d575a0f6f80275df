package name

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseAcceptsNamesOnly(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", MaxPart)
	tests := []struct {
		in, suggestion string
		ok             bool
	}{
		{"left-pad", "", true},
		{"a", "", true},
		{"7zip", "", true},
		{"a--b", "", true},
		{"scope/name", "", true},
		{long, "", true},
		{long + "/" + long, "", true},
		{long + "a", "", false},
		{"", "", false},
		{"-a", "a", false},
		{"a-", "a", false},
		{"Foo_Bar", "foo-bar", false},
		{"foo.bar", "foo-bar", false},
		{"@scope/x", "scope/x", false},
		{"@Scope/My_Name", "scope/my-name", false},
		{" foo ", "foo", false},
		{"my package", "my-package", false},
		{"a/b/c", "", false},
		{"a/", "", false},
		{"/a", "", false},
		{"a//b", "", false},
		{"../a", "", false},
		{"naïve", "", false},
		{"а", "", false}, // Cyrillic
		{"a\x00", "", false},
		{strings.Repeat("x/", 1000), "", false},
	}
	for _, tt := range tests {
		n, err := Parse(tt.in)
		if (err == nil) != tt.ok {
			t.Errorf("Parse(%q) = %q, %v; want ok %v", tt.in, n, err, tt.ok)
		}
		if err == nil {
			continue
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("Parse(%q): error is a %T", tt.in, err)
		}
		if e.Suggestion != tt.suggestion {
			t.Errorf("Parse(%q) suggests %q, want %q", tt.in, e.Suggestion, tt.suggestion)
		}
		if len(err.Error()) > 600 {
			t.Errorf("Parse of %d bytes: message of %d bytes", len(tt.in), len(err.Error()))
		}
	}
}

func TestScopesEndWithOneSlash(t *testing.T) {
	t.Parallel()
	for in, ok := range map[string]bool{
		"scope/": true, "scope": false, "scope//": false, "/": false, "": false, "a/b/": false, "Scope/": false,
	} {
		n, err := ParseScope(in)
		if (err == nil) != ok {
			t.Errorf("ParseScope(%q) = %q, %v; want ok %v", in, n, err, ok)
		}
		if ok && (!n.IsScope() || n.Scope() != "scope" || n.Base() != "") {
			t.Errorf("ParseScope(%q): scope %q, base %q", in, n.Scope(), n.Base())
		}
	}
	if n := Name("scope/name"); n.Scope() != "scope" || n.Base() != "name" || n.IsScope() {
		t.Errorf("%q: scope %q, base %q, is scope %v", n, n.Scope(), n.Base(), n.IsScope())
	}
	if n := Name("name"); n.Scope() != "" || n.Base() != "name" {
		t.Errorf("%q: scope %q, base %q", n, n.Scope(), n.Base())
	}
}

func TestCanonicalOfANameIsItself(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?(/[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?)?`).Draw(t, "name")
		n, err := Parse(s)
		if err != nil {
			t.Fatalf("Parse(%q): %v", s, err)
		}
		if got := Canonical(n.String()); got != s {
			t.Fatalf("Canonical(%q) = %q", s, got)
		}
		twin := strings.ToUpper(strings.ReplaceAll(s, "-", "_"))
		if got := Canonical(twin); got != s {
			t.Fatalf("Canonical(%q) = %q, want %q", twin, got, s)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"left-pad", "scope/x", "Foo_Bar", "@a/b", "a/", "", "did:key:z6Mk"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err == nil {
			if string(n) != s || Canonical(s) != s || len(s) > 2*MaxPart+1 {
				t.Fatalf("Parse(%q) = %q", s, n)
			}
			return
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("Parse(%q): error is a %T", s, err)
		}
		if e.Suggestion != "" {
			if _, err := Parse(e.Suggestion); err != nil {
				t.Fatalf("Parse(%q) suggests %q: %v", s, e.Suggestion, err)
			}
		}
	})
}
