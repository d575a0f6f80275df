//go:build unix && race

package registry

// part is how much smaller attacks are: the race detector makes them slow.
const part = 8
