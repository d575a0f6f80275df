package tlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"

	"pkg/keys"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// Tiles reads tiles by their path of C2SP tlog-tiles, such as "tile/1/x001/067.p/12". It returns all bytes of the tile,
// which are not trusted and are not kept; a tile that is not there gives an error that is fs.ErrNotExist.
type Tiles interface {
	ReadTile(ctx context.Context, path string) ([]byte, error)
}

// TilePath returns the path of the n-th tile of a level; width 256 is a full one, less a partial one (C2SP tlog-tiles).
func TilePath(level int, n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width == tileWidth {
		return fmt.Sprintf("tile/%d/%s", level, path)
	}
	return fmt.Sprintf("tile/%d/%s.p/%d", level, path, width)
}

// ProveConsistency makes, from tiles, the proof that the log of size leaves under root begins with its first old leaves.
// Every tile is checked against root, and one that contradicts it is a *keys.TrustError with the tiles as evidence; whether
// the proof fits the old root is for CheckConsistency to say.
func ProveConsistency(ctx context.Context, tiles Tiles, size int64, root Hash, old int64) ([]Hash, error) {
	if old < 1 || old > size || size > MaxSize {
		return nil, fmt.Errorf("prove consistency: no sizes %d and %d", old, size)
	}
	if old == size {
		return nil, nil
	}
	r := newTileReader(ctx, tiles)
	proof, err := tlog.ProveTree(size, old, tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, r))
	if err != nil {
		return nil, r.explain("prove consistency", size, root, err)
	}
	return proof, nil
}

// ProveInclusion makes, from tiles, the audit path of the leaf at index in the log of size leaves under root, with the
// errors of ProveConsistency.
func ProveInclusion(ctx context.Context, tiles Tiles, size int64, root Hash, index int64) ([]Hash, error) {
	if index < 0 || index >= size || size > MaxSize {
		return nil, fmt.Errorf("prove inclusion: no leaf %d among %d", index, size)
	}
	r := newTileReader(ctx, tiles)
	proof, err := tlog.ProveRecord(size, index, tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, r))
	if err != nil {
		return nil, r.explain("prove inclusion", size, root, err)
	}
	return proof, nil
}

// tileReader is the tlog.TileReader of one proof.
type tileReader struct {
	read     func(path string) ([]byte, error)
	failed   error           // reading failed, as opposed to what was read being wrong
	evidence []keys.Evidence // what was read
}

func newTileReader(ctx context.Context, tiles Tiles) *tileReader {
	return &tileReader{read: func(path string) ([]byte, error) { return tiles.ReadTile(ctx, path) }}
}

// Height returns the height of a tile.
func (r *tileReader) Height() int { return tileHeight }

// SaveTiles does nothing: caching is the business of Tiles.
func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles reads each tile. Partial tiles may be deleted once the full one exists, and its beginning serves as well.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		path := TilePath(t.L, t.N, t.W)
		data, err := r.read(path)
		if t.W < tileWidth && errors.Is(err, fs.ErrNotExist) {
			path = TilePath(t.L, t.N, tileWidth)
			if data, err = r.read(path); err == nil && len(data) == tileWidth*HashSize {
				data = data[:t.W*HashSize]
			}
		}
		if err != nil {
			r.failed = fmt.Errorf("read %s: %w", path, err)
			return nil, r.failed
		}
		if len(data) != t.W*HashSize {
			r.failed = fmt.Errorf("read %s: %d bytes, want %d", path, len(data), t.W*HashSize)
			return nil, r.failed
		}
		out[i] = data
		r.evidence = append(r.evidence, keys.Evidence{Name: path, Data: data})
	}
	return out, nil
}

// explain separates tiles that could not be had from tiles that lie.
func (r *tileReader) explain(doing string, size int64, root Hash, err error) error {
	if r.failed != nil {
		return fmt.Errorf("%s: %w", doing, r.failed)
	}
	return &keys.TrustError{
		Subject: "transparency log",
		What:    "the tiles served are not those of the signed log",
		Ours:    fmt.Sprintf("root %s of %d leaves", formatHash(root), size),
		Theirs:  err.Error(), Evidence: r.evidence,
	}
}
