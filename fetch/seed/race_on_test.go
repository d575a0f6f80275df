//go:build race

package seed_test

// How many attack a seed, and how often a good client asks meanwhile. The race detector makes all of it slow.
const (
	attackers = 3
	least     = 10
	big       = 8 << 20 // bytes of the large file
)
