// Package namespace holds what a registry says of names, and how a client comes to believe it.
//
// A registry is known by a chain of trust roots ([Trust]), each signed by the keys of the one before; the CID of the first
// is its identity. The keys in a trust root sign checkpoints of the namespace log. A leaf of that log is a [Commit]: the
// root of the map from names to [Record]s as it stands after the commit, and the CID of the [Op]s that made it so. A
// [Head] is one file with a checkpoint, its last leaf and the proof between them. All but the head is canonical dag-cbor:
//
//	trust     envelope of {n, v:1, logs, root:{keys, threshold}, reset:null|{root, size}, origin, policy, max-age}
//	commit    {c, m, n, o:null|CID, p:null|CID, t, v:1}
//	ops       {v:1, ops:[{op, name, …} …]}
//	record    [1, status, id, epoch, size, log root, index CID, since, former, advisories]
//	head      a C2SP tlog-proof whose extra data is the commit
//
// A client believes in this order, each step needing those before it:
//
//  1. the trust roots, from a known identity upwards: [OpenChain], then [Seen.Advance] for each new one;
//  2. the checkpoint: origin, log signature, witness quorum ([OpenHead]);
//  3. that the head is fresh enough for what is asked: [Head.Freshness];
//  4. that it continues what was seen before: [Seen.Accept], the result persisted by [Heads] before anything else is done;
//  5. that the commit is its last leaf (also [OpenHead]);
//  6. what the map says of a name: [Lookup];
//  7. that this is the package known by that name: [Record.Check].
//
// The author log, which begins at step 8, is package keys/author. Each step is a function of its arguments alone. What
// contradicts something believed before is a *keys.TrustError with both sides as evidence; it is kept and never retried.
// Values are safe for concurrent use as long as nobody changes them.
package namespace

import (
	"errors"
	"fmt"

	"pkg/keys"
	"pkg/keys/author"
)

// Bounds on numbers we read, so that no later arithmetic overflows.
const (
	maxCount = 1 << 48
	maxTime  = 1 << 40 // unix seconds
)

// Limits on what one value may hold.
const (
	maxText       = 1024
	maxFormer     = 64
	maxAdvisories = 64
)

var errBounds = errors.New("number out of bounds")

// CheckScope checks that the genesis entry of a package beneath a scope is also signed by the scope's current root set. If
// not it returns a *keys.TrustError.
func CheckScope(genesis author.Entry, scope author.RootSet) error {
	if scope.Met(genesis.Signatures) {
		return nil
	}
	return &keys.TrustError{
		Subject: "claim", What: "a claim beneath a scope is not signed by the scope's owner",
		Ours: describeSet(scope), Theirs: fmt.Sprintf("%d signatures", len(genesis.Signatures)),
		Evidence: []keys.Evidence{{Name: "genesis", Data: genesis.Raw}},
	}
}
