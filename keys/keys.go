// Package keys holds who said something and how we know: ed25519 key pairs, the
// files they are kept in, and signed envelopes. The packages beneath it hold the
// logs made of what was said.
//
// A key is shown as its did:key ([Key.Author]). Of the 2^256 byte strings that
// could stand for a public key, [CheckPoint] refuses those that are no point,
// that spell a point in a second way, or that are of low order, for which
// anybody can make signatures; no other code decides which keys are good.
//
// An envelope is the canonical dag-cbor list
//
//	[body, [[key, signature]…]]
//
// of a body and at least one signature, sorted by key, each key once. A
// signature is ed25519 over a domain text and the bytes of the body, so that
// what is signed for one purpose says nothing for another. [OpenEnvelope]
// believes the signatures; whether those keys may say what the body says is for
// the reader of the body.
//
// A contradiction between signed things, or between bytes and their hash, is a
// [TrustError]: a kind of its own, which is never retried.
//
// Secret keys live in a [Ring], one file each, see [EncodeFile].
package keys

import (
	"fmt"
	"strings"
)

// TrustError says that what we were given cannot be believed: a hash, a
// signature, a proof, a fork, a rollback, a changed key. Trying again does not
// help, and the evidence is worth keeping.
type TrustError struct {
	Subject string // what it is about: a package, a registry, a block
	What    string // the rule that is broken, as a sentence without a full stop
	Ours    string // what we know, or ""
	Theirs  string // what we were given, or ""

	Evidence []Evidence
}

// Evidence is one thing, as it was received, that shows a TrustError to others.
type Evidence struct {
	Name string
	Data []byte
}

// Error names the subject and the rule, and shows both sides.
func (e *TrustError) Error() string {
	var b strings.Builder
	if e.Subject != "" {
		fmt.Fprintf(&b, "%s: ", e.Subject)
	}
	b.WriteString(e.What)
	switch {
	case e.Ours != "" && e.Theirs != "":
		fmt.Fprintf(&b, ": ours is %s, theirs is %s", e.Ours, e.Theirs)
	case e.Ours != "":
		fmt.Fprintf(&b, ": want %s", e.Ours)
	case e.Theirs != "":
		fmt.Fprintf(&b, ": got %s", e.Theirs)
	}
	return b.String()
}
