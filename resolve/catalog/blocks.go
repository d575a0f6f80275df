package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/go-cid"

	"pkg/lockfile/block"
)

// maxPrefill bounds the bytes kept from lookup answers in one run.
const maxPrefill = 4 * MaxAnswer

// errNotHere says that a block is not among those that came unasked.
var errNotHere = errors.New("block not at hand")

// blocks gives metadata blocks: those that came with lookup answers, else from
// the source. It is read by many goroutines; put is called when none reads.
type blocks struct {
	source Source
	local  bool // never ask the source
	have   map[cid.Cid][]byte
	bytes  int
}

func newBlocks(source Source) blocks {
	return blocks{source: source, have: make(map[cid.Cid][]byte)}
}

// put keeps a block that came unasked if it is what it says, which costs a hash
// and keeps a bad answer from spoiling what a static read would give.
func (b *blocks) put(c cid.Cid, data []byte) {
	if b.bytes+len(data) > maxPrefill || len(data) > block.MaxSize || !block.Matches(c, data) {
		return
	}
	if _, ok := b.have[c]; !ok {
		b.have[c] = data
		b.bytes += len(data)
	}
}

// Get implements author.Blocks and vmap.Blocks. The data is not trusted: who
// asks checks it against the CID.
func (b *blocks) Get(ctx context.Context, c cid.Cid) ([]byte, error) {
	if data, ok := b.have[c]; ok {
		return data, nil
	}
	if b.local {
		return nil, errNotHere
	}
	if err := block.Check(c); err != nil {
		return nil, err
	}
	data, err := b.source.Read(ctx, "ipfs/"+c.String(), block.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("get block: %w", err)
	}
	return data, nil
}

// tiles gives the tiles of the log.
type tiles struct{ source Source }

// ReadTile implements tlog.Tiles.
func (t tiles) ReadTile(ctx context.Context, path string) ([]byte, error) {
	return t.source.Read(ctx, path, 256*32)
}
