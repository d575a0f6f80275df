//go:build !race

package seed_test

// How many attack a seed, and how often a good client asks meanwhile.
const (
	attackers = 8
	least     = 40
	big       = 24 << 20 // bytes of the large file
)
