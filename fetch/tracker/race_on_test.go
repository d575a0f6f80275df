//go:build race

package tracker

// part is how much smaller tests that fill memory are: the race detector makes them slow.
const part = 8
