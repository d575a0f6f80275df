//go:build unix && !race

package registry

const part = 1
