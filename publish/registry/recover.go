//go:build unix

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pkg/keys/namespace"
)

// recover brings the directory to its last commit, whatever a crash left:
//
//   - in the journal, not in the log: the commit is appended. It may have been
//     signed, if the log's own last write was lost, so it must be this one;
//   - in the log, not in the head: the head is made and replaced;
//   - a torn end of the journal: it was never appended and is dropped.
//
// A directory that is older than the signer's record is refused: going on from
// there would be a fork.
func (s *Server) recover(ctx context.Context) error {
	records, err := s.journal.read()
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := s.blocks.restore(r.blocks); err != nil {
			return err
		}
	}
	last, err := s.lastCommit(ctx, records)
	if err != nil {
		return s.damaged(err)
	}
	signed, err := s.guard.last()
	if err != nil {
		return s.unsigned(err)
	}
	if err := s.checkSigned(signed, last); err != nil {
		return err
	}
	if _, err := s.blocks.Get(ctx, last.commit.M); err != nil {
		return s.damaged(fmt.Errorf("the map of the last commit: %w", err))
	}
	published, err := s.readHead(last)
	if err != nil {
		return s.damaged(err)
	}
	if !published {
		s.pending = &last
		if err := s.finishPending(ctx); err != nil {
			return fmt.Errorf("finish the last commit: %w", err)
		}
	}
	return s.damaged(s.learnAll(ctx))
}

// unsigned says that the signer's record is missing or cannot be read.
func (s *Server) unsigned(err error) error {
	var refused *guardError
	if !errors.As(err, &refused) {
		return err
	}
	to := Signed(s.dir)
	return &DamageError{Dir: s.dir, Why: err.Error(), Help: "cp -a " + shell("BACKUP/"+filepath.Base(to)) + " " + shell(to), err: err}
}

// lastCommit returns the last commit that must stand.
func (s *Server) lastCommit(ctx context.Context, records []record) (record, error) {
	size, err := s.log.Size(ctx)
	if err != nil {
		return record{}, fmt.Errorf("read the log's size: %w", err)
	}
	var journaled *record
	if len(records) > 0 {
		journaled = &records[len(records)-1]
	}
	if journaled != nil && journaled.commit.N == size {
		return *journaled, nil
	}
	if journaled != nil && journaled.commit.N > size {
		return record{}, fmt.Errorf("the log has %d leaves, but commit %d is in the journal: the directory is damaged", size, journaled.commit.N)
	}
	if size == 0 {
		return record{}, errors.New("the log is empty")
	}
	leaf, err := s.log.Leaf(ctx, size-1)
	if err != nil {
		return record{}, fmt.Errorf("read the last leaf: %w", err)
	}
	if journaled != nil && journaled.commit.N == size-1 {
		if !bytes.Equal(journaled.leaf, leaf) {
			return record{}, fmt.Errorf("commit %d differs between log and journal: the directory is damaged", size-1)
		}
		return *journaled, nil
	}
	c, err := namespace.DecodeCommit(leaf)
	if err != nil {
		return record{}, fmt.Errorf("the last leaf: %w", err)
	}
	return record{commit: c, leaf: leaf}, nil
}

func (s *Server) checkSigned(signed *signedTree, last record) error {
	switch {
	case signed == nil && last.commit.N > 0:
		return s.unsigned(s.guard.refuse("there is no record, though the log has %d leaves: "+
			"a registry is moved together with it, and a copy must not sign", last.commit.N+1))
	case signed != nil && signed.size > last.commit.N+1:
		return s.damaged(s.guard.refuse("size %d was signed, but the log has %d leaves: "+
			"the directory is an older copy, and going on from it would be a fork", signed.size, last.commit.N+1))
	}
	return nil
}

// readHead reports whether the head file is that of last, and if so makes it
// the published view.
func (s *Server) readHead(last record) (bool, error) {
	raw, err := os.ReadFile(filepath.Join(s.public, "head"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	head, err := namespace.OpenHead(raw, s.trust)
	if err != nil {
		// The next start makes the head anew, from log and journal.
		path := filepath.Join(s.public, "head")
		return false, &DamageError{
			Dir: s.dir, Why: "public/head cannot be used: " + err.Error(), Help: "mv " + shell(path) + " " + shell(path+".damaged"), err: err,
		}
	}
	if head.Commit.N > last.commit.N {
		return false, fmt.Errorf("the published head has %d leaves, the log %d: the directory is damaged",
			head.Commit.N+1, last.commit.N+1)
	}
	if head.Commit.N < last.commit.N {
		return false, nil
	}
	if !bytes.Equal(head.Commit.Encode(), last.leaf) {
		return false, fmt.Errorf("commit %d differs between log and head: the directory is damaged", last.commit.N)
	}
	s.now.Store(&view{raw: raw, head: head})
	return true, nil
}
