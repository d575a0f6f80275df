package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite the scripts' expected output")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"pkg": func() { os.Exit(process(1)) }})
}

// TestScript runs testdata/script. A script's first line says what it promises; it has an empty PKG_HOME of its own, and
// besides testscript's own commands those of scriptCommands.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PKG_HOME", env.WorkDir+"/.home")
			env.Setenv("PKG_LAN", "false") // who else is in the network of this machine is nobody's business here
			return nil
		},
		Cmds: scriptCommands(),
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "online":
				return os.Getenv("PKG_TEST_ONLINE") == "1", nil
			case "hangup": // what nohup ignores, children ignore too
				return !signal.Ignored(syscall.SIGHUP), nil
			}
			return false, errors.New("unknown condition " + cond)
		},
	})
}

type command = func(ts *testscript.TestScript, neg bool, args []string)

func scriptCommands() map[string]command {
	return map[string]command{
		"code":     code,
		"await":    await,
		"setenv":   setenv,
		"truncate": truncate,
		"flip":     flip,
	}
}

// code N COMMAND ARG... runs the command and wants exit code N; stdout and stderr then look at what it said.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// await FILE waits until a background command has written FILE.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await FILE")
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 2000 {
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 0 {
			return
		}
		<-tick.C
	}
	ts.Fatalf("%s was not written", args[0])
}

// setenv NAME FILE sets NAME to the contents of FILE, without the space around them. FILE may be stdout or stderr.
func setenv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setenv NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// truncate FILE N cuts FILE to N bytes.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate FILE N")
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[0]), n))
}

// flip FILE changes one bit in the middle of FILE, also where it is read-only.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	p := ts.MkAbs(args[0])
	b, err := os.ReadFile(p)
	ts.Check(err)
	if len(b) == 0 {
		ts.Fatalf("%s is empty", args[0])
	}
	info, err := os.Stat(p)
	ts.Check(err)
	ts.Check(os.Chmod(p, 0o600))
	b[len(b)/2] ^= 1
	ts.Check(os.WriteFile(p, b, 0o600))
	ts.Check(os.Chmod(p, info.Mode().Perm()))
}
