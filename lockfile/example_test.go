package lockfile_test

import (
	"fmt"

	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/semver"
)

func ExampleParse() {
	v, err := semver.Parse("0.1.0")
	if err != nil {
		fmt.Println(err)
		return
	}
	l := &lockfile.Lock{Packages: []lockfile.Package{{Name: "sibling", Version: v, Path: "../sibling"}}}
	fmt.Print(string(l.Bytes()))

	_, err = lockfile.Parse(l.Bytes()[:100])
	fmt.Println(err)
	// Output:
	// # Written by pkg: commit it, do not edit it.
	// version = 1
	//
	// [[package]]
	// name = "sibling"
	// version = "0.1.0"
	// path = "../sibling"
	//
	// # end of pkg.lock
	// pkg.lock: it is cut short: the last line is not "# end of pkg.lock"
}

func ExampleSatisfies() {
	m, err := manifest.Parse([]byte("[dependencies]\nsibling = { path = \"../brother\" }\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	l := &lockfile.Lock{Packages: []lockfile.Package{{Name: "sibling", Path: "../sibling"}}}
	for _, d := range lockfile.Satisfies(l, m) {
		fmt.Println(d)
	}
	// Output: sibling is locked at ../sibling, pkg.toml wants the path ../brother
}
