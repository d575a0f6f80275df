package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"pkg/cmd/ui"
	"pkg/fetch/store"
	"pkg/fetch/tree"
	"pkg/keys"
	"pkg/lockfile"
	"pkg/lockfile/manifest"
	"pkg/lockfile/name"
	"pkg/resolve"
)

func (e *Env) verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Category: onProject, Usage: "check lock, author logs and every installed file again, without network",
		Description: "Exits with 4 if a file or a row of the lock is not what was signed, with 3 if pkg.lock does not match pkg.toml.",
		Flags:       registryFlags(),
		Action: func(c *cli.Context) error {
			if _, err := operands(c, 0, 0); err != nil {
				return err
			}
			p, err := e.project()
			if err != nil {
				return err
			}
			r, err := e.registries(p, e.registryRef(c), true)
			if err != nil {
				return err
			}
			if err := r.bind(c.Context, false); err != nil {
				return err
			}
			r.again = true
			return e.verify(c.Context, r)
		},
	}
}

// verified is the JSON form of one package that was checked.
type verified struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Root    string `json:"root,omitempty"`
	Files   string `json:"files"` // verified, missing, altered; path and skipped are not checked
	Log     string `json:"log"`   // verified, unknown, contradicted; path
	Why     string `json:"why,omitempty"`
}

// The words of a check.
const (
	isVerified = "verified"
	isMissing  = "missing"
	isAltered  = "altered"
	isUnknown  = "unknown"
	isLie      = "contradicted"
	isPath     = "path"    // of a folder: nobody signed it
	isSkipped  = "skipped" // as install --prod left it out
)

// verify checks everything and says everything it found before it fails.
func (e *Env) verify(ctx context.Context, r *registries) error {
	s := newSync(r, syncOptions{Offline: true, Locked: true})
	found, err := s.drift()
	if err != nil {
		return err
	}
	st, err := r.store()
	if err != nil {
		return err
	}
	if err := errors.Join(r.same(s.manifest), e.verifyOrigins(ctx, r)); err != nil {
		return err
	}
	var lies, missing, broken []verified
	var sum verifiedAll
	var unfit []string
	fit := newFit(r.project.lock, r.project.manifest)
	skipped := r.project.leftOut()
	for _, row := range r.project.lock.Packages {
		if err := ctx.Err(); err != nil {
			return err
		}
		v := verified{Name: row.Name.String(), Version: rowVersion(&row), Files: isVerified, Log: isVerified}
		switch {
		case skipped[row.Name]:
			v.Files, v.Log = isSkipped, isUnknown
		case row.Path != "":
			v.Files, v.Log = isPath, isPath
			e.verifyPath(r.project, row, &v)
		default:
			v.Root = row.Root.String()
			e.verifyFiles(ctx, st, r.project, row, &v)
			unfit = append(unfit, e.verifyLog(ctx, r, fit, row, &v)...)
		}
		switch {
		case v.Files == isAltered || v.Log == isLie:
			lies = append(lies, v)
			e.UI.Data("verified", v, "%s %s %s: %s", ui.Bad("altered"), v.Name, v.Version, v.Why)
		case v.Files == isMissing:
			missing = append(missing, v)
			e.UI.Data("verified", v, "%s %s %s: %s", ui.Caution("missing"), v.Name, v.Version, v.Why)
		case v.Log == isPath && v.Why != "":
			broken = append(broken, v)
			e.UI.Data("verified", v, "%s %s %s: %s", ui.Caution("broken"), v.Name, v.Version, v.Why)
		default:
			e.UI.Data("verified", v, "")
		}
		sum.count(v)
		e.UI.Progress("verifying", v, "verifying %s", v.Name)
	}
	switch n := len(r.project.lock.Packages); {
	case len(lies) > 0:
		return fail(exitTrust, "pkg install --repair", "%d of %s not what was signed: %s", len(lies), count(n, "package"), lies[0].Name)
	case len(found) > 0:
		return drifted(r.project, found, r.env.CI())
	case len(unfit) > 0:
		return unfitting(unfit, r.env.CI())
	case len(missing) > 0:
		return fail(exitAbsent, "pkg install", "%d of %s not installed: %s", len(missing), count(n, "package"), missing[0].Name)
	case len(broken) > 0:
		return fail(exitFindings, "$EDITOR "+broken[0].Version+"/"+manifest.File, "%s: %s", broken[0].Name, broken[0].Why)
	default:
		e.UI.Data("verify", sum, "%s", sum)
		return nil
	}
}

// verifiedAll is the JSON form of what verify checked.
type verifiedAll struct {
	Packages int `json:"packages"` // every file of them
	Logs     int `json:"logs"`
	Paths    int `json:"paths"`   // used as they are
	Skipped  int `json:"skipped"` // not installed, as only dev-dependencies need them
}

// count adds a package.
func (a *verifiedAll) count(v verified) {
	switch v.Files {
	case isVerified:
		a.Packages++
	case isPath:
		a.Paths++
	case isSkipped:
		a.Skipped++
	}
	if v.Log == isVerified {
		a.Logs++
	}
}

func (a verifiedAll) String() string {
	s := fmt.Sprintf("verified %s: every file, and %s", count(a.Packages, "package"), count(a.Logs, "author log"))
	if a.Paths > 0 {
		s += fmt.Sprintf("; not %s, which nobody signed", count(a.Paths, "path package"))
	}
	if a.Skipped > 0 {
		s += fmt.Sprintf("; not %s that only dev-dependencies need, which --prod left out", count(a.Skipped, "package"))
	}
	return s
}

// leftOut are the packages that install --prod left out: none if one that only dev-dependencies need is there.
func (p *project) leftOut() map[name.Name]bool {
	prod := lockfile.Prod(p.lock, p.manifest)
	left := make(map[name.Name]bool)
	for _, row := range p.lock.Packages {
		if prod[row.Name] {
			continue
		}
		if _, err := os.Lstat(moduleDir(p, row.Name)); err == nil {
			return nil
		}
		left[row.Name] = true
	}
	return left
}

// verifyOrigins checks what the lock says of registries that are known here.
func (e *Env) verifyOrigins(ctx context.Context, r *registries) error {
	for _, g := range r.project.lock.Registries {
		if o, err := r.row(g); err == nil {
			if err := r.sameOrigin(ctx, o, g); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyPath checks that a path dependency is linked, and has the commands it promises.
func (e *Env) verifyPath(p *project, row lockfile.Package, v *verified) {
	if !exists(moduleDir(p, row.Name)) {
		v.Files, v.Why = isMissing, "it is not in "+modules
		return
	}
	dir := filepath.Join(p.dir, filepath.FromSlash(row.Path))
	_, m, err := e.readManifest(dir)
	if err != nil {
		v.Why = err.Error()
		return
	}
	for _, command := range sorted(m.Bin) {
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(m.Bin[command]))); err != nil || !info.Mode().IsRegular() {
			v.Why = fmt.Sprintf("its command %s is missing: there is no file %s", command, m.Bin[command])
			return
		}
	}
}

// verifyFiles checks what the project sees of a package: the tree in the store behind a symlink, or the files themselves.
func (e *Env) verifyFiles(ctx context.Context, st *store.Store, p *project, row lockfile.Package, v *verified) {
	dir := moduleDir(p, row.Name)
	info, err := os.Lstat(dir)
	if errors.Is(err, os.ErrNotExist) {
		v.Files, v.Why = isMissing, "it is not in "+modules
		return
	}
	if err == nil && info.Mode()&os.ModeSymlink != 0 {
		err = e.verifyLink(ctx, st, dir, row)
	} else if err == nil {
		err = verifyTree(ctx, dir, row)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		v.Files, v.Why = isMissing, "it is not in the store"
	case err != nil:
		v.Files, v.Why = isAltered, err.Error()
	}
}

// repair throws away what the store and the project hold of packages whose files were changed, to be fetched and linked again.
func (s *sync) repair(ctx context.Context, st *store.Store, lock *lockfile.Lock) error {
	for _, row := range lock.Packages {
		if row.Path != "" {
			continue
		}
		if st.Has(row.Root) {
			if err := st.Verify(ctx, row.Root); ctx.Err() != nil {
				return err
			} else if err != nil {
				s.env.UI.Note("repair", map[string]string{"name": row.Name.String()}, "%s in the store was changed: %v", row.Name, err)
				if err := st.Remove(row.Root); err != nil { //nolint:contextcheck // a removal is not left half done
					return err
				}
			}
		}
		var v verified
		if s.env.verifyFiles(ctx, st, s.project, row, &v); v.Files != isAltered {
			continue
		}
		s.env.UI.Note("repair", map[string]string{"name": row.Name.String()}, "%s in %s was changed: %s", row.Name, modules, v.Why)
		if err := os.RemoveAll(moduleDir(s.project, row.Name)); err != nil {
			return fmt.Errorf("repair %s: %w", row.Name, err)
		}
	}
	return nil
}

// verifyLink checks the tree that a link leads to.
func (e *Env) verifyLink(ctx context.Context, st *store.Store, link string, row lockfile.Package) error {
	want, ok := st.Tree(row.Root)
	if !ok {
		return store.ErrNotFound
	}
	a, errA := filepath.EvalSymlinks(link)
	b, errB := filepath.EvalSymlinks(want)
	if err := errors.Join(errA, errB); err != nil {
		return err
	}
	if a != b {
		return fmt.Errorf("%s leads to %s, not to the tree of %s", e.shown(link), a, row.Root)
	}
	return st.Verify(ctx, row.Root)
}

// verifyTree computes the root of a folder again.
func verifyTree(ctx context.Context, dir string, row lockfile.Package) error {
	files, err := tree.Scan(dir, nil, nil)
	if err != nil {
		return err
	}
	sum, err := tree.Root(ctx, files, tree.Default())
	if err != nil {
		return err
	}
	if sum.Root != row.Root {
		return fmt.Errorf("its files have root %s, the lock says %s", sum.Root, row.Root)
	}
	return nil
}

// verifyLog checks a row against the author's log as far as it is at hand, and says which of the row's dependencies the
// lock does not meet.
func (e *Env) verifyLog(ctx context.Context, r *registries, f fit, row lockfile.Package, v *verified) []string {
	v.Log = isUnknown
	g, ok := r.project.lock.Registry(row.Registry)
	if !ok {
		return nil
	}
	o, err := r.row(*g)
	if err != nil {
		return nil
	}
	var unfit []string
	err = o.ProveAll(ctx, []lockfile.Package{row})
	if err == nil {
		var rel resolve.Release
		if rel, err = o.Release(ctx, row); err == nil {
			unfit, err = f.misfits(&row, &rel)
		}
	}
	switch _, lie := errors.AsType[*keys.TrustError](err); {
	case err == nil:
		v.Log = isVerified
	case lie:
		v.Log, v.Why = isLie, err.Error()
	}
	return unfit
}

// moduleDir is where a project has a package.
func moduleDir(p *project, n name.Name) string {
	return filepath.Join(p.dir, modules, filepath.FromSlash(n.String()))
}
