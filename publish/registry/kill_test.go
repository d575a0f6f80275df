//go:build unix

package registry

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestKilledRegistryKeepsWhatItAcknowledged kills a process in the middle of its
// work, again and again in one directory, and reads what is there each time.
func TestKilledRegistryKeepsWhatItAcknowledged(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	old := headOf(t, dir)
	random := rand.New(rand.NewPCG(1, 2))
	acked := map[string]uint64{}
	for round := range 5 {
		after := time.Duration(random.IntN(250)) * time.Millisecond
		maps.Copy(acked, killed(t, dir, round, after))
		s := open(t, dir, Config{})
		now := headOf(t, dir)
		now.continues(t, s, old)
		old = now
		for name, size := range acked {
			if got := check(t, dir, name)[name].Size; got < size {
				t.Errorf("round %d: %s has %d entries, %d were acknowledged", round, name, got, size)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) < 5 {
		t.Errorf("only %v was acknowledged", acked)
	}
}

// killed runs TestChild on dir, kills it some time after its first
// acknowledgement, and returns what it said was acknowledged.
func killed(t *testing.T, dir string, round int, after time.Duration) map[string]uint64 {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestChild$", dir, strconv.Itoa(round))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acked := map[string]uint64{}
	var kill *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var name string
		var size uint64
		if _, err := fmt.Sscanf(lines.Text(), "acked %s %d", &name, &size); err != nil {
			continue
		}
		acked[name] = size
		if kill == nil {
			kill = time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
		}
	}
	_ = cmd.Wait() // killed
	if kill == nil {
		t.Fatalf("the child acknowledged nothing: %s", stderr.String())
	}
	return acked
}

// TestChild is the process that is killed.
func TestChild(t *testing.T) {
	t.Parallel()
	if flag.NArg() != 2 {
		t.Skip("runs as the child of TestKilledRegistryKeepsWhatItAcknowledged")
	}
	dir, round := filepath.Clean(flag.Arg(0)), flag.Arg(1)
	s, err := Open(t.Context(), dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		go func() {
			name := fmt.Sprintf("r%s-%d", round, i)
			w := newWriter(seeded(i + 1))
			for next := w.genesis(t, name); ; next = w.note(t, 1000) {
				r, err := s.Submit(t.Context(), sub(next))
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = fmt.Fprintf(os.Stdout, "acked %s %d\n", name, r.Size)
			}
		}()
	}
	select {} // until killed
}
