package name_test

import (
	"errors"
	"fmt"

	"pkg/lockfile/name"
)

func ExampleParse() {
	n, err := name.Parse("scope/left-pad")
	fmt.Println(n.Scope(), n.Base(), err)

	_, err = name.Parse("Left_Pad")
	var e *name.Error
	if errors.As(err, &e) {
		fmt.Println(e.Suggestion)
	}
	// Output:
	// scope left-pad <nil>
	// left-pad
}

func ExampleAuthorOf() {
	a := name.AuthorOf([32]byte{0: 0x3b, 31: 0x29})
	fmt.Println(a.Short())
	// Output: did:key:z6Mk…GjSgoS
}
