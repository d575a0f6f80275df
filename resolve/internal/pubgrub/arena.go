package pubgrub

// arena hands out slices that live until they are all taken back, or taken back
// to a mark. The zero value is ready.
type arena[T any] struct {
	chunks [][]T
	at     mark
}

// mark is a position in an arena.
type mark struct{ chunk, item int }

// The chunks of an arena hold ever more items, so that a small query pays for
// little and a large one seldom.
const (
	smallestChunk = 1 << 6
	largestChunk  = 1 << 13
)

// take returns n items of unknown content.
func (a *arena[T]) take(n int) []T {
	for ; a.at.chunk < len(a.chunks); a.at = (mark{a.at.chunk + 1, 0}) {
		if c := a.chunks[a.at.chunk]; len(c)-a.at.item >= n {
			i := a.at.item
			a.at.item += n
			return c[i : i+n : i+n]
		}
	}
	size := largestChunk
	if i := len(a.chunks); i < 8 {
		size = min(size, smallestChunk<<i)
	}
	a.chunks = append(a.chunks, make([]T, max(n, size)))
	a.at.item = n
	return a.chunks[a.at.chunk][:n:n]
}

// sets hands out sets. Those of one word take nothing.
type sets struct {
	words arena[uint64]
	tails arena[tail]
}

// setsMark is a position in sets.
type setsMark struct{ words, tails mark }

func (r *sets) mark() setsMark { return setsMark{r.words.at, r.tails.at} }

// back takes back what was handed out after a mark.
func (r *sets) back(to setsMark) { r.words.at, r.tails.at = to.words, to.tails }

func (r *sets) reset() { r.back(setsMark{}) }

// make returns a set that begins with word, has n other words of unknown content.
func (r *sets) make(word uint64, n int) (set, tail) {
	if n == 0 {
		return set{word: word}, nil
	}
	t := r.tails.take(1)
	t[0] = r.words.take(n)
	return set{word, &t[0]}, t[0]
}

// of returns the set of what is in words.
func (r *sets) of(words []uint64) set {
	out, t := r.make(words[0], len(words)-1)
	copy(t, words[1:])
	return out
}

// full returns the domain of a package with n versions.
func (r *sets) full(n int32) set {
	if n < 64 {
		return set{word: 1<<n<<1 - 1}
	}
	out, t := r.make(1<<64-1, wordsFor(n)-1)
	fill(t, n-64)
	return out
}

// none returns a set without members of the package that a is a set of.
func (r *sets) none(a set) set {
	out, t := r.make(0, len(a.tail()))
	clear(t)
	return out
}

func (r *sets) clone(a set) set {
	if a.narrow() {
		return a
	}
	out, t := r.make(a.word, len(*a.more))
	copy(t, *a.more)
	return out
}

// minus returns what is in a and not in b.
func (r *sets) minus(a, b set) set {
	if a.narrow() {
		return set{word: a.word &^ b.word}
	}
	out, t := r.make(a.word&^b.word, len(*a.more))
	for i := range t {
		t[i] = (*a.more)[i] &^ (*b.more)[i]
	}
	return out
}

// both returns what is in a and in b.
func (r *sets) both(a, b set) set {
	out, t := r.make(a.word&b.word, len(a.tail()))
	for i := range t {
		t[i] = (*a.more)[i] & (*b.more)[i]
	}
	return out
}

// either returns what is in a or in b.
func (r *sets) either(a, b set) set {
	out, t := r.make(a.word|b.word, len(a.tail()))
	for i := range t {
		t[i] = (*a.more)[i] | (*b.more)[i]
	}
	return out
}
