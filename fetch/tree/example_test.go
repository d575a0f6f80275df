package tree_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"pkg/fetch/tree"
)

// Files are packed, and the pack is unpacked elsewhere by someone who knows the root alone.
func Example() {
	ctx := context.Background()
	text := "hello\n"
	files := []tree.File{{Path: "doc/hello.txt", Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	}}}
	var pack bytes.Buffer
	sum, err := tree.Pack(ctx, files, tree.Default(), &pack)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sum.Root)

	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	dst, err := os.OpenRoot(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = dst.Close() }()
	got, _, err := tree.Unpack(ctx, &pack, sum.Root, dst, tree.Default())
	fmt.Println(got.Files, got.Size, err)
	// Output:
	// bafybeicjncsufue26bdvtejtzie7sbeqwwk3mtmhcbc6pwlxd2hdhzf374
	// 1 6 <nil>
}
