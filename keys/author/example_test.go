package author_test

import (
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/go-cid"

	"pkg/keys"
	"pkg/keys/author"
	"pkg/lockfile/block"
)

// An author claims a name, releases a version and yanks it. Who reads the log folds the entries into a State and believes
// nothing that the author's keys did not sign in this place.
func Example() {
	key := keys.FromSeed(sha256.Sum256([]byte("an example, not a secret")))
	log := &author.State{}

	claim := log.Body(author.KindGenesis, 1_700_000_000)
	claim.Genesis = &author.Genesis{Origin: "registry.example/log", Name: "left-pad", Root: author.Single(key.Public())}
	apply(log, claim, key)

	first := log.Body(author.KindRelease, 1_700_000_100)
	first.Release = &author.Release{Version: "1.0.0", Root: block.Sum(cid.DagProtobuf, nil), License: "MIT"}
	apply(log, first, key)

	broken := log.Body(author.KindYank, 1_700_000_200)
	broken.Yank = &author.Yank{Version: "1.0.0", Reason: "pads on the right"}
	apply(log, broken, key)

	again := log.Body(author.KindRelease, 1_700_000_300)
	again.Release = &author.Release{Version: "1.0.0", Root: block.Sum(cid.Raw, nil), License: "MIT"}
	apply(log, again, key)

	r := log.Releases[0]
	fmt.Println(r.Version, r.Yanked, r.YankReason, r.Signer == log.Author)
	// Output:
	// genesis <nil>
	// release <nil>
	// yank <nil>
	// release author log of "left-pad", entry 3: the version is released already: ours is 1.0.0 with root bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku, theirs is 1.0.0 with root bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku
	// 1.0.0 true pads on the right true
}

func apply(log *author.State, b author.Body, key keys.Key) {
	e, err := author.Sign(b, key)
	if err == nil {
		err = log.Apply(e, author.Recorded{Commit: b.I + 1, T: b.T})
	}
	fmt.Println(b.Kind, err)
}
