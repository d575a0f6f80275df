package resolve

import (
	"fmt"
	"slices"
	"strings"
)

// words says a story to people.
type words struct {
	*problem
	*story
	at []int // of the query's roots: their index in Request.Roots
}

// nothing is the conclusion of every story.
const nothing = "there is no solution"

// sentences says the whole story, a line each.
func (w *words) sentences() []string {
	numbers := make(map[int]int)
	for i, l := range w.lines {
		if l.cited > 1 {
			numbers[i] = len(numbers) + 1
		}
	}
	var out []string
	for i, l := range w.lines {
		var said []string
		follows := false
		for _, p := range l.premises {
			switch {
			case p.line < 0:
				said = append(said, w.facts(p.facts))
			case p.line == i-1:
				follows = true
			case numbers[p.line] > 0:
				said = append(said, fmt.Sprintf("%s (%d)", w.conclusion(w.lines[p.line].clause), numbers[p.line]))
			default:
				said = append(said, w.conclusion(w.lines[p.line].clause))
			}
		}
		start := "Because "
		if follows {
			start = "And because "
		}
		end := "."
		if n := numbers[i]; n > 0 {
			end = fmt.Sprintf(". (%d)", n)
		}
		out = append(out, start+strings.Join(said, " and ")+", "+w.conclusion(l.clause)+end)
	}
	return out
}

// facts says what one owner needs: "a 1.0.0 needs b ^1 and c ^2".
func (w *words) facts(ids []int) string {
	if f := &w.story.facts[ids[0]]; w.rivals(f) {
		return fmt.Sprintf("only one package called %s can be used", w.packs[f.target].Name)
	}
	who, verb := "", "needs"
	var what []string
	for _, id := range ids {
		f := &w.story.facts[id]
		who, verb = w.owner(f)
		text := w.need(f)
		if !slices.Contains(what, text) {
			what = append(what, text)
		}
	}
	return who + " " + verb + " " + join(what, "and")
}

// owner returns who has a need, and the verb that goes with it.
func (w *words) owner(f *fact) (string, string) {
	if f.root >= 0 {
		return w.asker(f), "needs"
	}
	set := f.having()
	if set == nil { // a package that depends on itself
		set = f.clause[0].set
	}
	who, many := w.some(f.owner, set, "and")
	if many {
		return who, "need"
	}
	return who, "needs"
}

// asker names who states a root.
func (w *words) asker(f *fact) string {
	if from := w.req.Roots[w.at[f.root]].From; from != "" {
		return from
	}
	return "the project"
}

// rivals reports whether a fact says that two packages share a name.
func (w *words) rivals(f *fact) bool {
	return f.root < 0 && f.owner != f.target && w.packs[f.owner].Name == w.packs[f.target].Name
}

// need says what a fact asks for: "b ^1", and why it cannot be had, if so.
func (w *words) need(f *fact) string {
	ds := w.deps(f)
	what := w.wanted(f, ds)
	if f.root < 0 && f.owner == f.target {
		return what + " (another version of itself)"
	}
	if len(ds) > 0 && !slices.ContainsFunc(ds, func(d *Dep) bool { return !d.Optional }) {
		return what + " if at all"
	}
	if why := w.lack(f); why != "" {
		what += " (" + why + ")"
	}
	return what
}

// wanted says which versions of the target a fact asks for: in the words of the
// dependency if all versions of the owner use the same, else by the versions.
func (w *words) wanted(f *fact, ds []*Dep) string {
	n := w.name(f.target)
	text, same := "", true
	for i, d := range ds {
		c := w.req.constraint(d).String()
		if i == 0 {
			text = c
		}
		same = same && c == text
	}
	if !same {
		return w.only(f)
	}
	if o, ok := w.req.Overrides[w.packs[f.target].Name]; ok {
		why := w.req.Reasons[w.packs[f.target].Name]
		if why != "" {
			why = ": " + why
		}
		return fmt.Sprintf("%s %s (overridden%s)", n, o, why)
	}
	if text == "" || text == "*" {
		text = ""
	} else {
		text = " " + text
	}
	if len(ds) > 0 && ds[0].Author != "" && ds[0].Author != w.packs[f.target].pkg.Author {
		text += " by " + ds[0].Author.Short()
	}
	return n + text
}

// only says which versions of its target a fact leaves.
func (w *words) only(f *fact) string {
	for _, t := range f.clause {
		if t.pkg == f.target {
			s, _ := w.some(f.target, complement(t), "or")
			return strings.TrimPrefix(s, "every version of ")
		}
	}
	return w.name(f.target)
}

// deps returns the dependencies behind a fact.
func (w *words) deps(f *fact) []*Dep {
	var out []*Dep
	if f.root >= 0 {
		return append(out, &w.req.Roots[w.at[f.root]])
	}
	k, set := w.packs[f.owner], f.having()
	for v, rel := range k.candidates {
		if set != nil && set[v>>6]>>(v&63)&1 == 0 {
			continue
		}
		ds := k.pkg.Releases[rel].Deps
		for i := range ds {
			if id, ok := w.ids[w.req.key(ds[i])]; ok && id == f.target {
				out = append(out, &ds[i])
			}
		}
	}
	return out
}

// conclusion says what a clause rules out.
func (w *words) conclusion(c clause) string {
	var together, need []string
	many := false
	var last term
	for _, t := range c {
		if t.absent() {
			s, _ := w.some(t.pkg, complement(t), "or")
			need = append(need, s)
			continue
		}
		s, plural := w.some(t.pkg, t.set, "and")
		together, many, last = append(together, s), plural, t
	}
	verb := "needs"
	if many || len(together) > 1 {
		verb = "need"
	}
	switch {
	case len(c) == 0:
		return nothing
	case len(together) == 0:
		return join(need, "or") + " is needed"
	case len(need) > 0:
		return fmt.Sprintf("%s %s %s", join(together, "with"), verb, join(need, "or"))
	case len(together) == 1:
		return w.none(last, "can be used", "cannot be used")
	case len(together) == 2 && many:
		return fmt.Sprintf("%s do not go with %s", together[1], together[0])
	case len(together) == 2:
		return w.none(last, "goes", "does not go") + " with " + strings.Replace(together[0], "every version", "any version", 1)
	}
	return join(together, "and") + " cannot all be used"
}

// none says that nothing in a term does what verb says.
func (w *words) none(t term, verb, not string) string {
	s, _ := w.some(t.pkg, t.set, "and")
	if rest, ok := strings.CutPrefix(s, "every "); ok {
		return "no " + rest + " " + verb
	}
	return s + " " + not
}

// name says a package: its name, with its registry where two share the name.
func (w *words) name(id int32) string {
	k := w.packs[id]
	loaded := 0
	for _, o := range w.byName[k.Name] {
		if w.packs[o].loaded {
			loaded++
		}
	}
	if loaded < 2 {
		return string(k.Name)
	}
	if k.Registry == "" {
		return string(k.Name) + " (path)"
	}
	return fmt.Sprintf("%s (registry …%s)", k.Name, k.Registry[max(0, len(k.Registry)-6):])
}

// complement returns the versions for which a term is not true.
func complement(t term) []uint64 {
	out := make([]uint64, len(t.set))
	for v := range t.n {
		if !t.has(v) {
			out[v>>6] |= 1 << (v & 63)
		}
	}
	return out
}

// some says a set of the versions of a package against what exists, and whether
// it is many: "a 1.0.0", "a 1.0.0 to 1.3.0", "every version of a". Several runs
// are joined by last.
func (w *words) some(id int32, set []uint64, last string) (string, bool) {
	k, n := w.packs[id], w.name(id)
	runs := runsOf(set, len(k.versions))
	switch {
	case k.Registry == "":
		return n, false
	case len(runs) == 0:
		return "no version of " + n, false
	case len(k.versions) == 1:
		return n + " " + k.versions[0].String(), false
	case runs[0].from == 0 && runs[0].to == len(k.versions):
		return "every version of " + n, false
	}
	words := make([]string, 0, len(runs))
	many := len(runs) > 1
	for _, r := range runs {
		first, last := k.versions[r.from].String(), k.versions[r.to-1].String()
		switch r.to - r.from {
		case 1:
			words = append(words, first)
			continue
		case 2:
			words = append(words, first, last)
		default:
			words = append(words, first+" to "+last)
		}
		many = true
	}
	if len(words) > 4 {
		of := 0
		for _, r := range runs {
			of += r.to - r.from
		}
		return fmt.Sprintf("%d versions of %s from %s to %s", of, n, k.versions[runs[0].from], k.versions[runs[len(runs)-1].to-1]), true
	}
	return n + " " + join(words, last), many
}

// run is the candidates from one up to another.
type run struct{ from, to int }

// runsOf returns the runs of a set of n versions.
func runsOf(set []uint64, n int) []run {
	var out []run
	for v := range n {
		if set[v>>6]>>(v&63)&1 == 0 {
			continue
		}
		if m := len(out); m > 0 && out[m-1].to == v {
			out[m-1].to++
		} else {
			out = append(out, run{v, v + 1})
		}
	}
	return out
}
