// Pkg is a peer-to-peer package manager: one binary that publishes, finds, fetches, verifies and locks packages, and runs
// the registry, the seed, the mirror and the witness besides.
package main

import (
	"context"
	"crypto/rand"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pkg/cmd"
)

// version is set by the release build (-ldflags "-X main.version=1.2.3").
var version string

func main() { os.Exit(process(0)) }

// process gives the commands what they may know of the process. The first interrupt, or a terminal that goes away, cancels
// the context, a second one kills. work is the scrypt cost of new encrypted keys, 0 for the default.
func process(work int) int {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup wants it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	context.AfterFunc(ctx, stop)
	log.SetOutput(io.Discard) // a library's remarks are nothing a user can act on; ours go through cmd/ui
	dir, _ := os.Getwd()      // empty when the folder is gone: Env.Path then says so
	return cmd.Main(ctx, os.Args[1:], &cmd.Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Environ: os.Environ(), Dir: dir, Now: time.Now, Rand: rand.Reader, Version: version, WorkFactor: work,
	})
}
