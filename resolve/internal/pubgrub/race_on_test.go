//go:build race

package pubgrub

// slow says that the race detector makes everything ten times slower.
const slow = true
