package tree

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

func TestPackIsTheSameWhetherFilesAreReadOnceOrTwice(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789abcde\n", 300_000) // 4.8 MB: several frames
	var files []File
	for _, p := range []string{"a", "b/c", "b/d"} {
		files = append(files, File{Path: p, Size: int64(len(content)), Exec: p == "a", Open: func() (io.ReadCloser, error) {
			if p == "a" {
				return struct{ io.ReadCloser }{io.NopCloser(strings.NewReader(p + content[1:]))}, nil // cannot seek
			}
			return seekable{strings.NewReader(p + content[len(p):])}, nil
		}})
	}
	var once, twice bytes.Buffer
	if _, err := pack(t.Context(), files, Default(), &once, keepBytes); err != nil {
		t.Fatal(err)
	}
	if _, err := pack(t.Context(), files, Default(), &twice, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once.Bytes(), twice.Bytes()) {
		t.Errorf("packs of %d and %d bytes differ", once.Len(), twice.Len())
	}
}

type seekable struct{ *strings.Reader }

func (seekable) Close() error { return nil }

// failAfter fails the n-th write.
type failAfter struct{ n int }

func (f *failAfter) Write(b []byte) (int, error) {
	if f.n--; f.n < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestPackReturnsTheErrorOfItsWriter(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789abcde\n", 500_000)
	files := []File{{Path: "a", Size: int64(len(content)), Open: func() (io.ReadCloser, error) {
		return seekable{strings.NewReader(content)}, nil
	}}}
	for n := range 2 {
		if _, err := Pack(t.Context(), files, Default(), &failAfter{n}); err != io.ErrClosedPipe { //nolint:errorlint // as it is
			t.Errorf("write %d fails: got %v", n, err)
		}
	}
}
