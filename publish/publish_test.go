//go:build unix

package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/lockfile/block"
	"pkg/lockfile/name"
	"pkg/lockfile/semver"
	"pkg/publish"
	"pkg/publish/registry"
	"pkg/resolve/catalog"
)

func now() time.Time { return time.Unix(1_700_000_000, 0) }

func seeded(n byte) keys.Key { return keys.FromSeed([32]byte{n}) }

// world is a registry over HTTP.
type world struct {
	dir    string
	server *registry.Server
	url    *url.URL
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: filepath.Join(t.TempDir(), "reg")}
	if _, err := registry.Init(t.Context(), w.dir, "registry.test", registry.InitOptions{Now: now}); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.server, err = registry.Open(t.Context(), w.dir, registry.Config{Now: now}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.server.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := w.server.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.url, err = url.Parse(server.URL); err != nil {
		t.Fatal(err)
	}
	return w
}

// options are those of an author with a home of their own.
func (w *world) options(t *testing.T, key byte) publish.Options {
	t.Helper()
	home := t.TempDir()
	src, err := catalog.NewHTTP(w.url.String(), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	disk := catalog.NewDisk(filepath.Join(home, "state"))
	c, err := catalog.Open(catalog.Config{
		Name: "default", ID: w.server.ID(), URL: w.url.String(), Source: src, Heads: disk.Heads(), Memory: disk, Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return publish.Options{
		Key: seeded(key), Catalog: c, Registry: &publish.HTTP{Base: w.url},
		Outbox: filepath.Join(home, "outbox"), Temp: home, Now: now,
	}
}

// project writes a package.
func project(t *testing.T, n, version, code, more string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "pkg.toml", "[package]\nname = \""+n+"\"\nversion = \""+version+"\"\n"+more)
	write(t, dir, "src/main.js", code)
	return dir
}

func write(t *testing.T, dir, file, text string) {
	t.Helper()
	path := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// mustPublish fails the test unless dir is published.
func mustPublish(t *testing.T, o publish.Options, dir string) *publish.Receipt {
	t.Helper()
	o.Dir = dir
	r, err := publish.Publish(t.Context(), o)
	if err != nil {
		t.Fatalf("publish: %v", err)
	}
	return r
}

func TestPublishClaimsReleasesAndVerifies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, 1)
	dir := project(t, "left-pad", "1.0.0", "one", "[dependencies]\nright-pad = \"^1.0.0\"\n")
	d, err := publish.Check(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	o.Events = func(e publish.Event) { steps = append(steps, e.Step) }
	r := mustPublish(t, o, dir)
	if !r.NewName || r.AlreadyThere || r.Root != d.Summary.Root || r.Entry != 1 || r.Commit != 1 || r.Author != seeded(1).Author() {
		t.Errorf("receipt %+v", r)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "right-pad") {
		t.Errorf("warnings %q", r.Warnings)
	}
	if diff := cmp.Diff([]string{"pack", "sign", "push", "verify"}, steps); diff != "" {
		t.Error(diff)
	}
	if again := mustPublish(t, o, dir); !again.AlreadyThere || again.NewName || again.Entry != 1 || again.Commit != 1 {
		t.Errorf("receipt of the same again: %+v", again)
	}
	if elsewhere := mustPublish(t, w.options(t, 1), dir); !elsewhere.AlreadyThere {
		t.Errorf("receipt of the same from another home: %+v", elsewhere)
	}
	if next := mustPublish(t, o, project(t, "left-pad", "1.1.0", "two", "")); next.NewName || next.Entry != 2 {
		t.Errorf("receipt of the next version: %+v", next)
	}
	if w.server.Status().Size != 3 {
		t.Errorf("%d commits, want 3", w.server.Status().Size)
	}
}

func TestAVersionIsNeverReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, 1)
	mustPublish(t, o, project(t, "a", "1.0.0", "one", ""))
	o.Dir = project(t, "a", "1.0.0", "other", "")
	_, err := publish.Publish(t.Context(), o)
	var exists *publish.ExistsError
	if !errors.As(err, &exists) || !strings.Contains(err.Error(), exists.Ours.String()) || !strings.Contains(err.Error(), exists.Theirs.String()) {
		t.Errorf("other content: %v", err)
	}
	o.Dir = project(t, "a", "1.0.0+build", "one", "")
	if _, err := publish.Publish(t.Context(), o); !errors.As(err, &exists) {
		t.Errorf("other build metadata: %v", err)
	}
}

func TestANameHasOneOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mustPublish(t, w.options(t, 1), project(t, "acme/a", "1.0.0", "one", ""))
	var owned *publish.OwnedError
	for _, n := range []string{"acme/a", "acme/b"} {
		o := w.options(t, 2)
		o.Dir = project(t, n, "2.0.0", "mine", "")
		if _, err := publish.Publish(t.Context(), o); !errors.As(err, &owned) || owned.Owner != seeded(1).Author() {
			t.Errorf("publish %s with a strange key: %v", n, err)
		}
	}
	r := mustPublish(t, w.options(t, 1), project(t, "acme/b", "1.0.0", "one", ""))
	if !r.NewName || r.NewScope {
		t.Errorf("a second name in a scope: %+v", r)
	}
}

func TestYankAndDeprecate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, 1)
	mustPublish(t, o, project(t, "a", "1.0.0", "one", ""))
	v, err := semver.Parse("1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	for i, there := range []bool{false, true} {
		r, err := publish.Yank(t.Context(), o, "a", v, "broken")
		if err != nil || r.AlreadyThere != there {
			t.Fatalf("yank %d: %+v %v", i, r, err)
		}
	}
	if s, _, err := o.Catalog.State(t.Context(), "a"); err != nil || !s.Releases[0].Yanked {
		t.Errorf("state after yank: %+v %v", s, err)
	}
	if _, err := publish.Unyank(t.Context(), o, "a", v, "mended"); err != nil {
		t.Errorf("unyank: %v", err)
	}
	for i, there := range []bool{false, true} {
		r, err := publish.Deprecate(t.Context(), o, "a", "^1", "old", "b")
		if err != nil || r.AlreadyThere != there {
			t.Fatalf("deprecate %d: %+v %v", i, r, err)
		}
	}
	var absent *publish.AbsentError
	if _, err := publish.Deprecate(t.Context(), o, "nobody", "*", "old", ""); !errors.As(err, &absent) {
		t.Errorf("deprecate an absent name: %v", err)
	}
	v2, err := semver.Parse("2.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publish.Yank(t.Context(), o, "a", v2, ""); !errors.As(err, &absent) {
		t.Errorf("yank an absent version: %v", err)
	}
}

func TestYankAndUnyankTwiceSaySo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, 1)
	mustPublish(t, o, project(t, "a", "1.0.0", "one", ""))
	v, err := semver.Parse("1.0.0")
	if err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct {
		do    func(context.Context, publish.Options, name.Name, semver.Version, string) (*publish.Receipt, error)
		there bool
	}{{publish.Unyank, true}, {publish.Yank, false}, {publish.Yank, true}, {publish.Unyank, false}, {publish.Unyank, true}} {
		r, err := step.do(t.Context(), o, "a", v, "why")
		if err != nil || r.AlreadyThere != step.there {
			t.Fatalf("step %d: %+v %v, want AlreadyThere = %v", i, r, err, step.there)
		}
	}
	if s, _, err := o.Catalog.State(t.Context(), "a"); err != nil || s.Size != 4 {
		t.Errorf("%+v %v, want 4 entries", s, err)
	}
}

func TestDeprecateRefusesBeforeItSigns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, 1)
	mustPublish(t, o, project(t, "a", "1.0.0", "one", ""))
	for _, c := range []struct{ versions, message, use string }{
		{"*", "old", "BAD NAME"}, {"*", "old", "b@2"}, {"*", "old", "scope/"}, {"*", "", ""}, {"*", " \n", "b"}, {"not one", "old", ""}, {"", "old", ""},
	} {
		if r, err := publish.Deprecate(t.Context(), o, "a", c.versions, c.message, c.use); err == nil {
			t.Errorf("deprecate %+v: %+v", c, r)
		}
	}
	var bad *name.Error
	if _, err := publish.Deprecate(t.Context(), o, "a", "*", "old", "BAD NAME"); !errors.As(err, &bad) {
		t.Errorf("a bad name: %v, want a *name.Error", err)
	}
	if _, err := publish.Deprecate(t.Context(), o, "a", "*", "", ""); !errors.Is(err, publish.ErrNoMessage) {
		t.Errorf("no message: %v", err)
	}
	if n := w.server.Status().Size; n != 2 {
		t.Errorf("%d commits, want the 2 of before", n)
	}
}

func TestAnEntryThatIsTooLongIsRefusedByCheck(t *testing.T) {
	t.Parallel()
	deps := func(n int, more string) string {
		var b strings.Builder
		b.WriteString("[dependencies]\n")
		for i := range n {
			fmt.Fprintf(&b, "%s-%03d = { version = \"^1.0.0\"%s }\n", strings.Repeat("d", 50), i, more)
		}
		return b.String()
	}
	w := newWorld(t)
	o := w.options(t, 1)
	for what, c := range map[string]struct {
		more string
		ok   bool
	}{
		"few":        {deps(50, ""), true},
		"too many":   {deps(200, ""), false},
		"registries": {deps(60, ", registry = \"other\"") + "[registries]\nother = { url = \"https://example.org\" }\n", false},
	} {
		dir := project(t, "a", "1.0.0", "x", c.more)
		_, err := publish.Check(t.Context(), dir)
		if (err == nil) != c.ok || err != nil && (!strings.Contains(err.Error(), "too many dependencies") || !strings.Contains(err.Error(), "8192")) {
			t.Errorf("check %s: %v", what, err)
		}
		if c.ok {
			continue
		}
		o.Dir = dir
		o.Registries = map[string]string{"other": block.Sum(cid.DagCBOR, []byte("another registry")).String()}
		var steps []string
		o.Events = func(e publish.Event) { steps = append(steps, e.Step) }
		if _, err := publish.Publish(t.Context(), o); err == nil || !strings.Contains(err.Error(), "too many dependencies") || slices.Contains(steps, "sign") {
			t.Errorf("publish %s: %v, steps %q", what, err, steps)
		}
	}
}

// flaky fails pushes, before or after they arrive.
type flaky struct {
	publish.Registry
	fail   bool
	arrive bool
	sent   [][][]byte
}

func (f *flaky) Push(ctx context.Context, s publish.Submission) error {
	f.sent = append(f.sent, s.Entries)
	if !f.fail {
		return f.Registry.Push(ctx, s)
	}
	if f.arrive {
		if err := f.Registry.Push(ctx, s); err != nil {
			return err
		}
	}
	return errors.New("the network is gone")
}

func TestSignedEntriesAreResentByteForByte(t *testing.T) {
	t.Parallel()
	for _, arrive := range []bool{false, true} {
		w := newWorld(t)
		o := w.options(t, 1)
		f := &flaky{Registry: o.Registry, fail: true, arrive: arrive}
		o.Registry = f
		o.Dir = project(t, "a", "1.0.0", "one", "")
		if _, err := publish.Publish(t.Context(), o); err == nil {
			t.Fatal("publish succeeds without a network")
		}
		f.fail = false
		o.Now = func() time.Time { return now().Add(time.Hour) } // a new signature would differ
		r := mustPublish(t, o, o.Dir)
		if len(f.sent) != 2 || r.Entry != 1 {
			t.Fatalf("arrive=%v: %d pushes, receipt %+v", arrive, len(f.sent), r)
		}
		if diff := cmp.Diff(f.sent[0], f.sent[1]); diff != "" {
			t.Errorf("arrive=%v: sent again with a difference: %s", arrive, diff)
		}
		left, err := filepath.Glob(filepath.Join(o.Outbox, "*."+w.server.ID()))
		if err != nil || len(left) != 0 {
			t.Errorf("left in the outbox: %v %v", left, err)
		}
	}
}

func TestAnUnsentEntryIsSettledBeforeTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, 1)
	mustPublish(t, o, project(t, "a", "1.0.0", "one", ""))
	f := &flaky{Registry: o.Registry, fail: true}
	o.Registry = f
	o.Dir = project(t, "a", "1.1.0", "two", "")
	if _, err := publish.Publish(t.Context(), o); err == nil {
		t.Fatal("publish succeeds without a network")
	}
	// The content of 1.1.0 is gone, so the registry refuses its release, and
	// another one takes its place in the log.
	f.fail = false
	r := mustPublish(t, o, project(t, "a", "1.2.0", "three", ""))
	if r.Entry != 2 || len(r.Warnings) != 1 {
		t.Errorf("receipt %+v", r)
	}
}

func TestContentMustBeWhatWasSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	o := w.options(t, 1)
	good := o.Registry
	o.Registry = pushFunc(func(ctx context.Context, s publish.Submission) error {
		s.Packs = []publish.Pack{publish.BytesPack(s.Packs[0].Root, []byte("not a pack at all"))}
		return good.Push(ctx, s)
	})
	o.Dir = project(t, "a", "1.0.0", "one", "")
	_, err := publish.Publish(t.Context(), o)
	var refused *publish.RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnprocessableEntity {
		t.Errorf("a pack that is none: %v", err)
	}
	if n := w.server.Status().Names; n != 0 {
		t.Errorf("%d names recorded", n)
	}
	o.Registry = pushFunc(func(ctx context.Context, s publish.Submission) error {
		s.Packs = nil
		return good.Push(ctx, s)
	})
	if _, err := publish.Publish(t.Context(), o); !errors.As(err, &refused) {
		t.Errorf("a release without its content: %v", err)
	}
	o.Registry = good
	mustPublish(t, o, o.Dir)
}

type pushFunc func(context.Context, publish.Submission) error

func (f pushFunc) Push(ctx context.Context, s publish.Submission) error { return f(ctx, s) }

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for what, dir := range map[string]string{
		"no manifest":      t.TempDir(),
		"no version":       project(t, "a", "", "x", ""),
		"a missing bin":    project(t, "a", "1.0.0", "x", "[bin]\nrun = \"bin/none\"\n"),
		"a path":           project(t, "a", "1.0.0", "x", "[dependencies]\nb = { path = \"../b\" }\n"),
		"a symbolic link":  linked(t),
		"a reserved name":  withFile(t, "src/aux.js"),
		"a backslash":      withFile(t, "src/a\\b"),
		"a trailing space": withFile(t, "src/a "),
	} {
		if d, err := publish.Check(t.Context(), dir); err == nil {
			t.Errorf("%s: %+v", what, d.Files)
		}
	}
}

func linked(t *testing.T) string {
	t.Helper()
	dir := project(t, "a", "1.0.0", "x", "")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func withFile(t *testing.T, file string) string {
	t.Helper()
	dir := project(t, "a", "1.0.0", "x", "")
	write(t, dir, file, "x")
	return dir
}

func TestSubmissionRoundTrip(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	in := publish.Submission{Entries: [][]byte{[]byte("one"), []byte("two")}}
	if err := publish.WriteSubmission(&b, in); err != nil {
		t.Fatal(err)
	}
	for n := range b.Len() {
		if got, err := publish.NewSubmissionReader(bytes.NewReader(b.Bytes()[:n])).Entries(); err == nil {
			t.Errorf("cut at %d: %q", n, got)
		}
	}
	got, err := publish.NewSubmissionReader(&b).Entries()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in.Entries, got); diff != "" {
		t.Error(diff)
	}
}

func TestPushTriesAgainWhatMayPass(t *testing.T) {
	t.Parallel()
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusConflict)
	}))
	defer server.Close()
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	err = (&publish.HTTP{Base: u}).Push(t.Context(), publish.Submission{Entries: [][]byte{[]byte("x")}})
	var refused *publish.RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusConflict || calls != 2 {
		t.Errorf("%d calls, %v; want a conflict at the second", calls, err)
	}
}
