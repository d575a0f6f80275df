package resolve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pkg/lockfile/semver"
)

// lack says why nothing meets a fact, empty if something does: "only 1.0.0
// exists".
func (w *words) lack(f *fact) string {
	ds := w.deps(f)
	if len(ds) == 0 || !w.empty(f) {
		return ""
	}
	k, d := w.packs[f.target], ds[0]
	switch m := k.missing.(type) { //nolint:errorlint // load stores just these
	case *NotFoundError:
		return m.where()
	case *UnavailableError:
		return "it is not at hand, and we are offline"
	}
	if len(k.pkg.Releases) == 0 {
		return "it has no release"
	}
	out := w.excluded(k, w.req.constraint(d))
	if len(out) == 0 {
		if d.Author != "" && d.Author != k.pkg.Author {
			return "it belongs to " + k.pkg.Author.Short()
		}
		return exist(k.pkg)
	}
	if out[0].why == "removed" {
		return fmt.Sprintf("the registry removed %s", k.Name)
	}
	for _, o := range out[1:] {
		if o.why != out[0].why {
			return "what fits cannot be chosen: " + listed(out, true)
		}
	}
	switch {
	case out[0].why == prerelease:
		return "only pre-releases would fit: " + listed(out, false)
	case len(out) == 1:
		return fmt.Sprintf("only %s would fit, and it %s%s", out[0].version, was(out[0].why), out[0].more)
	}
	plural := strings.NewReplacer("was ", "were ", "is ", "are ").Replace(was(out[0].why))
	return fmt.Sprintf("only %s would fit, and they %s", listed(out, false), plural)
}

// empty reports whether a fact leaves its target no version.
func (w *words) empty(f *fact) bool {
	for _, t := range f.clause {
		if t.pkg == f.target {
			return len(runsOf(complement(t), int(t.n))) == 0
		}
	}
	return true // a target without versions has no term
}

// out is a release that would fit, and why it cannot be chosen.
type out struct {
	version semver.Version
	why     string
	more    string // details, with what separates them from why
}

// prerelease is why a pre-release is not chosen.
const prerelease = "a pre-release"

// was makes a verb of a reason.
func was(why string) string {
	switch why {
	case "yanked":
		return "was yanked"
	case "removed":
		return "was removed"
	case "too young":
		return "is younger than min-age allows"
	}
	return "is " + why
}

// excluded returns the releases that c would admit and that cannot be chosen.
func (w *words) excluded(k *pack, c semver.Constraint) []out {
	var outs []out
	for i := range k.pkg.Releases {
		r := &k.pkg.Releases[i]
		if !admits(c, r.Version, true) {
			continue
		}
		o := out{version: r.Version}
		switch _, candidate := slices.BinarySearch(k.candidates, number(i)); {
		case candidate && admits(c, r.Version, false):
			continue // of another author
		case candidate:
			o.why = prerelease
		default:
			o.why = usable(k.pkg, r, w.req)
		}
		switch o.why {
		case "":
			continue
		case "yanked":
			o.more = ": " + r.Yanked
		case "broken":
			o.more = ": " + r.Broken
		case "too young":
			o.more = ", until " + time.Unix(r.T, 0).Add(w.req.MinAge).UTC().Format("2006-01-02 15:04 MST")
		}
		outs = append(outs, o)
	}
	return outs
}

// listed lists releases, the last ones if there are many.
func listed(outs []out, why bool) string {
	words := make([]string, len(outs))
	for i, o := range outs {
		words[i] = o.version.String()
		if why {
			words[i] += " " + was(o.why)
		}
	}
	if n := len(words); n > 4 {
		return strings.Join(words[n-3:], ", ") + fmt.Sprintf(" and %d older", n-3)
	}
	return join(words, "and")
}

// exist says which versions there are.
func exist(p *Package) string {
	switch n := len(p.Releases); n {
	case 1:
		return "only " + p.Releases[0].Version.String() + " exists"
	case 2:
		return fmt.Sprintf("only %s and %s exist", p.Releases[0].Version, p.Releases[1].Version)
	default:
		return fmt.Sprintf("%d versions exist, from %s to %s", n, p.Releases[0].Version, p.Releases[n-1].Version)
	}
}

// notes says of releases which could change the story why they cannot be chosen.
func (w *words) notes() []string {
	var notes []string
	seen := make(map[int32]bool)
	for i := range w.story.facts {
		f := &w.story.facts[i]
		if seen[f.target] || w.empty(f) || w.packs[f.target].pkg == nil {
			continue
		}
		for _, d := range w.deps(f) {
			outs := w.excluded(w.packs[f.target], w.req.constraint(d))
			outs = slices.DeleteFunc(outs, func(o out) bool { return o.why == prerelease })
			if len(outs) > 0 && !seen[f.target] {
				seen[f.target] = true
				notes = append(notes, fmt.Sprintf("%s %s, and is not considered.", w.name(f.target), notable(outs)))
			}
		}
	}
	return notes[:min(len(notes), 3)]
}

// notable says why releases cannot be chosen, the newest at least.
func notable(outs []out) string {
	o := outs[len(outs)-1]
	s := fmt.Sprintf("%s %s%s", o.version, was(o.why), o.more)
	if n := len(outs) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}
