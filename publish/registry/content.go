//go:build unix

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"syscall"

	"github.com/ipfs/go-cid"

	"pkg/fetch/store"
	"pkg/fetch/tree"
	"pkg/keys/author"
	"pkg/publish"
)

// packs are the packs of one submission on their way into the store.
type packs struct {
	s     *Server
	w     *work
	batch *store.Batch // nil until a pack is new
	sums  map[cid.Cid]tree.Summary
}

func (s *Server) newPacks(w *work) *packs {
	return &packs{s: s, w: w, sums: map[cid.Cid]tree.Summary{}}
}

// put unpacks one pack into a place of its own, with all rules that an install
// applies. A root that is here already is skipped.
func (p *packs) put(ctx context.Context, root cid.Cid, r io.Reader) error {
	if !releases(p.w, root) {
		return refuse(http.StatusUnprocessableEntity, "", "the pack %s belongs to no release of the submission", root)
	}
	if _, twice := p.sums[root]; twice || p.s.content.Has(root) {
		return nil
	}
	if p.batch == nil {
		p.batch = p.s.content.Batch()
	}
	in := &input{r: r}
	sum, err := p.batch.Put(ctx, root, in)
	switch {
	case err == nil:
		p.sums[root] = sum
		return nil
	case in.err != nil:
		return refuse(http.StatusBadRequest, "send it again", "the pack %s did not arrive whole: %v", root, in.err)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ENOSPC), isDisk(err):
		return fmt.Errorf("store %s: %w", root, err)
	}
	return refuse(http.StatusUnprocessableEntity, "", "the content %s is not acceptable: %v", root, err)
}

func isDisk(err error) bool {
	var path *fs.PathError
	var no syscall.Errno
	return errors.As(err, &path) && errors.As(err, &no)
}

// seal makes the new packs durable and visible.
func (p *packs) seal(ctx context.Context) error {
	if p.batch == nil {
		return nil
	}
	if err := p.batch.Seal(ctx); err != nil {
		return fmt.Errorf("store content: %w", err)
	}
	return nil
}

func (p *packs) discard() error {
	if p.batch == nil {
		return nil
	}
	return p.batch.Discard()
}

// check compares each release with its content, all of which must be here.
func (p *packs) check() error {
	for _, e := range p.w.entries {
		if e.Body.Kind != author.KindRelease {
			continue
		}
		r := e.Body.Release
		sum, ok := p.sums[r.Root]
		if !ok {
			var err error
			if sum, err = p.s.measure(r.Root); err != nil {
				return err
			}
		}
		if uint64(sum.Size) != r.Size || uint64(sum.Files) != r.Files { //nolint:gosec // sums are not negative
			return refuse(http.StatusUnprocessableEntity, "",
				"the release of %s says %d bytes in %d files, the content has %d in %d", r.Version, r.Size, r.Files, sum.Size, sum.Files)
		}
	}
	return nil
}

// measure returns size and number of the files of a stored root.
func (s *Server) measure(root cid.Cid) (tree.Summary, error) {
	sum := tree.Summary{Root: root}
	dir, ok := s.content.Tree(root)
	if !ok {
		return sum, refuse(http.StatusUnprocessableEntity, "send the pack with the release",
			"the content %s is not here", root)
	}
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum.Size += info.Size()
		sum.Files++
		return nil
	})
	return sum, err
}

// record seals the packs, checks the releases against them and has the entries
// recorded.
func (s *Server) record(ctx context.Context, w *work, p *packs) (Receipt, error) {
	if err := p.seal(ctx); err != nil {
		return Receipt{}, errors.Join(err, p.discard())
	}
	if err := p.check(); err != nil {
		return Receipt{}, err
	}
	return s.enqueue(ctx, w)
}

// decode decodes the entries of a submission and verifies their signatures.
func (s *Server) decode(raws [][]byte) (*work, error) {
	if len(raws) == 0 || len(raws) > publish.MaxEntries {
		return nil, refuse(http.StatusUnprocessableEntity, "", "%d entries in a submission, 1 to %d are allowed", len(raws), publish.MaxEntries)
	}
	w := &work{answer: make(chan reply, 1)}
	for i, raw := range raws {
		e, err := author.Decode(raw)
		if err != nil {
			return nil, refuse(http.StatusUnprocessableEntity, "", "entry %d of the submission: %v", i, err)
		}
		w.entries = append(w.entries, e)
		w.size += len(raw) + entryOverhead
	}
	return w, nil
}

// precheck refuses early what would be refused late: before content is read,
// the entries are tried on the published state.
func (s *Server) precheck(ctx context.Context, w *work) error {
	if !hasRelease(w) {
		return nil
	}
	st, err := s.newStage(ctx)
	if err != nil {
		return err
	}
	return st.add(ctx, w)
}

func hasRelease(w *work) bool {
	for _, e := range w.entries {
		if e.Body.Kind == author.KindRelease {
			return true
		}
	}
	return false
}

func releases(w *work, root cid.Cid) bool {
	for _, e := range w.entries {
		if e.Body.Kind == author.KindRelease && e.Body.Release.Root == root {
			return true
		}
	}
	return false
}

// input remembers that the reader itself failed, which is the sender's fault.
type input struct {
	r   io.Reader
	err error
}

func (i *input) Read(p []byte) (int, error) {
	n, err := i.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		i.err = err
	}
	return n, err
}
