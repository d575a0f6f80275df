package cmd

import "time"

// waiting says once what the command waits for, if that takes more than two seconds. Until the returned function is called
// nothing else may print.
func (e *Env) waiting(url string) (done func()) {
	const patience = 2 * time.Second
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTimer(patience)
		defer t.Stop()
		select {
		case <-t.C:
			e.UI.Note("waiting", map[string]string{"url": url}, "waiting for %s", url)
		case <-stop:
		}
	}()
	return func() {
		close(stop)
		<-ended
	}
}
