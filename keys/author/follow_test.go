package author_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/block"
)

// grown returns a log of a genesis and n releases.
func grown(tb testing.TB, n int) *log {
	tb.Helper()
	a := key(1)
	l := newLog(tb, set(1, a), a)
	for i := range n {
		l.add(release(fmt.Sprintf("1.0.%d", i)), a)
	}
	return l
}

func TestFollowReadsOnlyNewPages(t *testing.T) {
	t.Parallel()
	tests := []struct{ from, to int }{
		{1, 2}, {1, 64}, {63, 64}, {64, 65}, {64, 128}, {65, 66}, {100, 200}, {128, 129}, {130, 131},
	}
	for _, tt := range tests {
		l := grown(t, tt.from-1)
		s, err := l.follow(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := tt.from - 1; i < tt.to-1; i++ {
			l.add(release(fmt.Sprintf("1.0.%d", i)), key(1))
		}
		got, err := l.follow(t.Context(), s)
		if err != nil {
			t.Fatalf("from %d to %d: %v", tt.from, tt.to, err)
		}
		want := 1 + (tt.to-1)/author.PageSize - tt.from/author.PageSize + 1
		if len(l.gets) != want {
			t.Errorf("from %d to %d entries: %d blocks read, want %d", tt.from, tt.to, len(l.gets), want)
		}
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *l.state) {
			t.Errorf("from %d to %d: the state differs from the one applied entry by entry", tt.from, tt.to)
		}
		if s.Size != uint64(tt.from) || len(s.Releases) != tt.from-1 {
			t.Errorf("from %d to %d: the old state changed", tt.from, tt.to)
		}
		if again, err := l.follow(t.Context(), got); err != nil || len(l.gets) != 0 || again.Size != got.Size {
			t.Errorf("nothing new: %d blocks read, %v", len(l.gets), err)
		}
	}
}

func distrusted(t *testing.T, rule string, err error) {
	t.Helper()
	if _, ok := errors.AsType[*keys.TrustError](err); !ok {
		t.Errorf("%s: got %v, want a *TrustError", rule, err)
	}
}

func TestFollowRefusesAnotherHistory(t *testing.T) {
	t.Parallel()
	l := grown(t, 70)
	s, err := l.follow(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	follow := func(from *author.State, id [32]byte, size uint64, root [32]byte, index cid.Cid) error {
		_, err := author.Follow(ctx, from, l, id, size, root, index)
		return err
	}
	index := l.store()
	wrong := [32]byte{1}
	distrusted(t, "a shorter log", follow(s, s.ID, 70, wrong, index))
	distrusted(t, "the same size with another root", follow(s, s.ID, s.Size, wrong, index))
	distrusted(t, "another package", follow(s, wrong, 80, wrong, index))
	distrusted(t, "another package from the start", follow(nil, wrong, s.Size, s.LogRoot(), index))
	distrusted(t, "entries without the recorded root", follow(nil, s.ID, s.Size, wrong, index))
	distrusted(t, "an index of another size", follow(nil, s.ID, s.Size+1, wrong, index))

	// An author, or whoever has the key, who tells two stories: both are valid in themselves.
	for _, at := range []int{1, 63, 64, 69} {
		other := grown(t, at-1)
		for i := at - 1; i < 80; i++ {
			other.add(release(fmt.Sprintf("2.0.%d", i)), key(1))
		}
		if _, err := other.follow(ctx, nil); err != nil {
			t.Fatal(err)
		}
		_, err := other.follow(ctx, s)
		distrusted(t, fmt.Sprintf("a fork at entry %d", at), err)
	}
}

func TestFollowRefusesAnotherTimeOfRecording(t *testing.T) {
	t.Parallel()
	l := grown(t, 3)
	s, err := l.follow(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l.add(release("2.0.0"), key(1))
	at := l.index.At[3]
	for rule, bad := range map[string]author.At{
		"another commit": {Size: at.Size, Commit: at.Commit - 1, T: at.T},
		"another time":   {Size: at.Size, Commit: at.Commit, T: at.T + 1},
	} {
		l.index.At[3] = bad
		_, err := l.follow(t.Context(), s)
		distrusted(t, rule, err)
	}
	l.index.At = append(l.index.At[:3:3], l.index.At[4])
	_, err = l.follow(t.Context(), s)
	distrusted(t, "recorded together with what came later", err)
}

// Blocks are not trusted, and a block that cannot be had is no lie.
func TestFollowChecksEveryBlock(t *testing.T) {
	t.Parallel()
	l := grown(t, 70)
	index := l.store()
	ctx := t.Context()
	follow := func() error {
		_, err := author.Follow(ctx, nil, l, l.state.ID, l.state.Size, l.state.LogRoot(), index)
		return err
	}
	if err := follow(); err != nil {
		t.Fatal(err)
	}
	for _, c := range append([]cid.Cid{index}, l.index.Pages...) {
		good := l.block[c]
		l.block[c] = append(bytes.Clone(good), 0)
		distrusted(t, "a changed block", follow())
		l.block[c] = make([]byte, block.MaxSize+1)
		distrusted(t, "a huge block", follow())
		delete(l.block, c)
		if err := follow(); !errors.Is(err, errAbsent) {
			t.Errorf("an absent block: %v, want the error of the blocks", err)
		}
		l.block[c] = good
	}
}

// What a registry records is its word: an entry that breaks the rules under a right hash is a lie, not bad luck.
func TestFollowRefusesWhatItsHashCovers(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	tests := map[string]func(l *log){
		"an entry hidden": func(l *log) { l.raws = append(l.raws[:1:1], l.raws[2:]...) },
		"an entry twice":  func(l *log) { l.raws[2] = l.raws[1] },
		"entries swapped": func(l *log) { l.raws[1], l.raws[2] = l.raws[2], l.raws[1] },
		"an entry that is none": func(l *log) {
			l.raws[1] = []byte{0x82, 0xa0, 0x80}
		},
		"a forged signature": func(l *log) {
			l.raws[1] = bytes.Clone(l.raws[1])
			l.raws[1][len(l.raws[1])-1] ^= 1
		},
	}
	for rule, change := range tests {
		l := grown(t, 5)
		change(l)
		_, err := author.Follow(ctx, nil, l, l.state.ID, l.state.Size, l.state.LogRoot(), l.store())
		distrusted(t, rule, err)
	}
	l := grown(t, 5)
	_, err := author.Follow(ctx, nil, l, l.state.ID, l.state.Size, l.state.LogRoot(), l.keep([]byte{0xa0}))
	distrusted(t, "an index that is none", err)
	l.store()
	l.index.Pages[0] = l.keep([]byte{0x81, 0x80})
	_, err = author.Follow(ctx, nil, l, l.state.ID, l.state.Size, l.state.LogRoot(), l.keep(l.index.Encode()))
	distrusted(t, "a short page", err)
}

func TestFollowTakesTheExpiryFromTheIndex(t *testing.T) {
	t.Parallel()
	a, rel := key(1), key(2)
	l := emptyLog(t)
	g := genesis(set(1, a))
	g.Genesis.Release = []author.ReleaseKey{{Key: rel.Public(), Until: 5001}}
	l.add(g, a)
	l.add(release("1.0.0"), rel)
	if _, err := l.follow(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	l.index.At[1].T = 5002
	_, err := l.follow(t.Context(), nil)
	distrusted(t, "recorded a second later", err)
}

func TestPagesComeBack(t *testing.T) {
	t.Parallel()
	l := grown(t, author.PageSize)
	page := author.EncodePage(l.raws[:author.PageSize])
	got, err := author.DecodePage(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l.raws[:author.PageSize], got); diff != "" {
		t.Error(diff)
	}
	for rule, b := range map[string][]byte{
		"no entry":      {0x80},
		"too many":      author.EncodePage(l.raws),
		"trailing byte": append(bytes.Clone(page), 0),
		"cut":           page[:len(page)-1],
		"a long entry":  author.EncodePage([][]byte{append([]byte{0x59, 0x20, 0x00}, make([]byte, 0x2000)...)}),
		"nothing":       nil,
	} {
		if _, err := author.DecodePage(b); err == nil {
			t.Errorf("%s: accepted", rule)
		}
	}
}

func TestIndexesAreStrict(t *testing.T) {
	t.Parallel()
	page := block.Sum(cid.DagCBOR, nil)
	good := author.Index{Pages: []cid.Cid{page, page}, At: []author.At{{3, 1, 100}, {65, 2, 100}}}
	got, err := author.DecodeIndex(good.Encode())
	if err != nil || got.Size() != 65 || len(got.Pages) != 2 || !bytes.Equal(got.Encode(), good.Encode()) {
		t.Fatalf("got %+v, %v", got, err)
	}
	for rule, x := range map[string]author.Index{
		"empty":             {},
		"size stays":        {Pages: good.Pages, At: []author.At{{65, 1, 1}, {65, 2, 1}}},
		"size goes down":    {Pages: good.Pages, At: []author.At{{66, 1, 1}, {65, 2, 1}}},
		"commit stays":      {Pages: good.Pages, At: []author.At{{1, 1, 1}, {65, 1, 1}}},
		"time goes back":    {Pages: good.Pages, At: []author.At{{1, 1, 2}, {65, 2, 1}}},
		"size zero":         {Pages: good.Pages, At: []author.At{{0, 1, 1}, {65, 2, 1}}},
		"huge size":         {Pages: good.Pages, At: []author.At{{1 << 60, 1, 1}}},
		"too few pages":     {Pages: good.Pages[:1], At: good.At},
		"too many pages":    {Pages: good.Pages, At: good.At[:1]},
		"page of raw bytes": {Pages: []cid.Cid{block.Sum(cid.Raw, nil)}, At: good.At[:1]},
	} {
		if _, err := author.DecodeIndex(x.Encode()); err == nil {
			t.Errorf("%s: accepted", rule)
		}
	}
}

func BenchmarkFollow(b *testing.B) {
	l := grown(b, 200)
	index := l.store()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := author.Follow(context.Background(), nil, l, l.state.ID, l.state.Size, l.state.LogRoot(), index); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(l.state.Size), "ns/entry")
}
