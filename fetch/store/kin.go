package store

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
)

// maxKin is how many trees of one name are told of: the latest.
const maxKin = 2

// kinFile lists what came under which name, a line each: the root, a space, the name. It only helps to guess which trees
// are alike; lines that are wrong, cut off or missing do no harm.
func (s *Store) kinFile() string { return filepath.Join(s.dir, "kin") }

// Remember notes under which names trees came here.
func (s *Store) Remember(names map[cid.Cid]string) error {
	var b strings.Builder
	for root, name := range names {
		b.WriteString(root.String() + " " + name + "\n")
	}
	if b.Len() == 0 {
		return nil
	}
	f, err := os.OpenFile(s.kinFile(), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644) //nolint:gosec // published content, no secrets
	if err != nil {
		return err
	}
	_, err = f.WriteString(b.String()) // one write: lines of several processes do not mix
	return errors.Join(err, f.Close())
}

// Kin returns the trees that are here and came under the names that want accepts, by name, the latest first.
func (s *Store) Kin(want func(name string) bool) (map[string][]cid.Cid, error) {
	f, err := os.Open(s.kinFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // read only
	all := map[string][]cid.Cid{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, name, _ := strings.Cut(lines.Text(), " ")
		if !want(name) {
			continue
		}
		if root, err := cid.Decode(text); err == nil {
			all[name] = append(slices.DeleteFunc(all[name], root.Equals), root)
		}
	}
	for name, roots := range all {
		slices.Reverse(roots)
		roots = slices.DeleteFunc(roots, func(c cid.Cid) bool { return !s.Has(c) })
		all[name] = roots[:min(len(roots), maxKin)]
	}
	return all, nil // what cannot be read helps nobody
}

// pruneKin forgets the names of what is gone. Who remembers at the same time may be forgotten.
func (s *Store) pruneKin() error {
	b, err := os.ReadFile(s.kinFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var kept []string
	seen := map[string]bool{}
	for _, line := range slices.Backward(slices.Collect(strings.Lines(string(b)))) {
		text, _, _ := strings.Cut(line, " ")
		if root, err := cid.Decode(text); err == nil && s.Has(root) && !seen[line] {
			seen[line] = true
			kept = append(kept, line)
		}
	}
	slices.Reverse(kept)
	return writeFile(s.kinFile(), []byte(strings.Join(kept, "")))
}
