package bitswap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/libp2p/go-libp2p/core/peer"

	"pkg/fetch/swarm"
	"pkg/fetch/tree"
)

// smallPack is up to how many bytes a pack is made whole before it is passed on, so that its size is known.
const smallPack = 1 << 20

// Source fetches trees from a few peers by bitswap and passes them on as packs. It is safe for concurrent use.
type Source struct {
	x      *Exchange
	peers  []peer.AddrInfo
	limits tree.Limits
}

// Source is a source of what peers have: all are asked together, each for what others are not asked for. They are
// dialled when Content is called, unless they are connected.
func (x *Exchange) Source(peers ...peer.AddrInfo) *Source {
	return &Source{x: x, peers: peers, limits: tree.Default()}
}

var _ swarm.Source = (*Source)(nil)

// Name returns the id of the peer, or of the first and how many there are.
func (s *Source) Name() string {
	switch len(s.peers) {
	case 0:
		return "bitswap without peers"
	case 1:
		return "bitswap " + s.peers[0].ID.String()
	}
	return fmt.Sprintf("bitswap %s and %d more", s.peers[0].ID, len(s.peers)-1)
}

var (
	errLost    = errors.New("no peer has all of it")
	errStopped = errors.New("stopped reading")
)

// Content implements [swarm.Source]. All wants are fetched at once, as far as [Limits.Buffer] goes, and passed on in
// order. One of which no peer has all blocks is missing; each may have been passed a part of it, with an error at
// its end. A peer that sends a wrong block is let go and named in [Stats]; if there is no other, its lie, a
// [*tree.HashError], is the error.
func (s *Source) Content(ctx context.Context, r swarm.Request, each swarm.Each) (missing []swarm.Want, err error) {
	f, err := s.x.client.begin(ctx, s, r.Wants)
	if err != nil {
		return nil, &swarm.SourceError{Source: s.Name(), Err: err}
	}
	defer f.end()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("start the compressor: %w", err)
	}
	p := passer{f: f, enc: enc, each: each}
	var faults []error
	for i, w := range f.walks {
		err := p.pass(i, w)
		var stop *eachError
		var bad *tree.Error
		switch {
		case err == nil:
		case errors.As(err, &stop):
			return missing, stop.err
		case errors.Is(err, errLost):
			missing = append(missing, w.want)
		case errors.As(err, &bad):
			faults = append(faults, fmt.Errorf("%s: %w", w.want, err))
			f.skip(w)
		case ctx.Err() != nil:
			return missing, ctx.Err()
		default:
			return missing, &swarm.SourceError{Source: s.Name(), Err: err}
		}
	}
	if len(faults) > 0 {
		return missing, &swarm.SourceError{Source: s.Name(), Err: errors.Join(faults...)}
	}
	return missing, nil
}

// eachError carries an error of each.
type eachError struct{ err error }

func (e *eachError) Error() string { return e.err.Error() }

// passer passes the packs of a fetch on, one after another.
type passer struct {
	f    *fetch
	enc  *zstd.Encoder
	each swarm.Each
	buf  bytes.Buffer
}

// pass makes the pack of one walk and passes it on while it is made.
func (p *passer) pass(i int, w *walk) error {
	if err := p.f.await(i, w); err != nil {
		return err
	}
	pr, pw := io.Pipe()
	made := make(chan error, 1)
	go func() {
		err := p.write(w, pw)
		made <- err
		_ = pw.CloseWithError(err) // never fails
	}()
	p.buf.Reset()
	_, err := io.CopyN(&p.buf, pr, smallPack)
	switch {
	case errors.Is(err, io.EOF):
		err = p.each(w.want, int64(p.buf.Len()), &p.buf)
	case err == nil:
		err = p.each(w.want, -1, io.MultiReader(&p.buf, pr))
	default:
		return <-made
	}
	_ = pr.CloseWithError(errStopped) // never fails
	broke := <-made
	if broke != nil && !errors.Is(broke, errStopped) {
		return broke // what each made of that is not the cause
	}
	if err != nil {
		return &eachError{err}
	}
	if broke != nil {
		p.f.skip(w)
	}
	return nil
}

// write writes the pack of w.
func (p *passer) write(w *walk, to io.Writer) error {
	p.enc.Reset(to)
	var head []byte
	for {
		blocks, end, err := p.f.next(w)
		if err != nil {
			p.enc.Reset(nil) // ends what it does at the side
			return err
		}
		for _, b := range blocks {
			id := b.cid.Bytes()
			head = append(binary.AppendUvarint(head[:0], uint64(len(id)+len(b.data))), id...) //nolint:gosec // G115: sizes are not negative
			if _, err := p.enc.Write(head); err != nil {
				return err
			}
			if _, err := p.enc.Write(b.data); err != nil {
				return err
			}
		}
		if end {
			return p.enc.Close()
		}
	}
}
