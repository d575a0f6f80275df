package link

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

const stateFile = ".pkg"

// state is what pkg_modules/.pkg says.
type state struct {
	Version  int               `json:"version"`
	Packages map[string]made   `json:"packages"`
	Bin      map[string]string `json:"bin,omitempty"` // command → NAME/path
}

// made is one package that is ours.
type made struct {
	Root string `json:"root,omitempty"`
	Tree string `json:"tree"`
	As   Mode   `json:"as,omitempty"` // as it was made; empty until it was
}

// errNewer says that a later pkg wrote the state.
var errNewer = errors.New("made by a newer pkg")

// readState reads the state. One that does not parse, as a crash may leave it, is none: what can be recognised is noted anew.
func (l *linker) readState() (state, error) {
	s := state{Version: 1, Packages: map[string]made{}, Bin: map[string]string{}}
	b, err := l.root.ReadFile(stateFile)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	if old, err := parseState(b); err == nil || errors.Is(err, errNewer) {
		return old, err
	}
	return s, l.adopt(&s)
}

// adopt notes the links into a store and the commands that lead into their packages.
func (l *linker) adopt(s *state) error {
	names, err := l.list(".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if info, err := l.root.Lstat(name); err == nil && info.IsDir() && !strings.HasPrefix(name, ".") {
			below, err := l.list(name)
			if err != nil {
				return err
			}
			for _, n := range below {
				names = append(names, name+"/"+n)
			}
		}
	}
	for _, name := range names {
		if to, ok := l.intoStore(name); ok && !strings.HasPrefix(name, ".") {
			s.Packages[name] = made{Root: filepath.Base(to), Tree: to, As: Symlink}
		}
	}
	cmds, err := l.list(binFolder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, cmd := range cmds {
		to, _ := l.root.Readlink(filepath.Join(binFolder, cmd))
		rel, ok := strings.CutPrefix(to, "../")
		for name := range s.Packages {
			if ok && strings.HasPrefix(rel, name+"/") {
				s.Bin[cmd] = rel
			}
		}
	}
	return nil
}

// list returns the names in a folder.
func (l *linker) list(dir string) ([]string, error) {
	d, err := l.root.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	return names, errors.Join(err, d.Close())
}

func parseState(b []byte) (state, error) {
	s := state{Packages: map[string]made{}, Bin: map[string]string{}}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("%w: delete %s and install again", err, Folder)
	}
	if s.Version > 1 {
		return s, fmt.Errorf("%w (version %d): delete %s and install again", errNewer, s.Version, Folder)
	}
	if s.Version != 1 {
		return s, fmt.Errorf("version %d: delete %s and install again", s.Version, Folder)
	}
	for name := range s.Packages {
		if !filepath.IsLocal(name) || strings.HasPrefix(name, ".") || strings.Count(name, "/") > 1 {
			return s, fmt.Errorf("package %q: delete %s and install again", name, Folder)
		}
	}
	for cmd := range s.Bin {
		if !filepath.IsLocal(cmd) || strings.ContainsAny(cmd, `/\`) {
			return s, fmt.Errorf("command %q: delete %s and install again", cmd, Folder)
		}
	}
	if s.Packages == nil {
		s.Packages = map[string]made{}
	}
	if s.Bin == nil {
		s.Bin = map[string]string{}
	}
	return s, nil
}

func (s *state) write(root *os.Root) error {
	b, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	tmp := tmpName()
	if err := root.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return root.Rename(tmp, stateFile)
}

// claim notes that a package is about to be made or replaced: until then, nobody knows as what it is there.
func (s *state) claim(it *Item) { s.Packages[it.Name] = made{Root: it.Root, Tree: it.Tree} }

func (s *state) made(it *Item, as Mode) {
	s.Packages[it.Name] = made{Root: it.Root, Tree: it.Tree, As: as}
}

func tmpName() string { return tmpPrefix + rand.Text() }

// sweep removes what a crash left under our temporary names.
func (l *linker) sweep() error {
	d, err := l.root.Open(".")
	if err != nil {
		return err
	}
	entries, err := d.ReadDir(-1)
	if err := errors.Join(err, d.Close()); err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) {
			if err := l.root.RemoveAll(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// right says that a package is linked as it should be: no file of it is looked at.
func (l *linker) right(it *Item) bool {
	m, ok := l.state.Packages[it.Name]
	if !ok || m.As == "" || m.Root != it.Root || m.Tree != it.Tree {
		return false
	}
	if mode := l.mode; m.As != mode && !it.living() && (mode != Symlink || runtime.GOOS != "windows") {
		return false
	}
	return l.made(it.Name, m)
}

// made says that what is at name looks like what we made there.
func (l *linker) made(name string, m made) bool {
	info, err := l.root.Lstat(name)
	if err != nil {
		return false
	}
	if info.Mode()&os.ModeSymlink == 0 {
		return info.IsDir() && m.As != Symlink
	}
	to, err := l.root.Readlink(name)
	return err == nil && to == l.target(&Item{Name: name, Root: m.Root, Tree: m.Tree})
}

// ours says that what is at name may be replaced or removed.
func (l *linker) ours(name string) bool {
	m, ok := l.state.Packages[name]
	if ok && (l.made(name, m) || m.As == "" && l.isLink(name)) {
		return true
	}
	_, ok = l.intoStore(name)
	return ok
}

// intoStore says where the link at name leads, if it is to a tree of a store: such a link is nobody else's, whatever became
// of our notes.
func (l *linker) intoStore(name string) (string, bool) {
	to, err := l.root.Readlink(name)
	return to, err == nil && filepath.IsAbs(to) && filepath.Base(filepath.Dir(to)) == "trees" && strings.HasPrefix(filepath.Base(to), "bafy")
}

// linked says that there is the very link that we would make, whoever made it.
func (l *linker) linked(it *Item) bool {
	return l.made(it.Name, made{Root: it.Root, Tree: it.Tree, As: Symlink})
}

func (l *linker) isLink(name string) bool {
	info, err := l.root.Lstat(name)
	return err == nil && (info.Mode()&os.ModeSymlink != 0 || info.IsDir())
}

// free says whether a package may be made at name: nothing is there, or something of ours.
func (l *linker) free(name string) error {
	if scope, _, scoped := strings.Cut(name, "/"); scoped {
		info, err := l.root.Lstat(scope)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, pkg := l.state.Packages[scope]; pkg && l.ours(scope) {
			return nil // a package that is about to go
		}
		if !info.IsDir() {
			return &ForeignError{Path: Folder + "/" + scope}
		}
	}
	if l.scopeOfOurs(name) {
		return nil // it is about to go, if nothing else is in it: see vacant
	}
	return l.vacant(name)
}

// vacant is free without looking ahead.
func (l *linker) vacant(name string) error {
	if _, err := l.root.Lstat(name); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if !l.ours(name) {
		return &ForeignError{Path: Folder + "/" + name}
	}
	return nil
}

func (l *linker) scopeOfOurs(name string) bool {
	for other := range l.state.Packages {
		if strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}

// compareBins finds the commands to make and those to remove.
func (l *linker) compareBins(bins map[string]string) (add, drop []string, err error) {
	for cmd, to := range bins {
		had := l.state.Bin[cmd]
		if had == to && l.binIs(cmd, to) {
			continue
		}
		if _, err := l.root.Lstat(binPath(cmd)); err == nil && !l.binOurs(cmd, to, had) {
			return nil, nil, &ForeignError{Path: Folder + "/" + binFolder + "/" + cmd}
		}
		add = append(add, cmd)
	}
	for cmd := range l.state.Bin {
		if bins[cmd] == "" {
			drop = append(drop, cmd)
		}
	}
	slices.Sort(add)
	slices.Sort(drop)
	return add, drop, nil
}
