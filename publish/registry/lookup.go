//go:build unix

package registry

import (
	"bufio"
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/ipfs/go-cid"

	"pkg/keys/author"
	"pkg/keys/tlog"
	"pkg/keys/vmap"
	"pkg/lockfile/name"
	"pkg/resolve/catalog"
)

// postLookup answers with everything a client needs to prove what the registry
// says of some names and, if asked, of all they depend on. It is a prefill: the
// client verifies it as if it had fetched block by block.
func (s *Server) postLookup(w http.ResponseWriter, r *http.Request) {
	s.counters.lookups.Add(1)
	req, err := catalog.ParseLookupRequest(http.MaxBytesReader(w, r.Body, catalog.MaxRequest+1))
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error(), "")
		return
	}
	w.Header().Set("Content-Type", catalog.ContentType)
	w.Header().Set("Cache-Control", "no-store")
	out := bufio.NewWriterSize(w, 64<<10)
	a := &lookup{s: s, out: out, req: req, view: s.now.Load(), sent: map[cid.Cid]bool{}, left: catalog.MaxAnswer}
	if err := errors.Join(a.answer(r.Context()), out.Flush()); err != nil && r.Context().Err() == nil {
		// The answer has no end section now, so the client knows.
		s.cfg.Logger.WarnContext(r.Context(), "lookup", slog.Any("error", err))
	}
}

// lookup is one answer being written.
type lookup struct {
	s    *Server
	out  *bufio.Writer
	req  catalog.LookupRequest
	view *view
	sent map[cid.Cid]bool
	left int64 // bytes the answer may still have
}

func (a *lookup) answer(ctx context.Context) error {
	if err := a.section(catalog.KindHead, a.view.raw); err != nil {
		return err
	}
	if err := a.consistency(ctx); err != nil {
		return err
	}
	r := vmap.NewReader(a.s.blocks, a.view.head.Commit.M)
	queue := make([]name.Name, 0, len(a.req.Names))
	seen := map[name.Name]bool{}
	for _, text := range a.req.Names {
		n, err := parseName(text)
		if err != nil || seen[n] {
			continue // what is no name has no record; the client knows that too
		}
		seen[n] = true
		queue = append(queue, n)
	}
	for len(queue) > 0 && a.left > 0 {
		n := queue[0]
		queue = queue[1:]
		p, err := a.name(ctx, r, n)
		if err != nil {
			return err
		}
		if p == nil || !a.req.Closure {
			continue
		}
		for _, d := range a.s.dependencies(p.state) {
			if !seen[d] && len(seen) < catalog.MaxNames {
				seen[d] = true
				queue = append(queue, d)
			}
		}
	}
	return catalog.WriteSection(a.out, catalog.KindEnd)
}

// consistency proves that the head the client has is a prefix of this one.
func (a *lookup) consistency(ctx context.Context) error {
	cp := a.view.head.Checkpoint
	if a.req.Size <= 0 || a.req.Size >= cp.Size {
		return nil
	}
	proof, err := tlog.ProveConsistency(ctx, a.s.log, cp.Size, cp.Root, a.req.Size)
	if err != nil {
		return err
	}
	return a.section(catalog.KindConsistency, catalog.FormatConsistency(proof))
}

// name sends what proves the record of n, or its absence, and the author log
// that the client does not have. It returns nil for an absent name.
func (a *lookup) name(ctx context.Context, r *vmap.Reader, n name.Name) (*pkg, error) {
	path, err := r.Path(ctx, name.Canonical(string(n)))
	if err != nil {
		return nil, err
	}
	for _, c := range path {
		if err := a.block(ctx, c); err != nil {
			return nil, err
		}
	}
	p, err := a.s.pkg(ctx, r, n)
	if errors.Is(err, errAbsent) || errors.Is(err, errReserved) {
		return nil, nil //nolint:nilnil // absent is an answer, and it is proved
	}
	if err != nil {
		return nil, err
	}
	if err := a.block(ctx, p.record.Index); err != nil {
		return nil, err
	}
	known := a.req.Known[string(n)]
	for i := known / author.PageSize; known < p.record.Size && i < uint64(len(p.index.Pages)); i++ {
		if err := a.block(ctx, p.index.Pages[i]); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// dependencies are the names that the releases of s depend on, in this
// registry.
func (s *Server) dependencies(st *author.State) []name.Name {
	var names []name.Name
	for _, r := range st.Releases {
		if r.Yanked {
			continue
		}
		for _, d := range r.Release.Deps {
			if d.Registry == "" || d.Registry == s.settings.ID {
				names = append(names, d.Name)
			}
		}
	}
	return names
}

// block sends a block once.
func (a *lookup) block(ctx context.Context, c cid.Cid) error {
	if a.sent[c] || a.left <= 0 {
		return nil
	}
	a.sent[c] = true
	b, err := a.s.blocks.Get(ctx, c)
	if err != nil {
		return err
	}
	return a.section(catalog.KindBlock, c.Bytes(), b)
}

// section writes a section unless the answer would grow too large; what is left
// out the client fetches by itself.
func (a *lookup) section(kind byte, payload ...[]byte) error {
	n := int64(16)
	for _, p := range payload {
		n += int64(len(p))
	}
	if a.left -= n; a.left <= 0 {
		return nil
	}
	return catalog.WriteSection(a.out, kind, payload...)
}
