package semver_test

import (
	"fmt"

	"pkg/lockfile/semver"
)

func ExampleParseConstraint() {
	c, err := semver.ParseConstraint("^1.2.3-beta.2 || ~0.9")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range []string{"0.9.4", "1.2.3-beta.4", "1.3.0-beta", "1.9.0", "2.0.0"} {
		v, err := semver.Parse(s)
		fmt.Println(s, c.Check(v), err)
	}
	_, err = semver.ParseConstraint("~0.0.0")
	fmt.Println(err)
	// Output:
	// 0.9.4 true <nil>
	// 1.2.3-beta.4 true <nil>
	// 1.3.0-beta false <nil>
	// 1.9.0 true <nil>
	// 2.0.0 false <nil>
	// invalid constraint "~0.0.0": ~0.0.0 matches every version (write "0.0.x")
}

func ExampleConstraint_Mask() {
	var released []semver.Version
	for _, s := range []string{"1.0.0", "1.1.0", "1.2.0", "2.0.0"} {
		v, err := semver.Parse(s)
		if err != nil {
			fmt.Println(err)
			return
		}
		released = append(released, v)
	}
	mask := semver.Caret(released[1]).Mask(semver.NewDomain(released))
	fmt.Println(mask.Count(), released[mask.Max()])
	// Output: 2 1.2.0
}
