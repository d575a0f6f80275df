//go:build unix

package registry

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/keys/namespace"
	"pkg/keys/vmap"
	"pkg/lockfile/name"
)

// build makes the commit of the stage and all its blocks: pages and indexes of
// the author logs, ops, map nodes.
func (st *stage) build(ctx context.Context) (record, []*pkg, error) {
	o := newOverlay(st.s.blocks)
	var ops namespace.Ops
	var pkgs []*pkg
	var changes []vmap.Change
	for _, n := range st.order {
		c := st.changes[n]
		if c.claim != nil {
			ops = append(ops, namespace.Op{Kind: namespace.OpClaim, Name: n, Genesis: c.claim})
		}
		if len(c.entries) > 0 {
			ops = append(ops, namespace.Op{Kind: namespace.OpHead, Name: n, Entries: c.entries})
		}
		p, err := c.build(ctx, st.s, o, st.at)
		if err != nil {
			return record{}, nil, fmt.Errorf("pages of %s: %w", n, err)
		}
		pkgs = append(pkgs, p)
		changes = append(changes, vmap.Change{Name: string(n), Value: p.record.Encode()})
	}
	commit := namespace.Commit{N: st.at.Commit, T: st.at.T, P: st.base.M, M: st.base.M, Count: uint64(len(ops))}
	if len(ops) > 0 {
		b, err := namespace.EncodeOps(ops)
		if err != nil {
			return record{}, nil, fmt.Errorf("ops: %w", err)
		}
		commit.O = o.add(b)
		commit.M, err = vmap.Apply(ctx, o, st.base.M, changes, o.put)
		if err != nil {
			return record{}, nil, fmt.Errorf("map: %w", err)
		}
	}
	return record{commit: commit, leaf: commit.Encode(), blocks: o.raw}, pkgs, nil
}

// build makes the pages, the index and the record of a changed name.
func (c *change) build(ctx context.Context, s *Server, o *overlay, at author.Recorded) (*pkg, error) {
	p := &pkg{state: c.state}
	var tail [][]byte
	if c.was != nil {
		p.record = c.was.record
		full := p.record.Size / author.PageSize
		if p.record.Size%author.PageSize != 0 {
			var err error
			if tail, err = s.page(ctx, c.was.index, full); err != nil {
				return nil, err
			}
		}
		p.index = author.Index{Pages: slices.Clone(c.was.index.Pages[:full]), At: slices.Clone(c.was.index.At)}
	} else {
		p.record = namespace.Record{Status: namespace.Active, ID: c.state.ID, Since: at.Commit}
		tail = append(tail, c.claim)
	}
	tail = append(tail, c.entries...)
	for len(tail) > 0 {
		n := min(len(tail), author.PageSize)
		p.index.Pages = append(p.index.Pages, o.add(author.EncodePage(tail[:n])))
		tail = tail[n:]
	}
	p.index.At = append(p.index.At, author.At{Size: c.state.Size, Commit: at.Commit, T: at.T})
	p.record.Size, p.record.Log = c.state.Size, c.state.LogRoot()
	p.record.Index = o.add(p.index.Encode())
	return p, nil
}

// firstCommit makes commit 0: an empty map.
func firstCommit(t int64) (record, error) {
	o := newOverlay(nil)
	root, err := vmap.Build(nil, o.put)
	if err != nil {
		return record{}, err
	}
	c := namespace.Commit{T: t, M: root}
	return record{commit: c, leaf: c.Encode(), blocks: o.raw}, nil
}

// pkg returns the package or scope n under the reader's map, errAbsent if there
// is none and errReserved if there can be none.
func (s *Server) pkg(ctx context.Context, r *vmap.Reader, n name.Name) (*pkg, error) {
	rec, err := namespace.Lookup(ctx, r, n)
	if err != nil {
		return nil, err
	}
	switch {
	case rec == nil:
		return nil, errAbsent
	case rec.Status == namespace.Reserved:
		return nil, errReserved
	}
	if p, ok := s.packages.get(rec.Index); ok && p.record.Size == rec.Size && p.record.ID == rec.ID {
		q := *p
		q.record = *rec
		return &q, nil
	}
	p := &pkg{record: *rec}
	if p.state, err = author.Follow(ctx, &author.State{}, s.blocks, rec.ID, rec.Size, rec.Log, rec.Index); err != nil {
		return nil, fmt.Errorf("author log of %s: %w", n, err)
	}
	b, err := s.blocks.Get(ctx, rec.Index)
	if err != nil {
		return nil, err
	}
	if p.index, err = author.DecodeIndex(b); err != nil {
		return nil, fmt.Errorf("index of %s: %w", n, err)
	}
	s.packages.add(rec.Index, p)
	return p, nil
}

// page returns the envelopes of a page.
func (s *Server) page(ctx context.Context, index author.Index, i uint64) ([][]byte, error) {
	if i >= uint64(len(index.Pages)) {
		return nil, fmt.Errorf("page %d of %d", i, len(index.Pages))
	}
	b, err := s.blocks.Get(ctx, index.Pages[i])
	if err != nil {
		return nil, err
	}
	return author.DecodePage(b)
}

// claimed returns the package id and name an op claims, if it is a claim.
func claimed(op namespace.Op) (id [32]byte, n name.Name, ok bool) {
	if op.Kind != namespace.OpClaim {
		return id, "", false
	}
	body, _, err := keys.SplitEnvelope(op.Genesis, author.MaxEntry)
	if err != nil {
		return id, "", false
	}
	return sha256.Sum256(body), op.Name, true
}
