package manifest_test

import (
	"errors"
	"fmt"

	"pkg/lockfile/manifest"
	"pkg/lockfile/semver"
)

func ExampleParse() {
	m, err := manifest.Parse([]byte("[package]\nname = \"app\"\n\n[dependencies]\nexpress = \"^5.1.0\"\n"))
	fmt.Println(m.Package.Name, m.Dependencies["express"].Constraint, err)

	_, err = manifest.Parse([]byte("[dependencies]\nexpress = \"^*\"\n"))
	var e *manifest.Error
	if errors.As(err, &e) {
		fmt.Println(e)
		fmt.Println("help:", e.Help)
	}
	// Output:
	// app ^5.1.0 <nil>
	// pkg.toml:2: express: invalid constraint "^*": ^* matches only 0.0.0 (write "*")
	// help: write "*"
}

func ExampleSetDependency() {
	src := []byte("[dependencies]\n# for the server\nexpress = \"^5.1.0\" # see the notes\n")
	v, err := semver.Parse("6.14.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := manifest.SetDependency(src, manifest.Dependencies, "qs", manifest.Dependency{Constraint: semver.Caret(v)})
	fmt.Print(string(out))
	fmt.Println(err)
	// Output:
	// [dependencies]
	// # for the server
	// express = "^5.1.0" # see the notes
	// qs = "^6.14.0"
	// <nil>
}
