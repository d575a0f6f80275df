package vmap_test

import (
	"context"
	"fmt"

	"pkg/keys/vmap"
)

func Example() {
	ctx := context.Background()
	m := newMemory()
	root, err := vmap.Build([]vmap.Entry{{Name: "left-pad", Value: []byte("a record")}}, m.put)
	if err != nil {
		panic(err)
	}
	root, err = vmap.Apply(ctx, m, root, []vmap.Change{{Name: "right-pad", Value: []byte("another")}}, m.put)
	if err != nil {
		panic(err)
	}
	r := vmap.NewReader(m, root)
	for _, name := range []string{"left-pad", "right-pad", "middle-pad"} {
		value, err := r.Lookup(ctx, name)
		fmt.Printf("%s: %q %v\n", name, value, err)
	}
	// Output:
	// left-pad: "a record" <nil>
	// right-pad: "another" <nil>
	// middle-pad: "" <nil>
}
