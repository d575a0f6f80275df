package block_test

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
)

func Example() {
	data := []byte("hello\n")
	c := block.Sum(cid.Raw, data)
	fmt.Println(c)
	fmt.Println(block.Matches(c, data), block.Matches(c, nil))
	fmt.Println(block.Empty())
	// Output:
	// bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am
	// true false
	// bafkqaaa
}
