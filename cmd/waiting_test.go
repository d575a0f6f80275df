package cmd

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestALongWaitIsSaidOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, _, stderr := testEnv(t)
		e.settle(line{})
		done := e.waiting("http://registry.test/")
		time.Sleep(time.Second)
		if done(); stderr.Len() > 0 {
			t.Errorf("after a second: %q, want nothing", stderr)
		}
		done = e.waiting("http://registry.test/")
		time.Sleep(time.Minute)
		done()
		if got, want := stderr.String(), "waiting for http://registry.test/\n"; got != want {
			t.Errorf("after a minute: %q, want %q", got, want)
		}
	})
}
