// Command gen prints the roots that boxo's own importer and directories compute for the trees it is given:
//
//	go run . <trees.json >roots.json
//
// It is a module of its own, because pkg needs none of what the importer depends on. The content of a file is the
// ChaCha8 stream whose seed is the SHA-256 of its content key.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"path"
	"sort"
	"strings"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	mdtest "github.com/ipfs/boxo/ipld/merkledag/test"
	ft "github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-cidutil"
	ipld "github.com/ipfs/go-ipld-format"
	mh "github.com/multiformats/go-multihash"
)

// Tree is one vector.
type Tree struct {
	Name  string `json:"name"`
	Files []File `json:"files"`
	Root  string `json:"root"`
}

// File is one file of a vector.
type File struct {
	Path string `json:"path"`
	Key  string `json:"key"` // of the content
	Size int64  `json:"size"`
	Exec bool   `json:"exec,omitempty"`
}

func main() {
	var trees []Tree
	if err := json.NewDecoder(os.Stdin).Decode(&trees); err != nil {
		log.Fatal(err)
	}
	for i := range trees {
		trees[i].Root = root(trees[i].Files)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetIndent("", " ")
	if err := out.Encode(trees); err != nil {
		log.Fatal(err)
	}
}

func builder() cid.Builder {
	return cidutil.InlineBuilder{Builder: cid.V1Builder{Codec: cid.DagProtobuf, MhType: mh.SHA2_256}, Limit: 0}
}

func root(files []File) string {
	ctx, serv := context.Background(), mdtest.Mock()
	dirs := map[string]uio.Directory{"": newDir(serv)}
	for _, f := range files {
		for d := parent(f.Path); d != ""; d = parent(d) {
			if dirs[d] == nil {
				dirs[d] = newDir(serv)
			}
		}
		check(dirs[parent(f.Path)].AddChild(ctx, path.Base(f.Path), file(ctx, serv, f)))
	}
	names := make([]string, 0, len(dirs))
	for d := range dirs {
		names = append(names, d)
	}
	sort.Slice(names, func(i, j int) bool { return strings.Count(names[i], "/") > strings.Count(names[j], "/") })
	for _, d := range names {
		if d != "" {
			n, err := dirs[d].GetNode()
			check(err)
			check(dirs[parent(d)].AddChild(ctx, path.Base(d), n))
		}
	}
	n, err := dirs[""].GetNode()
	check(err)
	return n.Cid().String()
}

func parent(p string) string {
	if d := path.Dir(p); d != "." {
		return d
	}
	return ""
}

func newDir(serv ipld.DAGService) uio.Directory {
	d, err := uio.NewBasicDirectory(serv, uio.WithCidBuilder(builder()))
	check(err)
	return d
}

func file(ctx context.Context, serv ipld.DAGService, f File) ipld.Node {
	r := io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte(f.Key))), f.Size)
	p := helpers.DagBuilderParams{Dagserv: serv, Maxlinks: 1024, RawLeaves: true, CidBuilder: builder()}
	if f.Exec {
		p.FileMode = 0o755
	}
	if f.Exec && f.Size <= 1<<20 { // the importer would drop the mode with the node
		data, err := io.ReadAll(r)
		check(err)
		fs := ft.NewFSNode(ft.TFile)
		fs.SetMode(0o755)
		n := new(merkledag.ProtoNode)
		check(n.SetCidBuilder(builder()))
		if len(data) > 0 {
			leaf, err := merkledag.NewRawNodeWPrefix(bytes.Clone(data), builder())
			check(err)
			check(serv.Add(ctx, leaf))
			check(n.AddNodeLink("", leaf))
			fs.AddBlockSize(uint64(len(data)))
		}
		b, err := fs.GetBytes()
		check(err)
		n.SetData(b)
		check(serv.Add(ctx, n))
		return n
	}
	h, err := p.New(chunk.NewSizeSplitter(r, 1<<20))
	check(err)
	n, err := balanced.Layout(h)
	check(err)
	return n
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
