package manifest

import (
	"errors"
	"path"
	"strings"
)

// Packs reports whether a file belongs to the package, or whether a directory
// is worth looking into. The path has slashes and starts at the folder of
// pkg.toml. For many files compile once with Filter.
func (m *Manifest) Packs(file string, isDir bool) bool { return m.Filter()(file, isDir) }

// Filter returns Packs with the patterns compiled. The function is safe for
// concurrent use.
//
// Never packed, at any depth: .git, pkg_modules, and key files (*.key,
// *.pkgkey). Always packed: pkg.toml at the top, and the targets of [bin]. Of
// the rest, what include names (everything if it is empty) without what exclude
// names. Patterns are those of gitignore(5): a slash at the start or in the
// middle anchors, one at the end means directories, "**" spans directories, "!"
// takes back, the last match wins, and nothing is taken back below a directory
// that is excluded.
func (m *Manifest) Filter() func(file string, isDir bool) bool {
	include, exclude := compileAll(m.Package.Include), compileAll(m.Package.Exclude)
	targets := make(map[string]bool)
	for _, t := range m.Bin {
		for d := path.Dir(t); d != "." && d != "/"; d = path.Dir(d) {
			targets[d+"/"] = true
		}
		targets[t] = true
	}
	return func(file string, isDir bool) bool {
		switch {
		case never(file):
			return false
		case isDir && (file == "." || targets[file+"/"]):
			return true
		case !isDir && (file == File || targets[file]):
			return true
		case covered(exclude, file, isDir):
			return false
		}
		return isDir || len(include) == 0 || covered(include, file, false)
	}
}

// never reports whether a part of the path may not leave this machine. Case is
// folded, since file systems do.
func never(file string) bool {
	for part := range strings.SplitSeq(file, "/") {
		part = strings.ToLower(part)
		if part == ".git" || part == "pkg_modules" ||
			strings.HasSuffix(part, ".key") || strings.HasSuffix(part, ".pkgkey") {
			return true
		}
	}
	return false
}

// covered reports whether the patterns match the file or a directory above it.
func covered(globs []glob, file string, isDir bool) bool {
	parts := strings.Split(file, "/")
	for n := 1; n <= len(parts); n++ {
		hit := false
		for _, g := range globs {
			if g.match(parts[:n], isDir || n < len(parts)) {
				hit = !g.negate
			}
		}
		if hit {
			return true
		}
	}
	return false
}

// A glob is one compiled line of gitignore.
type glob struct {
	parts   []string // between slashes; "**" spans any number of them
	negate  bool
	dirOnly bool
}

func compileAll(patterns []string) []glob {
	var out []glob
	for _, s := range patterns {
		if g, err := compileGlob(s); err == nil {
			out = append(out, g)
		}
	}
	return out
}

func compileGlob(s string) (glob, error) {
	var g glob
	s, g.negate = strings.CutPrefix(s, "!")
	s = strings.TrimPrefix(s, "./")
	s, g.dirOnly = strings.CutSuffix(s, "/")
	anchored := strings.Contains(s, "/")
	s = strings.TrimPrefix(s, "/")
	if s == "" {
		return g, errors.New("it is empty")
	}
	if len(s) > maxPath {
		return g, errors.New("it is too long")
	}
	if !anchored {
		g.parts = append(g.parts, "**")
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return g, errors.New("a part between slashes is empty or made of dots")
		}
		part = strings.ReplaceAll(part, "[!", "[^")
		if _, err := path.Match(part, "x"); err != nil {
			return g, errors.New("unbalanced [ or a trailing \\")
		}
		g.parts = append(g.parts, part)
	}
	return g, nil
}

// match reports whether the whole path matches. A "**" at the end stands for at
// least one part, any other for none or more; only the last one is ever
// retried, so the time is at most the product of both lengths.
func (g glob) match(parts []string, isDir bool) bool {
	if g.dirOnly && !isDir {
		return false
	}
	pi, gi := 0, 0
	retryP, retryG := -1, -1
	for pi < len(parts) {
		switch {
		case gi < len(g.parts) && g.parts[gi] == "**":
			if gi == len(g.parts)-1 {
				return true
			}
			retryP, retryG = pi, gi+1
			gi++
		case gi < len(g.parts) && matchPart(g.parts[gi], parts[pi]):
			pi++
			gi++
		case retryG >= 0:
			retryP++
			pi, gi = retryP, retryG
		default:
			return false
		}
	}
	return gi == len(g.parts)
}

func matchPart(pattern, part string) bool {
	ok, err := path.Match(pattern, part)
	return ok && err == nil
}
