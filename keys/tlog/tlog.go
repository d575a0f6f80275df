// Package tlog reads and checks what a transparency log signs.
//
// A log signs checkpoints: its origin, its size in leaves and the RFC 6962 root over them. Four C2SP documents say how
// that is written, and this package follows them to the byte:
//
//   - tlog-checkpoint: a checkpoint is a signed note ([OpenCheckpoint], [ParseCheckpoint]);
//   - tlog-cosignature: a witness adds a timestamped signature to it ([Cosigner]; Ed25519, type 0x04);
//   - tlog-policy: which witnesses make a quorum ([Policy]);
//   - tlog-proof: one file holding a checkpoint and the proof that a leaf lies under it ([Proof]).
//
// Trees, hashes and note signatures are golang.org/x/mod/sumdb/{tlog,note}. A client opens a head so:
//
//	p, err := tlog.ParseProof(file)
//	cp, err := tlog.OpenCheckpoint(p.Checkpoint, origin, logs, policy)
//	err = p.Check(p.Extra, cp)                                        // the leaf is under the root
//	err = tlog.CheckConsistency(proof, cp.Size, cp.Root, old.Size, old.Root) // the log only grew
//
// Bytes that are malformed give plain errors. Bytes that are well-formed and contradict a key, a root or a policy give a
// *keys.TrustError, which is never worth a retry. Nothing here touches network, disk or clock, and everything is safe
// for concurrent use. ML-DSA-44 keys (types 0x06) are refused by name until the standard library can verify them.
package tlog

import (
	"golang.org/x/mod/sumdb/tlog"
)

// Hash is an RFC 6962 node hash: SHA-256 with domain separation between leaves and interior nodes.
type Hash = tlog.Hash

const (
	// HashSize is the bytes of a Hash.
	HashSize = tlog.HashSize

	// MaxSize bounds the leaves of a log we read, so that no index arithmetic overflows.
	MaxSize = 1 << 48

	// MaxProof bounds the bytes of a tlog-proof file.
	MaxProof = 256 << 10

	// MaxCheckpoint bounds the bytes of a signed checkpoint.
	MaxCheckpoint = 64 << 10

	maxHashes = 64 // the audit path of a tree of MaxSize leaves is shorter
)

// LeafHash returns the hash of a leaf with the given content (RFC 6962, section 2.1).
func LeafHash(leaf []byte) Hash { return tlog.RecordHash(leaf) }

// NodeHash returns the hash of an interior node (RFC 6962, section 2.1).
func NodeHash(left, right Hash) Hash { return tlog.NodeHash(left, right) }
