package cmd

import (
	"cmp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
)

// deepest is how many levels of a tree are drawn where --depth does not say: every level is four columns further right.
const deepest = 100

func (e *Env) treeCommand() *cli.Command {
	return &cli.Command{
		Name: "tree", Category: onProject, Usage: "draw pkg.lock as a tree, from what pkg.toml names",
		Description: `What a package needs is drawn below it once; wherever else it stands it is marked (*). No network is used.

  pkg tree --depth 1           only what pkg.toml names
  pkg tree --invert NAME       what needs NAME, what needs that, and so on up to pkg.toml

With --json every package is one object, nearest to pkg.toml first: as in pkg list, with its depth (of the shortest way from
pkg.toml) and the names of its dependencies; with --invert its depth is that from NAME, and dependents are named.`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "depth", Usage: "no more than `N` levels"},
			&cli.StringFlag{Name: "invert", Usage: "turn the tree round: from `NAME` to pkg.toml"},
		},
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			if c.IsSet("depth") && c.Int("depth") < 1 {
				return usagef("--depth is at least 1, not %d", c.Int("depth"))
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			t := drawing{graph: newGraph(p), depth: c.Int("depth"), invert: -1}
			t.edges, t.from = t.needs, t.roots
			if c.IsSet("invert") {
				if t.invert, err = t.find(c.String("invert"), "tree --invert"); err != nil {
					return err
				}
				t.edges, t.from = t.users, t.users[t.invert]
			}
			e.tree(t)
			return nil
		},
	}
}

// graph is the lock of a project with its edges both ways. A package is a number: the place of its row.
type graph struct {
	project      *project
	rows         []lockfile.Package
	place        map[name.Name]int
	direct       map[int]dependency // what pkg.toml names and the lock has
	roots        []int              // the same, in the order of pkg.toml's tables
	needs, users [][]int            // what a package depends on; what depends on it
}

func newGraph(p *project) *graph {
	rows := p.lock.Packages
	g := &graph{
		project: p, rows: rows, place: make(map[name.Name]int, len(rows)), direct: make(map[int]dependency),
		needs: make([][]int, len(rows)), users: make([][]int, len(rows)),
	}
	for i := range rows {
		g.place[rows[i].Name] = i
	}
	for i := range rows {
		for _, d := range rows[i].Dependencies {
			_, n := rows[i].Edge(d)
			if to, ok := g.place[n]; ok {
				g.needs[i] = append(g.needs[i], to)
				g.users[to] = append(g.users[to], i)
			}
		}
	}
	for _, d := range dependencies(p.manifest) {
		if i, ok := g.place[d.name]; ok {
			g.direct[i] = d
			g.roots = append(g.roots, i)
		}
	}
	return g
}

// find returns a package by the word that names it. The command is for the help.
func (g *graph) find(word, command string) (int, error) {
	n, err := name.Parse(word)
	if err != nil {
		return 0, nameHelp(command, err)
	}
	if i, ok := g.place[n]; ok {
		return i, nil
	}
	named := dependencies(g.project.manifest)
	if !g.project.locked && len(named) > 0 {
		return 0, fail(exitDrift, "pkg install", "there is no %s: nothing is installed yet", lockfile.File)
	}
	for _, d := range named {
		switch {
		case d.name != n:
		case d.table == tableOptional:
			return 0, fail(exitAbsent, "pkg add "+n.String(), "%s is optional, and nothing else brings it", n)
		default:
			return 0, fail(exitDrift, "pkg install", "%s is in %s, but not in %s", n, manifest.File, lockfile.File)
		}
	}
	return 0, notInstalled(g.project, command, n)
}

// A reached is what a search over edges came to, nearest first.
type reached struct {
	order []int
	level []int // of each package: how many packages the shortest way to it has, itself included; 0 if there is none
	via   []int // of each package: the one before it on that way, or -1
}

// reach follows edges breadth-first, and none beyond the package last; -1 is no package.
func (g *graph) reach(from []int, edges [][]int, last int) reached {
	r := reached{level: make([]int, len(g.rows)), via: make([]int, len(g.rows))}
	visit := func(i, via, level int) {
		if r.level[i] == 0 {
			r.level[i], r.via[i] = level, via
			r.order = append(r.order, i)
		}
	}
	for _, i := range from {
		visit(i, -1, 1)
	}
	for done := 0; done < len(r.order); done++ {
		at := r.order[done]
		if at == last {
			continue
		}
		for _, to := range edges[at] {
			visit(to, at, r.level[at]+1)
		}
	}
	return r
}

// drifted notes that the lock is not what pkg.toml asks for, as what is said of both may then surprise.
func (e *Env) drifted(p *project) {
	if len(lockfile.Satisfies(p.lock, p.manifest)) > 0 {
		e.UI.Note("", nil, "%s does not match %s: pkg install mends that", lockfile.File, manifest.File)
	}
}

// drawing is a graph as it is to be drawn.
type drawing struct {
	*graph
	edges  [][]int
	from   []int // the packages at the left
	depth  int   // levels to draw; 0 is as many as are legible
	invert int   // the package that edges lead away from to what needs it, or -1
}

// branch is the JSON form of one package of a tree.
type branch struct {
	listed
	Depth        int      `json:"depth"` // from 1; 0 is what is inverted
	Dependencies []string `json:"dependencies,omitzero"`
	Dependents   []string `json:"dependents,omitzero"` // instead, if inverted
}

// A leaf is one line of a tree.
type leaf struct {
	at, depth int
	last      bool // of those below the same package
}

func (e *Env) tree(t drawing) {
	near := t.reach(t.from, t.edges, t.invert)
	if e.JSON {
		e.branches(t, near)
		return
	}
	switch root := t.project.manifest.Package; {
	case t.invert >= 0:
		e.twig(t, "", leaf{at: t.invert}, false)
	case len(t.rows) == 0:
		e.UI.Note("", nil, "%s holds no package", lockfile.File)
	case root.Name == "":
		e.UI.Data("", nil, "%s", ui.Bold(manifest.File))
	default:
		e.UI.Data("", nil, "%s%s", ui.Bold(root.Name), after(" ", root.Version.String()))
	}
	if e.draw(t, near) {
		e.UI.Note("", nil, "it is deeper than %d levels: --depth draws more, pkg why NAME explains one", deepest)
	}
	e.drifted(t.project)
}

// draw prints the lines below the first, and says whether it cut the tree where nobody had asked for that. Where --depth
// cuts, a package is drawn out where it stands highest, so that nothing within the depth is missing.
func (e *Env) draw(t drawing, near reached) (cut bool) {
	depth := cmp.Or(t.depth, deepest)
	drawn := make([]bool, len(t.rows))
	if t.invert >= 0 {
		drawn[t.invert] = true
	}
	var bars []bool // of each level to the left: it goes on below
	var prefix strings.Builder
	todo := stacked(nil, t.from, 1)
	for len(todo) > 0 {
		l := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		bars = append(bars[:l.depth-1], !l.last)
		prefix.Reset()
		for _, on := range bars[:l.depth-1] {
			prefix.WriteString(pick(on, "│   ", "    "))
		}
		prefix.WriteString(pick(l.last, "└── ", "├── "))
		again := drawn[l.at] || t.depth > 0 && l.depth > near.level[l.at]
		e.twig(t, prefix.String(), l, again)
		switch {
		case again:
		case l.depth < depth:
			drawn[l.at] = true
			todo = stacked(todo, t.edges[l.at], l.depth+1)
		case len(t.edges[l.at]) > 0:
			cut = t.depth == 0
		}
	}
	return cut
}

// stacked puts lines upon those still to be drawn, the first on top.
func stacked(todo []leaf, packages []int, depth int) []leaf {
	for i, at := range slices.Backward(packages) {
		todo = append(todo, leaf{at, depth, i == len(packages)-1})
	}
	return todo
}

// twig prints one line. Again says that the package is drawn out elsewhere.
func (e *Env) twig(t drawing, prefix string, l leaf, again bool) {
	row := &t.rows[l.at]
	var marks []string
	d, direct := t.direct[l.at]
	switch {
	case direct && t.invert >= 0:
		marks = append(marks, strings.TrimSpace(manifest.File+" "+d.Constraint.String()))
		fallthrough
	case direct && l.depth == 1:
		if kind := d.kind(); kind != "" {
			marks = append(marks, kind)
		}
	}
	var over string
	if !again {
		if row.Path != "" {
			marks = append(marks, "path "+row.Path)
		}
		over = after(" (", t.overridden(l.at).String())
	}
	text := ""
	if len(marks) > 0 {
		text = " (" + strings.Join(marks, ", ") + ")"
	}
	if again {
		text += " (*)"
	}
	if over != "" {
		over += ")"
	}
	e.UI.Data("", nil, "%s%s%s%s%s", prefix, ui.Bold(row.Name), after(" ", row.Version.String()), ui.Dim(text), ui.Caution(over))
}

// branches prints a tree as objects.
func (e *Env) branches(t drawing, near reached) {
	show := func(at, depth int) {
		b := branch{listed: t.listed(at), Depth: depth}
		edges := []string{}
		for _, to := range t.edges[at] {
			edges = append(edges, t.rows[to].Name.String())
		}
		if t.invert < 0 {
			b.Dependencies = edges
		} else {
			b.Dependents = edges
		}
		e.UI.Data("package", b, "")
	}
	if t.invert >= 0 {
		show(t.invert, 0)
	}
	for _, at := range near.order {
		if level := near.level[at]; at != t.invert && (t.depth == 0 || level <= t.depth) {
			show(at, level)
		}
	}
}

// after is s behind a prefix, or nothing if s is nothing.
func after(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func pick(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
