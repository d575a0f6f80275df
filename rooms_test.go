package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "pkg"

// rooms lists, for each top-level folder, the folders it may import.
// It is policy, not a record: change it only together with ARCHITECTURE.md.
func rooms() map[string][]string {
	return map[string][]string{
		"lockfile": {},
		"keys":     {"lockfile"},
		"resolve":  {"lockfile", "keys"},
		"fetch":    {"lockfile"},
		"publish":  {"lockfile", "keys", "resolve", "fetch"},
		"cmd":      {"lockfile", "keys", "resolve", "fetch", "publish"},
		".":        {"cmd"},
	}
}

// fences lists, for modules and packages that only some rooms may know, those rooms.
func fences() map[string][]string {
	return map[string][]string{
		"github.com/libp2p":             {"fetch"},
		"github.com/ipfs/boxo":          {"fetch"},
		"github.com/ipfs/bbloom":        {"fetch"},
		"github.com/multiformats/go-ma": {"fetch"}, // go-multiaddr and its kin
		"github.com/quic-go":            {"fetch"},
		"github.com/urfave/cli":         {"cmd"},
		"github.com/charmbracelet":      {"cmd/ui"},
		"github.com/muesli":             {"cmd/ui"},
		"golang.org/x/term":             {"cmd/ui"},
		"github.com/BurntSushi/toml":    {"lockfile"},
		"github.com/Masterminds/semver": {"lockfile"},
		"github.com/transparency-dev":   {"publish"},
		"filippo.io":                    {"keys"},
		"golang.org/x/mod":              {"keys", "publish"},
		"net/http":                      {"fetch", "resolve/catalog", "publish"},
		"os/exec":                       {"cmd"}, // no install scripts, ever
		"crypto/ed25519":                {"keys"},
		"unsafe":                        {},
		"plugin":                        {},
		"C":                             {},
	}
}

// source is one file of the program, without its tests.
type source struct {
	path, pkg string // "keys/author/entry.go", "keys/author"
	lines     int
	file      *ast.File
	set       *token.FileSet
}

func (s source) imports() []string {
	var out []string
	for _, im := range s.file.Imports {
		p, _ := strconv.Unquote(im.Path.Value)
		out = append(out, p)
	}
	return out
}

// sources reads the program with go/parser rather than asking the go command, so that the test cache notices when an
// import changes. Files for every operating system are read.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := fs.WalkDir(os.DirFS("."), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, p, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out = append(out, source{path: p, pkg: path.Dir(p), lines: set.File(f.Pos()).LineCount(), file: f, set: set})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// within reports whether a package lies in one of the folders.
func within(pkg string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return pkg == f || strings.HasPrefix(pkg, f+"/") })
}

// TestRooms holds the import rule: lockfile ← keys ← resolve, lockfile ← fetch, both ← publish ← cmd ← main.
func TestRooms(t *testing.T) {
	allowed := rooms()
	for _, s := range sources(t) {
		from, _, _ := strings.Cut(s.pkg, "/")
		may, known := allowed[from]
		if !known {
			t.Errorf("%s: no room is named %q", s.path, from)
		}
		for _, imp := range s.imports() {
			rest, ours := strings.CutPrefix(imp, module+"/")
			to, _, _ := strings.Cut(rest, "/")
			if ours && to != from && !slices.Contains(may, to) {
				t.Errorf("%s imports %s: %q may import only %q", s.path, imp, from, may)
			}
		}
	}
}

// TestFences holds which room may know which module.
func TestFences(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range s.imports() {
			for fenced, folders := range fences() {
				if strings.HasPrefix(imp, fenced) && !within(s.pkg, folders) {
					t.Errorf("%s imports %s: only %q may", s.path, imp, folders)
				}
			}
			if module, tail, _ := strings.Cut(imp, "."); module == "net" && tail == "" && within(s.pkg, []string{"lockfile", "keys", "resolve"}) && s.pkg != "resolve/catalog" {
				t.Errorf("%s imports net: only fetch, resolve/catalog, publish and cmd reach the network", s.path)
			}
		}
	}
}

// TestStillness holds that nothing is printed, no process ended and no environment read but where the process is handed in.
func TestStillness(t *testing.T) {
	forbidden := map[string][]string{
		"os":  {"Exit", "Getenv", "LookupEnv", "Environ", "Getwd", "Stdout", "Stderr", "Stdin", "Args"},
		"fmt": {"Print", "Println", "Printf"},
		"log": {"Print", "Println", "Printf", "Fatal", "Fatalf", "Fatalln"},
	}
	for _, s := range sources(t) {
		if s.pkg == "." {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(forbidden[x.Name], sel.Sel.Name) {
				t.Errorf("%s uses %s.%s: rooms are handed what they need", s.set.Position(sel.Pos()), x.Name, sel.Sel.Name)
			}
			return true
		})
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s: a room has no init", s.path)
			}
		}
	}
}

// TestGoals holds the size of the house: few packages, shallow imports, files and functions one can read at a sitting.
func TestGoals(t *testing.T) {
	const (
		maxPackages = 34  // see Decisions in ARCHITECTURE.md
		maxDepth    = 9   // see Decisions in ARCHITECTURE.md
		maxFile     = 500 // lines, the 95th percentile
		maxFunc     = 50
	)
	graph := map[string][]string{}
	var files, funcs []int
	for _, s := range sources(t) {
		files = append(files, s.lines)
		graph[s.pkg] = append(graph[s.pkg], nil...)
		for _, imp := range s.imports() {
			if to, ours := strings.CutPrefix(imp, module+"/"); ours && !slices.Contains(graph[s.pkg], to) {
				graph[s.pkg] = append(graph[s.pkg], to)
			}
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok {
				funcs = append(funcs, s.set.Position(f.End()).Line-s.set.Position(f.Pos()).Line+1)
			}
		}
	}
	if len(graph) > maxPackages {
		t.Errorf("%d packages, at most %d wanted", len(graph), maxPackages)
	}
	chain := longest(graph, ".", map[string][]string{})
	if depth := len(chain) - 1; depth > maxDepth { // main itself stands at 0
		t.Errorf("imports are %d deep, at most %d wanted: %s", depth, maxDepth, strings.Join(chain, " > "))
	}
	p95 := func(n []int) int { slices.Sort(n); return n[len(n)*95/100] }
	if n := p95(files); n > maxFile {
		t.Errorf("the 95th percentile of files has %d lines, at most %d wanted", n, maxFile)
	}
	if n := p95(funcs); n > maxFunc {
		t.Errorf("the 95th percentile of functions has %d lines, at most %d wanted", n, maxFunc)
	}
	t.Logf("%d packages, %d files, depth %d: %s", len(graph), len(files), len(chain)-1, strings.Join(chain, " > "))
}

// longest returns the longest chain of imports that begins at pkg. Imports have no cycles.
func longest(graph map[string][]string, pkg string, seen map[string][]string) []string {
	if chain, ok := seen[pkg]; ok {
		return chain
	}
	var best []string
	for _, to := range graph[pkg] {
		if c := longest(graph, to, seen); len(c) > len(best) {
			best = c
		}
	}
	seen[pkg] = append([]string{pkg}, best...)
	return seen[pkg]
}
