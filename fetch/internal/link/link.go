// Package link puts trees of the store into a project, and takes out what it put there.
//
//	pkg_modules/NAME        the package: a symlink to its tree, or a folder of hard links, reflinks or copies
//	pkg_modules/SCOPE/NAME  the same for a scoped name
//	pkg_modules/.bin/CMD    a command of a direct dependency
//	pkg_modules/.pkg        what was made, as JSON; a file or link that is not in it is not ours
//	pkg_modules/.lock       locked while a process works here
//
// A package appears and disappears whole, by rename. Before anything is touched, .pkg names everything that will be, so
// that after a crash the next run knows what is its own; the run after a good one changes nothing. A .pkg that cannot be read
// counts as lost: links into a store, and those that say just what they should, are known all the same. A file or link that
// was not made here is never replaced or removed: where one is in the way, that is an error naming it. The folder of a
// package is ours as a whole, with whatever was put inside.
package link

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"
)

// Folder is where packages are linked, under the project.
const Folder = "pkg_modules"

const (
	binFolder = ".bin"
	tmpPrefix = ".tmp-"
	lockFile  = ".lock"
	lockPoll  = 20 * time.Millisecond
)

// Mode is how a package is put into a project.
type Mode string

// The modes. Symlink is the default: one link for each package. Where the system has no symlinks (Windows without the
// privilege), it copies. Reflink copies where the file system cannot share blocks.
const (
	Symlink Mode = "symlink"
	Hard    Mode = "hard"
	Reflink Mode = "reflink"
	Copy    Mode = "copy"
)

// ParseMode reads a mode; "" is Symlink.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case "":
		return Symlink, nil
	case Symlink, Hard, Reflink, Copy:
		return m, nil
	}
	return "", fmt.Errorf("unknown link mode %q: use symlink, hard, reflink or copy", s)
}

// Item is one package to be linked.
type Item struct {
	Name string            // "left-pad" or "scope/left-pad", valid
	Root string            // CID of its tree; empty for a package that is a folder of the user's
	Tree string            // absolute path of the folder to link
	Bin  map[string]string // commands to appear in .bin: name → slash path in the tree
}

// living says that the package is a folder of the user's, which is always linked by symlink.
func (it *Item) living() bool { return it.Root == "" }

// Report says what a run did.
type Report struct {
	Linked  int // packages made or replaced
	Removed int
	Kept    int      // packages that were right already
	Bins    []string // commands in .bin, sorted
}

// ForeignError says that something pkg did not make is where it has to write.
type ForeignError struct{ Path string }

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s is in the way and was not made by pkg: move it elsewhere", e.Path)
}

// ClashError says that two packages want the same place: a command in .bin, or a name and a scope.
type ClashError struct {
	What string // "command run", "folder pkg_modules/foo"
	A, B string // the packages
}

func (e *ClashError) Error() string {
	return fmt.Sprintf("%s is wanted by both %s and %s", e.What, e.A, e.B)
}

// Run makes project/pkg_modules hold exactly items, as far as it is ours. It waits for another process that works there.
// Clashes are found before anything is touched.
func Run(ctx context.Context, project string, items []Item, mode Mode) (r Report, err error) {
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b Item) int { return strings.Compare(a.Name, b.Name) })
	bins, err := clashes(items)
	if err != nil {
		return r, err
	}
	l, err := open(ctx, project, len(items) > 0)
	if l == nil || err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	l.mode = mode
	return l.run(ctx, items, bins)
}

// clashes finds packages that cannot be linked together and returns the commands.
func clashes(items []Item) (map[string]string, error) {
	bins, owner := map[string]string{}, map[string]string{}
	names := map[string]bool{}
	for i := range items {
		names[items[i].Name] = true
	}
	for i := range items {
		it := &items[i]
		if scope, _, scoped := strings.Cut(it.Name, "/"); scoped && names[scope] {
			return nil, &ClashError{What: "folder " + Folder + "/" + scope, A: scope, B: it.Name}
		}
		for cmd, path := range it.Bin {
			key := strings.ToLower(cmd) // one file on Windows and macOS
			if other, ok := owner[key]; ok {
				a, b := min(other, it.Name), max(other, it.Name)
				return nil, &ClashError{What: "command " + cmd, A: a, B: b}
			}
			if !filepath.IsLocal(filepath.FromSlash(path)) || strings.ContainsAny(cmd, `/\`) || strings.HasPrefix(cmd, ".") {
				return nil, fmt.Errorf("command %q of %s: not a path inside the package", cmd, it.Name)
			}
			owner[key], bins[cmd] = it.Name, it.Name+"/"+path
		}
	}
	return bins, nil
}

// linker is one run in one pkg_modules.
type linker struct {
	dir   string // absolute path of pkg_modules
	root  *os.Root
	lock  *flock.Flock
	mode  Mode
	state state
}

// open locks pkg_modules and reads its state. Without create, a pkg_modules that is not there is nil.
func open(ctx context.Context, project string, create bool) (*linker, error) {
	dir := filepath.Join(project, Folder)
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist) && !create:
		return nil, nil
	case errors.Is(err, os.ErrNotExist):
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) { //nolint:gosec // the user's project
			return nil, err
		}
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, &ForeignError{Path: Folder}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if info, err := root.Lstat(lockFile); err == nil && !info.Mode().IsRegular() { // it may lead out of the project
		return nil, errors.Join(&ForeignError{Path: Folder + "/" + lockFile}, root.Close())
	}
	l := &linker{dir: dir, root: root, lock: flock.New(filepath.Join(dir, lockFile))}
	if _, err := l.lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), l.close())
	}
	if l.state, err = l.readState(); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", filepath.Join(dir, stateFile), err), l.close())
	}
	return l, nil
}

func (l *linker) close() error { return errors.Join(l.lock.Close(), l.root.Close()) }

// change is the difference between what is and what should be.
type change struct {
	todo     []*Item  // to be made or replaced
	scopes   []string // of these, names that were a scope until now
	gone     []string
	add, del []string // commands
}

func (c *change) empty() bool { return len(c.todo)+len(c.gone)+len(c.add)+len(c.del) == 0 }

// run compares what is with what should be, and makes the difference.
func (l *linker) run(ctx context.Context, items []Item, bins map[string]string) (Report, error) {
	r := Report{Bins: slices.Sorted(maps.Keys(bins))}
	c, err := l.compare(items, bins)
	if err != nil {
		return r, err
	}
	r.Kept = len(items) - len(c.todo)
	if c.empty() {
		return r, nil
	}
	for _, it := range c.todo {
		if !slices.Contains(c.scopes, it.Name) { // a folder that is not ours before it is empty
			l.state.claim(it)
		}
	}
	if err := errors.Join(l.state.write(l.root), l.sweep()); err != nil {
		return r, err
	}
	if err := l.clear(c); err != nil {
		return r, err
	}
	r.Removed = len(c.gone)
	if err := l.place(ctx, c.todo); err != nil {
		return r, err
	}
	r.Linked = len(c.todo)
	for _, cmd := range c.add {
		if err := l.placeBin(cmd, bins[cmd]); err != nil {
			return r, err
		}
	}
	return r, l.state.write(l.root)
}

// compare finds the difference, and whatever is in its way.
func (l *linker) compare(items []Item, bins map[string]string) (c change, err error) {
	want := map[string]bool{}
	for i := range items {
		it := &items[i]
		want[it.Name] = true
		if l.right(it) {
			continue
		}
		if err := l.free(it.Name); err != nil && !l.linked(it) {
			return c, err
		}
		c.todo = append(c.todo, it)
		if l.scopeOfOurs(it.Name) {
			c.scopes = append(c.scopes, it.Name)
		}
	}
	for name := range l.state.Packages {
		if !want[name] {
			c.gone = append(c.gone, name)
		}
	}
	slices.Sort(c.gone)
	c.add, c.del, err = l.compareBins(bins)
	return c, err
}

// clear takes out what is to go, before anything is made.
func (l *linker) clear(c change) error {
	for _, cmd := range c.del {
		if err := l.removeBin(cmd); err != nil {
			return err
		}
	}
	for _, name := range c.gone {
		if err := l.remove(name); err != nil {
			return err
		}
	}
	for _, name := range c.scopes {
		if err := l.vacant(name); err != nil {
			return err
		}
	}
	return nil
}

// place links packages, a few at a time: copying keeps all processors and the disk busy.
func (l *linker) place(ctx context.Context, todo []*Item) error {
	for _, it := range todo { // scopes first, one after another
		if scope, _, scoped := strings.Cut(it.Name, "/"); scoped {
			if err := l.root.Mkdir(scope, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	as := make([]Mode, len(todo))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, it := range todo {
		g.Go(func() (err error) {
			if as[i], err = l.placeOne(ctx, it); err != nil {
				return fmt.Errorf("link %s: %w", it.Name, err)
			}
			return nil
		})
	}
	err := g.Wait()
	for i, it := range todo {
		if as[i] != "" {
			l.state.made(it, as[i])
		}
	}
	return err
}

// placeOne makes one package beside its place and renames it there.
func (l *linker) placeOne(ctx context.Context, it *Item) (as Mode, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	tmp := tmpName()
	as = l.mode
	if it.living() {
		as = Symlink
	}
	if as == Symlink {
		if err := os.Symlink(l.target(it), filepath.Join(l.dir, tmp)); err != nil {
			if runtime.GOOS != "windows" || it.living() {
				return "", err
			}
			as = Copy // symlinks need a privilege there
		}
	}
	if as != Symlink {
		if err := copyTree(ctx, it.Tree, filepath.Join(l.dir, tmp), as); err != nil {
			return "", errors.Join(err, l.root.RemoveAll(tmp))
		}
	}
	return as, l.replace(tmp, it.Name)
}

// replace renames tmp to name, over what is there.
func (l *linker) replace(tmp, name string) error {
	if !l.isSymlink(tmp) || !l.isSymlink(name) || runtime.GOOS == "windows" {
		// Only a link can be renamed over a link. Others step aside, and a crash now is mended by the next run.
		aside := tmpName()
		if err := l.root.Rename(name, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		defer func() { _ = l.root.RemoveAll(aside) }() // or the next run does
	}
	return l.root.Rename(tmp, name)
}

func (l *linker) isSymlink(name string) bool {
	info, err := l.root.Lstat(name)
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

// target is what the symlink of a package says: the absolute tree, or the relative path of a living folder, so that a
// project can be moved together with it.
func (l *linker) target(it *Item) string {
	if it.living() {
		from := filepath.Join(l.dir, filepath.Dir(filepath.FromSlash(it.Name)))
		if rel, err := filepath.Rel(from, it.Tree); err == nil {
			return rel
		}
	}
	return it.Tree
}

// remove takes out a package that we made. What became of it otherwise stays.
func (l *linker) remove(name string) error {
	if l.ours(name) {
		aside := tmpName()
		if err := l.root.Rename(name, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("unlink %s: %w", name, err)
		}
		if err := l.root.RemoveAll(aside); err != nil {
			return fmt.Errorf("unlink %s: %w", name, err)
		}
	}
	delete(l.state.Packages, name)
	if scope, _, scoped := strings.Cut(name, "/"); scoped {
		_ = l.root.Remove(scope) // unless others are in it
	}
	return nil
}
