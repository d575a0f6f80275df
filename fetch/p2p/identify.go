package p2p

import (
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/protocol/identify"
)

// identify lets peers ask who this is, which stock hosts do before all else. It comes after listen, to know the
// addresses, and waits until protocols that are added from now on are heard of: identify subscribes to them only some
// time after its Start, and would never name those in between.
func (h *Host) identify() error {
	ids, err := identify.NewIDService(h.node, identify.UserAgent("pkg"), identify.DisableSignedPeerRecord())
	if err != nil {
		return err
	}
	ids.Start()
	h.first(ids)
	late := time.NewTimer(dialTimeout)
	defer late.Stop()
	select {
	case <-h.hears.yes:
		return nil
	case <-late.C:
		return errors.New("identify did not start")
	}
}

// hearing notices when somebody hears of new protocols. The event bus has no other way to ask than its metrics.
type hearing struct {
	once sync.Once
	yes  chan struct{}
}

var _ eventbus.MetricsTracer = (*hearing)(nil)

func (h *hearing) AddSubscriber(t reflect.Type) {
	if t == reflect.TypeFor[event.EvtLocalProtocolsUpdated]() {
		h.once.Do(func() { close(h.yes) })
	}
}

func (h *hearing) EventEmitted(reflect.Type) {}

func (h *hearing) RemoveSubscriber(reflect.Type) {}

func (h *hearing) SubscriberQueueLength(string, int) {}

func (h *hearing) SubscriberQueueFull(string, bool) {}

func (h *hearing) SubscriberEventQueued(string) {}
