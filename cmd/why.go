package cmd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/lockfile/manifest"
)

const (
	mostChains = 10      // shown of one package; a lock may hold more of them than there are atoms
	mostLinks  = 12      // shown of one chain as text
	mostSteps  = 1 << 20 // of the search for chains: some tens of milliseconds and megabytes
)

func (e *Env) whyCommand() *cli.Command {
	return &cli.Command{
		Name: "why", Category: onProject, Usage: "say who needs a package", ArgsUsage: "NAME...",
		Description: fmt.Sprintf(`Each line below a package is a chain from pkg.toml to it, the shortest first: at least one through every package that
needs it directly, and %d at most. No network is used.

With --json every NAME is one object: as in pkg list, with all its direct dependents, the chains (each from what pkg.toml
names to NAME), and whether these are certainly all the chains there are.`, mostChains),
		Action: func(c *cli.Context) error {
			args, err := operands(c, 1, -1)
			if err != nil {
				return err
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			g := newGraph(p)
			var wanted []int
			for _, a := range args {
				i, err := g.find(a, "why")
				if err != nil {
					return err
				}
				wanted = append(wanted, i)
			}
			for _, i := range wanted {
				e.why(g, i)
			}
			e.drifted(p)
			return nil
		},
	}
}

// explained is the JSON form of why a package is in a lock.
type explained struct {
	listed
	Origin     string   `json:"origin,omitempty"` // of its registry
	Dependents []link   `json:"dependents"`       // the packages that need it directly
	Chains     [][]link `json:"chains"`           // each from what pkg.toml names to the package itself
	Complete   bool     `json:"complete"`         // there are certainly no other chains
}

// link is the JSON form of one package of a chain. What pkg.toml says is there in the first of them.
type link struct {
	Name       string `json:"name"`
	Version    string `json:"version,omitempty"`
	Constraint string `json:"constraint,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Path       string `json:"path,omitempty"`
}

func (e *Env) why(g *graph, to int) {
	row := &g.rows[to]
	chains, more := g.chains(to, mostChains)
	x := explained{listed: g.listed(to), Dependents: []link{}, Chains: [][]link{}, Complete: more == noOthers}
	if r, ok := g.project.lock.Registry(row.Registry); ok {
		x.Origin = r.Origin
	}
	hidden := 0 // dependents that no chain shows
	for _, u := range g.users[to] {
		x.Dependents = append(x.Dependents, g.link(u))
		if !slices.ContainsFunc(chains, func(c []int) bool { return len(c) > 1 && c[len(c)-2] == u }) {
			hidden++
		}
	}
	for _, c := range chains {
		x.Chains = append(x.Chains, g.links(c))
	}
	e.UI.Data("why", x, "%s%s%s", ui.Bold(row.Name), after(" ", row.Version.String()), ui.Dim(after("  ", row.Author.Short())))
	e.UI.Data("", nil, "  from %s", g.source(to))
	if o := x.Override; o != nil {
		e.UI.Data("", nil, "  %s in %s to %s%s", ui.Caution("overridden"), manifest.File, o.Constraint, after(": ", o.Reason))
	}
	for _, c := range chains {
		e.UI.Data("", nil, "  %s", g.sentence(c))
	}
	switch {
	case len(chains) == 0:
		e.UI.Data("", nil, "  nothing that %s names needs it", manifest.File)
	case hidden > 0:
		e.UI.Data("", nil, "  and %d more %s it: pkg tree --invert %s", hidden, pick(hidden == 1, "package needs", "packages need"), row.Name)
	case more != noOthers:
		e.UI.Data("", nil, "  and %s chains through the same packages: pkg tree --invert %s", pick(more == someOthers, "more", "perhaps more"), row.Name)
	}
}

// source says where a package comes from.
func (g *graph) source(i int) string {
	row := &g.rows[i]
	if row.Path != "" {
		return "the folder " + row.Path
	}
	if r, ok := g.project.lock.Registry(row.Registry); ok && !r.Local {
		return fmt.Sprintf("the registry %s (%s)", r.Name, r.Origin)
	}
	return "the local registry"
}

func (g *graph) link(i int) link {
	row := &g.rows[i]
	return link{Name: row.Name.String(), Version: row.Version.String(), Path: row.Path}
}

func (g *graph) links(chain []int) []link {
	var out []link
	for i, at := range chain {
		l := g.link(at)
		if d := g.direct[at]; i == 0 {
			l.Constraint, l.Kind = d.Constraint.String(), d.table
		}
		out = append(out, l)
	}
	return out
}

// sentence says a chain in words: "pkg.toml needs old ^1.0.0, old 1.0.0 needs base".
func (g *graph) sentence(chain []int) string {
	var parts []string
	for i, at := range chain {
		switch left := len(chain) - i; {
		case i == 0:
			parts = append(parts, g.need(at))
		case len(chain) > mostLinks && i == mostLinks/2:
			parts = append(parts, fmt.Sprintf("… %d more …", len(chain)-mostLinks+1))
		case len(chain) > mostLinks && i > mostLinks/2 && left >= mostLinks/2:
		default:
			user := &g.rows[chain[i-1]]
			parts = append(parts, fmt.Sprintf("%s%s needs %s", user.Name, after(" ", user.Version.String()), g.rows[at].Name))
		}
	}
	return strings.Join(parts, ", ")
}

// need says what pkg.toml says of a package.
func (g *graph) need(i int) string {
	d := g.direct[i]
	s := fmt.Sprintf("%s needs %s", manifest.File, d.name)
	if s += after(" ", d.Constraint.String()); d.Path != "" {
		s += " in " + d.Path
	}
	if kind := d.kind(); kind != "" {
		s += " (" + kind + ")"
	}
	return s
}

// others says whether there are more chains than were found.
type others int

const (
	noOthers others = iota
	someOthers
	maybeOthers // the search ended before it could tell
)

// chains returns ways from what pkg.toml names to a package, none through the same package twice, the shortest first: the
// shortest through each direct dependent, and then the shortest others, at most limit together.
func (g *graph) chains(to, limit int) (out [][]int, more others) {
	near := g.reach(g.roots, g.needs, to)
	if _, ok := g.direct[to]; ok {
		out = append(out, []int{to})
	}
	users := slices.DeleteFunc(slices.Clone(g.users[to]), func(u int) bool { return u == to || near.level[u] == 0 })
	slices.SortStableFunc(users, func(a, b int) int { return near.level[a] - near.level[b] })
	for _, u := range users[:min(len(users), limit-len(out))] {
		chain := []int{to}
		for ; u >= 0; u = near.via[u] {
			chain = append(chain, u)
		}
		slices.Reverse(chain)
		out = append(out, chain)
	}
	found, more := g.search(to, limit+1, near)
	if len(found) > limit {
		more = someOthers
	}
	for _, c := range found {
		if len(out) < limit && !slices.ContainsFunc(out, func(o []int) bool { return slices.Equal(o, c) }) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b []int) int { return len(a) - len(b) })
	return out, more
}

// A step is a package on the way back to pkg.toml.
type step struct {
	at   int // -1 is pkg.toml
	next int // the step that needs it, or -1
	size int // packages from here to the end
}

// search returns at most most of the shortest chains to a package, and whether there are others. It walks back from
// the package, always on from the step that can become the shortest chain; as near says how far pkg.toml is from every
// package, it loses its way only in cycles, and there mostSteps ends it.
func (g *graph) search(to, most int, near reached) (out [][]int, more others) {
	var steps []step
	var open [][]int // steps to go on from, by the length of the shortest chain there may be through them
	push := func(s step, length int) {
		for len(open) <= length {
			open = append(open, nil)
		}
		open[length] = append(open[length], len(steps))
		steps = append(steps, s)
	}
	push(step{to, -1, 1}, 0)
	spent := 0
	for length := 0; length < len(open); {
		last := len(open[length]) - 1
		if last < 0 {
			length++
			continue
		}
		here := open[length][last]
		open[length] = open[length][:last]
		at, size := steps[here].at, steps[here].size
		if at < 0 {
			if out = append(out, chainOf(steps, here)); len(out) == most {
				return out, maybeOthers
			}
			continue
		}
		rest := chainOf(steps, here)
		for _, u := range slices.Backward(g.users[at]) {
			if spent += size; spent > mostSteps {
				return out, maybeOthers
			}
			if near.level[u] > 0 && !slices.Contains(rest, u) {
				push(step{u, here, size + 1}, size+near.level[u])
			}
		}
		if _, ok := g.direct[at]; ok {
			push(step{-1, here, size}, size)
		}
	}
	return out, noOthers
}

// chainOf returns the packages from a step to the end.
func chainOf(steps []step, i int) []int {
	var out []int
	for ; i >= 0; i = steps[i].next {
		if steps[i].at >= 0 {
			out = append(out, steps[i].at)
		}
	}
	return out
}
