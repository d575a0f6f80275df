package bitswap_test

import (
	"context"
	"io"
	"log"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/peer"

	"pkg/fetch/bitswap"
	"pkg/fetch/store"
	"pkg/fetch/swarm"
)

// Fetch a tree from one peer into a store. Nothing is served: Options has no Blocks.
func ExampleExchange_Source() {
	var (
		ctx  = context.Background()
		from peer.AddrInfo // who has it
		root cid.Cid
		into *store.Batch
	)
	host, err := libp2p.New(libp2p.NoListenAddrs)
	if err != nil {
		log.Fatal(err)
	}
	x := bitswap.Open(host, bitswap.Options{})
	missing, err := x.Source(from).Content(ctx, swarm.Ask(root), func(w swarm.Want, _ int64, pack io.Reader) error {
		_, err := into.Put(ctx, w.Root, pack) // checks every block again
		return err
	})
	log.Println(missing, err, x.Close(), host.Close())
}
