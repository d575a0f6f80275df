package tree

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxName is the longest path element, in bytes: what every common file system can store.
const maxName = 255

// CheckName says whether elem may be one element of a path, on every platform: valid UTF-8 of 1 to 255 bytes, not "."
// or "..", without separators, control and bidirectional characters, without what Windows reserves, and not one of the
// folders that tools trust (".git") or that pkg itself makes ("pkg_modules"). The error is an [*Error].
func CheckName(elem string) error {
	if why := nameFault(elem); why != "" {
		return &Error{Path: elem, Why: why}
	}
	return nil
}

func nameFault(elem string) string {
	switch {
	case elem == "":
		return "has an empty element"
	case elem == "." || elem == "..":
		return "has an element that is . or .."
	case len(elem) > maxName:
		return "has an element longer than 255 bytes"
	case !utf8.ValidString(elem):
		return "is not UTF-8"
	}
	for _, r := range elem {
		if why := runeFault(r); why != "" {
			return why
		}
	}
	if last := elem[len(elem)-1]; last == '.' || last == ' ' {
		return "has an element that ends in a dot or a space"
	}
	if windowsDevice(elem) {
		return "has a name that Windows reserves for a device"
	}
	switch fold(elem) { // as a file system may
	case ".git", "git~1":
		return "is inside a .git folder, which git would trust"
	case "pkg_modules":
		return "is inside a pkg_modules folder"
	}
	return ""
}

func runeFault(r rune) string {
	switch {
	case r == '/' || r == '\\':
		return "has a separator inside an element"
	case unicode.IsControl(r):
		return "has a control character"
	case r < utf8.RuneSelf && strings.ContainsRune(`<>:"|?*`, r):
		return "has a character that Windows forbids (one of <>:\"|?*)"
	case r == 0x061c, r == 0x200e, r == 0x200f, 0x202a <= r && r <= 0x202e, 0x2066 <= r && r <= 0x2069:
		return "has a bidirectional control character"
	case r == 0x2028, r == 0x2029:
		return "has a line separator"
	case r == 0xfeff, 0x200b <= r && r <= 0x200d, 0x2060 <= r && r <= 0x206f: // HFS+ skips many of them in names
		return "has an invisible character"
	}
	return ""
}

// windowsDevice reports names that open a device on Windows, with any extension and in any case. The superscript
// digits count as digits there.
func windowsDevice(elem string) bool {
	stem, _, _ := strings.Cut(elem, ".")
	stem = strings.ToUpper(strings.TrimRight(stem, " "))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	rest, ok := strings.CutPrefix(stem, "COM")
	if !ok {
		rest, ok = strings.CutPrefix(stem, "LPT")
	}
	if !ok {
		return false
	}
	r, n := utf8.DecodeRuneInString(rest)
	return n > 0 && n == len(rest) && strings.ContainsRune("0123456789¹²³", r)
}

// fold maps names that some file system takes for one to the same key: NFC and full case folding.
func fold(elem string) string {
	for i := range len(elem) {
		if elem[i] >= utf8.RuneSelf {
			return norm.NFC.String(cases.Fold().String(norm.NFC.String(elem)))
		}
	}
	return strings.ToLower(elem)
}

// siblings holds the folded names of one directory.
type siblings map[string]string

// add reports the name already there that elem would collide with, or "".
func (s siblings) add(elem string) string {
	key := fold(elem)
	if old, ok := s[key]; ok {
		return old
	}
	s[key] = elem
	return ""
}

// comparePaths orders paths as a depth-first walk of sorted directories meets them: by element, bytewise.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x == '/' {
			return -1
		}
		if y == '/' {
			return 1
		}
		return int(x) - int(y)
	}
	return len(a) - len(b)
}

// Check says whether files make a tree: at least one file, every path and name allowed, no two paths equal under NFC
// and case folding, no file where a directory is, and everything within l. It reads no content. The error is an
// [*Error].
func Check(files []File, l Limits) error {
	_, err := sorted(files, l)
	return err
}

// sorted checks files and returns them in the order of a depth-first walk.
func sorted(files []File, l Limits) ([]File, error) {
	b := budget{Limits: l}
	if len(files) == 0 {
		return nil, refuse("", "there are no files")
	}
	if len(files) > l.Files {
		return nil, refuse("", "there are more than %d files", l.Files)
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return comparePaths(a.Path, b.Path) })
	open := []checkedDir{{names: siblings{}}}
	for _, f := range files {
		if err := b.file(f.Path, f.Size); err != nil {
			return nil, err
		}
		elems := strings.Split(f.Path, "/")
		n := 1
		for n < len(open) && n < len(elems) && open[n].name == elems[n-1] {
			n++
		}
		open = open[:n]
		for i := n - 1; i < len(elems); i++ {
			elem := elems[i]
			if why := nameFault(elem); why != "" {
				return nil, refuse(f.Path, "%s", why)
			}
			if old := open[i].names.add(elem); old != "" {
				return nil, refuse(f.Path, "collides with %q", strings.Join(append(elems[:i:i], old), "/"))
			}
			if i == len(elems)-1 {
				break
			}
			if err := b.dir(f.Path); err != nil {
				return nil, err
			}
			open = append(open, checkedDir{elem, siblings{}})
		}
	}
	return files, nil
}

type checkedDir struct {
	name  string
	names siblings
}

// budget counts what a tree has used of its limits.
type budget struct {
	Limits
	files, dirs int
	bytes       int64
}

func (b *budget) file(path string, size int64) error {
	if err := b.path(path); err != nil {
		return err
	}
	if b.files++; b.files > b.Files {
		return refuse("", "there are more than %d files", b.Files)
	}
	if size < 0 || size > MaxLinks*ChunkSize {
		return refuse(path, "is larger than %d bytes", int64(MaxLinks*ChunkSize))
	}
	if b.bytes += size; b.bytes > b.Bytes {
		return refuse("", "the files hold more than %d bytes", b.Bytes)
	}
	return nil
}

func (b *budget) dir(path string) error {
	if err := b.path(path); err != nil {
		return err
	}
	if b.dirs++; b.dirs > b.Files {
		return refuse("", "there are more than %d directories", b.Files)
	}
	return nil
}

func (b *budget) path(path string) error {
	if len(path) > b.PathBytes {
		return refuse(path[:min(len(path), 64)]+"…", "is longer than %d bytes", b.PathBytes)
	}
	if strings.Count(path, "/")+1 > b.Depth {
		return refuse(path, "is deeper than %d elements", b.Depth)
	}
	return nil
}
