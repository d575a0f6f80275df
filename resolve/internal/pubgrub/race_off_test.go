//go:build !race

package pubgrub

const slow = false
