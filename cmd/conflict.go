package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/resolve"
)

// given is what a command line asked for, so that advice can repeat it.
type given struct {
	wants []want // operands of add; nil for another command
	flags string // flags of add, each followed by a space
	table string // that add writes to
}

// explain adds to a resolver's error why there is no answer, and what only the project knows.
func (s *sync) explain(ctx context.Context, err error) error {
	err = resolve.Explain(ctx, err)
	if away, ok := errors.AsType[*resolve.UnavailableError](err); ok && away.Registry != "" && !s.knows(away.Registry) {
		return fail(exitAbsent, helpOther(away.Name), "%s comes from the registry %s, and nothing says where that is", away.Name, away.Registry)
	}
	c, conflict := errors.AsType[*resolve.ConflictError](err)
	absent, missing := errors.AsType[*resolve.NotFoundError](err)
	switch {
	case missing && (!conflict || len(c.Lines) == 0):
		return s.absent(absent, err)
	case !conflict:
		return err
	}
	f := &failure{Code: exitAbsent, Err: c, Help: "pkg info " + c.Package.Name.String()}
	var fixes []fix
	if away, ok := errors.AsType[*resolve.UnavailableError](err); ok {
		u := unavailable(away)
		f.Code, f.Help = u.Code, u.Help
		if g := s.o.Given; away.Offline && g.wants != nil {
			g.flags = strings.ReplaceAll(g.flags, "--offline ", "")
			f.Help = g.command(g.wants)
		}
	} else {
		fixes = s.fixes(ctx, c)
	}
	f.Detail, f.Data = detail(c, fixes), conflictOf(c, fixes)
	if len(fixes) > 0 {
		f.Help = fixes[0].Command
	}
	return f
}

// absent is the error of a package that nobody has.
func (s *sync) absent(e *resolve.NotFoundError, err error) error {
	o, _ := s.named("")
	switch {
	case len(e.Near) > 0 && slices.ContainsFunc(dependencies(s.project.manifest), func(d dependency) bool { return d.name == e.Name }):
		return fail(exitAbsent, "pkg remove "+e.Name.String(), "%w", err)
	case len(e.Near) > 0 && (e.From == "" || e.From == manifest.File):
		return fail(exitAbsent, s.there(s.o.Given.instead(e.Name, e.Near[0])), "%w", err)
	case o != nil && o.local() && (e.From == "" || e.From == manifest.File):
		return fail(exitAbsent, helpOther(e.Name), "%s is not in your local registry", e.Name)
	}
	return fail(exitAbsent, "pkg info "+e.Name.String(), "%w", err)
}

// longest is how many lines of a proof are told; of more, the first and the last ones.
const longest = 24

// detail is the explanation of a conflict, and what can be done.
func detail(c *resolve.ConflictError, fixes []fix) string {
	var b strings.Builder
	lines := c.Lines
	if n := len(lines); n > longest {
		left := fmt.Sprintf("… and so on for %d steps, which --json shows …", n-longest+1)
		lines = slices.Concat(lines[:longest/2], []string{left}, lines[n-longest/2+1:])
	}
	for _, l := range slices.Concat(lines, c.Notes) {
		fmt.Fprintf(&b, "  %s\n", l)
	}
	if len(fixes) == 0 {
		return b.String()
	}
	b.WriteString("what would work:\n")
	for _, f := range fixes {
		fmt.Fprintf(&b, "  %s  (%s)\n", f.Command, f.Gives)
	}
	return b.String()
}

// conflicting is the JSON form of a conflict.
type conflicting struct {
	Package string      `json:"package"` // at the heart of it
	Lines   []string    `json:"lines,omitempty"`
	Notes   []string    `json:"notes,omitempty"`
	Proof   []proofStep `json:"proof"` // the last step is the contradiction
	Fixes   []fix       `json:"fixes,omitempty"`
}

// proofStep is the JSON form of one step of a proof: its terms cannot all be true.
type proofStep struct {
	Text     string      `json:"text"`
	From     string      `json:"from,omitempty"`    // who needs something, of a fact
	Package  string      `json:"package,omitempty"` // what is needed
	Asks     string      `json:"asks,omitempty"`    // which versions of it
	Lack     string      `json:"lack,omitempty"`    // why there is none
	Terms    []proofTerm `json:"terms"`
	Premises []int       `json:"premises,omitempty"` // indexes of the steps it follows from; none for a fact
}

// proofTerm is the JSON form of: the package is at one of the versions, or absent.
type proofTerm struct {
	Name     string           `json:"name"`
	Registry string           `json:"registry,omitempty"`
	Versions []semver.Version `json:"versions"`
	Absent   bool             `json:"absent,omitempty"`
}

func conflictOf(c *resolve.ConflictError, fixes []fix) conflicting {
	out := conflicting{Package: c.Package.Name.String(), Lines: c.Lines, Notes: c.Notes, Fixes: fixes}
	for _, f := range c.Graph {
		st := proofStep{Text: f.Text, From: f.From, Package: f.Package.Name.String(), Asks: f.Asks, Lack: f.Lack, Terms: []proofTerm{}, Premises: f.Premises}
		for _, t := range f.Terms {
			st.Terms = append(st.Terms, proofTerm{t.Name.String(), t.Registry, append([]semver.Version{}, t.Versions...), t.Absent})
		}
		out.Proof = append(out.Proof, st)
	}
	return out
}

// fix is a command that was tried, and ended in a solution.
type fix struct {
	Command string `json:"command"`
	Gives   string `json:"gives"` // the versions of what was in conflict
	down    bool   // it takes an older version than there is
}

// Limits of looking for fixes: dependencies looked at, conflicts met in each try, fixes shown.
const (
	fixTries  = 6
	fixBudget = 10_000
	fixesMost = 3
)

// fixes looks for commands after which there is a solution: another version of one of the dependencies in conflict, or one
// of them less. Each is tried as the command would do it.
func (s *sync) fixes(ctx context.Context, c *resolve.ConflictError) []fix {
	all := dependencies(s.manifest)
	var changes, removals []fix
	for _, i := range c.Roots[:min(len(c.Roots), fixTries)] {
		if i >= len(all) || all[i].Path != "" || ctx.Err() != nil {
			continue
		}
		if f, ok := s.another(ctx, all, all[i], c.Roots); ok {
			changes = append(changes, f)
		}
		if f, ok := s.without(ctx, all, all[i], c.Roots); ok {
			removals = append(removals, f)
		}
	}
	slices.SortStableFunc(changes, func(a, b fix) int {
		switch {
		case a.down == b.down:
			return 0
		case b.down:
			return -1
		}
		return 1
	})
	out := append(changes, removals...)
	for i := range out {
		out[i].Command = s.there(out[i].Command)
	}
	if f, ok := s.unforced(ctx, c); ok {
		out = append(out[:min(len(out), fixesMost-1)], f)
	}
	return out[:min(len(out), fixesMost)]
}

// there is a command that works where the user is, if that is not the project.
func (s *sync) there(command string) string {
	if s.env.origin == "" {
		return command
	}
	at := "pkg -C " + quoted(s.env.Dir) + " "
	return strings.NewReplacer("pkg add ", at+"add ", "pkg remove ", at+"remove ").Replace(command)
}

// another looks for another version of d.
func (s *sync) another(ctx context.Context, all []dependency, d dependency, roots []int) (fix, bool) {
	command, ok := s.added(d)
	if !ok {
		return fix{}, false
	}
	widest, err := s.widest(ctx, d.name, d.Registry)
	if err != nil {
		return fix{}, false
	}
	any, err := semver.ParseConstraint(widest)
	if err != nil {
		return fix{}, false
	}
	res, ok := s.try(ctx, with(s.manifest, d, any), d.name)
	if !ok {
		return fix{}, false
	}
	i := slices.IndexFunc(res.Packages, func(p resolve.Selected) bool { return p.Name == d.name })
	if i < 0 || res.Packages[i].Registry == "" {
		return fix{}, false
	}
	v := res.Packages[i].Release.Version
	caret := semver.Caret(v)
	if res, ok = s.try(ctx, with(s.manifest, d, caret)); !ok {
		return fix{}, false
	}
	row, locked := s.project.lock.Get(d.name)
	return fix{Command: command(caret.String()), Gives: versions(all, roots, res), down: !locked || v.Compare(row.Version) < 0}, true
}

// added returns how to say add with another constraint for d. It reports false where one command cannot.
func (s *sync) added(d dependency) (func(constraint string) string, bool) {
	g := s.o.Given
	if g.wants == nil {
		flag := map[string]string{tableDev: "--dev ", tableOptional: "--optional "}[d.table]
		flag += map[resolve.Strategy]string{resolve.Lowest: "--resolution lowest ", resolve.LowestDirect: "--resolution lowest-direct "}[s.o.Strategy]
		return func(c string) string { return fmt.Sprintf("pkg add %s%s@%s", flag, d.name, c) }, true
	}
	at := slices.IndexFunc(g.wants, func(w want) bool { return w.name == d.name })
	if at < 0 && (d.table != g.table || strings.Contains(g.flags, "--registry")) {
		return nil, false
	}
	return func(c string) string {
		wants := slices.Clone(g.wants)
		if at >= 0 {
			wants[at].constraint = c
		} else {
			wants = append(wants, want{d.name, c})
		}
		return g.command(wants)
	}, true
}

// command is an add command line.
func (g given) command(wants []want) string {
	words := make([]string, len(wants))
	for i, w := range wants {
		words[i] = w.name.String()
		if w.constraint != "" {
			words[i] = quoted(w.name.String() + "@" + w.constraint)
		}
	}
	return "pkg add " + g.flags + strings.Join(words, " ")
}

// instead is the command line with another name for one of the operands.
func (g given) instead(wrong name.Name, right string) string {
	at := slices.IndexFunc(g.wants, func(w want) bool { return w.name == wrong })
	if at < 0 {
		return "pkg add " + right
	}
	wants := slices.Clone(g.wants)
	wants[at] = want{name: name.Name(right)}
	return g.command(wants)
}

// quoted is a word as a shell reads it.
func quoted(word string) string {
	if strings.ContainsAny(word, " \t<>|&;*?~'\"$!()") {
		return "'" + word + "'"
	}
	return word
}

// without looks whether there is a solution without d.
func (s *sync) without(ctx context.Context, all []dependency, d dependency, roots []int) (fix, bool) {
	g := s.o.Given
	command := "pkg remove " + d.name.String()
	if g.wants != nil {
		rest := slices.DeleteFunc(slices.Clone(g.wants), func(w want) bool { return w.name == d.name })
		switch {
		case len(rest) == len(g.wants):
			command += " && " + g.command(g.wants)
		case len(rest) == 0:
			return fix{}, false
		default:
			command = g.command(rest)
		}
	}
	m := *s.manifest
	m.Dependencies, m.DevDependencies, m.OptionalDependencies = maps.Clone(m.Dependencies), maps.Clone(m.DevDependencies), maps.Clone(m.OptionalDependencies)
	for _, table := range []map[name.Name]manifest.Dependency{m.Dependencies, m.DevDependencies, m.OptionalDependencies} {
		delete(table, d.name)
	}
	res, ok := s.try(ctx, &m)
	if !ok {
		return fix{}, false
	}
	return fix{Command: command, Gives: versions(all, roots, res)}, true
}

// unforced looks whether there is a solution without the overrides of the packages in conflict.
func (s *sync) unforced(ctx context.Context, c *resolve.ConflictError) (fix, bool) {
	m := *s.manifest
	m.Overrides = maps.Clone(m.Overrides)
	var dropped []string
	for _, f := range c.Graph {
		if _, ok := m.Overrides[f.Package.Name]; ok {
			delete(m.Overrides, f.Package.Name)
			dropped = append(dropped, f.Package.Name.String())
		}
	}
	if len(dropped) == 0 {
		return fix{}, false
	}
	if _, ok := s.try(ctx, &m); !ok {
		return fix{}, false
	}
	slices.Sort(dropped)
	return fix{Command: "$EDITOR " + manifest.File, Gives: "without [overrides] of " + strings.Join(dropped, ", ")}, true
}

// try resolves another manifest as the command would, with more packages free of the lock.
func (s *sync) try(ctx context.Context, m *manifest.Manifest, free ...name.Name) (*resolve.Result, bool) {
	o := s.o
	if o.Manifest = m; o.Given.wants == nil {
		o.Free, o.FreeAll, o.Admit, o.Held = nil, false, false, nil
	}
	if len(free) > 0 {
		o.Free = maps.Clone(o.Free)
		if o.Free == nil {
			o.Free = make(map[name.Name]bool)
		}
		for _, n := range free {
			o.Free[n] = true
		}
	}
	t := newSync(s.registries, o)
	res, _, err := t.solve(ctx, fixBudget)
	return res, err == nil
}

// with is a manifest with another constraint for d.
func with(m *manifest.Manifest, d dependency, c semver.Constraint) *manifest.Manifest {
	out := *m
	dep := d.Dependency
	dep.Constraint = c
	table := map[string]*map[name.Name]manifest.Dependency{
		tableDeps: &out.Dependencies, tableDev: &out.DevDependencies, tableOptional: &out.OptionalDependencies,
	}[d.table]
	*table = maps.Clone(*table)
	(*table)[d.name] = dep
	return &out
}

// versions says which versions of the dependencies in conflict a result has.
func versions(all []dependency, roots []int, res *resolve.Result) string {
	var out []string
	for _, i := range roots {
		for _, p := range res.Packages {
			if i < len(all) && p.Name == all[i].name {
				out = append(out, strings.TrimSpace(p.Name.String()+" "+p.Release.Version.String()))
			}
		}
	}
	if len(out) == 0 {
		return "nothing else changes"
	}
	if len(out) > 4 {
		out = append(out[:3:3], fmt.Sprintf("%d more", len(out)-3))
	}
	return strings.Join(out, ", ")
}
