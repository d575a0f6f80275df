package tree

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
)

// Scan lists the files under dir, unread. keep says what to pack, of files and of directories (a directory it refuses
// is not entered); nil keeps everything. The paths in bins are executable whatever their mode, and must be among the
// files. A symlink, device, socket or pipe that would be packed is an [*Error]; so is a file that is something else by
// the time it is opened. Files are read through an [os.Root] that lives as long as they do. [Check] is the caller's.
func Scan(dir string, keep func(path string, dir bool) bool, bins []string) ([]File, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s := scanner{root: root, keep: keep, bins: bins}
	for todo := []string{"."}; len(todo) > 0; {
		last := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if todo, err = s.dir(last, todo); err != nil {
			return nil, err
		}
	}
	for _, bin := range bins {
		if !slices.ContainsFunc(s.files, func(f File) bool { return f.Path == bin }) {
			return nil, refuse(bin, "is a [bin] target but not among the packed files")
		}
	}
	slices.SortFunc(s.files, func(a, b File) int { return comparePaths(a.Path, b.Path) })
	return s.files, nil
}

type scanner struct {
	root  *os.Root
	keep  func(path string, dir bool) bool
	bins  []string
	files []File
}

// dir adds the files of one directory and appends the directories below it to todo.
func (s *scanner) dir(name string, todo []string) ([]string, error) {
	d, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	entries, err := d.ReadDir(-1)
	if err := errorsFirst(err, d.Close()); err != nil {
		return nil, err
	}
	for _, e := range entries {
		p := path.Join(name, e.Name())
		if s.keep != nil && !s.keep(p, e.IsDir()) {
			continue
		}
		if e.IsDir() {
			todo = append(todo, p)
			continue
		}
		if !e.Type().IsRegular() {
			return nil, refuse(p, "is a %s: only regular files and directories can be packed", typeWord(e.Type()))
		}
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		exec := info.Mode()&0o111 != 0 || slices.Contains(s.bins, p)
		s.files = append(s.files, File{Path: p, Size: info.Size(), Exec: exec, Open: s.open(p)})
	}
	return todo, nil
}

func (s *scanner) open(p string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return s.root.Open(p) }
}

func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func typeWord(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symlink"
	case m&fs.ModeNamedPipe != 0:
		return "pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return fmt.Sprintf("special file (%v)", m)
}
