// Package tree turns files into a UnixFS directory and back, and says which trees may exist at all.
//
// A tree is a set of files with slash-separated paths. Its root is the CID of a UnixFS directory: CIDv1, sha2-256, raw
// leaves, chunks of 1 MiB, directories sorted by name and never sharded, no symlinks, no times, no empty directories. A
// file of at most one chunk is a bare raw leaf, the empty file is the identity CID bafkqaaa, a longer file is one
// dag-pb node over its leaves, and an executable is always such a node, with UnixFS 1.5 mode 0755. Without executables
// this is what
//
//	ipfs add -r -H --empty-dirs=false --cid-version=1 --raw-leaves --chunker=size-1048576 \
//	    --max-file-links=1024 --inline --inline-limit=0
//
// prints. Every set of files has one root, and every root that [Unpack] accepts is the root of the files it wrote.
//
// A pack carries the same DAG: one zstd stream (any number of frames) of sections
//
//	uvarint(len(cid) + len(block)) ‖ cid ‖ block
//
// in depth-first order, parents before children, the root first, each block where it is first needed and never again.
// The identity CID carries its own content and has no section.
//
// [Check] holds the rules for paths and the limits. Packing and unpacking apply the same ones, reject and never
// sanitise, so that a tree that was published can be installed on every platform.
package tree

import (
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

// ChunkSize is the size in bytes of every leaf of a file but its last.
const ChunkSize = 1 << 20

// MaxLinks is the number of leaves a file may have: the width of one dag-pb node. A file is at most
// MaxLinks × ChunkSize bytes, whatever the Limits.
const MaxLinks = 1024

// MaxBlock is the size in bytes of the largest block, leaf or directory, that is made or accepted.
const MaxBlock = 1 << 20

// Limits bounds a tree. The zero value refuses everything; see [Default].
type Limits struct {
	Files     int   // files, and separately directories
	Bytes     int64 // sum of the file sizes, each copy counted
	Depth     int   // elements of a path
	PathBytes int   // bytes of a path
}

// Default returns the limits of every published package: 20,000 files, 500 MiB, 32 elements and 1,024 bytes a path.
func Default() Limits {
	return Limits{Files: 20_000, Bytes: 500 << 20, Depth: 32, PathBytes: 1024}
}

// File is one file to be packed.
type File struct {
	Path string // slash-separated, relative
	Size int64  // bytes; Open must yield exactly as many
	Exec bool   // any execute bit
	Open func() (io.ReadCloser, error)
}

// Summary says what was hashed, packed or unpacked.
type Summary struct {
	Root     cid.Cid
	Size     int64 // sum of the file sizes, in bytes
	Files    int
	Blocks   int   // distinct blocks, the empty file's not counted
	PackSize int64 // bytes of the pack as written or read; 0 from Root
}

// Error says why a tree is refused. Path is empty where the tree as a whole is meant.
type Error struct{ Path, Why string }

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Why
	}
	return fmt.Sprintf("%q: %s", e.Path, e.Why)
}

func refuse(path, format string, args ...any) error {
	return &Error{Path: path, Why: fmt.Sprintf(format, args...)}
}

// HashError says that bytes are not those their address promises. It is a failure of trust, not of transport: the same
// source is not asked again.
type HashError struct {
	Want, Got cid.Cid
	Path      string // where in the tree, if known
	Source    string // who sent the bytes, if known
}

func (e *HashError) Error() string {
	s := fmt.Sprintf("content is %s, not %s", e.Got, e.Want)
	if e.Path != "" {
		s = fmt.Sprintf("%q: %s", e.Path, s)
	}
	if e.Source != "" {
		s = fmt.Sprintf("%s (sent by %s)", s, e.Source)
	}
	return s
}

// PackBytes is the size in bytes of the largest pack that a tree within l can have.
func (l Limits) PackBytes() int64 { return waste(l.Bytes + maxNodes) }
