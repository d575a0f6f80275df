//go:build race

package resolve_test

// slow says that the race detector makes everything ten times slower.
const slow = true
