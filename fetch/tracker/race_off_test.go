//go:build !race

package tracker

const part = 1
